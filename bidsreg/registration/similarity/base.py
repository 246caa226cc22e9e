"""What "aligned" means: small classes that compare the fixed image with the warped moving one."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
import torch.nn.functional as F

from bidsreg.registration.similarity import descriptors
from bidsreg.registration.similarity import histograms as information

Tensor = torch.Tensor


class Similarity(ABC):
    """A dissimilarity worked box by box: each box gives a few sums over its voxels, and the totals give the value.

    Derived classes state what differs. An instance belongs to one level of one registration.

    Attributes
    ----------
    support : int
        Voxels by which the images must reach beyond the voxels that are compared.
    block : int
        Boxes begin and end at multiples of so many voxels of the level's grid (local windows are not cut).
    passes : int
        1 where the value is ``sums[0] / sums[1]`` and only ``sums[0]`` depends on the warped image: one pass over the
        boxes gives value and gradient. 2 where it is another function of the totals (a joint histogram, say): one pass
        takes the totals, another one the gradient.
    feature_based : bool
        Whether features of the moving image are warped (`moving_features`), instead of taken from the warped image.
    feature_margin : int
        Voxels by which the features of the fixed image reach beyond the voxels that are compared; at most `support`.

    Parameters
    ----------
    radius : int
        In voxels, of the patches of those that compare patches.
    """

    support: int = 0
    block: int = 1
    passes: int = 1
    feature_based: bool = False
    feature_margin: int = 0

    def __init__(self, radius: int = 1) -> None:
        self.radius = radius

    def calibrate(self, fixed: Tensor, warped: Tensor, weight: Tensor) -> None:  # noqa: B027, most need nothing
        """Fix, once a level, what depends on whole images.

        Parameters
        ----------
        fixed, warped : Tensor, shape (1, 1, X, Y, Z)
            The level's fixed image, and the moving image as it lies at the start of the level.
        weight : Tensor, shape (1, 1, X - 2s, Y - 2s, Z - 2s) with s = `support`
            Where the two are compared, 0 or 1.
        """

    def features(self, fixed: Tensor) -> Tensor:
        """What is compared of the fixed image, without a graph.

        Parameters
        ----------
        fixed : Tensor, shape (1, 1, X, Y, Z)
            The level's fixed image.

        Returns
        -------
        Tensor, shape (1, C, X - 2r, Y - 2r, Z - 2r) with r = `support` - `feature_margin`
        """
        return self.core(fixed)

    def moving_features(self, moving: Tensor) -> Tensor:
        """What is warped, (1, 1, X, Y, Z) to (1, C, X, Y, Z): the image itself, or its features if feature-based."""
        return moving

    @abstractmethod
    def sums(self, features: Tensor, warped: Tensor, weight: Tensor) -> Tensor:
        """Sums over a box, differentiable by `warped`.

        Parameters
        ----------
        features : Tensor, shape (1, C, x - 2r, y - 2r, z - 2r) with r = `support` - `feature_margin`
            Of the fixed image.
        warped : Tensor, shape (1, 1, x, y, z)
            The warped moving image; if feature-based, its warped features at the compared voxels alone, of the shape of
            `features`.
        weight : Tensor, shape (1, 1, x - 2s, y - 2s, z - 2s)
            Which voxels count.

        Returns
        -------
        Tensor, shape (S,)
        """

    def sums_and_gradient(
        self, features: Tensor, warped: Tensor, weight: Tensor, upstream: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """The sums, and the gradient by `warped` of the first one, or of ``upstream @ sums``; both without a graph."""
        with torch.enable_grad():
            leaf = warped.detach().requires_grad_()
            sums = self.sums(features, leaf, weight)
            gradient = torch.autograd.grad(sums[0] if upstream is None else upstream @ sums, leaf)[0]
        return sums.detach(), gradient

    def value(self, sums: Tensor) -> Tensor:
        """The dissimilarity, low when alike, from the sums over all boxes, (S,) to a scalar."""
        return sums[0] / sums[1].clamp_min(1)

    def core(self, volume: Tensor) -> Tensor:
        """A volume without `support` voxels on every side."""
        s = self.support
        return volume[..., s : volume.shape[-3] - s, s : volume.shape[-2] - s, s : volume.shape[-1] - s]


class _OfPatches(Similarity):
    """What the MIND family shares: patches of `radius` voxels around neighbours one voxel away."""

    support = 2

    def __init__(self, radius: int = 1) -> None:
        super().__init__(radius)
        self.support, self.floor = radius + 1, 1e-6


class Mind(_OfPatches):
    """Sum of squared differences of MIND, recomputed on the warped image, mean over the six channels; in [0, 1]."""

    def calibrate(self, fixed: Tensor, warped: Tensor, weight: Tensor) -> None:
        """Take the floor of the local variance from the moving image."""
        self.floor = descriptors.variance_floor(warped, weight, radius=self.radius)

    def features(self, fixed: Tensor) -> Tensor:
        """MIND of the fixed image, with a floor of its own."""
        floor = descriptors.variance_floor(fixed, radius=self.radius)
        return descriptors.mind(fixed, floor=floor, radius=self.radius)

    def sums(self, features: Tensor, warped: Tensor, weight: Tensor) -> Tensor:
        """Weighted sum over voxels of the mean squared difference, and of the weights."""
        difference = descriptors.mind(warped, floor=self.floor, radius=self.radius) - features
        return _weighted(difference.square().mean(1, keepdim=True), weight)

    def sums_and_gradient(
        self, features: Tensor, warped: Tensor, weight: Tensor, upstream: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """The same by hand, in half the time; `sums` is what tests compare it with."""
        parts = warped[0, 0], features[0], weight[0, 0]
        mismatch, gradient = descriptors.mind_mismatch(*parts, self.floor, self.radius)
        return torch.stack([mismatch, weight.sum()]), gradient[None, None]


class MindFeatures(_OfPatches):
    """Sum of squared differences of the fixed MIND and the warped MIND of the moving image, mean over channels; [0, 1].

    Heinrich et al. 2012 compare them so. The descriptors are taken once, before any deformation, so they do not notice
    how it turns or stretches the image.
    """

    feature_based = True

    def features(self, fixed: Tensor) -> Tensor:
        """MIND, with a floor of the image's own."""
        floor = descriptors.variance_floor(fixed, radius=self.radius)
        return descriptors.mind(fixed, floor=floor, radius=self.radius)

    def moving_features(self, moving: Tensor) -> Tensor:
        """MIND of the moving image, its border voxels repeated outwards so that every voxel has one."""
        return self.features(F.pad(moving, (self.support,) * 6, mode='replicate'))

    def sums(self, features: Tensor, warped: Tensor, weight: Tensor) -> Tensor:
        """Weighted sum over voxels of the mean squared difference, and of the weights."""
        difference = warped - features
        return _weighted(difference.square().mean(1, keepdim=True), weight)


