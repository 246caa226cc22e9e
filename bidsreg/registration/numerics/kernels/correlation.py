"""Local correlation of two volumes, and its gradient, in one pass. Reference: `similarity.intensity.LocalCorrelation`.

Volumes are flat, with room before and behind. Windows are summed along z and y plane by plane, and five planes are held
at a time; at the ends of rows and planes such sums are meaningless, and nothing that counts depends on them.
"""

from __future__ import annotations

import numpy as np

from bidsreg.registration.numerics.kernels.compiling import kernel, part

f32 = np.float32
REACH = 2
"""Voxels by which a window reaches beyond its centre."""
WIDTH = 2 * REACH + 1
SHARE = f32(1 / WIDTH**3)


def beside(row: int) -> int:
    """Return how many values before and behind a plane its sums depend on; `row` values lie between neighbours in y."""
    return REACH * row + REACH


@kernel(
    'UniTuple(f8, 2)(f4[::1], f4[:,::1], f4[::1], i8, i8, i8, i8, f4, '
    'f4[:,:,::1], f4[:,:,::1], f4[:,::1], f4[:,::1], f4[:,::1], f4[::1])'
)
def correlate(
    image, fixed, weight, margin, planes, plane, row, floor, moments, pulls, strips, around, rows, gradient
):  # fmt: skip
    """Sum one minus the squared correlation of windows of 5 x 5 x 5 voxels: `LocalCorrelation.sums_and_gradient`.

    With w the weight, c the covariance, v and u the variances of the two images: returns ``sum w (1 - c^2 / (v u))``,
    v not less than `floor`, and ``sum w``.

    Parameters
    ----------
    image : float32, shape (N,)
        The moving volume.
    fixed : float32, shape (3, N)
        The fixed volume, its local mean, and one over its local variance.
    weight : float32, shape (N,)
        Zero for all voxels less than `REACH` from the border.
    margin : int
        Values before the first voxel, at least `beside` (row).
    planes, plane, row : int
        Number of planes of constant x, values between neighbours along x, and along y.
    floor : float32
        Smallest variance of the moving volume.
    moments, pulls : float32, shape (WIDTH, 3, plane)
        Scratch.
    strips : float32, shape (2, plane + 2 * beside(row))
        Scratch.
    around : float32, shape (3, plane + 2 * beside(row))
        Scratch.
    rows : float32, shape (4, plane)
        Scratch.
    gradient : float32, shape (N,)
        Of the first sum by the image; overwritten where there are voxels.
    """
    edge = REACH * row + REACH
    pulls[:] = f32(0)
    around[:] = f32(0)
    total, counted = 0.0, 0.0
    for x in range(planes + 2 * REACH):
        if x < planes:
            at = margin + x * plane
            _moments(image, fixed[0], at, plane, row, edge, moments[x % WIDTH], strips)
        # the plane all of whose windows are there now, and the one all of whose windows are done
        centre, done = x - REACH, x - 2 * REACH
        if REACH <= centre < planes - REACH:
            at = margin + centre * plane
            seen, unlike = _pull(fixed, weight, at, plane, edge, floor, moments, around, rows)
            total, counted = total + unlike, counted + seen
            for k in range(3):
                _sum_window(around[k], strips[1], plane, row, edge, pulls[centre % WIDTH, k])
        elif centre >= 0:
            pulls[centre % WIDTH] = f32(0)
        if done >= 0:
            for k in range(3):
                _sum_planes(pulls[0, k], pulls[1, k], pulls[2, k], pulls[3, k], pulls[4, k], rows[k])
            at = margin + done * plane
            here, there = image[at : at + plane], fixed[0, at : at + plane]
            _resolve(here, there, rows[0], rows[1], rows[2], gradient[at : at + plane])
    return total, counted


@kernel('void(f4[::1], f4, f4[::1])')
def add_scaled(values, by, to):
    """Add values times a number to others."""
    for i in range(to.size):
        to[i] += by * values[i]


@kernel('void(f4[::1], f4, f4[::1])')
def set_scaled(values, by, to):
    """Set others to values times a number."""
    for i in range(to.size):
        to[i] = by * values[i]


@kernel('void(f4[::1], i8[:,::1], f4[::1])')
def unpack(values, runs, to):
    """Put values, one run after another, where the runs lie: (R, 3), the first place, the first value, how many."""
    for run in range(runs.shape[0]):
        for i in range(runs[run, 2]):
            to[runs[run, 0] + i] = values[runs[run, 1] + i]


