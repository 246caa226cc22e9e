"""Lesions: what only one of two scans shows, and what is done so that it does not count."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from bidsreg.registration.image import Image

LARGEST = 0.6
"""So much of the brain may be lesion, half of it where a hemisphere was removed: what covers more is a mask of
something else. By judgement."""


def check_lesion(name: str, lesion: Image | None, mask: Image | None) -> None:
    """Refuse a lesion that leaves too little of the brain to compare.

    Parameters
    ----------
    name : str
        Of the image, for the message.
    lesion, mask : Image or None
        Above zero where the lesion and the brain are, on one grid; without a mask the brain may be everywhere.

    Raises
    ------
    ValueError
        If it covers more than `LARGEST` of the brain, or has values between 0 and 1, of which none says where it ends.
    """
    if lesion is None:
        return
    values = lesion.data
    if (values != np.round(values)).any():
        raise ValueError(
            f'the {name} lesion mask has values between whole numbers, as maps of probabilities have: '
            'say where the lesion ends by a threshold first'
        )
    brain = np.ones(lesion.data.shape, bool) if mask is None else mask.data > 0
    covered = float((lesion.data[brain] > 0).mean())
    if covered > LARGEST:
        raise ValueError(
            f'the {name} lesion mask covers {100 * covered:.0f} % of '
            f'{"the field of view" if mask is None else "the brain mask"}: is it a mask of the lesion alone?'
        )


def grown(lesion: Image) -> Image:
    """Return a lesion with the voxels that touch it, which hold a part of it; 0 or 1."""
    from scipy import ndimage as ndi

    return replace(lesion, data=ndi.binary_dilation(lesion.data > 0, np.ones((3, 3, 3))).astype(np.float32))


def painted_over(image: Image, lesion: Image) -> Image:
    """Return an image that shows, where the lesion is, the nearest voxel beside it.

    So neither the scale of intensities nor the smoothing for coarser grids carries the lesion into what is compared.
    """
    from scipy import ndimage as ndi

    marked = lesion.data > 0
    ends = [np.flatnonzero(marked.any(tuple({0, 1, 2} - {axis}))) for axis in range(3)]
    # with a voxel around it there is always a nearer one in the box than beyond
    box = tuple(slice(max(int(at[0]) - 1, 0), int(at[-1]) + 2) for at in ends)
    nearest = ndi.distance_transform_edt(
        marked[box], sampling=image.grid.spacing, return_distances=False, return_indices=True
    )
    data = image.data.copy()
    data[box] = data[box][tuple(nearest)]
    return replace(image, data=data)


def left_out(image: Image, lesion: Image | None) -> tuple[Image, Image | None]:
    """Return an image with its lesion `painted_over`, and the lesion, both `grown`; without a lesion the same image."""
    if lesion is None:
        return image, None
    wider = grown(lesion)
    return painted_over(image, wider), wider
