"""Lesions of the user: read, brought onto the grid of their image, and taken out of brain masks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import nibabel as nb
import numpy as np

from bidsreg.bids.images import volume_ml
from bidsreg.bids.lesions import Lesion
from bidsreg.errors import InputError
from bidsreg.preparation.grids import require_same_grid
from bidsreg.preparation.masks import on_grid_of, read_voxels
from bidsreg.registration.lesions import LARGEST


def read_lesion(lesion: Lesion) -> nb.Nifti1Image:
    """Read where a lesion is: zeros and ones (uint8), 3-D; all zeros where there is none.

    Raises
    ------
    InputError
        If the file cannot be read, or has values between whole numbers or below zero.
    """
    data, affine = read_voxels(lesion.path, 'Lesion mask')
    if not np.isfinite(data).all() or (data < 0).any() or (data != np.round(data)).any():
        raise InputError(
            f'Lesion mask {lesion.path} is not binary: it holds values between whole numbers or below zero, as maps of '
            'probabilities do. Say where the lesion ends by a threshold.'
        )
    marked = np.isin(data, lesion.values) if lesion.values else data > 0
    return nb.Nifti1Image(marked.astype(np.uint8), affine)


def fit_lesions(lesions: Sequence[Lesion], image: nb.Nifti1Image, *, of: str) -> tuple[np.ndarray, str]:
    """Read lesions and bring them onto the grid of their image, all in one mask.

    Parameters
    ----------
    lesions
        The files.
    image, of
        The image that they belong to, conformed, and that image's file name for messages.

    Returns
    -------
    mask, words
        bool, of the image's shape; and what was done, with the volume.

    Raises
    ------
    InputError
        As :func:`read_lesion`; and where one does not lie with the image: the message names both grids.
    """
    together, said = np.zeros(image.shape[:3], bool), []
    for lesion in lesions:
        mask = read_lesion(lesion)
        name = Path(lesion.path).name
        if not np.asanyarray(mask.dataobj).any():
            said.append(f'{name} (empty)')
            continue
        data, done = on_grid_of(mask, image, what='Lesion mask', path=str(lesion.path), of=of)
        together |= data
        values = f', values {", ".join(map(str, lesion.values))}' if lesion.values else ''
        said.append(f'{name}{values}{f", {done}" if done else ""}')
    return together, f'{volume_ml(together, image.affine):.1f} ml left out: {"; ".join(said)}'


def without_lesion(
    inside: np.ndarray, lesion: nb.Nifti1Image, image: nb.Nifti1Image, *, path: str, of: str
) -> np.ndarray:
    """Take a lesion out of a brain mask.

    Parameters
    ----------
    inside
        Where the brain is, bool, on the grid of the image.
    lesion, image
        The lesion, and the image on whose grid it lies.
    path, of
        Their files, for messages.

    Raises
    ------
    InputError
        If the lesion lies on another grid, or covers more than :data:`bidsreg.registration.lesions.LARGEST` of it.
    """
    require_same_grid(lesion, image, what='Lesion mask', path=path, of=of)
    marked = np.asanyarray(lesion.dataobj) > 0
    covered = (marked & inside).sum() / max(inside.sum(), 1)
    if covered > LARGEST:
        raise InputError(
            f'Lesion mask {path} covers {100 * covered:.0f} % of the brain in {of}: is it a mask of the lesion alone?'
        )
    return inside & ~marked
