"""Operations on whole volumes: resampling by a matrix, and distances. References: `scipy.ndimage`."""

from __future__ import annotations

import math

import numpy as np

from bidsreg.registration.numerics.kernels.compiling import kernel, part
from bidsreg.registration.numerics.pool import shared_out

SLAB = 8
"""Planes that a thread takes at a time."""


def _slabs(n: int) -> list[tuple[int, int]]:
    return [(a, min(a + SLAB, n)) for a in range(0, n, SLAB)]


def resampled(
    volume: np.ndarray, matrix: np.ndarray, shape: tuple[int, ...], order: int = 1, threads: int = 1
) -> np.ndarray:
    """Return the values of a volume at the voxels of a grid; zero outside its outer voxel centres.

    The same as ``ndi.affine_transform(volume, matrix[:3, :3], matrix[:3, 3], output_shape=shape, order=order,
    mode='constant')``.

    Parameters
    ----------
    volume : ndarray, shape (X, Y, Z), float32
        What to sample.
    matrix : ndarray, shape (4, 4)
        Voxels of the grid to voxels of the volume.
    shape : tuple of int
        Of the grid.
    order : int
        1 for trilinear values, 0 for the nearest voxel's.
    threads : int
        How many work; the result does not depend on it.

    Returns
    -------
    ndarray, float32
        Of the grid's shape.
    """
    out = np.empty(shape, np.float32)
    rows = np.ascontiguousarray(matrix[:3], dtype=np.float64)
    x, y, z = volume.shape
    flat = np.ascontiguousarray(volume).ravel()
    shared_out(lambda slab: _resample(flat, x, y, z, rows, order, *slab, out), _slabs(shape[0]), threads)
    return out


def within(marked: np.ndarray, mm: float, spacing: np.ndarray, threads: int = 1) -> np.ndarray:
    """Return where something marked lies within some distance; as ``ndi.distance_transform_edt(~marked) <= mm``.

    Axis after axis, the least sum of a squared step along it and what was least along those before (Felzenszwalb and
    Huttenlocher 2012); steps are tried outward from each row for as long as they can be less.

    Parameters
    ----------
    marked : ndarray of bool, shape (X, Y, Z)
        What.
    mm : float
        How far.
    spacing : ndarray, shape (3,)
        Voxel size in mm.
    threads : int
        How many work; the result does not depend on it.

    Returns
    -------
    ndarray, shape (X, Y, Z), float32
        0 and 1.
    """
    flags = np.ascontiguousarray(marked, dtype=np.uint8)
    x, y, _ = flags.shape
    along, out = np.empty(flags.shape, np.float64), np.empty(flags.shape, np.float32)
    reach = [int(min(mm / h, n) + 1e-6) for h, n in zip(spacing, flags.shape, strict=True)]
    shared_out(lambda slab: _along_x(flags, float(spacing[0]), *slab, along), _slabs(y), threads)
    shared_out(
        lambda slab: _within(along, float(spacing[1]), float(spacing[2]), reach[1], reach[2], mm, *slab, out),
        _slabs(x),
        threads,
    )
    return out


def distances(marked: np.ndarray, spacing: np.ndarray, threads: int = 1) -> np.ndarray:
    """Return the distance in mm to what is marked, ``ndi.distance_transform_edt(~marked)``; inf where nothing is.

    Parameters
    ----------
    marked, spacing, threads
        As for `within`, which is faster.

    Returns
    -------
    ndarray, shape (X, Y, Z), float64
    """
    flags = np.ascontiguousarray(marked, dtype=np.uint8)
    along, out = np.empty(flags.shape, np.float64), np.empty(flags.shape, np.float64)
    sizes = [float(size) for size in spacing]
    shared_out(lambda slab: _along_x(flags, sizes[0], *slab, along), _slabs(flags.shape[1]), threads)
    shared_out(lambda slab: _nearest(along, sizes[1], sizes[2], *slab, out), _slabs(len(flags)), threads)
    return out


