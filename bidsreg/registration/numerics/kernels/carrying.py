"""Positions taken through matrices and displacement fields, back through fields, and values of volumes at positions.

Every position is worked out on its own, in double precision: answers do not depend on how many threads share them out.
References: `scipy.ndimage.map_coordinates`, `Deformation.apply_labels` and closed forms.
"""

from __future__ import annotations

import math

import numpy as np

from bidsreg.registration.numerics.kernels.compiling import kernel, part
from bidsreg.registration.numerics.kernels.places import (
    displacement_at,
    linear,
    place,
    value_and_slopes,
    within,
)

PLAIN = 6
"""Steps back by the plain fixed point before Newton's, which also need slopes."""
MOST = 60
"""Steps back at most, for any position."""
SHORTEST = 2.0**-6
"""Fraction of a step back that is tried: a position that would need a shorter one is stuck."""
RADIUS = 3
"""Voxels to each side that a windowed sinc looks at, as ANTs' does."""
TIE = 1e-6
"""Weights of labels closer than this are equal: rounding must not choose between labels."""


@kernel('void(f8[:, ::1], i8, i8, i8, i8, f8[:, ::1])')
def lay(matrix, first, last, rows, columns, out):
    """Set out, (N, 3), to where a matrix (3, 4) takes the voxels of planes first to last of a grid."""
    n = 0
    for i in range(first, last):
        for j in range(rows):
            for k in range(columns):
                for axis in range(3):
                    out[n, axis] = matrix[axis, 3] + matrix[axis, 0] * i + matrix[axis, 1] * j + matrix[axis, 2] * k
                n += 1


@kernel('void(f8[:, ::1], f8[:, ::1])')
def turn(matrix, points):
    """Replace positions (N, 3) by where a matrix (3, 4) takes them."""
    for n in range(len(points)):
        x, y, z = points[n, 0], points[n, 1], points[n, 2]
        for axis in range(3):
            points[n, axis] = matrix[axis, 3] + matrix[axis, 0] * x + matrix[axis, 1] * y + matrix[axis, 2] * z


@kernel('void(f4[::1], i8[::1], f8[:, ::1], f8[:, ::1])')
def displace(field, size, to_field, points):
    """Replace positions x (N, 3) by x + u(x).

    u is flat, in the unit of the positions, linear between its voxels and zero beyond the centres of the outer ones;
    to_field, (3, 4), takes positions to its voxels.
    """
    for n in range(len(points)):
        x, y, z = points[n, 0], points[n, 1], points[n, 2]
        a, b, c = _voxel(to_field, x, y, z)
        u, v, w = displacement_at(field, a, b, c, size)
        points[n, 0], points[n, 1], points[n, 2] = x + u, y + v, z + w


@kernel('void(f4[::1], i8[::1], f8[:, ::1], f8, f8[:, ::1], f8[::1])')
def undo(field, size, to_field, tolerance, points, left):
    """Replace positions y (N, 3) by x with x + u(x) = y, and set left, (N,), to how far each is still off.

    The fixed-point iteration of Chen et al. 2008 (Medical Physics 35:81-88), then Newton's; a step that does not bring
    a position closer is taken back and tried again at half its length. The field is as for `displace`.
    """
    for n in range(len(points)):
        gx, gy, gz = points[n, 0], points[n, 1], points[n, 2]
        x, y, z = gx, gy, gz
        u, v, w = _displacement(field, size, to_field, x, y, z)
        rx, ry, rz = -u, -v, -w
        rest = math.sqrt(rx * rx + ry * ry + rz * rz)
        reach, plain = 1.0, True
        for step in range(MOST):
            if not (rest > tolerance) or reach < SHORTEST:
                break
            sx, sy, sz = rx, ry, rz
            if not plain or step >= PLAIN:
                sx, sy, sz = _newton(field, size, to_field, x, y, z, rx, ry, rz)
            nx, ny, nz = x + reach * sx, y + reach * sy, z + reach * sz
            u, v, w = _displacement(field, size, to_field, nx, ny, nz)
            qx, qy, qz = gx - nx - u, gy - ny - v, gz - nz - w
            now = math.sqrt(qx * qx + qy * qy + qz * qz)
            if now < rest:
                x, y, z, rx, ry, rz, rest = nx, ny, nz, qx, qy, qz, now
                reach = min(2 * reach, 1.0)
            elif plain and step < PLAIN:
                plain = False
            else:
                reach /= 2
        points[n, 0], points[n, 1], points[n, 2] = x, y, z
        left[n] = rest


@part
def _voxel(to_field, x, y, z):
    """Return the voxel of a position."""
    a = to_field[0, 3] + to_field[0, 0] * x + to_field[0, 1] * y + to_field[0, 2] * z
    b = to_field[1, 3] + to_field[1, 0] * x + to_field[1, 1] * y + to_field[1, 2] * z
    c = to_field[2, 3] + to_field[2, 0] * x + to_field[2, 1] * y + to_field[2, 2] * z
    return a, b, c


@part
def _displacement(field, size, to_field, x, y, z):
    """Return u at a position."""
    a, b, c = _voxel(to_field, x, y, z)
    return displacement_at(field, a, b, c, size)


