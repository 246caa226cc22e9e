"""Brain extraction as a node."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from nipype.interfaces.base import File, traits

from bidsreg.bids.images import load_image
from bidsreg.errors import InputError, ProcessKilledError
from bidsreg.interfaces.base import Step, StepInputSpec, StepOutputSpec, given
from bidsreg.preparation.ants import new_image
from bidsreg.preparation.grids import stem
from bidsreg.preparation.skullstrip import brain_mask


class _BrainMaskInputSpec(StepInputSpec):
    in_file = File(exists=True, mandatory=True, desc='scan of a head, conformed')
    contrast = traits.Str(desc='suffix of the scan; T1w without it')
    mode = traits.Enum(
        'auto', 'force', 'skip', usedefault=True, desc='auto: leave an image alone that is stripped already'
    )
    user_mask = File(exists=True, desc='a brain mask on the grid of the image; it is taken, whatever the mode')
    num_threads = traits.Range(low=1, value=1, usedefault=True, nohash=True, desc='threads of the network')


class _BrainMaskOutputSpec(StepOutputSpec):
    out_mask = File(desc='brain mask, uint8, on the grid of the image')
    method = traits.Str(desc='says what was done, and why')


class BrainMask(Step):
    """Find the brain in a scan: :func:`bidsreg.preparation.skullstrip.brain_mask` as a node."""

    input_spec = _BrainMaskInputSpec
    output_spec = _BrainMaskOutputSpec

    def _compute(self, runtime: Any) -> None:
        inputs = self.inputs
        mask, method = self._found()
        image = load_image(inputs.in_file)
        self._results['method'] = method
        self._results['out_mask'] = os.path.join(runtime.cwd, f'{stem(inputs.in_file)}_mask.nii.gz')
        new_image(mask.astype('uint8'), image).to_filename(self._results['out_mask'])

    def _found(self) -> tuple[np.ndarray, str]:
        inputs = self.inputs
        options = given(inputs, ['user_mask', 'contrast'])
        return brain_mask(inputs.in_file, mode=inputs.mode, threads=inputs.num_threads, **options)


class SecondMask(BrainMask):
    """Find the brain once more, to compare the user's mask with.

    Where none is found, or the network fails, the mask is empty and the method says why: the pair has a mask without
    it, and is to be looked at.
    """

    def _found(self) -> tuple[np.ndarray, str]:
        try:
            return super()._found()
        except ProcessKilledError:  # a run tries it once more
            raise
        except (InputError, RuntimeError) as error:
            return np.zeros(load_image(self.inputs.in_file).shape, bool), str(error)