def grown(marked: np.ndarray, reach: int, threads: int = 1) -> np.ndarray:
    """Return where something is marked within a cube: `ndi.maximum_filter` of width 2 `reach` + 1, zero beyond.

    Parameters
    ----------
    marked : ndarray of bool, shape (X, Y, Z)
        What.
    reach : int
        How many voxels to each side, from 0.
    threads : int
        How many work; the result does not depend on it.

    Returns
    -------
    ndarray of bool, shape (X, Y, Z)
    """
    flags = np.ascontiguousarray(marked).view(np.uint8)
    flat, out = np.empty_like(flags), np.empty_like(flags)
    shared_out(lambda slab: _grow_planes(flags, reach, *slab, flat), _slabs(len(flags)), threads)
    shared_out(lambda slab: _grow_along_x(flat, reach, *slab, out), _slabs(len(flags)), threads)
    return out.view(np.bool_)


@kernel('void(u1[:, :, ::1], i8, i8, i8, u1[:, :, ::1])', allocates=True)
def _grow_planes(marked: np.ndarray, reach: int, first: int, last: int, out: np.ndarray) -> None:
    """Fill planes first to last of out with what is marked along y and z."""
    _, ny, nz = marked.shape
    row = np.empty(nz, np.uint8)
    for x in range(first, last):
        for y in range(ny):
            for z in range(nz):
                row[z] = 0
            for step in range(-reach, reach + 1):
                if 0 <= y + step < ny:
                    for z in range(nz):
                        row[z] |= marked[x, y + step, z]
            for z in range(nz):
                out[x, y, z] = row[z]
            for step in range(1, min(reach, nz - 1) + 1):
                for z in range(nz - step):
                    out[x, y, z] |= row[z + step]
                for z in range(nz - step):
                    out[x, y, z + step] |= row[z]


@kernel('void(u1[:, :, ::1], i8, i8, i8, u1[:, :, ::1])')
def _grow_along_x(marked: np.ndarray, reach: int, first: int, last: int, out: np.ndarray) -> None:
    """Fill planes first to last of out with what is marked along x."""
    nx, ny, nz = marked.shape
    for x in range(first, last):
        for y in range(ny):
            for z in range(nz):
                out[x, y, z] = marked[x, y, z]
            for other in range(max(x - reach, 0), min(x + reach + 1, nx)):
                for z in range(nz):
                    out[x, y, z] |= marked[other, y, z]


@kernel('void(f4[::1], i8, i8, i8, f8[:, ::1], i8, i8, i8, f4[:, :, ::1])')
def _resample(
    volume: np.ndarray,
    nx: int,
    ny: int,
    nz: int,
    matrix: np.ndarray,
    order: int,
    first: int,
    last: int,
    out: np.ndarray,
) -> None:
    """Fill planes first to last of out from a flat volume (nx, ny, nz)."""
    sx, sy, sz = np.uint64(ny * nz), np.uint64(nz), np.uint64(1)
    _, rows, columns = out.shape
    for i in range(first, last):
        for j in range(rows):
            for k in range(columns):
                x = matrix[0, 3] + matrix[0, 0] * i + matrix[0, 1] * j + matrix[0, 2] * k
                y = matrix[1, 3] + matrix[1, 0] * i + matrix[1, 1] * j + matrix[1, 2] * k
                z = matrix[2, 3] + matrix[2, 0] * i + matrix[2, 1] * j + matrix[2, 2] * k
                if not ((x >= 0) & (x <= nx - 1) & (y >= 0) & (y <= ny - 1) & (z >= 0) & (z <= nz - 1)):
                    out[i, j, k] = 0
                elif order == 0:
                    a, b, c = np.int64(x + 0.5), np.int64(y + 0.5), np.int64(z + 0.5)
                    out[i, j, k] = volume[np.uint64((a * ny + b) * nz + c)]
                else:
                    a, b, c = np.int64(x), np.int64(y), np.int64(z)
                    at = np.uint64((a * ny + b) * nz + c)
                    wx, wy, wz = x - a, y - b, z - c
                    # on the last voxel of an axis there is no next one, and it has no weight
                    dx = sx if a < nx - 1 else np.uint64(0)
                    dy = sy if b < ny - 1 else np.uint64(0)
                    dz = sz if c < nz - 1 else np.uint64(0)
                    up = at + dx
                    e0 = volume[at] + wz * (volume[at + dz] - volume[at])
                    e1 = volume[at + dy] + wz * (volume[at + dy + dz] - volume[at + dy])
                    e2 = volume[up] + wz * (volume[up + dz] - volume[up])
                    e3 = volume[up + dy] + wz * (volume[up + dy + dz] - volume[up + dy])
                    f0, f1 = e0 + wy * (e1 - e0), e2 + wy * (e3 - e2)
                    out[i, j, k] = f0 + wx * (f1 - f0)


