"""Bias field correction as a node."""

from __future__ import annotations

import os
from typing import Any

from nipype.interfaces.base import File, traits

from bidsreg.interfaces.base import Step, StepInputSpec, StepOutputSpec, given
from bidsreg.preparation.bias import correct_bias
from bidsreg.preparation.grids import stem


class _N4InputSpec(StepInputSpec):
    in_file = File(exists=True, mandatory=True, desc='image, conformed')
    mask = File(exists=True, mandatory=True, desc='brain mask on the grid of the image; the field is estimated inside')
    lesion = File(exists=True, desc='mask on that grid of what the field must not be estimated from')
    method = traits.Enum('n4', 'none', usedefault=True, desc='none: pass the image through')
    sloppy = traits.Bool(False, usedefault=True, desc='fewer iterations and levels, for trying things out')


class _N4OutputSpec(StepOutputSpec):
    out_file = File(desc='corrected image')


class N4(Step):
    """N4 bias field correction inside a mask: :func:`bidsreg.preparation.bias.correct_bias` as a node."""

    input_spec = _N4InputSpec
    output_spec = _N4OutputSpec

    def _compute(self, runtime: Any) -> None:
        if self.inputs.method == 'none':
            self._results['out_file'] = self.inputs.in_file
            return
        lesion = given(self.inputs, ['lesion'])
        corrected = correct_bias(self.inputs.in_file, self.inputs.mask, sloppy=self.inputs.sloppy, **lesion)
        self._results['out_file'] = os.path.join(runtime.cwd, f'{stem(self.inputs.in_file)}_n4.nii')  # read many times
        corrected.to_filename(self._results['out_file'])
