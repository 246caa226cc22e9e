"""What a registration is judged by: overlap and distance of labels, distance of points, and the shape of the field.

Everything is in mm where it has a length, on grids with axes at right angles in any position; a label that one of two
images lacks has no overlap and no distance: NaN, neither 0 nor 1.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import product

import numpy as np
from scipy import ndimage as ndi

from bidsreg.registration import metrics
from bidsreg.registration.deformation import Deformation
from bidsreg.registration.grid import Grid

NAN = float('nan')


def dice(one: np.ndarray, other: np.ndarray, labels: Iterable[int]) -> dict[int, float]:
    """Dice coefficient of each label: twice the voxels in common over the sum of both.

    Parameters
    ----------
    one, other : ndarray of int, shape (X, Y, Z)
        Label images on one grid.
    labels : iterable of int
        Which values to compare.

    Returns
    -------
    dict
        From 0 to 1 by label; NaN where an image has no voxel of it.
    """
    out = {}
    for label in labels:
        ours, theirs = one == label, other == label
        sizes = int(ours.sum()), int(theirs.sum())
        out[label] = 2 * int((ours & theirs).sum()) / sum(sizes) if min(sizes) else NAN
    return out


def hd95(one: np.ndarray, other: np.ndarray, labels: Iterable[int], spacing: np.ndarray) -> dict[int, float]:
    """Distance (mm) that 95 % of the surface of each label keeps to its surface in the other image.

    Surfaces are the voxels with a neighbour (of six) outside of the label, distances those between voxel centres; of
    the two directions the larger one counts, as in MONAI and in the surface distances of Learn2Reg (which weigh
    surface voxels by their area).

    Parameters
    ----------
    one, other : ndarray of int, shape (X, Y, Z)
        Label images on one grid.
    labels : iterable of int
        Which values to compare.
    spacing : ndarray, shape (3,)
        Of the voxels, mm.

    Returns
    -------
    dict
        mm by label; NaN where an image has no voxel of it.
    """
    return {label: _hd95(one == label, other == label, spacing) for label in labels}


def _hd95(one: np.ndarray, other: np.ndarray, spacing: np.ndarray) -> float:
    if not (one.any() and other.any()):
        return NAN
    # a distance transform needs no more than the box around both
    box = ndi.find_objects((one | other).astype(np.uint8))[0]
    edges = [part & ~ndi.binary_erosion(part) for part in (one[box], other[box])]
    away = [ndi.distance_transform_edt(~edge, sampling=spacing) for edge in edges]
    return float(max(np.percentile(away[1][edges[0]], 95), np.percentile(away[0][edges[1]], 95)))


def point_errors(points: np.ndarray, found: Deformation) -> np.ndarray:
    """Distance (mm) between where a deformation takes each point and where it truly lies.

    Parameters
    ----------
    points : ndarray, shape (N, 6)
        World mm (RAS+): places in the fixed image, and the same places in the moving one.
    found : Deformation
        Fixed to moving.

    Returns
    -------
    ndarray, shape (N,)
    """
    return np.linalg.norm(found.points(points[:, :3]) - points[:, 3:], axis=1)


def target_errors(points: np.ndarray, found: Deformation) -> dict[str, float]:
    """Take the mean and the 95th percentile (``p95``) of :func:`point_errors`, mm."""
    error = point_errors(points, found)
    return {'mean': float(error.mean()), 'p95': float(np.percentile(error, 95))}


def jacobian_measures(displacement: np.ndarray, grid: Grid, inside: np.ndarray) -> dict[str, float]:
    """How a displacement field stretches and folds space within a mask.

    Folds are voxels whose Jacobian determinant, by central differences, is not positive; SDlogJ is the standard
    deviation of its logarithm, the determinant clipped to [1e-9, 1e9], as the Learn2Reg challenge has them.

    Parameters
    ----------
    displacement : ndarray, shape (X, Y, Z, 3)
        mm, RAS+, without an affine.
    grid : Grid
        Where it lies.
    inside : ndarray of bool, shape (X, Y, Z)
        The mask.

    Returns
    -------
    dict
        ``folds`` (voxels), ``folds_percent`` (of the mask), ``ndv_percent`` (non-diffeomorphic volume, of the mask)
        and ``sdlogj``.

    Raises
    ------
    ValueError
        If the mask is empty.
    """
    count = int(inside.sum())
    if not count:
        raise ValueError('the mask does not meet the grid of the displacement field')
    determinant = metrics.jacobian_determinant(displacement, grid)
    folds = int((determinant[inside] <= 0).sum())
    return {
        'folds': folds,
        'folds_percent': 100 * folds / count,
        'ndv_percent': 100 * non_diffeomorphic_volume(displacement, grid, inside) / count,
        'sdlogj': metrics.jacobian_summary(determinant, inside, folds)['sdlogj'],
    }


def non_diffeomorphic_volume(displacement: np.ndarray, grid: Grid, inside: np.ndarray) -> float:
    """Volume that a field turns inside out, in voxels (Liu et al. 2024, doi:10.1007/s11263-024-02047-1).

    Between voxel centres space is filled by tetrahedra, five to each cube and in two ways; the volume of those that
    the field turns over is counted, half for each way. Unlike central differences this misses no fold.

    Parameters
    ----------
    displacement : ndarray, shape (X, Y, Z, 3)
        mm, RAS+, without an affine.
    grid : Grid
        Where it lies.
    inside : ndarray of bool, shape (X, Y, Z)
        A tetrahedron counts where its apex is inside.
    """
    # in voxels: volumes are then those of voxels, in whatever position and spacing
    moved = displacement @ np.linalg.inv(grid.affine[:3, :3]).T.astype(displacement.dtype)
    moved = np.pad(moved, [(1, 1)] * 3 + [(0, 0)], mode='edge')
    turned = sum(float(np.maximum(-volume[inside], 0).sum()) for volume in _tetrahedra(moved))
    return turned / 6 / 2


def _tetrahedra(moved: np.ndarray) -> Iterator[np.ndarray]:
    """Six times the signed volumes, at each apex: of the eight in the corners of cubes and the two in their middles.

    `moved` are displacements in voxels with a margin of one voxel.
    """
    for signs in product((1, -1), repeat=3):
        steps = np.diag(signs)
        yield _signed(moved, steps) * np.prod(signs)
    for sign in (1, -1):
        steps = sign * (1 - np.eye(3, dtype=int))[::-1]
        yield _signed(moved, steps) * round(float(np.sign(np.linalg.det(steps))))


def _signed(moved: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """Determinant of the edges that lead from every voxel by three steps, rows of `steps`."""
    middle = moved[1:-1, 1:-1, 1:-1]
    edges = [
        moved[tuple(slice(1 + s, n - 1 + s) for s, n in zip(step, moved.shape, strict=False))] - middle + step
        for step in steps
    ]
    return np.einsum('...i,...i', edges[0], np.cross(edges[1], edges[2]))


def inverse_consistency(found: Deformation, inside: np.ndarray) -> float:
    """Mean distance (mm) between points of a mask and where the field and then its inverse take them.

    Parameters
    ----------
    found : Deformation
        With both fields; NaN when the inverse is not known everywhere.
    inside : ndarray of bool
        The mask, on the grid of the fields.
    """
    if not np.isfinite(found.inverse).all():
        return NAN
    return metrics.inverse_consistency(found.forward, found.inverse, found.grid, inside)['mean']
