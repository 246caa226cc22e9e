"""Trilinear values and slopes of a volume at many positions."""

from __future__ import annotations

import numpy as np

from bidsreg.registration.numerics.kernels.compiling import kernel, part

f32, i32 = np.float32, np.int32


@kernel('void(f4[:,::1], f4[::1], i8[::1], i8[:,::1], f4[::1], f4[:,::1], f4[:,::1], i4[::1])')
def sample(at, volume, shape, runs, values, slopes, corners, cells):
    """Sample a volume: what `Sampler.__call__` does, of one channel.

    With t the position in its cell and c the cell's corners, along z, then y, then x: ``c0 + t (c1 - c0)``; the slopes
    are the derivatives of that.

    Parameters
    ----------
    at : float32, shape (3, N)
        Positions in voxels of the volume; beyond its outer voxel centres the border value goes on.
    volume : float32, shape (X * Y * Z,)
    shape : int64, shape (3,)
        X, Y, Z.
    runs : int64, shape (R, 2)
        Where to sample: first position of each run and their number, at most n.
    values : float32, shape (N,)
        Written in the runs.
    slopes : float32, shape (3, N)
        Change per voxel along the volume's axes, written in the runs.
    corners : float32, shape (11, n)
        Scratch.
    cells : int32, shape (n,)
        Scratch.
    """
    for run in range(runs.shape[0]):
        start, count = runs[run]
        stop = start + count
        _find_cells(at[0, start:stop], at[1, start:stop], at[2, start:stop], shape, cells, corners[8:])
        _fetch_corners(volume, cells[:count], shape, corners)
        _blend(corners, values[start:stop], slopes[0, start:stop], slopes[1, start:stop], slopes[2, start:stop])


@part
def _find_cells(x, y, z, shape, cells, upper):
    """Find the index of each cell's lowest corner, and the weights (3, n) of its upper corners."""
    along_x = i32(shape[1] * shape[2] if shape[0] > 1 else 0)
    along_y = i32(shape[2] if shape[1] > 1 else 0)
    for i in range(x.size):
        cells[i] = 0
    _add_axis(x, shape[0], along_x, cells, upper[0])
    _add_axis(y, shape[1], along_y, cells, upper[1])
    _add_axis(z, shape[2], i32(1 if shape[2] > 1 else 0), cells, upper[2])


@part
def _add_axis(position, size, step, cells, upper):
    """Add one axis's part of the index; `upper` is how far above the lower corner a position lies."""
    last, highest = f32(size - 1), f32(max(size - 2, 0))
    for i in range(position.size):
        p = position[i]
        # comparisons that leave NaN as it is: it must reach the loss
        p = f32(0) if p < f32(0) else p
        p = last if p > last else p
        # the index of NaN must lie in the volume all the same; truncation is floor from 0 on
        lower = np.floor(p if p >= f32(0) else f32(0))
        lower = highest if lower > highest else lower
        cells[i] += step * i32(lower)
        upper[i] = p - lower


@part
def _fetch_corners(volume, cells, shape, corners):
    """Fetch the corners (8, n) of cells; z fastest, then y, then x."""
    z = 1 if shape[2] > 1 else 0
    y = shape[2] if shape[1] > 1 else 0
    x = shape[1] * shape[2] if shape[0] > 1 else 0
    for i in range(cells.size):
        # unsigned: no test for indices from the end
        o = np.uint64(cells[i])
        corners[0, i] = volume[o]
        corners[1, i] = volume[o + np.uint64(z)]
        corners[2, i] = volume[o + np.uint64(y)]
        corners[3, i] = volume[o + np.uint64(y + z)]
        corners[4, i] = volume[o + np.uint64(x)]
        corners[5, i] = volume[o + np.uint64(x + z)]
        corners[6, i] = volume[o + np.uint64(x + y)]
        corners[7, i] = volume[o + np.uint64(x + y + z)]


@part
def _blend(corners, values, by_x, by_y, by_z):
    """Blend corners, one axis after another; the weights of the upper ones are rows 8 (x) to 10 (z) of `corners`."""
    x, y, z = corners[8], corners[9], corners[10]
    for low in range(0, 8, 2):
        # leaves values in rows 0, 2, 4, 6 and the slopes along z in the others
        _fold(corners[low], corners[low + 1], z)
    for low in (0, 4, 1, 5):
        _fold(corners[low], corners[low + 2], y)
    _lerp(corners[0], corners[4], x, values)
    _difference(corners[0], corners[4], by_x)
    _lerp(corners[2], corners[6], x, by_y)
    _lerp(corners[1], corners[5], x, by_z)


@part
def _fold(low, high, weight):
    """Interpolate between two rows into the first one, and leave their difference in the second one."""
    for i in range(low.size):
        rise = high[i] - low[i]
        low[i] += weight[i] * rise
        high[i] = rise


@part
def _lerp(low, high, weight, out):
    for i in range(out.size):
        out[i] = low[i] + weight[i] * (high[i] - low[i])


@part
def _difference(low, high, out):
    for i in range(out.size):
        out[i] = high[i] - low[i]


@kernel('f8(f4[:,::1], f4[:,::1], f4[:,::1], u1[::1], i8[::1], i8[:,::1], f4[::1], f4[::1], i4[::1])')
def weigh(at, lowest, highest, counts, shape, runs, weight, out, cells):
    """Multiply weights by whether the voxels are seen where they lie: `DataTerm._weight`; returns the sum.

    Parameters
    ----------
    at : float32, shape (3, N)
        Positions in voxels of the moving volume.
    lowest, highest : float32, shape (3, 1)
        Between which of them a voxel lies in the field of view.
    counts : uint8, shape (X * Y * Z,) or (0,)
        1 where the moving image may be compared, by the nearest voxel; none for everywhere.
    shape : int64, shape (3,)
        X, Y, Z.
    runs : int64, shape (R, 3)
        First position of each run, the first of its weights, and their number.
    weight, out : float32, shape (P,)
        Given and returned.
    cells : int32, shape (n,)
        Scratch.
    """
    total = 0.0
    along_x, along_y = i32(shape[1] * shape[2]), i32(shape[2])
    for run in range(runs.shape[0]):
        start, packed, count = runs[run]
        x, y, z = at[0, start : start + count], at[1, start : start + count], at[2, start : start + count]
        given, now = weight[packed : packed + count], out[packed : packed + count]
        _copy(given, now)
        _keep_between(x, lowest[0, 0], highest[0, 0], now)
        _keep_between(y, lowest[1, 0], highest[1, 0], now)
        _keep_between(z, lowest[2, 0], highest[2, 0], now)
        if counts.size:
            cells[:count] = 0
            _add_nearest(x, shape[0], along_x, cells)
            _add_nearest(y, shape[1], along_y, cells)
            _add_nearest(z, shape[2], i32(1), cells)
            for i in range(count):
                now[i] *= f32(counts[np.uint64(cells[i])])
        total += _sum(now)
    return total


@part
def _keep_between(position, low, high, weight):
    for i in range(weight.size):
        kept = weight[i] if position[i] >= low else f32(0)
        weight[i] = kept if position[i] <= high else f32(0)


@part
def _copy(row, to):
    for i in range(to.size):
        to[i] = row[i]


@part
def _sum(row):
    total = f32(0)
    for i in range(row.size):
        total += row[i]
    return np.float64(total)


@part
def _add_nearest(position, size, step, cells):
    last = f32(size - 1)
    for i in range(position.size):
        p = position[i] + f32(0.5)
        p = last if p > last else p
        cells[i] += step * i32(p if p >= f32(0) else f32(0))
