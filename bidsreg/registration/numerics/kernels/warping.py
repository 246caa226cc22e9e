"""A volume warped by a coarse displacement in one box, and the gradient of that by the displacement.

Interpolation of the displacement is separable and banded: along each axis a value depends on a few others. A band is
the ascending indices of these neighbours and their weights, its taps: four, or a multiple, some of which may be zero.
The adjoint has bands of its own, those of the transposed matrices. Volumes of the box are flat, with room before and
behind.
"""

from __future__ import annotations

import numpy as np

from bidsreg.registration.numerics.kernels.compiling import kernel, part

f32, i32 = np.float32, np.int32
STRIP = 512
"""Columns along x whose products are held at a time: they stay in the second cache."""
_BANDS = 'UniTuple(u8[:,::1], 3), UniTuple(f4[:,::1], 3)'


@kernel(
    f'void(f4[:,:,:,::1], i8[::1], {_BANDS}, UniTuple(f4[:,::1], 3), f4[::1], i8[::1], u1[::1], f4[:,::1], f4[:,::1], '
    'i8, i8[:,::1], i8[:,::1], f4[::1], f4[:,::1], f4[:,:,::1], f4[:,::1], f4[:,::1], f4[:,::1], i4[::1], '
    'f4[::1], f4[:,::1], f4[:,::1])'
)
def warp(
    coarse, corner, neighbours, taps, axes, volume, shape, counts, lowest, highest,
    margin, needed, compared, weight, lines, planes, across, at, corners, cells,
    image, slopes, seen,
):  # fmt: skip
    """Sample a volume where a displacement leads, plane by plane, and weigh the voxels.

    Equals `separable.apply` of the displacement, added to the undisplaced positions; `Sampler.__call__` there; and
    `DataTerm._weight`. With tx, ty, tz the taps and x', y', z' the first neighbours, the voxel (x, y, z) lies at::

        axes_x[x] + axes_y[y] + axes_z[z] + sum_ijk tx[x, i] ty[y, j] tz[z, k] coarse[x' + i, y' + j, z' + k]

    Parameters
    ----------
    coarse : float32, shape (3, CX, CY, CZ)
        Displacement in voxels of the volume.
    corner : int64, shape (3,)
        Where the part begins that the box depends on, of a x b x c points.
    neighbours, taps : three uint64 and three float32 of shape (n, t)
        Bands for the X, Y and Z voxels along the box's axes; `neighbours` are counted from the corner.
    axes : three float32 of shape (3, n)
        What each axis of the box adds to the undisplaced positions.
    volume : float32, shape (A * B * C,)
        Beyond its outer voxel centres the border value goes on.
    shape : int64, shape (3,)
        A, B, C.
    counts : uint8, shape (A * B * C,) or (0,)
        1 where the volume may be compared, by the nearest voxel; none for everywhere.
    lowest, highest : float32, shape (3, M)
        Between which positions a voxel is seen, in each of M ways to weigh them.
    margin : int
        Values of flat volumes before the box.
    needed : int64, shape (R, 2)
        Runs of voxels to sample: the first one, and how many, at most n. No run begins in one plane of constant x and
        is needed in the next one.
    compared : int64, shape (Q, 3)
        Runs of voxels to weigh: the first one, the place of its weight, and how many.
    weight : float32, shape (P,)
        Of the voxels to weigh, as given.
    lines, planes, across : float32, shapes (b, Z), (3, a, Y * Z) and (4, Y * Z)
        Scratch.
    at, corners, cells : float32, float32 and int32, shapes (3, Y * Z + n), (11, n) and (n,)
        Scratch.
    image : float32, shape (N,)
        Values are written in the runs.
    slopes : float32, shape (3, N)
        Their derivatives by the position are written in the runs.
    seen : float32, shape (M, P)
        Weights of voxels that are seen are written, else 0.
    """
    size, length = planes.shape[2], lines.shape[1]
    for c in range(3):
        for y in range(neighbours[1].shape[0]):
            _shifted(axes[1][c, y], axes[2][c], across[c, y * length : (y + 1) * length])
    known, sampled, weighed = 0, 0, 0
    for x in range(neighbours[0].shape[0]):
        while known <= np.int64(neighbours[0][x, taps[0].shape[1] - 1]):
            _expand(coarse, corner, known, neighbours, taps, lines, planes)
            known += 1
        for c in range(3):
            _combine(planes[c], neighbours[0][x], taps[0][x], at[c, :size])
            # two sums, rounded as in torch: positions fall into the same cells
            _shifted(axes[0][c, x], across[c], across[3])
            _add(across[3], at[c, :size])
        begin = margin + x * size
        while sampled < needed.shape[0] and needed[sampled, 0] < begin + size:
            start, count = needed[sampled]
            first, last = start - begin, start - begin + count
            _find_cells(at[0, first:last], at[1, first:last], at[2, first:last], shape, cells, corners)
            _fetch_corners(volume, cells[:count], shape, corners)
            stop = start + count
            _blend(corners, image[start:stop], slopes[0, start:stop], slopes[1, start:stop], slopes[2, start:stop])
            sampled += 1
        while weighed < compared.shape[0] and compared[weighed, 0] < begin + size:
            start, packed, count = compared[weighed]
            first, last = start - begin, start - begin + count
            if counts.size:
                _find_nearest(at[0, first:last], at[1, first:last], at[2, first:last], shape, cells)
            for m in range(seen.shape[0]):
                now = seen[m, packed : packed + count]
                _copy(weight[packed : packed + count], now)
                for c in range(3):
                    _keep_between(at[c, first:last], lowest[c, m], highest[c, m], now)
                if counts.size:
                    _multiply_by_counts(counts, cells, now)
            weighed += 1


