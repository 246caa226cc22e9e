"""MIND: the modality-independent neighbourhood descriptor.

Heinrich et al. 2012, Medical Image Analysis 16:1423-1435.
"""

from __future__ import annotations

import torch

Tensor = torch.Tensor

SUPPORT = 2
"""Voxels around a voxel that its MIND with unit offset depends on: the offset, and the radius of the patch."""


def _along(volume: Tensor, axis: int, start: int, stop: int | None) -> Tensor:
    """A slice of one spatial axis (0, 1, 2) of (1, C, X, Y, Z)."""
    return volume.narrow(axis + 2, start, (volume.shape[axis + 2] if stop is None else stop) - start)


def binomial(volume: Tensor) -> Tensor:
    """Weighted mean over 3x3x3 patches, weights (1, 2, 1)/4 along each axis, without padding.

    The patch of MIND: a Gaussian of 0.7 voxels. Each spatial axis gets two voxels shorter.
    """
    for axis in range(3):
        n = volume.shape[axis + 2]
        pairs = _along(volume, axis, 0, n - 1) + _along(volume, axis, 1, n)
        volume = _along(pairs, axis, 0, n - 2) + _along(pairs, axis, 1, n - 1)
    return volume * (1 / 64)


def patch_distances(image: Tensor, offset: int = 1) -> Tensor:
    """Patch distances of each voxel to its six neighbours.

    Parameters
    ----------
    image : Tensor, shape (1, 1, X, Y, Z)
        Intensities.
    offset : int
        How many voxels away the neighbours are.

    Returns
    -------
    Tensor, shape (1, 6, X - 2s, Y - 2s, Z - 2s) with s = offset + 1
        Channels 2k and 2k + 1 look forward and backward along axis k. The distance of x to its backward neighbour
        is that neighbour's forward distance, so only three are computed.
    """
    channels = []
    for axis in range(3):
        n = image.shape[axis + 2]
        forward = binomial((_along(image, axis, offset, n) - _along(image, axis, 0, n - offset)).square())
        for other in range(3):
            if other != axis:
                forward = _along(forward, other, offset, forward.shape[other + 2] - offset)
        m = forward.shape[axis + 2]
        channels += [_along(forward, axis, offset, m), _along(forward, axis, 0, m - offset)]
    return torch.cat(channels, 1)


def mind(image: Tensor, offset: int = 1, floor: float | Tensor = 1e-6) -> Tensor:
    """MIND of every voxel that has all its neighbours.

    Parameters
    ----------
    image : Tensor, shape (1, 1, X, Y, Z)
        Intensities.
    offset : int
        How many voxels away the six neighbours are.
    floor : float or Tensor
        Smallest local variance, in squared intensity units: keeps flat regions from dividing noise by nothing.

    Returns
    -------
    Tensor, shape (1, 6, X - 2s, Y - 2s, Z - 2s) with s = offset + 1
        exp(-d / v) in (0, 1], v the mean of the six patch distances d (the local variance estimate of Eq. 6).
    """
    distances = patch_distances(image, offset)
    variance = distances.mean(1, keepdim=True).clamp_min(floor)
    return torch.exp(-distances / variance)


def variance_floor(image: Tensor, weight: Tensor | None = None, offset: int = 1, fraction: float = 1e-3) -> float:
    """A floor for the local variance: a fraction of its (weighted) mean over the image."""
    variance = patch_distances(image, offset).mean(1, keepdim=True)
    if weight is None:
        return max(float(variance.mean()) * fraction, 1e-12)
    return max(float((variance * weight).sum() / weight.sum().clamp_min(1e-6)) * fraction, 1e-12)
