"""The numbers about a registration as a node."""

from __future__ import annotations

import json
import os
from dataclasses import fields
from pathlib import Path
from typing import Any

from nipype.interfaces.base import File, traits

from bidsreg.bids.names import Contrasts
from bidsreg.interfaces.base import Step, StepInputSpec, StepOutputSpec, given
from bidsreg.qc.facts import NOTES, RegistrationFiles, gather_facts
from bidsreg.qc.verdict import read_thresholds


class _MeasureInputSpec(StepInputSpec):
    result = File(exists=True, mandatory=True, desc='result.json of bidsreg-pair')
    affine = File(exists=True, mandatory=True, desc='matrix that was kept, fixed world to moving world')
    rigid = File(exists=True, desc='the rigid matrix that was found first')
    fixed = File(exists=True, mandatory=True, desc='fixed scan, for example a T1w')
    moving = File(exists=True, mandatory=True, desc='moving scan, for example a T2w')
    fixed_mask = File(exists=True, mandatory=True, desc='brain mask of the fixed scan')
    moving_mask = File(exists=True, mandatory=True, desc='brain mask of the moving scan')
    second_mask = File(exists=True, desc='the brain mask of the fixed scan that is found where the user gave one')
    fixed_lesion = File(exists=True, desc='lesions of the fixed scan')
    moving_lesion = File(exists=True, desc='lesions of the moving scan')
    forward = File(exists=True, mandatory=True, desc='the transform that is written, fixed to moving (.h5)')
    warped = File(exists=True, mandatory=True, desc='the registered moving scan on the fixed grid')
    thresholds = File(exists=True, desc="TOML with thresholds of the user's own")
    mask_method = traits.Str(desc='how the brain mask was found')
    second_mask_method = traits.Str(desc='how the second one was found')
    moving_mask_method = traits.Str(desc='whose mask that of the moving scan is, where it was given')
    fixed_lesion_method = traits.Str(desc='which files say where lesions of the fixed scan are')
    moving_lesion_method = traits.Str(desc='the same of the moving scan')
    prealign_start = traits.Str(desc='where the rigid alignment started')
    linear = traits.Dict(desc='whether the rigid or the affine was kept, and why')
    fixed_findings = traits.List(traits.Str, desc='about the header of the fixed scan')
    moving_findings = traits.List(traits.Str, desc='about the header of the moving scan')
    fixed_skull_stripped = traits.Bool(desc='only the brain is left in the fixed scan')
    moving_skull_stripped = traits.Bool(desc='only the brain is left in the moving scan')
    contrasts = traits.Instance(Contrasts, desc='of the two scans; T1w and T2w without it')
    seconds = traits.Dict(desc='wall-clock seconds of each step')


class _MeasureOutputSpec(StepOutputSpec):
    facts = traits.Dict(desc='what goes into the QC file')
    out_file = File(desc='the same as JSON')


class MeasureQuality(Step):
    """Gather the facts of one registration's QC file: :func:`bidsreg.qc.facts.gather_facts` as a node."""

    input_spec = _MeasureInputSpec
    output_spec = _MeasureOutputSpec

    def _compute(self, runtime: Any) -> None:
        files = RegistrationFiles(**given(self.inputs, (field.name for field in fields(RegistrationFiles))))
        thresholds = read_thresholds(given(self.inputs, ['thresholds']).get('thresholds'))
        contrasts = given(self.inputs, ['contrasts'])
        self._results['facts'] = gather_facts(files, given(self.inputs, NOTES), thresholds, **contrasts)
        self._results['out_file'] = os.path.join(runtime.cwd, 'facts.json')
        Path(self._results['out_file']).write_text(json.dumps(self._results['facts'], indent=2))
