"""Resampling: an image is brought onto another grid through transforms, with one interpolation."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import nibabel as nb
import numpy as np

from bidsreg.bids.images import load_image
from bidsreg.errors import InputError
from bidsreg.preparation.ants import load_ants, new_image, to_ants
from bidsreg.registration.itk import read_affine, write_affine

#: Interpolations that take an image for labels and keep whole numbers.
OF_LABELS = ('nearestNeighbor', 'genericLabel')
#: ANTs reckons in float32, which has no whole numbers beyond this one.
LARGEST_LABEL = 2**24


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
        As ANTs names it; one of :data:`OF_LABELS` gives whole numbers: the first of uint8, int16
        and int32 that holds the labels.

    Returns
    -------
    nibabel.Nifti1Image
        On the grid of the reference.

    Raises
    ------
    ValueError
        If `invert` is not as long as `transforms`.
    InputError
        If labels are larger than :data:`LARGEST_LABEL`, or not finite.
    """
    ants, reference, image = load_ants(), load_image(reference_path), load_image(path)
    invert = [False] * len(transforms) if invert is None else list(invert)
    if len(invert) != len(transforms):
        raise ValueError(f'{len(transforms)} transforms, but {len(invert)} times inverted or not')
    kind = _kind_of_labels(path, image) if interpolation in OF_LABELS else np.float32
    moved = ants.apply_transforms(
        # of the reference only the grid matters
        fixed=to_ants(nb.Nifti1Image(np.zeros(reference.shape, np.float32), reference.affine)),
        moving=to_ants(image),
        transformlist=_local(list(transforms), invert),
        whichtoinvert=[False] * max(len(transforms), 1),
        interpolator=interpolation,
    )
    data = np.round(moved.numpy()).astype(kind) if interpolation in OF_LABELS else moved.numpy()
    return new_image(data, reference)


def _kind_of_labels(path: str, image: nb.Nifti1Image) -> type[np.integer]:
    """Return the first of uint8, int16 and int32 that holds every label of an image."""
    values = np.asanyarray(image.dataobj)
    low, high = float(values.min()), float(values.max())
    if not np.isfinite([low, high]).all():
        raise InputError(f'{path}: an image of labels holds whole numbers, and this one NaN or infinity.')
    if max(-low, high) > LARGEST_LABEL:
        raise InputError(
            f'{path}: ANTs reckons in float32, in which labels beyond {LARGEST_LABEL} are rounded to others; '
            'bidsreg-apply carries them.'
        )
    kinds = (np.uint8, np.int16, np.int32)
    return next(kind for kind in kinds if np.iinfo(kind).min <= round(low) and round(high) <= np.iinfo(kind).max)


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
