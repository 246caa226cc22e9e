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
    last, highest = f32(size - 1), i32(max(size - 2, 0))
    for i in range(position.size):
        p = position[i]
        # comparisons that leave NaN as it is: it must reach the loss
        p = f32(0) if p < f32(0) else p
        p = last if p > last else p
        # the index of NaN must lie in the volume all the same; truncation is floor from 0 on
        lower = i32(p if p >= f32(0) else f32(0))
        lower = highest if lower > highest else lower
        cells[i] += step * lower
        upper[i] = p - f32(lower)


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
    """Blend corners by the weights in rows 8 to 10 of `corners`."""
    # first along z, into the rows of the lower corners; then their rise along z, into those of the upper ones
    weight = corners[10]
    for pair in range(4):
        low, high = corners[2 * pair], corners[2 * pair + 1]
        for i in range(values.size):
            rise = high[i] - low[i]
            low[i] = low[i] + weight[i] * rise
            high[i] = rise
    e00, e01, e10, e11 = corners[0], corners[2], corners[4], corners[6]
    _across(e00, e01, e10, e11, corners[9], corners[8], values, by_x, by_y)
    _bilinear(corners[1], corners[3], corners[5], corners[7], corners[9], corners[8], by_z)


@part
def _across(e00, e01, e10, e11, wy, wx, values, by_x, by_y):
    """Values and slopes in a plane of constant z from its four edges, ``e`` by x and y."""
    for i in range(values.size):
        rise0, rise1 = e01[i] - e00[i], e11[i] - e10[i]
        f0, f1 = e00[i] + wy[i] * rise0, e10[i] + wy[i] * rise1
        by_x[i] = f1 - f0
        values[i] = f0 + wx[i] * (f1 - f0)
        by_y[i] = rise0 + wx[i] * (rise1 - rise0)


@part
def _bilinear(r00, r01, r10, r11, wy, wx, out):
    for i in range(out.size):
        r0, r1 = r00[i] + wy[i] * (r01[i] - r00[i]), r10[i] + wy[i] * (r11[i] - r10[i])
        out[i] = r0 + wx[i] * (r1 - r0)


@kernel('f8(f4[:,::1], f4[:,::1], f4[:,::1], u1[::1], i8[::1], i8[:,::1], f4[::1], f4[::1])')
def weigh(at, lowest, highest, counts, shape, runs, weight, out):
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
    """
    total = 0.0
    for run in range(runs.shape[0]):
        start, packed, count = runs[run]
        x, y, z = at[0, start : start + count], at[1, start : start + count], at[2, start : start + count]
        given, now = weight[packed : packed + count], out[packed : packed + count]
        for i in range(count):
            beside = (x[i] < lowest[0, 0]) | (x[i] > highest[0, 0]) | (y[i] < lowest[1, 0])
            beside |= (y[i] > highest[1, 0]) | (z[i] < lowest[2, 0]) | (z[i] > highest[2, 0])
            now[i] = f32(0) if beside else given[i]
        if counts.size:
            for i in range(count):
                o = (_nearest(x[i], shape[0]) * shape[1] + _nearest(y[i], shape[1])) * shape[2]
                now[i] *= f32(counts[o + _nearest(z[i], shape[2])])
        for i in range(count):
            total += now[i]
    return total


@part
def _nearest(position, size):
    p = position + f32(0.5)
    p = min(p, f32(size - 1))
    return np.int64(p if p >= f32(0) else f32(0))
