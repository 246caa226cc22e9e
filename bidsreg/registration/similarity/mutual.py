"""Mutual information of the whole images, and of cubes of voxels."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from bidsreg.registration.numerics import parzen
from bidsreg.registration.similarity.base import Similarity

Tensor = torch.Tensor
PART = 2**20
"""Voxels whose windows are in memory at a time on a GPU."""
DARKEST = -0.3
"""Voxels below it lie outside of a brain that has an outline; those down to it are averages across its edge."""


class GlobalMutualInformation(Similarity):
    """Minus the mutual information of all compared voxels, in nats; in [-ln 32, 0], 0 where nothing is shared.

    Wells et al. 1996 and Maes et al. 1997; Parzen windows as in Thevenaz and Unser 2000 (`parzen`).

    Attributes
    ----------
    bins : int
        Of either image.
    """

    passes = 2
    kernels = 'histogram'
    bins = 32

    def __init__(self, radius: int = 1) -> None:
        super().__init__(radius)
        self.fixed_range: parzen.Range = (0.0, 1.0)
        self.moving_range: parzen.Range = (0.0, 1.0)

    def calibrate(self, fixed: Tensor, warped: Tensor, weight: Tensor) -> None:
        """Take the range of the bins of either image from the compared voxels, those of an outline left out.

        The outline's are in the lowest bin, but leave the others as narrow as they are without it.
        """
        self.fixed_range, self.moving_range = (
            parzen.value_range(image, weight * (image > DARKEST) if self.outlined else weight)
            for image in (self.core(fixed), self.core(warped))
        )

    def histograms(
        self, fixed: Tensor, warped: Tensor, weight: Tensor, group: Tensor | None = None, groups: int = 1
    ) -> Tensor:
        """Return joint histograms (groups, bins, bins) of a box; `group` names that of each voxel."""
        return parzen.joint_histograms(
            self._fixed_positions(fixed.flatten()),
            self._moving_positions(warped.flatten()),
            weight.flatten(),
            self.bins,
            group,
            groups,
        )

    def sums(self, features: Tensor, warped: Tensor, weight: Tensor) -> Tensor:
        """Return the joint histogram, row by row: rows are the bins of the fixed image."""
        return self.histograms(features, self.core(warped), weight).flatten()

    def totals(self, features: Tensor, warped: Tensor, weight: Tensor) -> Tensor:
        """Return the same by compiled kernels on a CPU, as a product of matrices on a GPU."""
        moving = self.core(warped)
        if warped.device.type == 'cpu':
            from bidsreg.registration.numerics.kernels.histogram import joint_histogram

            joint = joint_histogram(*_flat(features, moving, weight), *self.scales(), self.bins)
            return torch.from_numpy(joint).to(warped.dtype).flatten()
        return self._dense_totals(features, moving, weight)

    def _dense_totals(self, fixed: Tensor, moving: Tensor, weight: Tensor) -> Tensor:
        joint = weight.new_zeros(self.bins, self.bins)
        for one, other, counted in self._in_parts(fixed, moving, weight):
            rows = parzen.dense_windows(self._fixed_positions(one), self.bins)
            joint.addmm_(rows.mul_(counted[:, None]).T, parzen.dense_windows(self._moving_positions(other), self.bins))
        return joint.flatten()

    def gradient(self, features: Tensor, warped: Tensor, weight: Tensor, upstream: Tensor) -> Tensor:
        """Return the gradient of ``upstream @ sums`` as `totals` works; `sums` is what tests compare it with."""
        moving = self.core(warped)
        if warped.device.type == 'cpu':
            from bidsreg.registration.numerics.kernels.histogram import derivative

            slope = derivative(
                *_flat(features, moving, weight), *self.scales(), upstream.view(self.bins, -1).double().numpy()
            )
            return torch.from_numpy(slope).to(warped.dtype).view(warped.shape)
        return self._dense_gradient(features, moving, weight, upstream).view(warped.shape)

    def _dense_gradient(self, fixed: Tensor, moving: Tensor, weight: Tensor, upstream: Tensor) -> Tensor:
        low, high = self.moving_range
        parts = []
        for one, other, counted in self._in_parts(fixed, moving, weight):
            by_window = parzen.dense_windows(self._fixed_positions(one), self.bins) @ upstream.view(self.bins, -1)
            by_position = parzen.pulled_back(self._moving_positions(other), by_window)
            parts.append(by_position * counted * ((other >= low) & (other <= high)))
        return torch.cat(parts) * parzen.bins_per_intensity(self.moving_range, self.bins)[1]

    def _in_parts(self, *volumes: Tensor) -> Iterator[tuple[Tensor, ...]]:
        """Yield volumes, flat, in parts of a size: rows of all bins take `bins` times their memory."""
        return zip(*(volume.flatten().split(PART) for volume in volumes), strict=True)

    def _fixed_positions(self, fixed: Tensor) -> Tensor:
        return parzen.bin_positions(fixed, self.fixed_range, self.bins)

    def _moving_positions(self, moving: Tensor) -> Tensor:
        return parzen.bin_positions(moving, self.moving_range, self.bins)

    def scales(self) -> tuple[tuple[float, float], tuple[float, float]]:
        """Return the intensity at bin 1 and bins per intensity, of the fixed and of the moving image."""
        fixed, moving = (parzen.bins_per_intensity(r, self.bins) for r in (self.fixed_range, self.moving_range))
        return fixed, moving

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
    kernels = ''
    bins = 16

    def sums(self, features: Tensor, warped: Tensor, weight: Tensor) -> Tensor:
        """Return minus the sum over cubes of information times compared voxels, and the sum of these voxels."""
        group, groups = self._cubes(weight)
        joint = self.histograms(features, self.core(warped), weight, group, groups)
        with torch.no_grad():
            count = joint.sum((1, 2))
            count = count * (count >= self.block**3 / 10)
        return torch.stack([-(parzen.mutual_information(joint) * count).sum(), count.sum()])

    def totals(self, features: Tensor, warped: Tensor, weight: Tensor) -> Tensor:
        """Return `sums`."""
        return self.sums(features, warped, weight)

    def value(self, sums: Tensor) -> Tensor:
        """Return the mean over cubes, from the two sums over all boxes, (2,) to a scalar."""
        return Similarity.value(self, sums)

    def _cubes(self, weight: Tensor) -> tuple[Tensor, int]:
        """Return to which cube each voxel of a box belongs, flattened, and how many there are; the last may be cut."""
        along = [torch.arange(n, dtype=torch.int32, device=weight.device) // self.block for n in weight.shape[-3:]]
        x, y, z = (-(-n // self.block) for n in weight.shape[-3:])
        group = (along[0][:, None, None] * y + along[1][:, None]) * z + along[2]
        return group.flatten(), x * y * z


def _flat(fixed: Tensor, moving: Tensor, weight: Tensor) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return volumes as flat arrays of 32 bits."""
    one, other, third = (volume.detach().flatten().float().numpy() for volume in (fixed, moving, weight))
    return one, other, third