@part
def _newton(field, size, to_field, x, y, z, rx, ry, rz):
    """Return s with (I + du/dx) s = r; r itself where that cannot be solved."""
    a, b, c = _voxel(to_field, x, y, z)
    if not within(a, b, c, size, 0.0):
        return rx, ry, rz
    at, dx, dy, dz, wx, wy, wz = place(a, b, c, size, 3)
    _, ua, ub, uc = value_and_slopes(field, at, dx, dy, dz, wx, wy, wz)
    _, va, vb, vc = value_and_slopes(field, at + np.uint64(1), dx, dy, dz, wx, wy, wz)
    _, za, zb, zc = value_and_slopes(field, at + np.uint64(2), dx, dy, dz, wx, wy, wz)
    m00 = 1 + ua * to_field[0, 0] + ub * to_field[1, 0] + uc * to_field[2, 0]
    m01 = ua * to_field[0, 1] + ub * to_field[1, 1] + uc * to_field[2, 1]
    m02 = ua * to_field[0, 2] + ub * to_field[1, 2] + uc * to_field[2, 2]
    m10 = va * to_field[0, 0] + vb * to_field[1, 0] + vc * to_field[2, 0]
    m11 = 1 + va * to_field[0, 1] + vb * to_field[1, 1] + vc * to_field[2, 1]
    m12 = va * to_field[0, 2] + vb * to_field[1, 2] + vc * to_field[2, 2]
    m20 = za * to_field[0, 0] + zb * to_field[1, 0] + zc * to_field[2, 0]
    m21 = za * to_field[0, 1] + zb * to_field[1, 1] + zc * to_field[2, 1]
    m22 = 1 + za * to_field[0, 2] + zb * to_field[1, 2] + zc * to_field[2, 2]
    c00, c01, c02 = m11 * m22 - m12 * m21, m02 * m21 - m01 * m22, m01 * m12 - m02 * m11
    determinant = m00 * c00 + m10 * c01 + m20 * c02
    if not (abs(determinant) > 1e-6):
        return rx, ry, rz
    c10, c11, c12 = m12 * m20 - m10 * m22, m00 * m22 - m02 * m20, m02 * m10 - m00 * m12
    c20, c21, c22 = m10 * m21 - m11 * m20, m01 * m20 - m00 * m21, m00 * m11 - m01 * m10
    return (
        (c00 * rx + c01 * ry + c02 * rz) / determinant,
        (c10 * rx + c11 * ry + c12 * rz) / determinant,
        (c20 * rx + c21 * ry + c22 * rz) / determinant,
    )


# ---------------------------------------------------------------------------------------------------- values
@part
def _in_view(x, y, z, size):
    """Tell whether a position lies in the field of view: up to the outer faces of the edge voxels, as in ITK."""
    along_x = (x >= -0.5) & (x < size[0] - 0.5)
    along_y = (y >= -0.5) & (y < size[1] - 0.5)
    return along_x & along_y & (z >= -0.5) & (z < size[2] - 0.5)


@part
def _clamped(x, y, z, size):
    """Return the nearest position between the centres of the edge voxels."""
    return (
        min(max(x, 0.0), size[0] - 1.0),
        min(max(y, 0.0), size[1] - 1.0),
        min(max(z, 0.0), size[2] - 1.0),
    )


@kernel('i8(f4[::1], i8[::1], f8[:, ::1], f4, f4[::1])')
def linear_values(image, size, points, fill, out):
    """Set out, (N,), to trilinear values of a flat image at voxel positions (N, 3), and return how many are in view."""
    seen = 0
    for n in range(len(points)):
        x, y, z = points[n, 0], points[n, 1], points[n, 2]
        if not _in_view(x, y, z, size):
            out[n] = fill
            continue
        seen += 1
        x, y, z = _clamped(x, y, z, size)
        at, dx, dy, dz, wx, wy, wz = place(x, y, z, size, 1)
        out[n] = linear(image, at, dx, dy, dz, wx, wy, wz)
    return seen


@kernel(
    'i8(f4[::1], i8[::1], f8[:, ::1], f4, f4[::1])',
    'i8(i4[::1], i8[::1], f8[:, ::1], i4, i4[::1])',
)
def nearest_values(image, size, points, fill, out):
    """Set out to the nearest voxel's values, of two as near the upper one; see `linear_values`."""
    seen = 0
    for n in range(len(points)):
        x, y, z = points[n, 0], points[n, 1], points[n, 2]
        if not _in_view(x, y, z, size):
            out[n] = fill
            continue
        seen += 1
        a, b, c = int(x + 0.5), int(y + 0.5), int(z + 0.5)
        out[n] = image[np.uint64((a * size[1] + b) * size[2] + c)]
    return seen


