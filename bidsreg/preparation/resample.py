"""Resampling: an image is brought onto another grid through transforms, with one interpolation."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import nibabel as nb
import numpy as np

from bidsreg.bids.images import load_image
from bidsreg.preparation.ants import load_ants, new_image, to_ants
from bidsreg.registration.itk import read_affine, write_affine

#: Interpolations that take an image for labels and keep whole numbers.
OF_LABELS = ('nearestNeighbor', 'genericLabel')


def resample(
    path: str,
    reference_path: str,
    transforms: Sequence[str] = (),
    *,
    invert: Sequence[bool] | None = None,
    interpolation: str = 'linear',
) -> nb.Nifti1Image:
    """Resample an image through ITK transforms with ANTsPy, in one step; without transforms, by the headers alone.

    Works in the current folder, where the transforms are put under names that ANTs can read.

    Parameters
    ----------
    path, reference_path
        The image, and one whose grid is wanted, both conformed.
    transforms
        ITK files; the first one is applied to points first, the last one to data, as with antsApplyTransforms.
    invert
        For each transform, whether to take its inverse (matrices only).
    interpolation
        As ANTs names it; one of :data:`OF_LABELS` gives uint8.

    Returns
    -------
    nibabel.Nifti1Image
        On the grid of the reference.

    Raises
    ------
    ValueError
        If `invert` is not as long as `transforms`.
    """
    ants, reference = load_ants(), load_image(reference_path)
    invert = [False] * len(transforms) if invert is None else list(invert)
    if len(invert) != len(transforms):
        raise ValueError(f'{len(transforms)} transforms, but {len(invert)} times inverted or not')
    moved = ants.apply_transforms(
        # of the reference only the grid matters
        fixed=to_ants(nb.Nifti1Image(np.zeros(reference.shape, np.float32), reference.affine)),
        moving=to_ants(load_image(path)),
        transformlist=_local(list(transforms), invert),
        whichtoinvert=[False] * max(len(transforms), 1),
        interpolator=interpolation,
    )
    data = np.round(moved.numpy()).astype('uint8') if interpolation in OF_LABELS else moved.numpy()
    return new_image(data, reference)


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
