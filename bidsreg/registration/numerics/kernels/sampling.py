"""Values and slopes of volumes at many positions. Reference: `numerics.sampling.Sampler` in torch."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from bidsreg.registration.numerics.kernels.cells import cell, strides, value, value_and_slopes
from bidsreg.registration.numerics.kernels.compiling import kernel
from bidsreg.registration.numerics.threads import in_threads

PART = 50_000
"""Positions that a thread takes at a time."""
Shape = tuple[int, int, int]


def values(volumes: np.ndarray, shape: Shape, at: np.ndarray, threads: int = 1) -> np.ndarray:
    """Return trilinear values, (C, N).

    Parameters
    ----------
    volumes : ndarray, shape (C, X * Y * Z), float32
        What to sample.
    shape : tuple of int
        X, Y, Z.
    at : ndarray, shape (3, N), float32
        Positions in voxels; beyond the outer voxel centres the border value goes on.
    threads : int
        How many work; the result does not depend on it.
    """
    (x, y, z), flat, out = shape, volumes.ravel(), np.empty((len(volumes), at.shape[1]), np.float32)
    _in_parts(lambda a, b: _values(flat, x, y, z, at, a, b, out), at.shape[1], threads)
    return out


def values_and_slopes(
    volumes: np.ndarray, shape: Shape, at: np.ndarray, threads: int = 1
) -> tuple[np.ndarray, np.ndarray]:
    """Return trilinear values, (C, N), and their change per voxel along the axes, (C, 3, N); see `values`."""
    (x, y, z), flat, out = shape, volumes.ravel(), np.empty((len(volumes), at.shape[1]), np.float32)
    slopes = np.empty((len(volumes), 3, at.shape[1]), np.float32)
    _in_parts(lambda a, b: _values_and_slopes(flat, x, y, z, at, a, b, out, slopes), at.shape[1], threads)
    return out, slopes


def _in_parts(work: Callable[[int, int], None], n: int, threads: int) -> None:
    in_threads(lambda a: work(a, min(a + PART, n)), range(0, n, PART), threads)


@kernel('void(f4[::1], i8, i8, i8, f4[:, ::1], i8, i8, f4[:, ::1])')
def _values(
    volumes: np.ndarray, x: int, y: int, z: int, at: np.ndarray, first: int, last: int, out: np.ndarray
) -> None:
    """Sample C flat volumes of (x, y, z) voxels one after another at positions first to last."""
    size = x * y * z
    sx, sy, sz = strides(x, y, z, 1)
    for n in range(first, last):
        cx, wx = cell(at[0, n], x)
        cy, wy = cell(at[1, n], y)
        cz, wz = cell(at[2, n], z)
        index = np.uint64((cx * y + cy) * z + cz)
        for c in range(len(out)):
            out[c, n] = value(volumes, index + np.uint64(c * size), sx, sy, sz, wx, wy, wz)


@kernel('void(f4[::1], i8, i8, i8, f4[:, ::1], i8, i8, f4[:, ::1], f4[:, :, ::1])')
def _values_and_slopes(
    volumes: np.ndarray,
    x: int,
    y: int,
    z: int,
    at: np.ndarray,
    first: int,
    last: int,
    out: np.ndarray,
    slopes: np.ndarray,
) -> None:
    """Sample C flat volumes of (x, y, z) voxels one after another at positions first to last."""
    size = x * y * z
    sx, sy, sz = strides(x, y, z, 1)
    for n in range(first, last):
        cx, wx = cell(at[0, n], x)
        cy, wy = cell(at[1, n], y)
        cz, wz = cell(at[2, n], z)
        index = np.uint64((cx * y + cy) * z + cz)
        for c in range(len(out)):
            here, gx, gy, gz = value_and_slopes(volumes, index + np.uint64(c * size), sx, sy, sz, wx, wy, wz)
            out[c, n], slopes[c, 0, n], slopes[c, 1, n], slopes[c, 2, n] = here, gx, gy, gz
