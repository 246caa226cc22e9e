"""Trilinear interpolation of several components at a time, for kernels to share.

Volumes are flat, (X, Y, Z, C) in C order, so that the components of a voxel lie side by side; positions are in voxels
and clamped to the volume: the border's value goes on beyond it. The reference is `numerics.sampling.Sampler`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from bidsreg.registration.numerics.kernels.compiling import part

f32 = np.float32


@part
def cell(position: float, n: int) -> Any:
    """Return the lower corner of the cell of a position along an axis of n voxels, and the weight of the upper one.

    A position that is no number lies at the first voxel, so that no index ever leaves the volume.
    """
    # as comparisons, which are false for NaN
    inside = position if position > f32(0) else f32(0)
    inside = inside if inside < f32(n - 1) else f32(n - 1)
    lower = int(inside)
    lower = lower if lower < n - 1 else max(n - 2, 0)
    return lower, inside - f32(lower)


@part
def strides(x: int, y: int, z: int, components: int) -> tuple[np.uint64, np.uint64, np.uint64]:
    """Return the distances of neighbours in a flat (X, Y, Z, C); 0 along an axis of one voxel, which has none.

    They are unsigned, because a signed index costs a test for counting from the end.
    """
    return (
        np.uint64(y * z * components if x > 1 else 0),
        np.uint64(z * components if y > 1 else 0),
        np.uint64(components if z > 1 else 0),
    )


@part
def value(
    volume: np.ndarray,
    at: np.uint64,
    sx: np.uint64,
    sy: np.uint64,
    sz: np.uint64,
    wx: float,
    wy: float,
    wz: float,
) -> float:
    """Return the value in the cell whose lower corner lies at a flat index."""
    c0, c1, c2, c3 = volume[at], volume[at + sz], volume[at + sy], volume[at + sy + sz]
    up = at + sx
    c4, c5, c6, c7 = volume[up], volume[up + sz], volume[up + sy], volume[up + sy + sz]
    e0, e1, e2, e3 = c0 + wz * (c1 - c0), c2 + wz * (c3 - c2), c4 + wz * (c5 - c4), c6 + wz * (c7 - c6)
    f0, f1 = e0 + wy * (e1 - e0), e2 + wy * (e3 - e2)
    return f0 + wx * (f1 - f0)


@part
def value_and_slopes(
    volume: np.ndarray,
    at: np.uint64,
    sx: np.uint64,
    sy: np.uint64,
    sz: np.uint64,
    wx: float,
    wy: float,
    wz: float,
) -> tuple[float, float, float, float]:
    """Return the value, and its change per voxel along the three axes."""
    c0, c1, c2, c3 = volume[at], volume[at + sz], volume[at + sy], volume[at + sy + sz]
    up = at + sx
    c4, c5, c6, c7 = volume[up], volume[up + sz], volume[up + sy], volume[up + sy + sz]
    r0, r1, r2, r3 = c1 - c0, c3 - c2, c5 - c4, c7 - c6
    e0, e1, e2, e3 = c0 + wz * r0, c2 + wz * r1, c4 + wz * r2, c6 + wz * r3
    d0, d1 = e1 - e0, e3 - e2
    f0, f1 = e0 + wy * d0, e2 + wy * d1
    g0, g1 = r0 + wy * (r1 - r0), r2 + wy * (r3 - r2)
    return f0 + wx * (f1 - f0), f1 - f0, d0 + wx * (d1 - d0), g0 + wx * (g1 - g0)


@part
def spread(
    volume: np.ndarray,
    at: np.uint64,
    sx: np.uint64,
    sy: np.uint64,
    sz: np.uint64,
    wx: float,
    wy: float,
    wz: float,
    amount: float,
) -> None:
    """Add an amount to the corners of a cell by their weights: the adjoint of `value`."""
    upper = amount * wx
    lower = amount - upper
    a3, a1 = upper * wy, lower * wy
    a2, a0 = upper - a3, lower - a1
    up = at + sx
    volume[at] += a0 - a0 * wz
    volume[at + sz] += a0 * wz
    volume[at + sy] += a1 - a1 * wz
    volume[at + sy + sz] += a1 * wz
    volume[up] += a2 - a2 * wz
    volume[up + sz] += a2 * wz
    volume[up + sy] += a3 - a3 * wz
    volume[up + sy + sz] += a3 * wz
