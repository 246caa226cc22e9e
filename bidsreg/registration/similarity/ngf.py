"""Normalised gradient fields: edges that lie alike."""

from __future__ import annotations

import torch

from bidsreg.registration.similarity.base import Similarity, weighted_mean, weighted_sums

Tensor = torch.Tensor


class NormalisedGradientFields(Similarity):
    """1 - <n_f, n_m>^2 with n = grad I / sqrt(|grad I|^2 + eta^2), mean over voxels; in [0, 1], 1 where both are flat.

    Haber and Modersitzki 2006, MICCAI, LNCS 4191:726-733. Central differences per voxel; eta of either image is its
    mean gradient magnitude over the compared voxels, which they propose with a factor for the noise, here 1.
    """

    support = 1

    def __init__(self, radius: int = 1) -> None:
        super().__init__(radius)
        self.fixed_edge = 1e-2
        self.moving_edge = 1e-2

    def calibrate(self, fixed: Tensor, warped: Tensor, weight: Tensor) -> None:
        """Take eta of either image, in intensity units per voxel."""
        self.fixed_edge, self.moving_edge = (
            max(weighted_mean(_gradient(image).square().sum(1, keepdim=True).sqrt(), weight), 1e-6)
            for image in (fixed, warped)
        )

    def features(self, fixed: Tensor) -> Tensor:
        """Return the gradient of the fixed image, three channels."""
        return _gradient(fixed)

    def sums(self, features: Tensor, warped: Tensor, weight: Tensor) -> Tensor:
        """Return the weighted sum of one minus the squared cosine, and of the weights."""
        gradient = _gradient(warped)
        along = (features * gradient).sum(1, keepdim=True).square()
        most = (features.square().sum(1, keepdim=True) + self.fixed_edge**2) * (
            gradient.square().sum(1, keepdim=True) + self.moving_edge**2
        )
        return weighted_sums(1 - along / most, weight)


def _gradient(image: Tensor) -> Tensor:
    """Return central differences in intensity per voxel, (1, 1, X, Y, Z) to (1, 3, X - 2, Y - 2, Z - 2)."""
    x, y, z = image.shape[-3:]
    return (
        torch.cat(
            [
                image[..., 2:, 1 : y - 1, 1 : z - 1] - image[..., : x - 2, 1 : y - 1, 1 : z - 1],
                image[..., 1 : x - 1, 2:, 1 : z - 1] - image[..., 1 : x - 1, : y - 2, 1 : z - 1],
                image[..., 1 : x - 1, 1 : y - 1, 2:] - image[..., 1 : x - 1, 1 : y - 1, : z - 2],
            ],
            1,
        )
        * 0.5
    )
