"""What compiled kernels do for one similarity in a box."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from bidsreg.registration.numerics.kernels import correlation, histogram, patches
from bidsreg.registration.similarity import descriptors
from bidsreg.registration.similarity.base import Similarity
from bidsreg.registration.similarity.compiled_boxes import LONGEST, CompiledBox, Scratch
from bidsreg.registration.similarity.intensity import LocalCorrelation
from bidsreg.registration.similarity.mutual import GlobalMutualInformation


@dataclass(frozen=True, eq=False)
class Warped:
    """The moving image in a box.

    Attributes
    ----------
    image : ndarray, shape (N,)
        Flat.
    slopes : ndarray, shape (3, N)
        Its derivatives by the position.
    weight : ndarray, shape (M, P)
        For each margin of the similarity, what the voxels to compare count, one run after another.
    """

    image: np.ndarray
    slopes: np.ndarray
    weight: np.ndarray


class Member(ABC):
    """What kernels do for one similarity in a box: alone, or one of several that look at the same warped image."""

    @abstractmethod
    def features(self, box: CompiledBox, found: np.ndarray) -> np.ndarray:
        """Return the features of the fixed image (C, x, y, z), in the middle of a box, as the kernel wants them."""

    @abstractmethod
    def first(
        self,
        box: CompiledBox,
        features: np.ndarray,
        image: np.ndarray,
        weight: np.ndarray,
        scratch: Scratch,
        memory: Scratch,
    ) -> np.ndarray:
        """Return the sums over a box, (S,).

        Parameters
        ----------
        box : CompiledBox
        features : ndarray
            As `features` returned them.
        image : ndarray, shape (N,)
            The warped image, flat.
        weight : ndarray, shape (P,)
            What the voxels to compare count.
        scratch : Scratch
            To work in.
        memory : Scratch
            Where things stay for `second`; `gradient` in it is that of the first sum, where one pass takes it.
        """

    @abstractmethod
    def second(
        self,
        box: CompiledBox,
        features: np.ndarray,
        image: np.ndarray,
        weight: np.ndarray,
        upstream: np.ndarray,
        memory: Scratch,
        gradient: np.ndarray,
        add: bool,
    ) -> None:
        """Set `gradient` (N,) to that of `upstream` (S,) @ sums by the image, or add to it; see `first`."""


class _OfOnePass(Member):
    """The first pass takes the gradient of the first sum, too; the others do not depend on the image."""

    def second(
        self,
        box: CompiledBox,
        features: np.ndarray,
        image: np.ndarray,
        weight: np.ndarray,
        upstream: np.ndarray,
        memory: Scratch,
        gradient: np.ndarray,
        add: bool,
    ) -> None:
        """See `Member`."""
        scaled = correlation.add_scaled if add else correlation.set_scaled
        scaled(memory('gradient', box.room), np.float32(upstream[0]), gradient)


class Patches(_OfOnePass):
    """Of similarities with `steps`."""

    def __init__(self, similarity: Similarity) -> None:
        self.radius = similarity.radius
        self.far = np.array([step.far for step in similarity.steps])
        self.near = np.array([step.near for step in similarity.steps])
        self.places = np.array([step.places for step in similarity.steps])
        self.floor = np.float32(similarity.floor * descriptors.sum_of_weights(similarity.radius))
        self.known: dict[tuple[int, int], tuple[np.ndarray, ...]] = {}

    def offsets(self, box: CompiledBox) -> tuple[np.ndarray, ...]:
        """Return how far away `far`, `near` and `places` lie in flat volumes of a box."""
        key = box.plane, box.shape[2]
        if key not in self.known:
            self.known[key] = tuple(box.offsets(each) for each in (self.far, self.near, self.places))
        return self.known[key]

    def features(self, box: CompiledBox, found: np.ndarray) -> np.ndarray:
        """Return the descriptors of the voxels to compare, (C, P), in 16 bits."""
        return np.rint(box.of_compared(found) * patches.WHOLE).astype(np.uint16)

    def first(
        self,
        box: CompiledBox,
        features: np.ndarray,
        image: np.ndarray,
        weight: np.ndarray,
        scratch: Scratch,
        memory: Scratch,
    ) -> np.ndarray:
        """See `Member`."""
        count, row = len(self.far), box.shape[2]
        # for radius 0 distances are taken from the image
        room = box.room if self.radius else 0
        first, last = box.compared[0], box.compared[-1]
        mismatch = patches.mismatch(
            image,
            *self.offsets(box),
            self.radius,
            row,
            box.plane,
            first[0],
            last[0] + last[2],
            self.floor,
            features,
            weight,
            box.compared,
            scratch('distances', count, room),
            scratch('by_distance', count, room),
            scratch('smoothed', room),
            scratch('patch strips', 3, patches.CHUNK + 2 * row + 2),
            scratch('patch rows', 2 * count + 4, LONGEST),
            memory('gradient', box.room),
        )
        # summed in pairs, and exact where weights are 0 and 1
        return np.array([mismatch, weight.sum()])


class Information(Member):
    """Of `GlobalMutualInformation`: the joint histogram."""

    def __init__(self, similarity: GlobalMutualInformation) -> None:
        self.scales, self.bins = similarity.scales(), similarity.bins

    def features(self, box: CompiledBox, found: np.ndarray) -> np.ndarray:
        """Return the fixed image, flat, (1, N)."""
        return box.flat(found)

    def first(
        self,
        box: CompiledBox,
        features: np.ndarray,
        image: np.ndarray,
        weight: np.ndarray,
        scratch: Scratch,
        memory: Scratch,
    ) -> np.ndarray:
        """See `Member`."""
        return histogram.joint_histogram(features[0], image, weight, *self.scales, self.bins, box.compared).ravel()

    def second(
        self,
        box: CompiledBox,
        features: np.ndarray,
        image: np.ndarray,
        weight: np.ndarray,
        upstream: np.ndarray,
        memory: Scratch,
        gradient: np.ndarray,
        add: bool,
    ) -> None:
        """See `Member`."""
        if not add:
            gradient[:] = 0
        by_bin = upstream.reshape(self.bins, self.bins)
        histogram.derivative(features[0], image, weight, *self.scales, by_bin, box.compared, gradient)


class Correlation(_OfOnePass):
    """Of `LocalCorrelation`."""

    def __init__(self, similarity: LocalCorrelation) -> None:
        self.fixed_floor, self.floor = similarity.fixed_floor, np.float32(similarity.moving_floor)

    def features(self, box: CompiledBox, found: np.ndarray) -> np.ndarray:
        """Return the fixed image, its local mean, and one over its local variance, flat, (3, N)."""
        out = box.flat(found)
        out[2] = 1 / np.maximum(out[2], self.fixed_floor)
        return out

    def first(
        self,
        box: CompiledBox,
        features: np.ndarray,
        image: np.ndarray,
        weight: np.ndarray,
        scratch: Scratch,
        memory: Scratch,
    ) -> np.ndarray:
        """See `Member`."""
        (planes, _, row), plane = box.shape, box.plane
        edge = correlation.beside(row)
        # zero at all other voxels, since it is the box's own
        counts = box.memory('counts', box.room)
        correlation.unpack(weight, box.compared, counts)
        sums = correlation.correlate(
            image,
            features,
            counts,
            box.margin,
            planes,
            plane,
            row,
            self.floor,
            scratch('moments', correlation.WIDTH, 3, plane),
            scratch('pulls', correlation.WIDTH, 3, plane),
            scratch('window strips', 2, plane + 2 * edge),
            scratch('around', 3, plane + 2 * edge),
            scratch('window rows', 4, plane),
            memory('gradient', box.room),
        )
        return np.array(sums)


MEMBERS: dict[str, Callable[..., Member]] = {
    'patches': Patches,
    'histogram': Information,
    'correlation': Correlation,
}
"""By what a similarity's `kernels` names."""
