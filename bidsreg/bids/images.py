"""Images as files: opening them, the corners of their grids, and the volume and the centre of masks.

World coordinates are millimetres, RAS+.
"""

from __future__ import annotations

import os
import typing
from collections.abc import Sequence

import nibabel as nb
import numpy as np


def load_image(path: str | os.PathLike) -> nb.Nifti1Image:
    """Open an image without reading its voxels; nibabel's errors are passed on."""
    return typing.cast(nb.Nifti1Image, nb.load(path))


def corner_distance(one: np.ndarray, other: np.ndarray, shape: Sequence[int], *, edge: float = 0.0) -> float:
    """Return how far apart (mm) two affines place a corner of one grid, at most.

    Parameters
    ----------
    one, other
        4x4, voxel to world.
    shape
        Voxels of the grid, of which the first three axes count.
    edge
        Distance (voxels) of its corners from the centres of the corner voxels; 0.5 is their outer border.

    """
    ends = [(-edge, size - 1 + edge) for size in shape[:3]]
    voxels = np.array(np.meshgrid(*ends)).reshape(3, -1).T
    apart = nb.affines.apply_affine(one, voxels) - nb.affines.apply_affine(other, voxels)
    return float(np.linalg.norm(apart, axis=1).max())


def volume_ml(mask: np.ndarray, affine: np.ndarray) -> float:
    """Return the volume of a boolean mask on a grid with this affine, in ml, to two digits."""
    return round(float(mask.sum() * abs(np.linalg.det(affine[:3, :3])) / 1000), 2)


def mask_centre(mask: nb.Nifti1Image) -> np.ndarray:
    """Return the centre of mass (mm) of the voxels above zero, shape (3,)."""
    voxels = np.argwhere(np.asanyarray(mask.dataobj) > 0)
    return mask.affine[:3, :3] @ voxels.mean(0) + mask.affine[:3, 3]
