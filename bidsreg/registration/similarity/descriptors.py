"""MIND: the modality-independent neighbourhood descriptor.

Heinrich et al. 2012, Medical Image Analysis 16:1423-1435.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F

from bidsreg.registration.numerics.threads import in_threads, spare_threads

Tensor = torch.Tensor
SLAB = 8
"""Planes whose local variance is taken at a time on a CPU."""


Offset = tuple[int, int, int]


@dataclass(frozen=True)
class PatchStep:
    """A difference of two voxels whose square, summed over a patch, is the distance of two channels of a descriptor.

    Attributes
    ----------
    far, near : tuple of int
        Where the two voxels lie, of which the second one's value is subtracted.
    places : two tuples of int
        From a voxel to the steps that are its two channels.
    """

    far: Offset
    near: Offset
    places: tuple[Offset, Offset]


def _along(volume: Tensor, axis: int, start: int, stop: int | None) -> Tensor:
    """Return a slice of one spatial axis (0, 1, 2) of (..., X, Y, Z)."""
    return volume.narrow(axis - 3, start, (volume.shape[axis - 3] if stop is None else stop) - start)


def binomial(volume: Tensor, radius: int = 1) -> Tensor:
    """Return the weighted mean over patches, with binomial weights ((1, 2, 1)/4 for radius 1), without padding.

    The patch of MIND: a Gaussian of 0.7 voxels for radius 1, the voxel alone for radius 0. Each spatial axis gets twice
    the radius shorter.
    """
    return _binomial_sums(volume, radius) / sum_of_weights(radius)


def sum_of_weights(radius: int) -> int:
    """Return the sum of the weights of `_binomial_sums`."""
    return 64**radius


def patch_distances(image: Tensor, offset: int = 1, radius: int = 1) -> Tensor:
    """Return patch distances of each voxel to its six neighbours.

    Parameters
    ----------
    image : Tensor, shape (1, 1, X, Y, Z)
        Intensities.
    offset : int
        How many voxels away the neighbours are.
    radius : int
        Of the patches, in voxels.

    Returns
    -------
    Tensor, shape (1, 6, X - 2s, Y - 2s, Z - 2s) with s = offset + radius
        Channels 2k and 2k + 1 look forward and backward along axis k. The distance of x to its backward neighbour
        is that neighbour's forward distance, so only three are computed.
    """
    channels = []
    for axis in range(3):
        n = image.shape[axis + 2]
        forward = binomial((_along(image, axis, offset, n) - _along(image, axis, 0, n - offset)).square(), radius)
        for other in range(3):
            if other != axis:
                forward = _along(forward, other, offset, forward.shape[other + 2] - offset)
        m = forward.shape[axis + 2]
        channels += [_along(forward, axis, offset, m), _along(forward, axis, 0, m - offset)]
    return torch.cat(channels, 1)


def mind(image: Tensor, offset: int = 1, floor: float | Tensor = 1e-6, radius: int = 1) -> Tensor:
    """Return MIND of every voxel that has all its neighbours.

    Parameters
    ----------
    image : Tensor, shape (1, 1, X, Y, Z)
        Intensities.
    offset : int
        How many voxels away the six neighbours are.
    floor : float or Tensor
        Smallest local variance, in squared intensity units: keeps flat regions from dividing noise by nothing.
    radius : int
        Of the patches, in voxels.

    Returns
    -------
    Tensor, shape (1, 6, X - 2s, Y - 2s, Z - 2s) with s = offset + radius
        exp(-d / v) in (0, 1], v the mean of the six patch distances d (the local variance estimate of Eq. 6).
    """
    distances = patch_distances(image, offset, radius)
    variance = distances.mean(1, keepdim=True).clamp_min(floor)
    return torch.exp(-distances / variance)


def mind_mismatch(
    image: Tensor, features: Tensor, weight: Tensor, floor: float, radius: int = 1
) -> tuple[Tensor, Tensor]:
    """Return the weighted sum of squared differences between the MIND of an image and given features, and its gradient.

    Parameters
    ----------
    image : Tensor, shape (X, Y, Z)
        Intensities.
    features : Tensor, shape (6, X - 2s, Y - 2s, Z - 2s) with s = radius + 1
        MIND to compare with.
    weight : Tensor, shape (X - 2s, Y - 2s, Z - 2s)
        Of each voxel.
    floor : float
        As for `mind`.
    radius : int
        Of the patches, in voxels.

    Returns
    -------
    mismatch : Tensor
        Sum over voxels of weight times the mean squared difference of the six channels.
    gradient : Tensor, shape (X, Y, Z)
        Its derivative by the intensities, by the chain rule written out.
    """
    core = [n - 2 * (radius + 1) for n in image.shape]
    steps = [_inner(image, 1, axis).diff(dim=axis) for axis in range(3)]
    channels = image.new_empty(6, *core)
    for axis, (step, pair) in enumerate(zip(steps, channels.split(2), strict=True)):
        sums = _binomial_sums(step.square(), radius)
        for start, channel in zip((1, 0), pair.unbind(), strict=True):
            channel.copy_(sums.narrow(axis, start, core[axis]))
    mismatch, by_distance = _compare(channels, features, weight, sum_of_weights(radius) * floor)
    return mismatch, _gather_back(by_distance, steps, image.shape, radius)


def _compare(distances: Tensor, features: Tensor, weight: Tensor, floor: float) -> tuple[Tensor, Tensor]:
    """Return the mismatch of exp(-distance / variance) with features, and its derivative by the distances.

    Parameters
    ----------
    distances : Tensor, shape (C, X, Y, Z)
        Overwritten. Their scale cancels in the ratio: only the floor must have it too.
    features : Tensor, shape (C, X, Y, Z)
    weight : Tensor, shape (X, Y, Z)
    floor : float
        Smallest variance.

    Returns
    -------
    mismatch : Tensor
        Sum over voxels of weight times the mean squared difference of the channels.
    by_distance : Tensor, shape (C, X, Y, Z)
    """
    count = len(distances)
    variance = distances.mean(0)
    free = variance > floor
    inverse = variance.clamp_min_(floor).reciprocal_()
    ratio = distances.mul_(inverse)
    descriptor = ratio.neg().exp_()
    change = descriptor - features
    # d mismatch / d ratio is -pull; the variance is the mean of the distances where it is `free`
    pull = descriptor.mul_(change).mul_(weight * (2 / count))
    mismatch = (change.square_().sum(0) * weight).sum() / count
    shared = ratio.mul_(pull).sum(0).mul_(free).div_(count)
    return mismatch, torch.sub(shared, pull, out=pull).mul_(inverse)


def _gather_back(by_distance: Tensor, steps: list[Tensor], shape: torch.Size, radius: int) -> Tensor:
    """Go from the derivative by the six distances to the derivative by the intensities."""
    core = by_distance.shape[1:]
    gradient = by_distance.new_zeros(shape)
    for axis, step in enumerate(steps):
        room = [n + 4 * radius + (a == axis) for a, n in enumerate(core)]
        spread = by_distance.new_zeros(room)
        here = _inner(spread, 2 * radius, axis).narrow(axis, 2 * radius, core[axis] + 1)
        here.narrow(axis, 1, core[axis]).add_(by_distance[2 * axis])
        here.narrow(axis, 0, core[axis]).add_(by_distance[2 * axis + 1])
        by_step = _binomial_sums(spread, radius).mul_(step)
        along = _inner(gradient, 1, axis)
        along.narrow(axis, 1, step.shape[axis]).add_(by_step, alpha=2)
        along.narrow(axis, 0, step.shape[axis]).sub_(by_step, alpha=2)
    return gradient


def _inner(volume: Tensor, by: int, axis: int) -> Tensor:
    """Return a volume (X, Y, Z) without `by` voxels at both ends of the other two axes."""
    x, y, z = (slice(None) if a == axis else slice(by, n - by) for a, n in enumerate(volume.shape))
    return volume[x, y, z]


def _cropped(volume: Tensor, by: int) -> Tensor:
    """Return a volume (X, Y, Z) without `by` voxels at every side."""
    x, y, z = (slice(by, n - by) for n in volume.shape)
    return volume[x, y, z]


def _binomial_sums(volume: Tensor, radius: int = 1) -> Tensor:
    """Return `binomial` of (..., X, Y, Z) before the division by the sum of weights; `volume` itself for radius 0."""
    for axis in range(3):
        for _ in range(2 * radius):
            volume = _along(volume, axis, 0, volume.shape[axis - 3] - 1) + _along(volume, axis, 1, None)
    return volume


def variance_floor(
    image: Tensor, weight: Tensor | None = None, offset: int = 1, fraction: float = 1e-3, radius: int = 1
) -> float:
    """Return a floor for the local variance: a fraction of its (weighted) mean over the image."""
    return _floor_in_slabs(lambda slab: patch_distances(slab, offset, radius), image, weight, offset + radius, fraction)


def _floor_in_slabs(
    distances: Callable[[Tensor], Tensor], image: Tensor, weight: Tensor | None, reach: int, fraction: float
) -> float:
    """Return `floor_of` the mean of patch distances, which leave out `reach` voxels at the border.

    Slabs along the first axis fit a processor's cache, and so do not depend on the number of threads; a GPU takes all.
    """
    planes = image.shape[2] - 2 * reach
    step = SLAB if image.device.type == 'cpu' else planes

    def sums(a: int) -> Tensor:
        count = min(step, planes - a)
        variance = distances(image.narrow(2, a, count + 2 * reach)).mean(1, keepdim=True)
        counts = torch.ones_like(variance) if weight is None else weight.narrow(2, a, count)
        return torch.stack([(variance * counts).sum(), counts.sum()])

    slabs = in_threads(sums, range(0, planes, step), spare_threads(image.numel()))
    total, count = torch.stack(slabs).double().sum(0).tolist()
    return max(total / max(count, 1e-6) * fraction, 1e-12)


def floor_of(variance: Tensor, weight: Tensor | None = None, fraction: float = 1e-3) -> float:
    """Return a fraction of the (weighted) mean of local variances; both of one shape."""
    weight = torch.ones_like(variance) if weight is None else weight
    return max(float((variance * weight).sum() / weight.sum().clamp_min(1e-6)) * fraction, 1e-12)


PLANES = ((0, 1), (0, 2), (1, 2))
"""The pairs of axes; each spans one plane of the self-similarity context."""

Cut = tuple[slice, slice, slice]
_FIRST, _LAST, _INNER, _ALL = slice(0, -1), slice(1, None), slice(1, -1), slice(None)


def _unit(*axes: int) -> Offset:
    """Return the offset of one voxel along each of some axes."""
    x, y, z = (int(axis in axes) for axis in range(3))
    return x, y, z


def _back(offset: Offset) -> Offset:
    return -offset[0], -offset[1], -offset[2]


HERE = (0, 0, 0)
MIND_STEPS = tuple(PatchStep(_unit(a), HERE, (HERE, _back(_unit(a)))) for a in range(3))
"""What `patch_distances` takes: each axis forward, seen from both of its ends."""
SSC_STEPS = tuple(
    step
    for a, b in PLANES
    for step in (
        PatchStep(_unit(a, b), HERE, (_back(_unit(a)), _back(_unit(b)))),
        PatchStep(_unit(b), _unit(a), (HERE, _back(_unit(a, b)))),
    )
)
"""What `ssc_distances` takes: both diagonals of each plane's unit squares, seen from the two other corners."""


