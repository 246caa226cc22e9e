"""The check and repair of headers as a node, before anything else looks at an image."""

from __future__ import annotations

import os
from typing import Any

from nipype.interfaces.base import File, traits

from bidsreg.interfaces.base import Step, StepInputSpec, StepOutputSpec
from bidsreg.preparation.grids import stem
from bidsreg.preparation.skullstrip import stripped_already


class _ConformInputSpec(StepInputSpec):
    in_file = File(exists=True, mandatory=True, desc='a scan as it is in the dataset')


class _ConformOutputSpec(StepOutputSpec):
    out_file = File(desc='the same voxels; 3-D, finite, qform equal to sform, orthogonal axes')
    findings = traits.List(traits.Str, desc='what is unusual about the header')
    skull_stripped = traits.Bool(desc='only the brain is left in the image')


class Conform(Step):
    """Check an image and write it with a header that every tool reads alike. No voxel is interpolated.

    Raises
    ------
    bidsreg.errors.InputError
        If the image cannot be registered (4-D, truncated, constant, singular affine, ...); it says what to do.
    """

    input_spec = _ConformInputSpec
    output_spec = _ConformOutputSpec

    def _compute(self, runtime: Any) -> None:
        from bidsreg.bids.headers import check_header, load_sane

        report = check_header(self.inputs.in_file)
        image = load_sane(self.inputs.in_file)
        self._results['findings'] = list(report.findings)
        self._results['skull_stripped'] = stripped_already(image)[0]
        self._results['out_file'] = os.path.join(runtime.cwd, f'{stem(self.inputs.in_file)}_conform.nii.gz')
        image.to_filename(self._results['out_file'])
