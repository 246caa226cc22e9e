"""Bring an image onto another grid through transforms, with one interpolation."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import nibabel as nb
import numpy as np
from nipype.interfaces.base import File, InputMultiObject, isdefined, traits

from bidsreg.interfaces._ants import load_ants, new_image, to_ants
from bidsreg.interfaces.base import Step, StepInputSpec, StepOutputSpec, stem
from bidsreg.registration.itk import read_affine, write_affine


class _ApplyInputSpec(StepInputSpec):
    in_file = File(exists=True, mandatory=True, desc='image to resample, conformed')
    reference = File(exists=True, mandatory=True, desc='image whose grid is wanted, conformed')
    transforms = InputMultiObject(
        File(exists=True), desc='ITK files, the last one is applied to points first, as with antsApplyTransforms'
    )
    invert = traits.List(traits.Bool, desc='for each transform: take the inverse (matrices only)')
    interpolation = traits.Enum(
        'linear', 'nearestNeighbor', 'genericLabel', 'lanczosWindowedSinc', usedefault=True, desc='as ANTs names it'
    )


class _ApplyOutputSpec(StepOutputSpec):
    out_file = File(desc='image on the grid of the reference')


class Apply(Step):
    """Resample an image through ITK transforms with ANTsPy, in one step; without transforms, by the headers alone.

    ``nearestNeighbor`` and ``genericLabel`` take the image for labels and keep whole numbers (uint8).
    """

    input_spec = _ApplyInputSpec
    output_spec = _ApplyOutputSpec

    def _compute(self, runtime):
        ants = load_ants()
        inputs = self.inputs
        reference = nb.load(inputs.reference)
        labels = inputs.interpolation in ('nearestNeighbor', 'genericLabel')
        files = inputs.transforms if isdefined(inputs.transforms) else []
        invert = inputs.invert if isdefined(inputs.invert) else [False] * len(files)
        if len(invert) != len(files):
            raise ValueError(f'{len(files)} transforms, but {len(invert)} times inverted or not')
        moved = ants.apply_transforms(
            # of the reference only the grid matters
            fixed=to_ants(nb.Nifti1Image(np.zeros(reference.shape, np.float32), reference.affine)),
            moving=to_ants(nb.load(inputs.in_file)),
            transformlist=_local(files, invert),
            whichtoinvert=[False] * max(len(files), 1),
            interpolator=inputs.interpolation,
        )
        self._results['out_file'] = os.path.join(runtime.cwd, f'{stem(inputs.in_file)}_moved.nii.gz')
        data = np.round(moved.numpy()).astype('uint8') if labels else moved.numpy()
        new_image(data, reference).to_filename(self._results['out_file'])


def _local(files: list[str], invert: list[bool]) -> list[str]:
    """Put the transforms under short names into the working folder, matrices inverted where asked for.

    ANTs' parser trips over spaces and brackets in paths, and ANTsPy takes any path with ``.mat`` in it for a matrix.
    """
    names = []
    for k, (file, inverse) in enumerate(zip(files, invert, strict=True)):
        if inverse or file.endswith(('.txt', '.mat')):
            names.append(f'transform{k}.txt')
            matrix = read_affine(file)
            write_affine(names[-1], np.linalg.inv(matrix) if inverse else matrix)
        else:
            names.append(
                f'transform{k}{"".join(Path(file).suffixes[-2:]) if file.endswith(".gz") else Path(file).suffix}'
            )
            Path(names[-1]).unlink(missing_ok=True)
            try:
                os.symlink(os.path.abspath(file), names[-1])
            except OSError:  # a file system without links
                shutil.copyfile(file, names[-1])
    if not names:
        names.append('identity.txt')
        write_affine(names[0], np.eye(4))
    return names