def _cut(plane: tuple[int, int], starts: tuple[int, int], across: slice) -> Cut:
    """Return all but one voxel along the two axes of a plane: without the last (start 0) or the first (start 1)."""
    cut = [across] * 3
    for axis, start in zip(plane, starts, strict=True):
        cut[axis] = _LAST if start else _FIRST
    return cut[0], cut[1], cut[2]


DIAGONALS = tuple(
    (_cut(plane, far, _INNER), _cut(plane, near, _INNER), [_cut(plane, place, _ALL) for place in places])
    for plane in PLANES
    for far, near, places in (((1, 1), (0, 0), ((0, 1), (1, 0))), ((0, 1), (1, 0), ((1, 1), (0, 0))))
)
"""The six diagonals of unit squares: where their two ends lie in an image (without the outer voxels
across the plane, which no patch needs), and where two of the twelve channels lie in the map of their distances."""


def ssc_distances(image: Tensor, radius: int = 1) -> Tensor:
    """Return patch distances between those of the six neighbours of each voxel that are sqrt(2) apart.

    Parameters
    ----------
    image : Tensor, shape (1, 1, X, Y, Z)
        Intensities.
    radius : int
        Of the patches, in voxels.

    Returns
    -------
    Tensor, shape (1, 12, X - 2s, Y - 2s, Z - 2s) with s = radius + 1
        Four channels for each plane of axes a < b: the neighbours -a and +b, +a and -b, +a and +b, -a and -b. The
        first two are one map seen from two places, and so are the last two, so only six are computed.
    """
    channels = []
    for far, near, places in DIAGONALS:
        distances = _Binomial.apply((image[(..., *far)] - image[(..., *near)]).square(), radius)
        channels += [distances[(..., *place)] for place in places]
    return torch.cat(channels, 1)


