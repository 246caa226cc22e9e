"""Everything that is known about one pair's registration, in one dictionary."""

from __future__ import annotations

import json
import os
from pathlib import Path

import nibabel as nb
import numpy as np
from nipype.interfaces.base import File, isdefined, traits

from bidsreg.interfaces.base import Step, StepInputSpec, StepOutputSpec
from bidsreg.preparation.affine import decompose
from bidsreg.qc import numbers
from bidsreg.qc.verdict import judge, read_thresholds
from bidsreg.registration.itk import read_affine


class _MeasureInputSpec(StepInputSpec):
    result = File(exists=True, mandatory=True, desc='result.json of bidsreg-pair')
    affine = File(exists=True, mandatory=True, desc='matrix, fixed world to moving world')
    rigid = File(exists=True, desc='the rigid matrix before it')
    fixed = File(exists=True, mandatory=True, desc='T1w')
    moving = File(exists=True, mandatory=True, desc='T2w')
    fixed_mask = File(exists=True, mandatory=True, desc='brain mask of the T1w')
    moving_mask = File(exists=True, mandatory=True, desc='brain mask of the T2w')
    warped = File(exists=True, mandatory=True, desc='the registered T2w on the grid of the T1w')
    thresholds = File(exists=True, desc="TOML with thresholds of the user's own")
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


class MeasureQuality(Step):
    """Merge what the solver says of itself with what the steps before it found.

    ``facts`` holds ``result`` (the content of result.json, without the paths of its inputs), ``affine`` and ``rigid``
    (see :func:`bidsreg.preparation.affine.decompose`; translations are those of the brain's centre), ``masks`` (volumes
    in ml), ``images`` (:func:`bidsreg.qc.numbers.geometry`), ``overlap`` (:func:`bidsreg.qc.numbers.overlap`),
    ``alternatives`` (:func:`bidsreg.qc.numbers.alternatives`), ``edge_lncc`` (:func:`bidsreg.qc.numbers.edge_lncc`),
    ``t1w_findings``, ``t2w_findings``, ``seconds_per_step`` and ``verdict`` (:func:`bidsreg.qc.verdict.judge`).
    """

    input_spec = _MeasureInputSpec
    output_spec = _MeasureOutputSpec

    def _compute(self, runtime):
        inputs = self.inputs
        thresholds = read_thresholds(_value(inputs.thresholds))
        fixed, moving, warped = (nb.load(path) for path in (inputs.fixed, inputs.moving, inputs.warped))
        fixed_mask, moving_mask = nb.load(inputs.fixed_mask), nb.load(inputs.moving_mask)
        matrix, centre = read_affine(inputs.affine), brain_centre(fixed_mask)
        facts = {
            'images': {'t1w': numbers.geometry(fixed), 't2w': numbers.geometry(moving)},
            'overlap': numbers.overlap(fixed_mask, moving_mask, matrix, warped),
            'alternatives': numbers.alternatives(fixed, fixed_mask, warped, moving, matrix),
            'edge_lncc': numbers.edge_lncc(fixed, fixed_mask, moving, matrix, warped),
            'mask_method': _value(inputs.mask_method),
            'masks': {'t1w_ml': volume_ml(fixed_mask), 't2w_ml': volume_ml(moving_mask)},
            'prealign_start': _value(inputs.prealign_start),
            'affine': decompose(matrix, centre),
            'rigid': decompose(read_affine(inputs.rigid), centre) if isdefined(inputs.rigid) else None,
        }
        for name in ('t1w_findings', 't2w_findings', 't1w_skull_stripped', 't2w_skull_stripped'):
            facts[name] = _value(getattr(inputs, name))
        facts['seconds_per_step'] = _value(inputs.seconds)
        result = json.loads(Path(inputs.result).read_text())
        result.pop('inputs', None)  # files of a working folder mean nothing to a reader of the derivatives
        facts['result'] = result
        facts = {key: value for key, value in facts.items() if value is not None}
        self._results['facts'] = {'verdict': judge(facts, thresholds).as_dict(), **facts}
        self._results['out_file'] = os.path.join(runtime.cwd, 'facts.json')
        Path(self._results['out_file']).write_text(json.dumps(self._results['facts'], indent=2))


def _value(trait):
    return trait if isdefined(trait) else None


def volume_ml(mask: nb.Nifti1Image) -> float:
    """Return the volume of a mask in ml."""
    voxel = abs(np.linalg.det(mask.affine[:3, :3]))
    return round(float((np.asanyarray(mask.dataobj) > 0).sum() * voxel / 1000), 2)


def brain_centre(mask: nb.Nifti1Image) -> np.ndarray:
    """Return the centre of mass (mm) of a mask."""
    voxels = np.argwhere(np.asanyarray(mask.dataobj) > 0)
    return mask.affine[:3, :3] @ voxels.mean(0) + mask.affine[:3, 3]
