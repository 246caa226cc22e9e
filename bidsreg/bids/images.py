"""Images as files: opening them, the corners of their grids, and the volume and the centre of masks.

World coordinates are millimetres, RAS+.
"""

from __future__ import annotations

import os
import typing
from collections.abc import Sequence

import nibabel as nb
import numpy as np

SAME_GRID_MM = 0.2
"""Two grids are the same when no corner of the one lies further from that corner of the other: headers round."""


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


def voxel_order(
    affine: np.ndarray, shape: Sequence[int], goal_affine: np.ndarray, goal_shape: Sequence[int]
) -> np.ndarray | None:
    """Return how the axes of one grid are to be exchanged and turned about to make another of it.

    Parameters
    ----------
    affine, shape
        Voxel to world (4x4) and voxels of the grid.
    goal_affine, goal_shape
        Those of the other.

    Returns
    -------
    ndarray, shape (3, 2), or None
        As :func:`nibabel.orientations.apply_orientation` takes it; ``None`` where no order of its voxels brings all
        corners to within :data:`SAME_GRID_MM` of the other's.
    """
    shape, goal_shape = tuple(shape[:3]), tuple(goal_shape[:3])
    order = nb.io_orientation(np.linalg.inv(goal_affine) @ affine)
    if np.isnan(order).any():
        return None
    places = order[:, 0].astype(int)
    turned = affine @ nb.orientations.inv_ornt_aff(order, shape)
    new_shape = tuple(np.array(shape)[np.argsort(places)])
    if new_shape != goal_shape or not corner_distance(turned, goal_affine, goal_shape) <= SAME_GRID_MM:
        return None
    return order


def volume_ml(mask: np.ndarray, affine: np.ndarray) -> float:
    """Return the volume of a boolean mask on a grid with this affine, in ml, to two digits."""
    return round(float(mask.sum() * abs(np.linalg.det(affine[:3, :3])) / 1000), 2)


def mask_centre(mask: nb.Nifti1Image) -> np.ndarray:
    """Return the centre of mass (mm) of the voxels above zero, shape (3,)."""
    voxels = np.argwhere(np.asanyarray(mask.dataobj) > 0)
    return mask.affine[:3, :3] @ voxels.mean(0) + mask.affine[:3, 3]