@part
def _moments(image, fixed, at, plane, row, edge, sums, strips):
    """Sum the moving values of a plane, their squares, and products with fixed ones, over windows along z and y."""
    values = image[at - edge : at + plane + edge]
    _sum_window(values, strips[1], plane, row, edge, sums[0])
    _multiply(values, values, strips[0])
    _sum_window(strips[0], strips[1], plane, row, edge, sums[1])
    _multiply(values, fixed[at - edge : at + plane + edge], strips[0])
    _sum_window(strips[0], strips[1], plane, row, edge, sums[2])


@part
def _multiply(first, second, out):
    for i in range(out.size):
        out[i] = first[i] * second[i]


@part
def _sum_window(values, along, plane, row, edge, out):
    """Sum five neighbours along z, and then along y; `values` begin `edge` before the plane."""
    n = plane + 2 * REACH * row
    _sum_planes(values[0:n], values[1 : n + 1], values[2 : n + 2], values[3 : n + 3], values[4 : n + 4], along[:n])
    a, b, c = along[:plane], along[row : row + plane], along[2 * row : 2 * row + plane]
    d, e = along[3 * row : 3 * row + plane], along[4 * row : 4 * row + plane]
    _sum_planes(a, b, c, d, e, out)


@part
def _sum_planes(a, b, c, d, e, out):
    for i in range(out.size):
        out[i] = a[i] + b[i] + c[i] + d[i] + e[i]


@part
def _pull(fixed, weight, at, plane, edge, floor, moments, around, rows):
    """Set what every window of a plane pulls at its voxels with; return the sums of weights, and of weighted values.

    With a the covariance over both variances and b = a times the covariance over the moving variance, the derivative
    of r^2 by a voxel m in the window is 2 (a (f - mean f) - b (m - mean m)) / 125; `around` gets a, b, and b mean m -
    a mean f, times the weight.
    """
    for k in range(3):
        _sum_planes(moments[0, k], moments[1, k], moments[2, k], moments[3, k], moments[4, k], rows[k])
    mean, inverse, covariance, free = rows[0], rows[1], rows[2], rows[3]
    level, counts = fixed[1, at : at + plane], weight[at : at + plane]
    a, b, rest = around[0, edge : edge + plane], around[1, edge : edge + plane], around[2, edge : edge + plane]
    _spread(mean, inverse, floor, free)
    _covary(mean, level, covariance)
    _divide(covariance, inverse, fixed[2, at : at + plane], a)
    seen, unlike = _weigh(covariance, counts, a)
    _times_three(a, covariance, inverse, free, b)
    _remain(a, b, mean, level, rest)
    return seen, unlike


@part
def _spread(mean, square, floor, free):
    """Turn sums of values and of squares into means and inverse variances; tell where these are not the floor's."""
    for i in range(free.size):
        m = SHARE * mean[i]
        spread = SHARE * square[i] - m * m
        free[i] = f32(1) if spread > floor else f32(0)
        mean[i] = m
        # a comparison that keeps NaN
        square[i] = f32(1) / (floor if spread <= floor else spread)


@part
def _covary(mean, level, product):
    for i in range(product.size):
        product[i] = SHARE * product[i] - mean[i] * level[i]


@part
def _divide(covariance, inverse, fixed_inverse, out):
    for i in range(out.size):
        out[i] = covariance[i] * inverse[i] * fixed_inverse[i]


@part
def _weigh(covariance, weight, a):
    seen, unlike = f32(0), f32(0)
    for i in range(a.size):
        seen += weight[i]
        unlike += weight[i] * (f32(1) - a[i] * covariance[i])
        a[i] *= weight[i]
    return np.float64(seen), np.float64(unlike)


@part
def _times_three(a, covariance, inverse, free, out):
    for i in range(out.size):
        out[i] = a[i] * covariance[i] * inverse[i] * free[i]


@part
def _remain(a, b, mean, level, out):
    for i in range(out.size):
        out[i] = b[i] * mean[i] - a[i] * level[i]


@part
def _resolve(moving, fixed, by_fixed, by_moving, rest, out):
    for i in range(out.size):
        out[i] = f32(2) * SHARE * (by_moving[i] * moving[i] - by_fixed[i] * fixed[i] - rest[i])