class _Binomial(torch.autograd.Function):
    """`binomial`, whose derivative is itself on the padded gradient: half the time of autograd's."""

    @staticmethod
    def forward(ctx: Any, volume: Tensor, radius: int) -> Tensor:
        ctx.radius = radius
        return binomial(volume, radius)

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, None]:
        return binomial(F.pad(upstream, (2 * ctx.radius,) * 6), ctx.radius), None


def mind_ssc(image: Tensor, floor: float | Tensor = 1e-6, radius: int = 1) -> Tensor:
    """Return MIND self-similarity context of every voxel that has all its neighbours.

    Heinrich et al. 2013, MICCAI, LNCS 8149:187-194: the patches around a voxel are compared with one another, not with
    the one at the voxel, so that noise in one patch does not spoil the whole descriptor.

    Parameters
    ----------
    image : Tensor, shape (1, 1, X, Y, Z)
        Intensities.
    floor : float or Tensor
        Smallest local variance, in squared intensity units.
    radius : int
        Of the patches, in voxels.

    Returns
    -------
    Tensor, shape (1, 12, X - 2s, Y - 2s, Z - 2s) with s = radius + 1
        exp(-d / v) in (0, 1], v the mean of the twelve distances d (`ssc_distances`).
    """
    distances = ssc_distances(image, radius)
    variance = distances.mean(1, keepdim=True).clamp_min(floor)
    return torch.exp(-distances / variance)


