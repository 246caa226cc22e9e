"""Linear alignment as a node: rigid on heads, or affine inside the brains."""

from __future__ import annotations

import os
from typing import Any

from nipype.interfaces.base import File, traits

from bidsreg import SEED
from bidsreg.interfaces.base import Step, StepInputSpec, StepOutputSpec, given
from bidsreg.preparation.prealign import prealign
from bidsreg.registration.itk import write_affine


class _PrealignInputSpec(StepInputSpec):
    fixed = File(exists=True, mandatory=True, desc='fixed scan, conformed')
    moving = File(exists=True, mandatory=True, desc='moving scan, conformed')
    stage = traits.Enum('rigid', 'affine', mandatory=True, desc='rigid: heads, any start; affine: inside masks')
    fixed_mask = File(exists=True, desc='where to look in the fixed image; a little is added around it')
    moving_mask = File(exists=True, desc='where to look in the moving image; a little is added around it')
    fixed_lesion = File(exists=True, desc='where not to look in the fixed image')
    moving_lesion = File(exists=True, desc='where not to look in the moving image')
    initial = File(exists=True, desc='ITK matrix to start from; without it several starts are tried')
    seed = traits.Int(SEED, usedefault=True, desc='seeds the random sampling')
    sloppy = traits.Bool(False, usedefault=True, desc='fewer iterations, coarser voxels, for trying things out')


class _PrealignOutputSpec(StepOutputSpec):
    out_matrix = File(desc='ITK .txt, fixed world to moving world: antsApplyTransforms -t brings moving onto fixed')
    start = traits.Str(desc='where the search started')


class Prealign(Step):
    """Align linearly by mutual information with ANTs: :func:`bidsreg.preparation.prealign.prealign` as a node.

    ``rigid`` searches six parameters over whole heads. Several starts (the scanner's positions, and the centres of
    mass laid on each other, each with the turns of :data:`bidsreg.preparation.prealign.START_TURNS`) are tried on
    coarse copies, and so are the 23 other ways in which the axes can lie
    (:data:`bidsreg.preparation.prealign.FAR_TURNS`); the scanner's own positions are left only for a clearly better
    one. ``affine`` refines twelve parameters inside brain masks, which grow by
    :data:`bidsreg.preparation.compared.DILATION_MM` first.
    """

    input_spec = _PrealignInputSpec
    output_spec = _PrealignOutputSpec

    def _compute(self, runtime: Any) -> None:
        names = ('fixed_mask', 'moving_mask', 'fixed_lesion', 'moving_lesion', 'initial', 'seed', 'sloppy')
        optional = given(self.inputs, names)
        matrix, start = prealign(self.inputs.fixed, self.inputs.moving, stage=self.inputs.stage, **optional)
        self._results['start'] = start
        self._results['out_matrix'] = os.path.join(runtime.cwd, f'{self.inputs.stage}.txt')
        write_affine(self._results['out_matrix'], matrix)
