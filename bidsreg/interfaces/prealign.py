"""One matrix from the T1w's world to the T2w's: rigid on heads, then affine inside the brains."""

from __future__ import annotations

import os

from nipype.interfaces.base import File, isdefined, traits

from bidsreg.interfaces.base import Step, StepInputSpec, StepOutputSpec
from bidsreg.preparation.prealign import prealign
from bidsreg.registration.itk import write_affine


class _PrealignInputSpec(StepInputSpec):
    fixed = File(exists=True, mandatory=True, desc='T1w, conformed')
    moving = File(exists=True, mandatory=True, desc='T2w, conformed')
    stage = traits.Enum('rigid', 'affine', mandatory=True, desc='rigid: heads, any start; affine: inside masks')
    fixed_mask = File(exists=True, desc='where to look in the fixed image (grown by a few mm)')
    moving_mask = File(exists=True, desc='where to look in the moving image (grown by a few mm)')
    initial = File(exists=True, desc='ITK matrix to start from; without it several starts are tried')
    seed = traits.Int(2026, usedefault=True, desc='of the random sampling')
    sloppy = traits.Bool(False, usedefault=True, desc='fewer iterations, coarser voxels, for trying things out')


class _PrealignOutputSpec(StepOutputSpec):
    out_matrix = File(desc='ITK .txt, fixed world to moving world: antsApplyTransforms -t brings moving onto fixed')
    start = traits.Str(desc='where the search started')


class Prealign(Step):
    """Linear alignment by mutual information with ANTs: the same bits for the same images and seed.

    ``rigid`` searches six parameters over whole heads. Several starts (the scanner's positions, and the centres of
    mass laid on each other, each turned by 25 degrees either way about each axis) are tried on coarse copies; the
    scanner's own positions are left only for a clearly better one. ``affine`` refines a rigid and then twelve
    parameters inside brain masks.
    """

    input_spec = _PrealignInputSpec
    output_spec = _PrealignOutputSpec

    def _compute(self, runtime):
        given = {
            name: value
            for name in ('fixed_mask', 'moving_mask', 'initial', 'seed', 'sloppy')
            if isdefined(value := getattr(self.inputs, name))
        }
        matrix, start = prealign(self.inputs.fixed, self.inputs.moving, stage=self.inputs.stage, **given)
        self._results['start'] = start
        self._results['out_matrix'] = os.path.join(runtime.cwd, f'{self.inputs.stage}.txt')
        write_affine(self._results['out_matrix'], matrix)
