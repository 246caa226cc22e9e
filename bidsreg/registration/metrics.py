"""Numbers about a deformation, in mm and plain ratios."""

from __future__ import annotations

from typing import Any

import numpy as np

from bidsreg.registration.grid import Grid
from bidsreg.registration.numerics.pool import in_order

SLAB = 8
"""Slices worked at a time, so that what they need stays in the cache, or in one thread."""


def jacobian_determinant(displacement: np.ndarray, grid: Grid, scheme: str = 'central', threads: int = 1) -> np.ndarray:
    """Return the determinant of the derivative of x + u(x).

    Parameters
    ----------
    displacement : ndarray, shape (X, Y, Z, 3)
        World displacement in mm.
    grid : Grid
        Where it lies.
    scheme : {'central', 'forward', 'backward'}
        Which finite differences; at the border that has no neighbour on that side, the other one serves.
    threads : int
        How many work; the result does not depend on it.

    Returns
    -------
    ndarray, shape (X, Y, Z), float32
    """
    out = np.empty(grid.shape, np.float32)

    def fill(slab: int) -> None:
        # one slice more on either side, for the differences
        first, last = max(slab - 1, 0), min(slab + SLAB + 1, grid.shape[0])
        here = _determinant(np.ascontiguousarray(np.moveaxis(displacement[first:last], -1, 0)), grid, scheme)
        out[slab : slab + SLAB] = here[slab - first :][:SLAB]

    for _ in in_order(fill, range(0, grid.shape[0], SLAB), threads):
        pass
    return out


def _determinant(field: np.ndarray, grid: Grid, scheme: str) -> np.ndarray:
    """Return the determinant from components (3, x, y, z).

    With A the axes of the grid, det(I + du/dx) = det(A + du/dvoxel) / det(A).
    """
    axes = grid.affine[:3, :3].T.astype(np.float32)
    along = [_difference(field, axis + 1, scheme) for axis in range(3)]
    for steps, direction in zip(along, axes, strict=True):
        steps += direction[:, None, None, None]
    # both in the same operations, so that no displacement gives exactly one
    return _of_columns(*along) / _of_columns(*axes)


def _of_columns(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
    """Return the determinant of three columns, a . (b x c)."""
    first = a[0] * (b[1] * c[2] - b[2] * c[1])
    return first - a[1] * (b[0] * c[2] - b[2] * c[0]) + a[2] * (b[0] * c[1] - b[1] * c[0])


def _difference(field: np.ndarray, axis: int, scheme: str) -> np.ndarray:
    out = np.empty_like(field)
    to, step = np.moveaxis(out, axis, 0), np.moveaxis(np.diff(field, axis=axis), axis, 0)
    if scheme == 'forward':
        to[:-1], to[-1] = step, step[-1]
    elif scheme == 'backward':
        to[0], to[1:] = step[0], step
    else:
        to[0], to[-1] = step[0], step[-1]
        to[1:-1] = (step[:-1] + step[1:]) / 2
    return out


def folded(displacement: np.ndarray, grid: Grid) -> np.ndarray:
    """Return where the Jacobian determinant is not positive by any of three difference schemes; bool (X, Y, Z)."""
    schemes = ('central', 'forward', 'backward')
    return np.any([jacobian_determinant(displacement, grid, scheme) <= 0 for scheme in schemes], axis=0)


def count_folds(displacement: np.ndarray, grid: Grid) -> int:
    """Return how many voxels have a Jacobian determinant that is not positive by any of three difference schemes."""
    return int(folded(displacement, grid).sum())


def summary(values: np.ndarray, quantiles: dict[str, float]) -> dict[str, float]:
    """Return named percentiles of an array as plain floats."""
    return {name: float(np.percentile(values, q)) for name, q in quantiles.items()}


def jacobian_summary(determinant: np.ndarray, mask: np.ndarray, folds: int) -> dict[str, Any]:
    """Return percentiles of the determinant and standard deviation of its logarithm inside the mask; folds anywhere."""
    inside = determinant[mask]
    out: dict[str, Any] = summary(inside, {'min': 0, 'p01': 1, 'median': 50, 'p99': 99, 'max': 100})
    out['sdlogj'] = float(np.log(np.clip(inside, 1e-9, 1e9)).std())
    return out | {'folds': folds, 'folds_percent': 100 * folds / determinant.size}


def displacement_at(displacement: np.ndarray, grid: Grid, points: np.ndarray) -> np.ndarray:
    """Return the linear interpolation of a displacement field at world points (N, 3); zero outside its grid."""
    # not before it is needed: it takes a fifth of a second
    from scipy import ndimage as ndi

    at = grid.to_voxels(points).T
    values = [ndi.map_coordinates(displacement[..., i], at, order=1, mode='constant') for i in range(3)]
    return np.stack(values, -1)


def inverse_consistency(
    forward: np.ndarray, inverse: np.ndarray, grid: Grid, mask: np.ndarray, threads: int = 1
) -> dict[str, float]:
    """Return how far inverse(forward(x)) lies from x, in mm, over the voxels of `mask`, by so many threads."""
    # here, since it imports numba
    from bidsreg.registration.numerics.kernels.pulling import beside

    there, back = (field.astype(np.float32, copy=False) for field in (forward, inverse))
    error = beside(there, back, grid.affine[:3, :3], np.flatnonzero(mask), threads)
    return {'mean': float(error.mean()), **summary(error, {'p95': 95, 'p99': 99, 'max': 100})}
