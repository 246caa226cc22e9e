"""The contract of similarities: small classes that compare the fixed image with the warped moving one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import torch

from bidsreg.registration.similarity.descriptors import PatchStep

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

    outlined : bool
        Whether what lies outside of a brain is darker than anything within (`Preset.outline`), which is about [0, 1].
    steps : tuple of PatchStep
        Of those that compare patch descriptors of the warped image: what these are made of, and their `floor`.
    kernels : str
        What takes sums and gradients on a CPU, by its name in `compiled_members.MEMBERS`; torch where there is none.
    floor : float
        Smallest local variance of such descriptors, in squared intensity units.

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
    outlined: bool = False
    steps: ClassVar[tuple[PatchStep, ...]] = ()
    floor: float = 0.0
    kernels: ClassVar[str] = ''

    def __init__(self, radius: int = 1) -> None:
        self.radius = radius

    def calibrate(self, fixed: Tensor, warped: Tensor, weight: Tensor) -> None:  # noqa: B027, most need nothing
        """Fix what depends on whole images, once for a level.

        Parameters
        ----------
        fixed, warped : Tensor, shape (1, 1, X, Y, Z)
            The level's fixed image, and the moving image as it lies at the start of the level.
        weight : Tensor, shape (1, 1, X - 2s, Y - 2s, Z - 2s) with s = `support`
            Where the two are compared, 0 or 1.
        """

    def features(self, fixed: Tensor) -> Tensor:
        """Return what is compared of the fixed image, without a graph; no voxel depends on more than `support` around.

        Parameters
        ----------
        fixed : Tensor, shape (1, 1, x, y, z)
            A box of the level's fixed image, after `calibrate`.

        Returns
        -------
        Tensor, shape (1, C, x - 2r, y - 2r, z - 2r) with r = `support` - `feature_margin`
        """
        return self.core(fixed)

    def moving_features(self, moving: Tensor) -> Tensor:
        """Return what is warped, (1, 1, X, Y, Z) to (1, C, X, Y, Z): the image, or its features if feature-based."""
        return moving

    @abstractmethod
    def sums(self, features: Tensor, warped: Tensor, weight: Tensor) -> Tensor:
        """Return sums over a box, differentiable by `warped`.

        Parameters
        ----------
        features : Tensor, shape (1, C, x - 2r, y - 2r, z - 2r) with r = `support` - `feature_margin`
            Of the fixed image.
        warped : Tensor, shape (1, 1, x, y, z)
            The warped moving image; if feature-based, its warped features at the compared voxels alone, of the shape of
            `features`.
        weight : Tensor, shape (1, M, x - 2s, y - 2s, z - 2s)
            Which voxels count, for each of the `margins`, of which most have one.

        Returns
        -------
        Tensor, shape (S,)
        """

    def sums_and_gradient(self, features: Tensor, warped: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Return the sums, and the gradient of the first by `warped`, without a graph: all of a single pass."""
        with torch.enable_grad():
            leaf = warped.detach().requires_grad_()
            sums = self.sums(features, leaf, weight)
            gradient = torch.autograd.grad(sums[0], leaf)[0]
        return sums.detach(), gradient

    def gradient(self, features: Tensor, warped: Tensor, weight: Tensor, upstream: Tensor) -> Tensor:
        """Return the gradient of ``upstream @ sums`` by `warped`, without a graph."""
        with torch.enable_grad():
            leaf = warped.detach().requires_grad_()
            return torch.autograd.grad(upstream @ self.sums(features, leaf, weight), leaf)[0]

    def totals(self, features: Tensor, warped: Tensor, weight: Tensor) -> Tensor:
        """Return `sums` where no gradient is wanted."""
        return self.sums(features, warped, weight)

    def first_pass(self, features: Tensor, warped: Tensor, weight: Tensor) -> tuple[Tensor, Any]:
        """Return the sums, and whatever is to be given back to `second_pass`."""
        return self.totals(features, warped, weight), None

    def second_pass(self, features: Tensor, warped: Tensor, weight: Tensor, upstream: Tensor, kept: Any) -> Tensor:
        """Return the gradient of ``upstream @ sums`` by `warped`; `kept` is what the first pass returned."""
        return self.gradient(features, warped, weight, upstream)

    def value(self, sums: Tensor) -> Tensor:
        """Return the dissimilarity, low when alike, from the sums over all boxes, (S,) to a scalar."""
        return sums[0] / sums[1].clamp_min(1)

    @property
    def members(self) -> tuple[Similarity, ...]:
        """Return the similarities that are combined in this one: by default itself."""
        return (self,)

    def feature_counts(self, channels: int) -> list[int]:
        """Return how many channels of the features each of the `members` has."""
        return [channels]

    def joined(self, sums: list[Tensor]) -> Tensor:
        """Return the sums of the `members`, one after another."""
        return sums[0]

    def shares(self, upstream: Tensor) -> tuple[Tensor, ...]:
        """Return what of a gradient by the sums belongs to each of the `members`."""
        return (upstream,)

    @property
    def margins(self) -> tuple[int, ...]:
        """Return by how many voxels what is compared must lie inside the moving field of view; one for each weight."""
        return (0 if self.feature_based else self.support,)

    def core(self, volume: Tensor) -> Tensor:
        """Return a volume without `support` voxels on every side."""
        s = self.support
        return volume[..., s : volume.shape[-3] - s, s : volume.shape[-2] - s, s : volume.shape[-1] - s]


def weighted_sums(dissimilarity: Tensor, weight: Tensor) -> Tensor:
    """Return the sums of a mean over voxels: of weight times dissimilarity, and of the weights."""
    return torch.stack([(dissimilarity * weight).sum(), weight.sum()])


def weighted_mean(values: Tensor, weight: Tensor) -> float:
    """Return a weighted mean; 0 without weight."""
    return float((values * weight).sum() / weight.sum().clamp_min(1e-6))
