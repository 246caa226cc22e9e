"""Descriptors of patches: how unlike the fixed ones those of the warped image are, and the gradient of that.

MIND and MIND-SSC are one formula with different neighbours. The image is differenced between pairs of voxels (*steps*),
the squares are summed over patches with binomial weights, and each channel of the descriptor is such a distance, seen
from the voxel that it belongs to. Volumes are flat, and so neighbours are offsets; at the ends of rows and planes the
values that this gives are meaningless, and nothing that counts depends on them.
"""

from __future__ import annotations

import numpy as np

from bidsreg.registration.numerics.kernels.compiling import kernel, part

f32 = np.float32
CHUNK = 2048
"""Values that are smoothed at a time: they stay in the first cache."""
WHOLE = 65535
"""What 1 is in descriptors that are kept in 16 bits: as floats they would be most of what is read from memory."""


@kernel(
    'f8(f4[::1], i8[::1], i8[::1], i8[:,::1], i8, i8, i8, i8, i8, f4, u2[:,::1], f4[::1], i8[:,::1], '
    'f4[:,::1], f4[:,::1], f4[::1], f4[:,::1], f4[:,::1], f4[::1])'
)
def mismatch(
    image, far, near, places, radius, row, plane, begin, end, floor, features, weight, runs,
    distances, by_distance, smoothed, strips, rows, gradient
):  # fmt: skip
    """Compare descriptors: `descriptors.mind_mismatch` and `descriptors.ssc_mismatch`.

    With C channels, ``d_c`` the distance of channel c, ``v = max(mean_c d_c, floor)``, ``g_c = exp(-d_c / v)``,
    features ``f_c`` and weights w: returns ``sum w mean_c (g_c - f_c)^2``.

    Parameters
    ----------
    image : float32, shape (N,)
        A volume, flat, with room before and behind it.
    far, near : int64, shape (K,)
        Offsets of the two voxels of each step.
    places : int64, shape (K, 2)
        Offsets from a voxel to the steps whose distances are its channels 2k and 2k + 1.
    radius : int
        Of the patches, 0 or 1, in voxels.
    row, plane : int
        Values between neighbours along y and x.
    begin, end : int
        The range of `image` in which there are voxels to compare.
    floor : float32
        Smallest variance, times the sum of binomial weights.
    features : uint16, shape (2K, P)
        `WHOLE` times the descriptors to compare with, of the voxels of the runs one after another.
    weight : float32, shape (P,)
    runs : int64, shape (R, 3)
        First voxel of each run, the first of its features, and their number, at most n.
    distances, by_distance : float32, shape (K, N), or (K, 0) for radius 0
        Scratch.
    smoothed : float32, shape (N,), or (0,) for radius 0
        Scratch.
    strips : float32, shape (3, CHUNK + 2 * row + 2)
        Scratch.
    rows : float32, shape (2K + 4, n)
        Scratch.
    gradient : float32, shape (N,)
        By the image; overwritten.
    """
    gradient[:] = f32(0)
    by_distance[:] = f32(0)
    # distances are needed from the foremost place of the first voxel on
    first = begin - (plane + row)
    if radius:
        for k in range(far.size):
            _smoothed_squares(image, far[k], near[k], row, first - plane, end + plane, strips, smoothed)
            _binomial(smoothed, first, end, plane, distances[k, first:end])
    total = 0.0
    for run in range(runs.shape[0]):
        start, packed, count = runs[run]
        for c in range(2 * far.size):
            at = start + places[c // 2, c % 2]
            if radius:
                _copy(distances[c // 2, at : at + count], rows[c, :count])
            else:
                _square(image, far[c // 2], near[c // 2], at, at + count, rows[c])
        total += _compare(rows, far.size, floor, features, weight, packed, count)
        for c in range(2 * far.size):
            at = start + places[c // 2, c % 2]
            if radius:
                _add(rows[c], by_distance[c // 2, at : at + count])
            else:
                _pull(image, far[c // 2], near[c // 2], at, rows[c, :count], rows[2 * far.size], gradient)
    if radius:
        for k in range(far.size):
            _pull_smoothed(image, far[k], near[k], row, plane, first, end, by_distance[k], smoothed, strips, gradient)
    return total / (2 * far.size)


@part
def _square(image, far, near, start, stop, out):
    """Square a step in a range of the image."""
    a, b = image[start + far : stop + far], image[start + near : stop + near]
    for i in range(a.size):
        step = a[i] - b[i]
        out[i] = step * step


@part
def _binomial(volume, start, stop, shift, out):
    """Sum neighbours `shift` values apart in a range with weights 1, 2, 1."""
    a, b, c = volume[start - shift : stop - shift], volume[start:stop], volume[start + shift : stop + shift]
    for i in range(b.size):
        out[i] = a[i] + f32(2) * b[i] + c[i]


@part
def _smoothed_squares(image, far, near, row, begin, end, strips, out):
    """Square a step and sum along z and y, chunk by chunk; written to ``out[begin:end]``."""
    reach = row + 1
    for start in range(begin, end, CHUNK):
        stop = min(start + CHUNK, end)
        _square(image, far, near, start - reach, stop + reach, strips[0])
        _binomial(strips[0], 1, stop - start + 2 * reach - 1, 1, strips[1, 1:])
        _binomial(strips[1], reach, stop - start + reach, row, out[start:stop])


@part
def _pull_smoothed(image, far, near, row, plane, first, end, by_distance, smoothed, strips, gradient):
    """Go from the gradient by the distances of patches, not zero in [first, end), to that by the image.

    The filter is symmetric, and so its own adjoint.
    """
    reach = row + 1
    begin, stop = first - plane - reach, end + plane + reach
    _binomial(by_distance, begin - reach, stop + reach, plane, smoothed[begin - reach :])
    for start in range(begin, stop, CHUNK):
        count = min(CHUNK, stop - start)
        _binomial(smoothed, start - reach + 1, start + count + reach - 1, 1, strips[0, 1:])
        _binomial(strips[0], reach, count + reach, row, strips[1])
        _pull(image, far, near, start, strips[1, :count], strips[2], gradient)


@part
def _pull(image, far, near, start, by_square, product, gradient):
    """Add what a range of squared steps gives to the gradient by the image."""
    count = by_square.size
    _times_step(image, far, near, start, by_square, product)
    _add(product, gradient[start + far : start + far + count])
    _subtract(product, gradient[start + near : start + near + count])


@part
def _times_step(image, far, near, start, by_square, out):
    a, b = image[start + far : start + far + by_square.size], image[start + near : start + near + by_square.size]
    for i in range(by_square.size):
        out[i] = f32(2) * by_square[i] * (a[i] - b[i])


@part
def _add(row, to):
    for i in range(to.size):
        to[i] += row[i]


@part
def _subtract(row, to):
    for i in range(to.size):
        to[i] -= row[i]


@part
def _compare(rows, steps, floor, features, weight, packed, count):
    """Compare distances with features: `descriptors._compare`, but for the mean over channels in what is returned.

    The first rows hold distances, and their gradient afterwards.
    """
    channels, weights = 2 * steps, weight[packed : packed + count]
    inverse, shared = rows[channels, :count], rows[channels + 1, :count]
    force, free = rows[channels + 2, :count], rows[channels + 3, :count]
    inverse[:] = f32(0)
    shared[:] = f32(0)
    for c in range(channels):
        _add(rows[c], inverse)
    _invert(inverse, weights, floor, f32(1) / f32(channels), force, free)
    total = 0.0
    for c in range(channels):
        total += np.float64(_attract(rows[c], inverse, features[c, packed : packed + count], weights, shared))
    _scale(free, shared)
    for c in range(channels):
        _resolve(shared, force, rows[c])
    return total


@part
def _invert(inverse, weight, floor, share, force, free):
    """Turn sums of distances into 1 / v; `free` is d v / d distance, `force` what all gradients are multiplied by."""
    for i in range(inverse.size):
        mean = share * inverse[i]
        free[i] = share if mean > floor else f32(0)
        inverse[i] = f32(1) / (mean if mean > floor else floor)
        force[i] = f32(2) * share * weight[i] * inverse[i]


@part
def _attract(row, inverse, feature, weight, shared):
    """Compare a channel: turns distances into `pull`, half the gradient by -d / v, and returns weighted squares.

    The variance is pulled at by all channels together: by `shared`.
    """
    total = f32(0)
    for i in range(shared.size):
        ratio = row[i] * inverse[i]
        descriptor = decay(ratio)
        difference = descriptor - f32(1 / WHOLE) * f32(feature[i])
        total += weight[i] * (difference * difference)
        pull = descriptor * difference
        shared[i] += ratio * pull
        row[i] = pull
    return total


@part
def _scale(factor, row):
    for i in range(row.size):
        row[i] *= factor[i]


@part
def _resolve(shared, force, row):
    """Turn pulls into the gradient by the distances."""
    for i in range(shared.size):
        row[i] = (shared[i] - row[i]) * force[i]


@part
def _copy(row, to):
    for i in range(to.size):
        to[i] = row[i]


@part
def decay(ratio):
    """exp(-ratio) for a ratio in [0, 12], to 1e-6: the Taylor series of exp(-ratio / 16), squared four times."""
    t = ratio * f32(-1 / 16)
    p = f32(1 / 120)
    p = p * t + f32(1 / 24)
    p = p * t + f32(1 / 6)
    p = p * t + f32(1 / 2)
    p = p * t + f32(1)
    p = p * t + f32(1)
    p = p * p
    p = p * p
    p = p * p
    return p * p
