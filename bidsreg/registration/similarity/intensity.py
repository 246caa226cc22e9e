"""Similarities for images of one contrast: local correlation and the squared difference."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from bidsreg.registration.similarity.base import Similarity, weighted_mean, weighted_sums

Tensor = torch.Tensor


class LocalCorrelation(Similarity):
    """1 - r^2, r the correlation in a window of 5 x 5 x 5 voxels, mean over voxels; in [0, 1], 1 where either is flat.

    The LNCC of Cachier et al. 2003, Computer Vision and Image Understanding 89:272-298, and, squared, of Avants et al.
    2008, Medical Image Analysis 12:26-41. Windows take in what lies outside the mask.
    """

    support = 2
    feature_margin = 2
    kernels = 'correlation'

    def __init__(self, radius: int = 1) -> None:
        super().__init__(radius)
        self.fixed_floor = 1e-6
        self.moving_floor = 1e-6

    def calibrate(self, fixed: Tensor, warped: Tensor, weight: Tensor) -> None:
        """Take the floor of the local variance of either image, a thousandth of its mean."""
        self.fixed_floor, self.moving_floor = (
            max(weighted_mean(_window_mean(image.square()) - _window_mean(image).square(), weight) * 1e-3, 1e-12)
            for image in (fixed, warped)
        )

    def features(self, fixed: Tensor) -> Tensor:
        """Return the fixed image, its local mean and its local variance; the latter two mean nothing in the margin."""
        mean = _window_mean(fixed)
        statistics = torch.cat([mean, _window_mean(fixed.square()) - mean.square()], 1)
        return torch.cat([fixed, F.pad(statistics, (self.support,) * 6)], 1)

    def sums(self, features: Tensor, warped: Tensor, weight: Tensor) -> Tensor:
        """Return the weighted sum of one minus the squared correlation, and of the weights."""
        fixed, fixed_statistics = features[:, :1], self.core(features[:, 1:])
        fixed_mean, fixed_variance = fixed_statistics[:, :1], fixed_statistics[:, 1:]
        mean, square, product = _window_mean(torch.cat([warped, warped.square(), warped * fixed], 1)).split(1, 1)
        variance = (square - mean.square()).clamp_min(self.moving_floor)
        covariance = product - mean * fixed_mean
        return weighted_sums(1 - covariance.square() / (variance * fixed_variance.clamp_min(self.fixed_floor)), weight)

    def sums_and_gradient(self, features: Tensor, warped: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Return the same by a gradient written out; `sums` is what tests compare it with.

        With a the covariance over both variances and b = a times the covariance over the moving variance, the
        derivative of r^2 of a window by a voxel m in it is 2 (a (f - mean f) - b (m - mean m)) / 125.
        """
        fixed, statistics = features[:, :1], self.core(features[:, 1:])
        fixed_mean, fixed_variance = statistics[:, :1], statistics[:, 1:].clamp_min(self.fixed_floor)
        mean, square, product = _window_mean(torch.cat([warped, warped.square(), warped * fixed], 1)).split(1, 1)
        spread = square - mean.square()
        free = spread > self.moving_floor
        variance, covariance = spread.clamp_min(self.moving_floor), product - mean * fixed_mean
        a = covariance / (variance * fixed_variance)
        sums = weighted_sums(1 - a * covariance, weight)
        a *= weight
        b = a * covariance / variance * free
        around = torch.cat([a, b, b * mean - a * fixed_mean], 1)
        by_fixed, by_moving, rest = _window_mean(F.pad(around, (2 * self.support,) * 6)).split(1, 1)
        return sums, (by_moving * warped - by_fixed * fixed - rest).mul_(2)


class SquaredDifference(Similarity):
    """Mean squared difference of the intensities, in squared units of theirs; for images of one contrast. From 0 up."""

    def sums(self, features: Tensor, warped: Tensor, weight: Tensor) -> Tensor:
        """Return the weighted sum of the squared difference, and of the weights."""
        return weighted_sums((self.core(warped) - features).square(), weight)


def _window_mean(volume: Tensor) -> Tensor:
    """Return means over windows of 5 x 5 x 5 voxels, without padding: each spatial axis gets four voxels shorter."""
    for axis in (2, 3, 4):
        n = volume.shape[axis]
        pairs = volume.narrow(axis, 0, n - 1) + volume.narrow(axis, 1, n - 1)
        volume = pairs.narrow(axis, 0, n - 4) + pairs.narrow(axis, 2, n - 4) + volume.narrow(axis, 4, n - 4)
    return volume * (1 / 125)
