"""The choice between the rigid and the affine of a head as a node."""

from __future__ import annotations

import logging
import os
import shutil
from dataclasses import asdict
from typing import Any

from nipype.interfaces.base import File, traits

from bidsreg.interfaces.base import Step, StepInputSpec, StepOutputSpec, given
from bidsreg.messages import explain_linear
from bidsreg.preparation.grids import stem
from bidsreg.preparation.linear import choose_linear
from bidsreg.registration.itk import read_affine

LOGGER = logging.getLogger(__name__)


class _ChooseLinearInputSpec(StepInputSpec):
    fixed = File(exists=True, mandatory=True, desc='fixed scan without its bias field')
    moving = File(exists=True, mandatory=True, desc='moving scan of the same head without its bias field')
    fixed_mask = File(exists=True, mandatory=True, desc='brain mask of the fixed scan')
    fixed_lesion = File(exists=True, desc='where not to look in the fixed scan')
    moving_lesion = File(exists=True, desc='where not to look in the moving scan')
    rigid = File(exists=True, mandatory=True, desc='ITK matrix, fixed world to moving world')
    affine = File(exists=True, mandatory=True, desc='the one that was found from it')


class _ChooseLinearOutputSpec(StepOutputSpec):
    out_matrix = File(desc='a copy of the one that is kept')
    choice = traits.Dict(desc='which is kept, and the evidence for both')


class ChooseLinear(Step):
    """Keep the affine or the rigid of a head's two scans: :func:`bidsreg.preparation.linear.choose_linear` as a node.

    ``choice`` is the :class:`~bidsreg.preparation.linear.LinearChoice` as plain values.
    """

    input_spec = _ChooseLinearInputSpec
    output_spec = _ChooseLinearOutputSpec

    def _compute(self, runtime: Any) -> None:
        files = {'rigid': self.inputs.rigid, 'affine': self.inputs.affine}
        choice = choose_linear(
            self.inputs.fixed,
            self.inputs.moving,
            fixed_mask=self.inputs.fixed_mask,
            rigid=read_affine(files['rigid']),
            affine=read_affine(files['affine']),
            **given(self.inputs, ('fixed_lesion', 'moving_lesion')),
        )
        self._results['choice'] = asdict(choice)
        self._results['out_matrix'] = os.path.join(runtime.cwd, 'linear.txt')
        shutil.copyfile(files[choice.kept], self._results['out_matrix'])
        LOGGER.info('%s: %s', stem(self.inputs.moving), explain_linear(**asdict(choice)))
