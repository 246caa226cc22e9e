"""Resampling through transforms as a node, by ANTs.

The command ``bidsreg-apply`` (:mod:`bidsreg.apply`) has a resampler of its own, and this node does not call it: the
command stands above the rooms of the graph and reads names and datasets, of which a node knows nothing, and the node is
there for other people's graphs as well, which bring whatever transforms and interpolations ANTs has. Both give the same
voxels, linear and of labels; ``tests/interfaces/test_apply.py`` says so. Windowed sincs differ by half a percent: the
weights of ANTs' do not sum to one.
"""

from __future__ import annotations

import os
from typing import Any

from nipype.interfaces.base import File, InputMultiObject, traits

from bidsreg.interfaces.base import Step, StepInputSpec, StepOutputSpec, given
from bidsreg.preparation.grids import stem
from bidsreg.preparation.resample import resample


class _ApplyInputSpec(StepInputSpec):
    in_file = File(exists=True, mandatory=True, desc='image to resample, conformed')
    reference = File(exists=True, mandatory=True, desc='image whose grid is wanted, conformed')
    transforms = InputMultiObject(
        File(exists=True),
        desc='ITK files, the first one is applied to points first, the last one to data, as with antsApplyTransforms',
    )
    invert = traits.List(traits.Bool, desc='for each transform: take the inverse (matrices only)')
    interpolation = traits.Enum(
        'linear', 'nearestNeighbor', 'genericLabel', 'lanczosWindowedSinc', usedefault=True, desc='as ANTs names it'
    )


class _ApplyOutputSpec(StepOutputSpec):
    out_file = File(desc='image on the grid of the reference')


class Apply(Step):
    """Resample an image with one interpolation: :func:`bidsreg.preparation.resample.resample` as a node.

    ``nearestNeighbor`` and ``genericLabel`` take the image for labels and give whole numbers, uint8 where they fit.
    """

    input_spec = _ApplyInputSpec
    output_spec = _ApplyOutputSpec

    def _compute(self, runtime: Any) -> None:
        inputs = self.inputs
        moved = resample(
            inputs.in_file,
            inputs.reference,
            interpolation=inputs.interpolation,
            **given(inputs, ('transforms', 'invert')),
        )
        self._results['out_file'] = os.path.join(runtime.cwd, f'{stem(inputs.in_file)}_moved.nii.gz')
        moved.to_filename(self._results['out_file'])
