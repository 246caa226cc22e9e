"""Everything that is known about one pair's registration, in one dictionary."""

from __future__ import annotations

import json
import os
from pathlib import Path

import nibabel as nb
import numpy as np
from nipype.interfaces.base import File, isdefined, traits

from bidsreg.interfaces.affine import decompose
from bidsreg.interfaces.base import Step, StepInputSpec, StepOutputSpec
from bidsreg.registration.itk import read_affine


class _MeasureInputSpec(StepInputSpec):
    result = File(exists=True, mandatory=True, desc='result.json of bidsreg-pair')
    affine = File(exists=True, mandatory=True, desc='matrix, fixed world to moving world')
    rigid = File(exists=True, desc='the rigid matrix before it')
    fixed_mask = File(exists=True, mandatory=True, desc='brain mask of the T1w')
    moving_mask = File(exists=True, mandatory=True, desc='brain mask of the T2w')
    mask_method = traits.Str(desc='how the brain mask was found')
    prealign_start = traits.Str(desc='where the rigid alignment started')
    t1w_findings = traits.List(traits.Str, desc='about the header of the T1w')
    t2w_findings = traits.List(traits.Str, desc='about the header of the T2w')
    t1w_skull_stripped = traits.Bool(desc='only the brain is left in the T1w')
    t2w_skull_stripped = traits.Bool(desc='only the brain is left in the T2w')
    seconds = traits.Dict(desc='wall-clock seconds of each step')


class _MeasureOutputSpec(StepOutputSpec):
    facts = traits.Dict(desc='what goes into the QC file')
    out_file = File(desc='the same as JSON')


class Measure(Step):
    """Merge what the solver says of itself with what the steps before it found.

    ``facts`` holds ``result`` (the content of result.json, without the paths of its inputs), ``affine`` and ``rigid``
    (see :func:`bidsreg.interfaces.affine.decompose`; translations are those of the brain's centre), ``masks`` (volumes
    in ml), ``t1w_findings``, ``t2w_findings`` and ``seconds_per_step``.
    """

    input_spec = _MeasureInputSpec
    output_spec = _MeasureOutputSpec

    def _compute(self, runtime):
        inputs = self.inputs
        fixed_mask, moving_mask = nb.load(inputs.fixed_mask), nb.load(inputs.moving_mask)
        centre = _centre(fixed_mask)
        facts = {
            'mask_method': _value(inputs.mask_method),
            'masks': {'t1w_ml': _volume_ml(fixed_mask), 't2w_ml': _volume_ml(moving_mask)},
            'prealign_start': _value(inputs.prealign_start),
            'affine': decompose(read_affine(inputs.affine), centre),
            'rigid': decompose(read_affine(inputs.rigid), centre) if isdefined(inputs.rigid) else None,
        }
        for name in ('t1w_findings', 't2w_findings', 't1w_skull_stripped', 't2w_skull_stripped'):
            facts[name] = _value(getattr(inputs, name))
        facts['seconds_per_step'] = _value(inputs.seconds)
        result = json.loads(Path(inputs.result).read_text())
        result.pop('inputs', None)  # files of a working folder mean nothing to a reader of the derivatives
        facts['result'] = result
        self._results['facts'] = {key: value for key, value in facts.items() if value is not None}
        self._results['out_file'] = os.path.join(runtime.cwd, 'facts.json')
        Path(self._results['out_file']).write_text(json.dumps(self._results['facts'], indent=2))


def _value(trait):
    return trait if isdefined(trait) else None


def _volume_ml(mask: nb.Nifti1Image) -> float:
    voxel = abs(np.linalg.det(mask.affine[:3, :3]))
    return round(float((np.asanyarray(mask.dataobj) > 0).sum() * voxel / 1000), 2)


def _centre(mask: nb.Nifti1Image) -> np.ndarray:
    """Return the centre of mass (mm) of a mask."""
    voxels = np.argwhere(np.asanyarray(mask.dataobj) > 0)
    return mask.affine[:3, :3] @ voxels.mean(0) + mask.affine[:3, 3]
