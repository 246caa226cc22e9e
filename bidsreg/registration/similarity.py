"""What "aligned" means: small classes that compare the fixed image with the warped moving one."""

from __future__ import annotations

from typing import Protocol

import torch

from bidsreg.registration import descriptors

Tensor = torch.Tensor


class Similarity(Protocol):
    """A dissimilarity that is a weighted sum over voxels of something local, so that it can be worked in slabs.

    Attributes
    ----------
    support : int
        Voxels by which the images must reach beyond the voxels that are compared.
    """

    support: int

    def calibrate(self, warped: Tensor, weight: Tensor) -> None:
        """Fix, once a level, what depends on the whole moving image as it lies at the start of the level."""

    def features(self, image: Tensor) -> Tensor:
        """What is compared: (1, 1, X, Y, Z) to (1, C, X - 2s, Y - 2s, Z - 2s) with s = `support`; no graph."""

    def __call__(self, fixed_features: Tensor, warped: Tensor, weight: Tensor) -> Tensor:
        """The weighted sum over a slab; `weight` has the shape of the features with one channel. Scalar, at least 0."""


class Mind:
    """Sum of squared differences of MIND, recomputed on the warped image, mean over the six channels; in [0, 1]."""

    support = descriptors.SUPPORT

    def __init__(self) -> None:
        self.floor = 1e-6

    def calibrate(self, warped: Tensor, weight: Tensor) -> None:
        """Take the floor of the local variance from the moving image."""
        self.floor = descriptors.variance_floor(warped, weight)

    def features(self, image: Tensor) -> Tensor:
        """MIND of the fixed image, with a floor of its own."""
        return descriptors.mind(image, floor=descriptors.variance_floor(image))

    def __call__(self, fixed_features: Tensor, warped: Tensor, weight: Tensor) -> Tensor:
        """Weighted sum over voxels of the mean squared difference."""
        difference = descriptors.mind(warped, floor=self.floor) - fixed_features
        return (difference.square().mean(1, keepdim=True) * weight).sum()


SIMILARITIES: dict[str, type[Mind]] = {'mind': Mind}