@kernel('i8(i4[::1], i8[::1], f8[:, ::1], i4, i4[::1])', allocates=True)
def label_values(image, size, points, fill, out):
    """Set out to the labels with the largest sum of trilinear weights, of equal ones the smallest.

    No more than the eight labels around a position are held at a time; see `linear_values`.
    """
    labels, weights = np.empty(8, np.int32), np.empty(8, np.float64)
    seen = 0
    for n in range(len(points)):
        x, y, z = points[n, 0], points[n, 1], points[n, 2]
        if not _in_view(x, y, z, size):
            out[n] = fill
            continue
        seen += 1
        x, y, z = _clamped(x, y, z, size)
        at, dx, dy, dz, wx, wy, wz = place(x, y, z, size, 1)
        mixed = False
        for corner in range(8):
            there = at
            there += dx if corner & 4 else np.uint64(0)
            there += dy if corner & 2 else np.uint64(0)
            there += dz if corner & 1 else np.uint64(0)
            labels[corner] = image[there]
            mixed |= labels[corner] != labels[0]
        if not mixed:
            out[n] = labels[0]
            continue
        for corner in range(8):
            along_x = wx if corner & 4 else 1 - wx
            along_y = wy if corner & 2 else 1 - wy
            weights[corner] = along_x * along_y * (wz if corner & 1 else 1 - wz)
        out[n] = _heaviest(labels, weights)
    return seen


@part
def _heaviest(labels, weights):
    """Return the label with the largest sum of weights, of equal ones the smallest."""
    chosen, most = labels[0], -1.0
    for corner in range(8):
        total = 0.0
        for other in range(8):
            if labels[other] == labels[corner]:
                total += weights[other]
        heavier = total > most + TIE
        if heavier | ((total > most - TIE) & (labels[corner] < chosen)):
            chosen = labels[corner]
            most = max(most, total)
    return chosen


@part
def _mirrored(index, n):
    """Return the voxel that stands for an index beyond the border, mirrored at the centre of the edge voxel."""
    if n == 1:
        return 0
    index = abs(index) % (2 * n - 2)
    return index if index < n else 2 * n - 2 - index


@part
def _cubic(t, weights, axis):
    """Set the four weights of a cubic B-spline a fraction t behind the second of its voxels."""
    s = 1 - t
    weights[axis, 0] = s * s * s / 6
    weights[axis, 1] = 2.0 / 3 - t * t * (2 - t) / 2
    weights[axis, 2] = 2.0 / 3 - s * s * (2 - s) / 2
    weights[axis, 3] = t * t * t / 6


@kernel('i8(f4[::1], i8[::1], f8[:, ::1], f4, f4[::1])', allocates=True)
def spline_values(coefficients, size, points, fill, out):
    """Set out to values of the cubic B-spline with these coefficients, mirrored at the edges; see `linear_values`."""
    weights, index = np.empty((3, 4), np.float64), np.empty((3, 4), np.int64)
    seen = 0
    for n in range(len(points)):
        if not _in_view(points[n, 0], points[n, 1], points[n, 2], size):
            out[n] = fill
            continue
        seen += 1
        for axis in range(3):
            base = math.floor(points[n, axis])
            _cubic(points[n, axis] - base, weights, axis)
            for tap in range(4):
                index[axis, tap] = _mirrored(int(base) - 1 + tap, size[axis])
        out[n] = _summed(coefficients, size, index, weights, 4)
    return seen


@kernel('i8(f4[::1], i8[::1], f8[:, ::1], f4, f4[::1])', allocates=True)
def sinc_values(image, size, points, fill, out):
    """Set out to values of a sinc in Lanczos' window of `RADIUS` voxels, the edge's going on; see `linear_values`.

    The weights along an axis are made to sum to one, so that a constant stays what it is.
    """
    weights, index = np.empty((3, 2 * RADIUS), np.float64), np.empty((3, 2 * RADIUS), np.int64)
    seen = 0
    for n in range(len(points)):
        if not _in_view(points[n, 0], points[n, 1], points[n, 2], size):
            out[n] = fill
            continue
        seen += 1
        for axis in range(3):
            base = math.floor(points[n, axis])
            _lanczos(points[n, axis] - base, weights, axis)
            for tap in range(2 * RADIUS):
                index[axis, tap] = min(max(int(base) + 1 - RADIUS + tap, 0), size[axis] - 1)
        out[n] = _summed(image, size, index, weights, 2 * RADIUS)
    return seen


@part
def _lanczos(t, weights, axis):
    """Set the weights of a windowed sinc a fraction t behind the voxel at `RADIUS` - 1 of its own."""
    total = 0.0
    for tap in range(2 * RADIUS):
        x = math.pi * (t + RADIUS - 1 - tap)
        value = 1.0 if abs(x) < 1e-9 else RADIUS * math.sin(x) * math.sin(x / RADIUS) / (x * x)
        weights[axis, tap] = value
        total += value
    for tap in range(2 * RADIUS):
        weights[axis, tap] /= total


@part
def _summed(values, size, index, weights, taps):
    """Return the sum of values, weighted along the three axes."""
    total = 0.0
    for a in range(taps):
        plane = 0.0
        for b in range(taps):
            start = (index[0, a] * size[1] + index[1, b]) * size[2]
            row = 0.0
            for c in range(taps):
                row += weights[2, c] * np.float64(values[np.uint64(start + index[2, c])])
            plane += weights[1, b] * row
        total += weights[0, a] * plane
    return total
