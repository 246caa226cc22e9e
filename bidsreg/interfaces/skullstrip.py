"""Where the brain is: the user's mask, an image that is stripped already, or deepbet."""

from __future__ import annotations

import os

import nibabel as nb
from nipype.interfaces.base import File, isdefined, traits

from bidsreg.interfaces.base import Step, StepInputSpec, StepOutputSpec
from bidsreg.preparation.ants import new_image
from bidsreg.preparation.grids import stem
from bidsreg.preparation.skullstrip import brain_mask, volume_ml


class _BrainMaskInputSpec(StepInputSpec):
    in_file = File(exists=True, mandatory=True, desc='T1w image, conformed')
    mode = traits.Enum(
        'auto', 'force', 'skip', usedefault=True, desc='auto: leave an image alone that is stripped already'
    )
    user_mask = File(exists=True, desc='a brain mask on the grid of the image; it is taken, whatever the mode')
    num_threads = traits.Range(low=1, value=1, usedefault=True, nohash=True, desc='threads of the network')
    use_gpu = traits.Bool(False, usedefault=True, desc='run the network on the first GPU')


class _BrainMaskOutputSpec(StepOutputSpec):
    out_mask = File(desc='brain mask, uint8, on the grid of the image')
    method = traits.Str(desc='what was done, and why')
    volume_ml = traits.Float(desc='volume of the mask in ml')


class BrainMask(Step):
    """Find the brain in a T1w image: :func:`bidsreg.preparation.skullstrip.brain_mask` as a node."""

    input_spec = _BrainMaskInputSpec
    output_spec = _BrainMaskOutputSpec

    def _compute(self, runtime):
        inputs = self.inputs
        mask, method = brain_mask(
            inputs.in_file,
            mode=inputs.mode,
            user_mask=inputs.user_mask if isdefined(inputs.user_mask) else None,
            threads=inputs.num_threads,
            gpu=inputs.use_gpu,
        )
        image = nb.load(inputs.in_file)
        self._results['method'] = method
        self._results['volume_ml'] = volume_ml(mask, image)
        self._results['out_mask'] = os.path.join(runtime.cwd, f'{stem(inputs.in_file)}_mask.nii.gz')
        new_image(mask.astype('uint8'), image).to_filename(self._results['out_mask'])