@kernel('void(u1[:, :, ::1], f8, i8, i8, f8[:, :, ::1])')
def _along_x(marked: np.ndarray, size: float, first: int, last: int, out: np.ndarray) -> None:
    """Set rows first to last along y of out to the squared distance along x to what is marked, in mm^2."""
    n, _, columns = marked.shape
    for y in range(first, last):
        for z in range(columns):
            out[0, y, z] = 0.0 if marked[0, y, z] else np.inf
        for x in range(1, n):
            for z in range(columns):
                out[x, y, z] = 0.0 if marked[x, y, z] else out[x - 1, y, z] + 1
        for x in range(n - 2, -1, -1):
            for z in range(columns):
                out[x, y, z] = min(out[x, y, z], out[x + 1, y, z] + 1)
        for x in range(n):
            for z in range(columns):
                mm = out[x, y, z] * size
                out[x, y, z] = mm * mm


@kernel('void(f8[:, :, ::1], f8, f8, i8, i8, f8, i8, i8, f4[:, :, ::1])', allocates=True)
def _within(
    along: np.ndarray,
    size_y: float,
    size_z: float,
    reach_y: int,
    reach_z: int,
    mm: float,
    first: int,
    last: int,
    out: np.ndarray,
) -> None:
    """Fill planes first to last along x of out from squared distances along x, looking as far as a reach in voxels."""
    _, ny, nz = along.shape
    row, least = np.empty(nz, np.float64), np.empty(nz, np.float64)
    for x in range(first, last):
        for y in range(ny):
            _least(along, x, y, size_y, size_z, reach_y, reach_z, row, least)
            for z in range(nz):
                out[x, y, z] = 1 if math.sqrt(least[z]) <= mm else 0


@kernel('void(f8[:, :, ::1], f8, f8, i8, i8, f8[:, :, ::1])', allocates=True)
def _nearest(along: np.ndarray, size_y: float, size_z: float, first: int, last: int, out: np.ndarray) -> None:
    """Fill planes first to last along x of out with distances, from squared distances along x."""
    _, ny, nz = along.shape
    row, least = np.empty(nz, np.float64), np.empty(nz, np.float64)
    for x in range(first, last):
        for y in range(ny):
            _least(along, x, y, size_y, size_z, ny, nz, row, least)
            for z in range(nz):
                out[x, y, z] = math.sqrt(least[z])


@part
def _least(along, x, y, size_y, size_z, reach_y, reach_z, row, least):
    """Set the least squared distances of a row, looking as far as a reach in voxels."""
    _, ny, nz = along.shape
    most = 0.0
    for z in range(nz):
        row[z] = along[x, y, z]
        most = max(most, row[z])
    for step in range(1, min(reach_y, ny - 1) + 1):
        more = (step * size_y) * (step * size_y)
        if more >= most:
            break
        behind, ahead = max(y - step, 0), min(y + step, ny - 1)
        # beyond the border, the row on it as if it lay that far: no less than it is
        for z in range(nz):
            row[z] = min(row[z], min(along[x, behind, z], along[x, ahead, z]) + more)
        most = 0.0
        for z in range(nz):
            most = max(most, row[z])
    for z in range(nz):
        least[z] = row[z]
    for step in range(1, min(reach_z, nz - 1) + 1):
        more = (step * size_z) * (step * size_z)
        if more >= most:
            break
        for z in range(nz - step):
            least[z] = min(least[z], row[z + step] + more)
        for z in range(nz - step):
            least[z + step] = min(least[z + step], row[z] + more)
