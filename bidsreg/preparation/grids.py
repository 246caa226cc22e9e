"""Whether two images lie on one grid, and what their files are called."""

from __future__ import annotations

import os

import nibabel as nb
import numpy as np

from bidsreg.errors import InputError

#: Two grids are the same when no corner of the one lies further (mm) from that corner of the other.
GRID_TOLERANCE = 0.2


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


def corners(shape: tuple[int, ...], affine: np.ndarray) -> np.ndarray:
    """Return the eight corner voxels' centres of a grid, shape (8, 3), in world mm (RAS+)."""
    ends = np.array([[0, size - 1] for size in shape[:3]])
    voxels = np.stack(np.meshgrid(*ends, indexing='ij'), axis=-1).reshape(-1, 3)
    return voxels @ np.asarray(affine)[:3, :3].T + np.asarray(affine)[:3, 3]


def require_same_grid(image: nb.Nifti1Image, reference: nb.Nifti1Image, *, what: str, path: str, of: str) -> None:
    """Raise unless two images have one grid.

    Parameters
    ----------
    image, reference
        3-D images.
    what, path
        What ``image`` is, and its file, for the message.
    of
        The file that it must match, for the message.

    Raises
    ------
    InputError
        If the shapes differ, or a corner lies more than :data:`GRID_TOLERANCE` mm away.
    """
    if image.shape[:3] != reference.shape[:3]:
        raise InputError(
            f'{what} {path} has {"x".join(map(str, image.shape[:3]))} voxels, but {os.path.basename(of)} has '
            f'{"x".join(map(str, reference.shape[:3]))}: resample it onto the grid of its image.'
        )
    apart = np.linalg.norm(
        corners(image.shape, image.affine) - corners(reference.shape, reference.affine), axis=1
    ).max()
    if not apart <= GRID_TOLERANCE:
        raise InputError(
            f'{what} {path} lies elsewhere than {os.path.basename(of)}: their corners are up to {apart:.1f} mm apart. '
            'Resample it onto the grid of its image.'
        )
