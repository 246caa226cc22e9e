"""The lesions of the user as a node: they are brought onto the grid of their image, all in one mask."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from nipype.interfaces.base import File, traits

from bidsreg.bids.images import load_image
from bidsreg.bids.lesions import Lesion
from bidsreg.interfaces.base import Step, StepInputSpec, StepOutputSpec
from bidsreg.preparation.ants import new_image
from bidsreg.preparation.grids import stem
from bidsreg.preparation.lesions import fit_lesions


class _FitLesionsInputSpec(StepInputSpec):
    reference = File(exists=True, mandatory=True, desc='the image that the lesions belong to, conformed')
    in_files = traits.List(File(exists=True), mandatory=True, desc='masks or segmentations')
    values = traits.List(
        traits.List(traits.Int), mandatory=True, desc='for each, which of its values are lesions; empty: all above zero'
    )


class _FitLesionsOutputSpec(StepOutputSpec):
    out_file = File(desc='the lesions, uint8, on the grid of the image; not there where all files are empty')
    out_mask = File(desc='the same, there also where all files are empty')
    method = traits.Str(desc='says which files it was made from, and what was done to them')


class FitLesions(Step):
    """Bring lesions onto the grid of their image: :func:`bidsreg.preparation.lesions.fit_lesions` as a node."""

    input_spec = _FitLesionsInputSpec
    output_spec = _FitLesionsOutputSpec

    def _compute(self, runtime: Any) -> None:
        image = load_image(self.inputs.reference)
        each = zip(self.inputs.in_files, self.inputs.values, strict=True)
        lesions = [Lesion(Path(path), tuple(values)) for path, values in each]
        mask, self._results['method'] = fit_lesions(lesions, image, of=self.inputs.reference)
        self._results['out_mask'] = os.path.join(runtime.cwd, f'{stem(self.inputs.reference)}_lesion.nii.gz')
        new_image(mask.astype('uint8'), image).to_filename(self._results['out_mask'])
        if mask.any():
            self._results['out_file'] = self._results['out_mask']
