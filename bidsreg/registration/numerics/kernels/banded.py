"""A coarse displacement interpolated at the voxels of a box, and the adjoint of that.

Interpolation is separable and banded: along each axis a voxel depends on a few neighbouring points. A band is the index
of the first of them, and their weights (taps).
"""

from __future__ import annotations

import numpy as np

from bidsreg.registration.numerics.kernels.compiling import kernel, part

f32 = np.float32
_BANDS = 'UniTuple(i8[::1], 3), UniTuple(f4[:,::1], 3)'


@kernel(f'void(f4[:,:,:,::1], i8[::1], {_BANDS}, f4[:,::1], f4[:,:,::1], f4[:,::1], i8, f4[:,::1])')
def place(coarse, corner, firsts, taps, lines, planes, undisplaced, margin, at):
    """Displace the voxels of a box: `separable.apply` of a part of `coarse`, plus the undisplaced positions.

    ``at[c, x, y, z] = undisplaced[c, x, y, z] + sum_ijk tx[x, i] ty[y, j] tz[z, k] coarse[c, x' + i, y' + j, z' + k]``

    Parameters
    ----------
    coarse : float32, shape (3, CX, CY, CZ)
        Displacement in voxels of the moving volume.
    corner : int64, shape (3,)
        Where the part begins that the box depends on, of a x b x c points.
    firsts, taps : three int64 of shape (n,), three float32 of shape (n, taps)
        Bands along the box's axes; `firsts` are counted from the corner.
    lines : float32, shape (b, Z)
        Scratch.
    planes : float32, shape (a, Y, Z)
        Scratch.
    undisplaced : float32, shape (3, X * Y * Z)
        Positions.
    margin : int
        Values of each row of `at` before the box.
    at : float32, shape (3, N)
        Positions of the displaced voxels are written from `margin` on.
    """
    first_x, first_y, first_z = firsts
    tap_x, tap_y, tap_z = taps
    a, b, size = planes.shape[0], lines.shape[0], planes.shape[1] * planes.shape[2]
    for c in range(3):
        for x in range(a):
            for y in range(b):
                source = coarse[c, corner[0] + x, corner[1] + y, corner[2] :]
                for z in range(lines.shape[1]):
                    total = f32(0)
                    for k in range(tap_z.shape[1]):
                        total += tap_z[z, k] * source[first_z[z] + k]
                    lines[y, z] = total
            for y in range(planes.shape[1]):
                planes[x, y] = f32(0)
                for k in range(tap_y.shape[1]):
                    _add_scaled(planes[x, y], tap_y[y, k], lines[first_y[y] + k])
        for x in range(first_x.size):
            begin = margin + x * size
            placed = at[c, begin : begin + size]
            placed[:] = undisplaced[c, x * size : (x + 1) * size]
            for k in range(tap_x.shape[1]):
                _add_scaled(placed, tap_x[x, k], planes[first_x[x] + k].ravel())


@kernel(f'void(f4[::1], f4[:,::1], i8, {_BANDS}, f4[::1], f4[:,::1], f4[:,:,::1], f4[:,:,:,::1])')
def collect(by_value, slopes, margin, firsts, taps, product, lines, planes, by_coarse):
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
    firsts, taps, lines, planes
        As for `place`.
    product : float32, shape (Y * Z,)
        Scratch.
    by_coarse : float32, shape (3, a, b, c)
        Is overwritten.
    """
    first_x, first_y, first_z = firsts
    tap_x, tap_y, tap_z = taps
    size = product.size
    by_coarse[:] = f32(0)
    for c in range(3):
        planes[:] = f32(0)
        for x in range(first_x.size):
            begin = margin + x * size
            _multiply(by_value[begin : begin + size], slopes[c, begin : begin + size], product)
            for k in range(tap_x.shape[1]):
                _add_scaled(planes[first_x[x] + k].ravel(), tap_x[x, k], product)
        for x in range(planes.shape[0]):
            lines[:] = f32(0)
            for y in range(planes.shape[1]):
                for k in range(tap_y.shape[1]):
                    _add_scaled(lines[first_y[y] + k], tap_y[y, k], planes[x, y])
            for y in range(lines.shape[0]):
                for z in range(lines.shape[1]):
                    for k in range(tap_z.shape[1]):
                        by_coarse[c, x, y, first_z[z] + k] += tap_z[z, k] * lines[y, z]


@part
def _add_scaled(to, factor, row):
    for i in range(to.size):
        to[i] += factor * row[i]


@part
def _multiply(first, second, out):
    for i in range(out.size):
        out[i] = first[i] * second[i]
