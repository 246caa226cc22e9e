"""The pictures of the report as one node each, around :data:`bidsreg.reports.pictures.PICTURES`."""

from __future__ import annotations

import os
from typing import Any

from nipype.interfaces.base import File, traits

from bidsreg.bids.names import Contrasts
from bidsreg.interfaces.base import Step, StepInputSpec, StepOutputSpec, given

#: Inputs of :class:`Draw`: the fields of :class:`bidsreg.reports.pictures.Scene`.
FILES = (
    'fixed',
    'fixed_mask',
    'fixed_lesion',
    'moving',
    'moving_mask',
    'moving_lesion',
    'affine',
    'warped',
    'forward',
    'jacobian',
    'ratio',
    'result',
)


class _DrawInputSpec(StepInputSpec):
    picture = traits.Str(mandatory=True, desc='its name in PICTURES')
    fixed = File(exists=True, desc='fixed scan, for example a T1w')
    fixed_mask = File(exists=True, desc='brain mask on its grid; it chooses the slices')
    moving = File(exists=True, desc='moving scan on its own grid')
    moving_mask = File(exists=True, desc='brain mask on that grid')
    fixed_lesion = File(exists=True, desc='lesions on the grid of the fixed scan')
    moving_lesion = File(exists=True, desc='lesions on the grid of the moving scan')
    affine = File(exists=True, desc='matrix from the fixed world to the moving world (ITK .txt)')
    warped = File(exists=True, desc='the registered moving scan on the fixed grid')
    forward = File(exists=True, desc='ITK composite that brings moving data onto the fixed grid')
    jacobian = File(exists=True, desc='Jacobian determinant on the fixed grid')
    ratio = File(exists=True, desc='ratio of the T1w and the T2w on the grid of the T1w')
    result = File(exists=True, desc='result.json of bidsreg-pair')
    contrasts = traits.Instance(Contrasts, desc='of the two scans; T1w and T2w without it')


class _DrawOutputSpec(StepOutputSpec):
    out_file = File(desc='SVG, named as the picture')


class Draw(Step):
    """Draw one picture; which files it needs, the picture itself says.

    Raises
    ------
    ValueError
        When one of the files that it needs is not given.
    """

    input_spec = _DrawInputSpec
    output_spec = _DrawOutputSpec

    def _compute(self, runtime: Any) -> None:
        from bidsreg.reports.pictures import PICTURES, Scene

        scene = Scene(**given(self.inputs, (*FILES, 'contrasts')))
        picture = PICTURES[self.inputs.picture]
        missing = [name for name in picture.needs if getattr(scene, name) is None]
        if missing:
            raise ValueError(f'the picture {self.inputs.picture!r} cannot be drawn without {", ".join(missing)}')
        self._results['out_file'] = os.path.join(runtime.cwd, f'{self.inputs.picture}.svg')
        picture.draw(scene, self._results['out_file'])
