"""A mask of the user as a node: it is brought onto the grid of its image."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from nipype.interfaces.base import File, traits

from bidsreg.bids.images import load_image
from bidsreg.interfaces.base import Step, StepInputSpec, StepOutputSpec
from bidsreg.preparation.ants import new_image
from bidsreg.preparation.grids import stem
from bidsreg.preparation.masks import fit_mask


class _FitMaskInputSpec(StepInputSpec):
    reference = File(exists=True, mandatory=True, desc='the image that the mask belongs to, conformed')
    in_file = File(exists=True, mandatory=True, desc='the mask')


class _FitMaskOutputSpec(StepOutputSpec):
    out_file = File(desc='the mask, uint8, on the grid of the image')
    method = traits.Str(desc='says whose mask it is, and what was done to it')


class FitMask(Step):
    """Bring a mask onto the grid of its image: :func:`bidsreg.preparation.masks.fit_mask` as a node."""

    input_spec = _FitMaskInputSpec
    output_spec = _FitMaskOutputSpec

    def _compute(self, runtime: Any) -> None:
        image = load_image(self.inputs.reference)
        mask, done = fit_mask(self.inputs.in_file, image, of=self.inputs.reference)
        words = f'mask given by the user: {Path(self.inputs.in_file).name}'
        self._results['method'] = words + (f', {done}' if done else '')
        self._results['out_file'] = os.path.join(runtime.cwd, f'{stem(self.inputs.reference)}_mask.nii.gz')
        new_image(mask.astype('uint8'), image).to_filename(self._results['out_file'])
