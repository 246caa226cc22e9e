"""The ratio of a T1w and a T2w as a node."""

from __future__ import annotations

import os
from typing import Any

from nipype.interfaces.base import File, traits

from bidsreg.interfaces.base import Step, StepInputSpec, StepOutputSpec
from bidsreg.preparation.ratio import RATIOS, make_ratio


class _RatioInputSpec(StepInputSpec):
    kind = traits.Enum(*RATIOS, usedefault=True, desc='what is done to the scans before they are divided')
    t1w = File(exists=True, mandatory=True, desc='T1w to divide')
    t2w = File(exists=True, mandatory=True, desc='T2w on its grid')
    mask = File(exists=True, mandatory=True, desc='brain mask of the T1w')
    preproc = File(exists=True, mandatory=True, desc='T1w without its bias field, in which tissue is told apart')


class _RatioOutputSpec(StepOutputSpec):
    out_file = File(desc='the ratio on the grid of the T1w')
    facts = traits.Dict(desc='how it was made, and its medians')


class Ratio(Step):
    """Divide a T1w by a T2w: :func:`bidsreg.preparation.ratio.make_ratio` as a node."""

    input_spec = _RatioInputSpec
    output_spec = _RatioOutputSpec

    def _compute(self, runtime: Any) -> None:
        inputs = self.inputs
        image, facts = make_ratio(inputs.kind, inputs.t1w, inputs.t2w, inputs.mask, inputs.preproc)
        self._results['facts'] = facts
        self._results['out_file'] = os.path.join(runtime.cwd, 'ratio.nii.gz')
        image.to_filename(self._results['out_file'])