@kernel(f'void(f4[::1], f4[:,::1], i8, {_BANDS}, f4[:,::1], f4[:,::1], f4[:,:,::1], f4[::1], f4[:,:,:,::1])')
def collect(by_image, slopes, margin, neighbours, taps, products, planes, lines, line, by_coarse):
    """Take the gradient by a box's image back to the coarse displacement: the adjoint of the sampling in `warp`.

    Equals ``separable.apply_transposed(by_image * slopes)``.

    Parameters
    ----------
    by_image : float32, shape (N,)
        Gradient by the value at each voxel.
    slopes : float32, shape (3, N)
        As `warp` has written them.
    margin : int
        Values of flat volumes before the box.
    neighbours, taps : three uint64 and three float32 of shape (n, t)
        Bands of the adjoint, for the a, b and c coarse points along the axes.
    products : float32, shape (X, STRIP)
        Scratch.
    planes, lines : float32, shapes (a, Y * Z) and (a, Y, Z)
        Scratch: the same memory.
    line : float32, shape (Z,)
        Scratch.
    by_coarse : float32, shape (3, a, b, c)
        Is overwritten.
    """
    size = planes.shape[1]
    for c in range(3):
        for start in range(0, size, STRIP):
            stop = min(start + STRIP, size)
            for x in range(products.shape[0]):
                begin = margin + x * size
                there = slice(begin + start, begin + stop)
                _multiply(by_image[there], slopes[c, there], products[x, : stop - start])
            for x in range(planes.shape[0]):
                _combine(products, neighbours[0][x], taps[0][x], planes[x, start:stop])
        for x in range(planes.shape[0]):
            for y in range(by_coarse.shape[2]):
                _combine(lines[x], neighbours[1][y], taps[1][y], line)
                _gather(line, neighbours[2], taps[2], by_coarse[c, x, y])


# ------------------------------------------------------------------------------------------------------- displacement
@part
def _expand(coarse, corner, x, neighbours, taps, lines, planes):
    """Interpolate one coarse plane of constant x along z and y."""
    length = lines.shape[1]
    for c in range(3):
        for y in range(lines.shape[0]):
            _gather(coarse[c, corner[0] + x, corner[1] + y, corner[2] :], neighbours[2], taps[2], lines[y])
        for y in range(neighbours[1].shape[0]):
            _combine(lines, neighbours[1][y], taps[1][y], planes[c, x, y * length : (y + 1) * length])


@part
def _gather(row, neighbours, taps, out):
    """Take the banded product with one row."""
    for k in range(0, taps.shape[1], 4):
        for i in range(out.size):
            total = taps[i, k] * row[neighbours[i, k]] + taps[i, k + 1] * row[neighbours[i, k + 1]]
            total += taps[i, k + 2] * row[neighbours[i, k + 2]] + taps[i, k + 3] * row[neighbours[i, k + 3]]
            out[i] = total if k == 0 else out[i] + total


@part
def _combine(rows, neighbours, taps, out):
    """Sum rows with weights, four at a time."""
    for k in range(0, taps.size, 4):
        a, b = rows[neighbours[k]], rows[neighbours[k + 1]]
        c, d = rows[neighbours[k + 2]], rows[neighbours[k + 3]]
        _mix(a, b, c, d, taps[k], taps[k + 1], taps[k + 2], taps[k + 3], k > 0, out)


@part
def _mix(a, b, c, d, wa, wb, wc, wd, more, out):
    if more:
        for i in range(out.size):
            out[i] += wa * a[i] + wb * b[i] + wc * c[i] + wd * d[i]
    else:
        for i in range(out.size):
            out[i] = wa * a[i] + wb * b[i] + wc * c[i] + wd * d[i]


@part
def _shifted(by, row, out):
    for i in range(row.size):
        out[i] = by + row[i]


@part
def _add(row, to):
    for i in range(to.size):
        to[i] += row[i]


@part
def _multiply(first, second, out):
    for i in range(out.size):
        out[i] = first[i] * second[i]


# ----------------------------------------------------------------------------------------------------------- sampling
@part
def _find_cells(x, y, z, shape, cells, corners):
    """Find the index of each cell's lowest corner, and its upper corners' weights: rows 8 (x) to 10 (z)."""
    along_x = i32(shape[1] * shape[2] if shape[0] > 1 else 0)
    along_y = i32(shape[2] if shape[1] > 1 else 0)
    for i in range(x.size):
        cells[i] = 0
    _add_axis(x, shape[0], along_x, cells, corners[8])
    _add_axis(y, shape[1], along_y, cells, corners[9])
    _add_axis(z, shape[2], i32(1 if shape[2] > 1 else 0), cells, corners[10])


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


# ------------------------------------------------------------------------------------------------------------ weights
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
def _find_nearest(x, y, z, shape, cells):
    """Find the index of the voxel that each position is nearest to."""
    for i in range(x.size):
        cells[i] = 0
    _add_nearest(x, shape[0], i32(shape[1] * shape[2]), cells)
    _add_nearest(y, shape[1], i32(shape[2]), cells)
    _add_nearest(z, shape[2], i32(1), cells)


@part
def _multiply_by_counts(counts, cells, weight):
    for i in range(weight.size):
        weight[i] *= f32(counts[np.uint64(cells[i])])


@part
def _add_nearest(position, size, step, cells):
    last = f32(size - 1)
    for i in range(position.size):
        p = position[i] + f32(0.5)
        p = last if p > last else p
        cells[i] += step * i32(p if p >= f32(0) else f32(0))