def ssc_mismatch(
    image: Tensor, features: Tensor, weight: Tensor, floor: float, radius: int = 1
) -> tuple[Tensor, Tensor]:
    """Return `mind_mismatch` of MIND-SSC: weighted sum of squared differences from given features, and its gradient.

    Parameters
    ----------
    image : Tensor, shape (X, Y, Z)
        Intensities.
    features : Tensor, shape (12, X - 2s, Y - 2s, Z - 2s) with s = radius + 1
        MIND-SSC to compare with.
    weight : Tensor, shape (X - 2s, Y - 2s, Z - 2s)
        Of each voxel.
    floor : float
        As for `mind_ssc`.
    radius : int
        Of the patches, in voxels.

    Returns
    -------
    mismatch : Tensor
        Sum over voxels of weight times the mean squared difference of the twelve channels.
    gradient : Tensor, shape (X, Y, Z)
        Its derivative by the intensities, by the chain rule written out.
    """
    channels = torch.empty_like(features)
    steps = [image[far] - image[near] for far, near, _ in DIAGONALS]
    for (_, _, places), step, pair in zip(DIAGONALS, steps, channels.split(2), strict=True):
        sums = _binomial_sums(step.square(), radius)
        for place, channel in zip(places, pair.unbind(), strict=True):
            channel.copy_(sums[place])
    mismatch, by_distance = _compare(channels, features, weight, sum_of_weights(radius) * floor)
    gradient = torch.zeros_like(image)
    for (far, near, places), step, pair in zip(DIAGONALS, steps, by_distance.split(2), strict=True):
        spread = step.new_zeros([n + 2 * radius for n in step.shape])
        inner = _cropped(spread, 2 * radius) if radius else spread
        for place, channel in zip(places, pair.unbind(), strict=True):
            inner[place].add_(channel)
        by_step = _binomial_sums(spread, radius).mul_(step)
        gradient[far].add_(by_step, alpha=2)
        gradient[near].sub_(by_step, alpha=2)
    return mismatch, gradient


def ssc_variance_floor(image: Tensor, weight: Tensor | None = None, fraction: float = 1e-3, radius: int = 1) -> float:
    """Return a floor for the local variance of `mind_ssc`: a fraction of its (weighted) mean over the image."""
    return _floor_in_slabs(lambda slab: ssc_distances(slab, radius), image, weight, 1 + radius, fraction)
