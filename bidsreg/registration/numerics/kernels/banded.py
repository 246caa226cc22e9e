"""A coarse displacement interpolated at the voxels of a box, and the adjoint of that.

Interpolation is separable and banded: along each axis a value depends on a few others. A band is the indices of these
neighbours and their weights, its taps: four, or a multiple, some of which may be zero. The adjoint has bands of its
own, those of the transposed matrices.
"""

from __future__ import annotations

import numpy as np

from bidsreg.registration.numerics.kernels.compiling import kernel, part

f32 = np.float32
_BANDS = 'UniTuple(u8[:,::1], 3), UniTuple(f4[:,::1], 3)'


@kernel(f'void(f4[:,:,:,::1], i8[::1], {_BANDS}, f4[:,::1], f4[:,::1], f4[:,::1], i8, f4[:,::1])')
def place(coarse, corner, neighbours, taps, lines, planes, undisplaced, margin, at):
    """Displace the voxels of a box: `separable.apply` of a part of `coarse`, plus the undisplaced positions.

    ``at[c, x, y, z] = undisplaced[c, x, y, z] + sum_ijk tx[x, i] ty[y, j] tz[z, k] coarse[c, x' + i, y' + j, z' + k]``

    Parameters
    ----------
    coarse : float32, shape (3, CX, CY, CZ)
        Displacement in voxels of the moving volume.
    corner : int64, shape (3,)
        Where the part begins that the box depends on, of a x b x c points.
    neighbours, taps : three uint64 and three float32 of shape (n, t)
        Bands for the X, Y and Z voxels along the box's axes; `neighbours` are counted from the corner.
    lines : float32, shape (b, Z)
        Scratch.
    planes : float32, shape (a, Y * Z)
        Scratch.
    undisplaced : float32, shape (3, X * Y * Z)
        Positions.
    margin : int
        Values of each row of `at` before the box.
    at : float32, shape (3, N)
        Positions of the displaced voxels are written from `margin` on.
    """
    b, length = lines.shape
    size = planes.shape[1]
    for c in range(3):
        for x in range(planes.shape[0]):
            for y in range(b):
                _gather(coarse[c, corner[0] + x, corner[1] + y, corner[2] :], neighbours[2], taps[2], lines[y])
            for y in range(neighbours[1].shape[0]):
                _combine(lines, neighbours[1][y], taps[1][y], planes[x, y * length : (y + 1) * length])
        for x in range(neighbours[0].shape[0]):
            begin = margin + x * size
            placed = at[c, begin : begin + size]
            _combine(planes, neighbours[0][x], taps[0][x], placed)
            _add(undisplaced[c, x * size : (x + 1) * size], placed)


@kernel(f'void(f4[::1], f4[:,::1], i8, {_BANDS}, f4[:,::1], f4[::1], f4[:,::1], f4[::1], f4[:,:,:,::1])')
def collect(by_value, slopes, margin, neighbours, taps, product, plane, lines, line, by_coarse):
    """Take the gradient by the values of a box's voxels back to the coarse displacement: the adjoint of `place`.

    Equals ``separable.apply_transposed(by_value * slopes)``.

    Parameters
    ----------
    by_value : float32, shape (N,)
        Gradient by the value at each voxel.
    slopes : float32, shape (3, N)
        Gradient of the value by the position.
    margin : int
        Values of each row of these two before the box.
    neighbours, taps : three uint64 and three float32 of shape (n, t)
        Bands of the adjoint, for the a, b and c coarse points along the axes.
    product : float32, shape (X, Y * Z)
        Scratch.
    plane, lines : float32, shapes (Y * Z,) and (Y, Z)
        Scratch: the same memory.
    line : float32, shape (Z,)
        Scratch.
    by_coarse : float32, shape (3, a, b, c)
        Is overwritten.
    """
    size = plane.size
    for c in range(3):
        for x in range(product.shape[0]):
            begin = margin + x * size
            _multiply(by_value[begin : begin + size], slopes[c, begin : begin + size], product[x])
        for x in range(by_coarse.shape[1]):
            _combine(product, neighbours[0][x], taps[0][x], plane)
            for y in range(by_coarse.shape[2]):
                _combine(lines, neighbours[1][y], taps[1][y], line)
                _gather(line, neighbours[2], taps[2], by_coarse[c, x, y])


@part
def _gather(row, neighbours, taps, out):
    """Take the banded product with one row."""
    for i in range(out.size):
        total = f32(0)
        for k in range(0, taps.shape[1], 4):
            total += taps[i, k] * row[neighbours[i, k]] + taps[i, k + 1] * row[neighbours[i, k + 1]]
            total += taps[i, k + 2] * row[neighbours[i, k + 2]] + taps[i, k + 3] * row[neighbours[i, k + 3]]
        out[i] = total


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
def _add(row, to):
    for i in range(to.size):
        to[i] += row[i]


@part
def _multiply(first, second, out):
    for i in range(out.size):
        out[i] = first[i] * second[i]
