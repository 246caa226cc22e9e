"""Mutual information of the whole images, and of cubes of voxels."""

from __future__ import annotations

import torch

from bidsreg.registration.numerics import parzen
from bidsreg.registration.similarity.base import Similarity

Tensor = torch.Tensor


class GlobalMutualInformation(Similarity):
    """Minus the mutual information of all compared voxels, in nats; in [-ln 32, 0], 0 where nothing is shared.

    Wells et al. 1996 and Maes et al. 1997; Parzen windows as in Thevenaz and Unser 2000 (`parzen`).

    Attributes
    ----------
    bins : int
        Of either image.
    """

    passes = 2
    bins = 32

    def __init__(self, radius: int = 1) -> None:
        super().__init__(radius)
        self.fixed_range: parzen.Range = (0.0, 1.0)
        self.moving_range: parzen.Range = (0.0, 1.0)

    def calibrate(self, fixed: Tensor, warped: Tensor, weight: Tensor) -> None:
        """Take the range of the bins of either image from the compared voxels."""
        self.fixed_range = parzen.value_range(self.core(fixed), weight)
        self.moving_range = parzen.value_range(self.core(warped), weight)

    def histograms(
        self, fixed: Tensor, warped: Tensor, weight: Tensor, group: Tensor | None = None, groups: int = 1
    ) -> Tensor:
        """Return joint histograms (groups, bins, bins) of a box; `group` names that of each voxel."""
        return parzen.joint_histograms(
            parzen.bin_positions(fixed.flatten(), self.fixed_range, self.bins),
            parzen.bin_positions(warped.flatten(), self.moving_range, self.bins),
            weight.flatten(),
            self.bins,
            group,
            groups,
        )

    def sums(self, features: Tensor, warped: Tensor, weight: Tensor) -> Tensor:
        """Return the joint histogram, row by row: rows are the bins of the fixed image."""
        return self.histograms(features, self.core(warped), weight).flatten()

    def value(self, sums: Tensor) -> Tensor:
        """Return minus the mutual information in nats, from the joint histogram of all boxes, (bins^2,) to a scalar."""
        return -parzen.mutual_information(sums.view(self.bins, self.bins))


class LocalMutualInformation(GlobalMutualInformation):
    """Minus the mutual information within cubes of voxels, in nats, mean over cubes; in [-ln 16, 0].

    Cubes count by their compared voxels, and not at all with fewer than a tenth of them. Studholme et al. 2006, IEEE
    Trans. Medical Imaging 25:626-639 (regional mutual information); cubes that do not overlap as in Guo 2019,
    "Multi-modal image registration with unsupervised deep learning" (thesis, MIT). The bins span the range of the whole
    images, so that noise in a flat cube is not blown up. A few hundred voxels share more information by chance than
    many do: the value is biased, downwards, and says little by itself.
    """

    block = 8
    passes = 1
    bins = 16

    def sums(self, features: Tensor, warped: Tensor, weight: Tensor) -> Tensor:
        """Return minus the sum over cubes of information times compared voxels, and the sum of these voxels."""
        group, groups = self._cubes(weight)
        joint = self.histograms(features, self.core(warped), weight, group, groups)
        with torch.no_grad():
            count = joint.sum((1, 2))
            count = count * (count >= self.block**3 / 10)
        return torch.stack([-(parzen.mutual_information(joint) * count).sum(), count.sum()])

    def value(self, sums: Tensor) -> Tensor:
        """Return the mean over cubes, from the two sums over all boxes, (2,) to a scalar."""
        return Similarity.value(self, sums)

    def _cubes(self, weight: Tensor) -> tuple[Tensor, int]:
        """Return to which cube each voxel of a box belongs, flattened, and how many there are; the last may be cut."""
        along = [torch.arange(n, dtype=torch.int32, device=weight.device) // self.block for n in weight.shape[-3:]]
        x, y, z = (-(-n // self.block) for n in weight.shape[-3:])
        group = (along[0][:, None, None] * y + along[1][:, None]) * z + along[2]
        return group.flatten(), x * y * z
