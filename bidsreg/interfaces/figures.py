"""The pictures of the report as nodes, around the plain functions of :mod:`bidsreg.reports.figures`."""

from __future__ import annotations

import os

from nipype.interfaces.base import File, isdefined, traits

from bidsreg.interfaces.base import Step, StepInputSpec, StepOutputSpec


class _FigureOutputSpec(StepOutputSpec):
    out_file = File(desc='SVG')


class _FlickerInputSpec(StepInputSpec):
    fixed = File(exists=True, mandatory=True, desc='T1w')
    moving = File(exists=True, mandatory=True, desc='T2w in the world of the T1w')
    mask = File(exists=True, desc='brain mask in the same world; it chooses the slices')
    title = traits.Str('', usedefault=True, desc='said above the slices')


class Flicker(Step):
    """T1w and T2w that fade into each other under the pointer."""

    input_spec = _FlickerInputSpec
    output_spec = _FigureOutputSpec

    def _compute(self, runtime):
        from bidsreg.reports.figures import flicker

        mask = self.inputs.mask if isdefined(self.inputs.mask) else None
        self._results['out_file'] = os.path.join(runtime.cwd, 'flicker.svg')
        flicker(self.inputs.fixed, self.inputs.moving, mask, self._results['out_file'], title=self.inputs.title)


class _MaskOutlineInputSpec(StepInputSpec):
    image = File(exists=True, mandatory=True, desc='scan')
    mask = File(exists=True, mandatory=True, desc='mask on its grid')
    title = traits.Str('Brain mask', usedefault=True, desc='said above the slices')


class MaskOutline(Step):
    """The outline of a mask on its image."""

    input_spec = _MaskOutlineInputSpec
    output_spec = _FigureOutputSpec

    def _compute(self, runtime):
        from bidsreg.reports.figures import mask_outline

        self._results['out_file'] = os.path.join(runtime.cwd, 'mask.svg')
        mask_outline(self.inputs.image, self.inputs.mask, self._results['out_file'], title=self.inputs.title)


class _LossCurveInputSpec(StepInputSpec):
    result = File(exists=True, mandatory=True, desc='result.json of bidsreg-pair')


class LossCurve(Step):
    """How the loss fell, level by level."""

    input_spec = _LossCurveInputSpec
    output_spec = _FigureOutputSpec

    def _compute(self, runtime):
        from bidsreg.reports.figures import loss_curve

        self._results['out_file'] = os.path.join(runtime.cwd, 'loss.svg')
        loss_curve(self.inputs.result, self._results['out_file'])
