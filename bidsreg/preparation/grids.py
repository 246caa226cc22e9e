"""The check that two images lie on one grid, and the names of the files of images."""

from __future__ import annotations

import os

import nibabel as nb
import numpy as np

from bidsreg.bids.images import SAME_GRID_MM, corner_distance
from bidsreg.errors import InputError
from bidsreg.registration.image import PLACE_MM


def stem(path: str | os.PathLike) -> str:
    """Return a file's name without its folder and its NIfTI extension.

    >>> stem('/data/sub-01_T1w.nii.gz')
    'sub-01_T1w'
    """
    name = os.path.basename(os.fspath(path))
    for extension in ('.nii.gz', '.nii'):
        if name.endswith(extension):
            return name[: -len(extension)]
    return name


def describe_grid(image: nb.Nifti1Image) -> str:
    """Return words for the grid of an image: voxels, their size, the order of its axes and where its middle lies."""
    size = ' x '.join(map(str, image.shape[:3]))
    zooms = ' x '.join(f'{zoom:.6g}' for zoom in nb.affines.voxel_sizes(image.affine))
    middle = nb.affines.apply_affine(image.affine, (np.array(image.shape[:3]) - 1) / 2)
    place = ', '.join(f'{x:.0f}' for x in middle)
    return f'{size} voxels of {zooms} mm, {"".join(nb.aff2axcodes(image.affine))}, about ({place}) mm'


def canonical(image: nb.Nifti1Image) -> nb.Nifti1Image:
    """Return the same voxels in the order that is closest to RAS+: none is interpolated.

    The first voxel's place is rounded to :data:`~bidsreg.registration.image.PLACE_MM`: an optimiser takes the same
    path, bit for bit, however the scan was stored.
    """
    turned = nb.as_closest_canonical(image)
    affine = turned.affine.copy()
    affine[:3, 3] = np.round(affine[:3, 3] / PLACE_MM) * PLACE_MM
    return nb.Nifti1Image(turned.dataobj, affine)


def require_same_grid(image: nb.Nifti1Image, reference: nb.Nifti1Image, *, what: str, path: str, of: str) -> None:
    """Raise unless two images have one grid.

    Parameters
    ----------
    image, reference
        3-D images.
    what, path
        Words for ``image``, and its file, for the message.
    of
        The file that it must match, for the message.

    Raises
    ------
    InputError
        If the shapes differ, or a corner lies more than :data:`bidsreg.bids.images.SAME_GRID_MM` mm away.
    """
    if image.shape[:3] != reference.shape[:3]:
        raise InputError(
            f'{what} {path} has {"x".join(map(str, image.shape[:3]))} voxels, but {os.path.basename(of)} has '
            f'{"x".join(map(str, reference.shape[:3]))}: resample it onto the grid of its image.'
        )
    apart = corner_distance(image.affine, reference.affine, image.shape)
    if not apart <= SAME_GRID_MM:
        raise InputError(
            f'{what} {path} lies elsewhere than {os.path.basename(of)}: their corners are up to {apart:.1f} mm apart. '
            'Resample it onto the grid of its image.'
        )
