"""Numbers about a deformation, in mm and plain ratios."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
from scipy import ndimage as ndi

from bidsreg.registration.grid import Grid

SLAB = 8
"""Slices worked at a time, so that what they need stays in the cache."""


def jacobian_determinant(displacement: np.ndarray, grid: Grid, scheme: str = 'central') -> np.ndarray:
    """Determinant of the derivative of x + u(x).

    Parameters
    ----------
    displacement : ndarray, shape (X, Y, Z, 3)
        World displacement in mm.
    grid : Grid
        Where it lies.
    scheme : {'central', 'forward', 'backward'}
        Which finite differences; at the border that has no neighbour on that side, the other one serves.

    Returns
    -------
    ndarray, shape (X, Y, Z), float32
    """
    out = np.empty(grid.shape, np.float32)
    for slab in range(0, grid.shape[0], SLAB):
        # one slice more on either side, for the differences
        first, last = max(slab - 1, 0), min(slab + SLAB + 1, grid.shape[0])
        here = _determinant(np.ascontiguousarray(np.moveaxis(displacement[first:last], -1, 0)), grid, scheme)
        out[slab : slab + SLAB] = here[slab - first :][:SLAB]
    return out


def _determinant(field: np.ndarray, grid: Grid, scheme: str) -> np.ndarray:
    """Of components (3, x, y, z): with A the axes of the grid, det(I + du/dx) = det(A + du/dvoxel) / det(A)."""
    axes = grid.affine[:3, :3].T.astype(np.float32)
    along = [_difference(field, axis + 1, scheme) for axis in range(3)]
    for steps, direction in zip(along, axes, strict=True):
        steps += direction[:, None, None, None]
    # both in the same operations, so that no displacement gives exactly one
    return _of_columns(*along) / _of_columns(*axes)


def _of_columns(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
    """Determinant of three columns, a . (b x c)."""
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
    """Where the Jacobian determinant is not positive by central, forward or backward differences; bool (X, Y, Z)."""
    schemes = ('central', 'forward', 'backward')
    return np.any([jacobian_determinant(displacement, grid, scheme) <= 0 for scheme in schemes], axis=0)


def count_folds(displacement: np.ndarray, grid: Grid) -> int:
    """Voxels whose Jacobian determinant is not positive by central, forward or backward differences."""
    return int(folded(displacement, grid).sum())


def summary(values: np.ndarray, quantiles: dict[str, float]) -> dict[str, float]:
    """Named percentiles of an array as plain floats."""
    return {name: float(np.percentile(values, q)) for name, q in quantiles.items()}


def jacobian_summary(determinant: np.ndarray, mask: np.ndarray, folds: int) -> dict[str, Any]:
    """Percentiles of the determinant and standard deviation of its logarithm inside the mask; folds anywhere."""
    inside = determinant[mask]
    out: dict[str, Any] = summary(inside, {'min': 0, 'p01': 1, 'median': 50, 'p99': 99, 'max': 100})
    out['sdlogj'] = float(np.log(np.clip(inside, 1e-9, 1e9)).std())
    return out | {'folds': folds, 'folds_percent': 100 * folds / determinant.size}


def displacement_at(displacement: np.ndarray, grid: Grid, points: np.ndarray) -> np.ndarray:
    """Linear interpolation of a displacement field at world points (N, 3); zero outside its grid."""
    at = grid.to_voxels(points).T
    values = [ndi.map_coordinates(displacement[..., i], at, order=1, mode='constant') for i in range(3)]
    return np.stack(values, -1)


def inverse_consistency(forward: np.ndarray, inverse: np.ndarray, grid: Grid, mask: np.ndarray) -> dict[str, float]:
    """How far inverse(forward(x)) lies from x, in mm, over the voxels of `mask`."""
    voxels = np.argwhere(mask)
    points = grid.to_world(voxels)
    moved = points + forward[tuple(voxels.T)]
    error = np.linalg.norm(moved + displacement_at(inverse, grid, moved) - points, axis=1)
    return {'mean': float(error.mean()), **summary(error, {'p95': 95, 'p99': 99, 'max': 100})}


def mutual_information(a: np.ndarray, b: np.ndarray, bins: int = 48) -> tuple[float, float]:
    """Mutual information in nats and its normalised form (H(a) + H(b)) / H(a, b), from a joint histogram.

    Both sets of values are clipped to their 0.5th and 99.5th percentiles first.
    """
    return binned_information(to_bins(a, bins), to_bins(b, bins), bins)


def to_bins(values: np.ndarray, bins: int = 48) -> np.ndarray:
    """The bin of each value: equally wide ones from the 0.5th to the 99.5th percentile, to which values are clipped."""
    low, high = (float(p) for p in np.percentile(values, (0.5, 99.5)))
    if not high > low:
        return np.zeros(values.shape, int)
    edges = np.linspace(low, high, bins + 1)
    clipped = np.clip(values, low, high, dtype=float)
    found = ((clipped - low) * (bins / (high - low))).astype(int).clip(max=bins - 1)
    # rounding may put a value that lies on an edge on its wrong side
    found -= clipped < edges[found]
    return found + ((clipped >= edges[found + 1]) & (found < bins - 1))


def binned_information(a: np.ndarray, b: np.ndarray, bins: int = 48) -> tuple[float, float]:
    """`mutual_information` of values that are bins already."""
    p = np.bincount(a * bins + b, minlength=bins**2).reshape(bins, bins) / a.size

    def entropy(q: np.ndarray) -> float:
        q = q[q > 0]
        return float(-(q * np.log(q)).sum())

    ha, hb, hab = entropy(p.sum(1)), entropy(p.sum(0)), entropy(p)
    return ha + hb - hab, (ha + hb) / max(hab, 1e-12)


def corners(shape: tuple[int, ...]) -> np.ndarray:
    """Voxel indices of the eight corners of a grid, shape (8, 3)."""
    return np.array(list(itertools.product(*[(0, n - 1) for n in shape])), dtype=float)
