"""Similarities that compare MIND descriptors: recomputed on the warped image, warped as features, and MIND-SSC."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from bidsreg.registration.similarity import descriptors
from bidsreg.registration.similarity.base import Similarity, weighted_sums

Tensor = torch.Tensor


class _OfPatches(Similarity):
    """What the MIND family shares: patches of `radius` voxels around neighbours one voxel away."""

    support = 2

    def __init__(self, radius: int = 1) -> None:
        super().__init__(radius)
        self.support, self.floor, self.fixed_floor = radius + 1, 1e-6, 1e-6


class Mind(_OfPatches):
    """Sum of squared differences of MIND, recomputed on the warped image, mean over the six channels; in [0, 1]."""

    steps = descriptors.MIND_STEPS
    kernels = 'patches'

    def calibrate(self, fixed: Tensor, warped: Tensor, weight: Tensor) -> None:
        """Take the floor of the local variance of either image."""
        self.floor = descriptors.variance_floor(warped, weight, radius=self.radius)
        self.fixed_floor = descriptors.variance_floor(fixed, radius=self.radius)

    def features(self, fixed: Tensor) -> Tensor:
        """Return MIND of the fixed image."""
        return descriptors.mind(fixed, floor=self.fixed_floor, radius=self.radius)

    def sums(self, features: Tensor, warped: Tensor, weight: Tensor) -> Tensor:
        """Return the weighted sum over voxels of the mean squared difference, and of the weights."""
        difference = descriptors.mind(warped, floor=self.floor, radius=self.radius) - features
        return weighted_sums(difference.square().mean(1, keepdim=True), weight)

    def sums_and_gradient(self, features: Tensor, warped: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Return the same by a gradient written out, in half the time; `sums` is what tests compare it with."""
        parts = warped[0, 0], features[0], weight[0, 0]
        mismatch, gradient = descriptors.mind_mismatch(*parts, self.floor, self.radius)
        return torch.stack([mismatch, weight.sum()]), gradient[None, None]


class MindFeatures(_OfPatches):
    """Sum of squared differences of the fixed MIND and the warped MIND of the moving image, mean over channels; [0, 1].

    Heinrich et al. 2012 compare them so. The descriptors are taken once, before any deformation, so they do not notice
    how it turns or stretches the image.
    """

    feature_based = True

    def calibrate(self, fixed: Tensor, warped: Tensor, weight: Tensor) -> None:
        """Take the floor of the local variance of the fixed image."""
        self.fixed_floor = descriptors.variance_floor(fixed, radius=self.radius)

    def features(self, fixed: Tensor) -> Tensor:
        """Return MIND of the fixed image."""
        return descriptors.mind(fixed, floor=self.fixed_floor, radius=self.radius)

    def moving_features(self, moving: Tensor) -> Tensor:
        """Return MIND, with a floor of its own; border voxels are repeated outwards so that every voxel has one."""
        wide = F.pad(moving, (self.support,) * 6, mode='replicate')
        return descriptors.mind(wide, floor=descriptors.variance_floor(wide, radius=self.radius), radius=self.radius)

    def sums(self, features: Tensor, warped: Tensor, weight: Tensor) -> Tensor:
        """Return the weighted sum over voxels of the mean squared difference, and of the weights."""
        difference = warped - features
        return weighted_sums(difference.square().mean(1, keepdim=True), weight)


class MindSsc(_OfPatches):
    """Sum of squared differences of MIND-SSC, recomputed on the warped image, mean over the 12 channels; in [0, 1].

    Heinrich et al. 2013, MICCAI, LNCS 8149:187-194.
    """

    steps = descriptors.SSC_STEPS
    kernels = 'patches'

    def calibrate(self, fixed: Tensor, warped: Tensor, weight: Tensor) -> None:
        """Take the floor of the local variance of either image."""
        self.floor = descriptors.ssc_variance_floor(warped, weight, radius=self.radius)
        self.fixed_floor = descriptors.ssc_variance_floor(fixed, radius=self.radius)

    def features(self, fixed: Tensor) -> Tensor:
        """Return MIND-SSC of the fixed image."""
        return descriptors.mind_ssc(fixed, self.fixed_floor, self.radius)

    def sums(self, features: Tensor, warped: Tensor, weight: Tensor) -> Tensor:
        """Return the weighted sum over voxels of the mean squared difference, and of the weights."""
        difference = descriptors.mind_ssc(warped, self.floor, self.radius) - features
        return weighted_sums(difference.square().mean(1, keepdim=True), weight)

    def sums_and_gradient(self, features: Tensor, warped: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Return the same by a gradient written out, in less time; `sums` is what tests compare it with."""
        parts = warped[0, 0], features[0], weight[0, 0]
        mismatch, gradient = descriptors.ssc_mismatch(*parts, self.floor, self.radius)
        return torch.stack([mismatch, weight.sum()]), gradient[None, None]
