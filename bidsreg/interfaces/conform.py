"""The check and repair of headers as a node, before anything else looks at an image."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from nipype.interfaces.base import File, traits

from bidsreg.interfaces.base import Step, StepInputSpec, StepOutputSpec, given
from bidsreg.preparation.grids import stem
from bidsreg.preparation.mp2rage import clean_uni
from bidsreg.stripped import stripped_already


class _ConformInputSpec(StepInputSpec):
    in_file = File(exists=True, mandatory=True, desc='a scan as it is in the dataset')
    is_uni = traits.Bool(False, usedefault=True, desc='it is the UNIT1 of an MP2RAGE: its air is full of noise')
    inversions = traits.List(File(exists=True), desc='magnitude images of its two inversions')


class _ConformOutputSpec(StepOutputSpec):
    out_file = File(desc='the same voxels; 3-D, finite, qform equal to sform, orthogonal axes')
    findings = traits.List(traits.Str, desc='what is unusual about the header')
    skull_stripped = traits.Bool(desc='only the brain is left in the image')


class Conform(Step):
    """Check an image and write it with a header that every tool reads alike. No voxel is interpolated.

    A ``UNIT1`` loses the noise of its air (:func:`bidsreg.preparation.mp2rage.clean_uni`).

    Raises
    ------
    bidsreg.errors.InputError
        If the image cannot be registered (4-D, truncated, constant, a mask, singular affine, ...); it says what to do.
    """

    input_spec = _ConformInputSpec
    output_spec = _ConformOutputSpec

    def _compute(self, runtime: Any) -> None:
        from bidsreg.bids.headers import check_header, load_sane, require_scan

        report = check_header(self.inputs.in_file)
        image = load_sane(self.inputs.in_file)
        require_scan(image, self.inputs.in_file)
        findings = list(report.findings)
        if self.inputs.is_uni:
            inversions = [load_sane(path) for path in given(self.inputs, ['inversions']).get('inversions', [])]
            image, done = clean_uni(image, inversions)
            findings.append(done)
        self._results['findings'] = findings
        self._results['skull_stripped'] = stripped_already(np.asanyarray(image.dataobj), image.affine)[0]
        self._results['out_file'] = os.path.join(
            runtime.cwd, f'{stem(self.inputs.in_file)}_conform.nii'
        )  # read many times
        image.to_filename(self._results['out_file'])