class MindSsc(_OfPatches):
    """Sum of squared differences of MIND-SSC, recomputed on the warped image, mean over the 12 channels; in [0, 1].

    Heinrich et al. 2013, MICCAI, LNCS 8149:187-194.
    """

    def calibrate(self, fixed: Tensor, warped: Tensor, weight: Tensor) -> None:
        """Take the floor of the local variance from the moving image."""
        self.floor = descriptors.ssc_variance_floor(warped, weight, radius=self.radius)

    def features(self, fixed: Tensor) -> Tensor:
        """MIND-SSC of the fixed image, with a floor of its own."""
        floor = descriptors.ssc_variance_floor(fixed, radius=self.radius)
        return descriptors.mind_ssc(fixed, floor, self.radius)

    def sums(self, features: Tensor, warped: Tensor, weight: Tensor) -> Tensor:
        """Weighted sum over voxels of the mean squared difference, and of the weights."""
        difference = descriptors.mind_ssc(warped, self.floor, self.radius) - features
        return _weighted(difference.square().mean(1, keepdim=True), weight)

    def sums_and_gradient(
        self, features: Tensor, warped: Tensor, weight: Tensor, upstream: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """The same by hand, in less time; `sums` is what tests compare it with."""
        parts = warped[0, 0], features[0], weight[0, 0]
        mismatch, gradient = descriptors.ssc_mismatch(*parts, self.floor, self.radius)
        return torch.stack([mismatch, weight.sum()]), gradient[None, None]


class GlobalMutualInformation(Similarity):
    """Minus the mutual information of all compared voxels, in nats; in [-ln 32, 0], 0 where nothing is shared.

    Wells et al. 1996 and Maes et al. 1997; Parzen windows as in Thevenaz and Unser 2000 (`information`).

    Attributes
    ----------
    bins : int
        Of either image.
    """

    passes = 2
    bins = 32

    def __init__(self, radius: int = 1) -> None:
        super().__init__(radius)
        self.fixed_range: information.Range = (0.0, 1.0)
        self.moving_range: information.Range = (0.0, 1.0)

    def calibrate(self, fixed: Tensor, warped: Tensor, weight: Tensor) -> None:
        """Take the range of the bins of either image from the compared voxels."""
        self.fixed_range = information.value_range(self.core(fixed), weight)
        self.moving_range = information.value_range(self.core(warped), weight)

    def histograms(
        self, fixed: Tensor, warped: Tensor, weight: Tensor, group: Tensor | None = None, groups: int = 1
    ) -> Tensor:
        """Joint histograms (groups, bins, bins) of a box; `group` names that of each voxel."""
        return information.joint_histograms(
            information.to_bins(fixed.flatten(), self.fixed_range, self.bins),
            information.to_bins(warped.flatten(), self.moving_range, self.bins),
            weight.flatten(),
            self.bins,
            group,
            groups,
        )

    def sums(self, features: Tensor, warped: Tensor, weight: Tensor) -> Tensor:
        """The joint histogram, row by row: rows are the bins of the fixed image."""
        return self.histograms(features, self.core(warped), weight).flatten()

    def value(self, sums: Tensor) -> Tensor:
        """Minus the mutual information in nats, from the joint histogram of all boxes, (bins^2,) to a scalar."""
        return -information.mutual_information(sums.view(self.bins, self.bins))


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
        """Minus the sum over cubes of information times compared voxels, and the sum of these voxels."""
        group, groups = self._cubes(weight)
        joint = self.histograms(features, self.core(warped), weight, group, groups)
        with torch.no_grad():
            count = joint.sum((1, 2))
            count = count * (count >= self.block**3 / 10)
        return torch.stack([-(information.mutual_information(joint) * count).sum(), count.sum()])

    def value(self, sums: Tensor) -> Tensor:
        """Mean over cubes, from the two sums over all boxes, (2,) to a scalar."""
        return Similarity.value(self, sums)

    def _cubes(self, weight: Tensor) -> tuple[Tensor, int]:
        """To which cube each voxel of a box belongs, flattened, and how many there are; the last ones may be cut."""
        along = [torch.arange(n, dtype=torch.int32, device=weight.device) // self.block for n in weight.shape[-3:]]
        x, y, z = (-(-n // self.block) for n in weight.shape[-3:])
        group = (along[0][:, None, None] * y + along[1][:, None]) * z + along[2]
        return group.flatten(), x * y * z


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
            max(_mean(_gradient(image).square().sum(1, keepdim=True).sqrt(), weight), 1e-6) for image in (fixed, warped)
        )

    def features(self, fixed: Tensor) -> Tensor:
        """The gradient of the fixed image, three channels."""
        return _gradient(fixed)

    def sums(self, features: Tensor, warped: Tensor, weight: Tensor) -> Tensor:
        """Weighted sum of one minus the squared cosine, and of the weights."""
        gradient = _gradient(warped)
        along = (features * gradient).sum(1, keepdim=True).square()
        most = (features.square().sum(1, keepdim=True) + self.fixed_edge**2) * (
            gradient.square().sum(1, keepdim=True) + self.moving_edge**2
        )
        return _weighted(1 - along / most, weight)


class LocalCorrelation(Similarity):
    """1 - r^2, r the correlation in a window of 5 x 5 x 5 voxels, mean over voxels; in [0, 1], 1 where either is flat.

    The LNCC of Cachier et al. 2003, Computer Vision and Image Understanding 89:272-298, and, squared, of Avants et al.
    2008, Medical Image Analysis 12:26-41. Windows take in what lies outside the mask.
    """

    support = 2
    feature_margin = 2

    def __init__(self, radius: int = 1) -> None:
        super().__init__(radius)
        self.fixed_floor = 1e-6
        self.moving_floor = 1e-6

    def calibrate(self, fixed: Tensor, warped: Tensor, weight: Tensor) -> None:
        """Take the floor of the local variance of either image, a thousandth of its mean."""
        self.fixed_floor, self.moving_floor = (
            max(_mean(_window_mean(image.square()) - _window_mean(image).square(), weight) * 1e-3, 1e-12)
            for image in (fixed, warped)
        )

    def features(self, fixed: Tensor) -> Tensor:
        """The fixed image, its local mean and its local variance; the latter two mean nothing in the margin."""
        mean = _window_mean(fixed)
        statistics = torch.cat([mean, _window_mean(fixed.square()) - mean.square()], 1)
        return torch.cat([fixed, F.pad(statistics, (self.support,) * 6)], 1)

    def sums(self, features: Tensor, warped: Tensor, weight: Tensor) -> Tensor:
        """Weighted sum of one minus the squared correlation, and of the weights."""
        fixed, fixed_statistics = features[:, :1], self.core(features[:, 1:])
        fixed_mean, fixed_variance = fixed_statistics[:, :1], fixed_statistics[:, 1:]
        mean, square, product = _window_mean(torch.cat([warped, warped.square(), warped * fixed], 1)).split(1, 1)
        variance = (square - mean.square()).clamp_min(self.moving_floor)
        covariance = product - mean * fixed_mean
        return _weighted(1 - covariance.square() / (variance * fixed_variance.clamp_min(self.fixed_floor)), weight)


class SquaredDifference(Similarity):
    """Mean squared difference of the intensities, in squared units of theirs; for images of one contrast. From 0 up."""

    def sums(self, features: Tensor, warped: Tensor, weight: Tensor) -> Tensor:
        """Weighted sum of the squared difference, and of the weights."""
        return _weighted((self.core(warped) - features).square(), weight)


def _weighted(dissimilarity: Tensor, weight: Tensor) -> Tensor:
    """The sums of a mean over voxels: of weight times dissimilarity, and of the weights."""
    return torch.stack([(dissimilarity * weight).sum(), weight.sum()])


def _mean(values: Tensor, weight: Tensor) -> float:
    """Weighted mean; 0 without weight."""
    return float((values * weight).sum() / weight.sum().clamp_min(1e-6))


def _gradient(image: Tensor) -> Tensor:
    """Central differences in intensity per voxel, (1, 1, X, Y, Z) to (1, 3, X - 2, Y - 2, Z - 2)."""
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


def _window_mean(volume: Tensor) -> Tensor:
    """Mean over windows of 5 x 5 x 5 voxels, without padding: each spatial axis gets four voxels shorter."""
    for axis in (2, 3, 4):
        n = volume.shape[axis]
        pairs = volume.narrow(axis, 0, n - 1) + volume.narrow(axis, 1, n - 1)
        volume = pairs.narrow(axis, 0, n - 4) + pairs.narrow(axis, 2, n - 4) + volume.narrow(axis, 4, n - 4)
    return volume * (1 / 125)


SIMILARITIES: dict[str, type[Similarity]] = {
    'mind': Mind,
    'mind-features': MindFeatures,
    'mind-ssc': MindSsc,
    'gmi': GlobalMutualInformation,
    'lmi': LocalMutualInformation,
    'ngf': NormalisedGradientFields,
    'lncc': LocalCorrelation,
    'ssd': SquaredDifference,
}
