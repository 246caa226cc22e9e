"""Several similarities in one, so that the moving image is sampled once for all of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
import torch.nn.functional as F

from bidsreg.registration.numerics.threads import in_threads, spare_threads
from bidsreg.registration.similarity.base import Similarity

Tensor = torch.Tensor
Parts = tuple[Tensor, Tensor, Tensor]


class CombinedSimilarity(Similarity):
    """The weighted sum of similarities that look at the warped image itself.

    Parameters
    ----------
    parts : sequence of (Similarity, float)
        Each with its weight; none of them feature-based.
    """

    passes = 2

    def __init__(self, parts: Sequence[tuple[Similarity, float]]) -> None:
        super().__init__()
        self.parts = list(parts)
        self.support = max(part.support for part, _ in self.parts)
        self.block = max(part.block for part, _ in self.parts)
        self.feature_margin = self.support
        self.channels: list[int] = []
        self.lengths: list[int] = []

    @property
    def members(self) -> tuple[Similarity, ...]:
        """Return the parts."""
        return tuple(part for part, _ in self.parts)

    def feature_counts(self, channels: int) -> list[int]:
        """Return how many channels of the features each part has."""
        return self.channels

    def shares(self, upstream: Tensor) -> tuple[Tensor, ...]:
        """Return the part of a gradient by the sums that belongs to each part."""
        return upstream.split(self.lengths)

    @property
    def margins(self) -> tuple[int, ...]:
        """Return those of the parts."""
        return tuple(part.support for part, _ in self.parts)

    def calibrate(self, fixed: Tensor, warped: Tensor, weight: Tensor) -> None:
        """Calibrate every part."""

        def one(part: Similarity) -> None:
            part.calibrate(self._for(part, fixed), self._for(part, warped), weight)

        in_threads(one, self.members, spare_threads(fixed.numel()) if fixed.device.type == 'cpu' else 1)

    def features(self, fixed: Tensor) -> Tensor:
        """Return the features of all parts, channel after channel, with zeros where a part's do not reach."""
        found = [part.features(self._for(part, fixed)) for part, _ in self.parts]
        self.channels = [features.shape[1] for features in found]
        wide = [F.pad(f, (self._lacking(part),) * 6) for f, (part, _) in zip(found, self.parts, strict=True)]
        return torch.cat(wide, 1)

    def sums(self, features: Tensor, warped: Tensor, weight: Tensor) -> Tensor:
        """Return the sums of all parts, one after another."""
        return self.joined([part.sums(*given) for part, given in self._each(features, warped, weight)])

    def first_pass(self, features: Tensor, warped: Tensor, weight: Tensor) -> tuple[Tensor, Any]:
        """Return the sums, and for each part its gradient, or what its own second pass needs."""
        done = [
            part.sums_and_gradient(*given) if part.passes == 1 else part.first_pass(*given)
            for part, given in self._each(features, warped, weight)
        ]
        return self.joined([sums for sums, _ in done]), [kept for _, kept in done]

    def second_pass(self, features: Tensor, warped: Tensor, weight: Tensor, upstream: Tensor, kept: Any) -> Tensor:
        """Return the gradient of ``upstream @ sums``."""
        gradient = torch.zeros_like(warped)
        shares = zip(self._each(features, warped, weight), self.shares(upstream), kept, strict=True)
        for (part, given), share, own in shares:
            # only the first sum of a single pass depends on the image
            by_warped = share[0] * own if part.passes == 1 else part.second_pass(*given, share, own)
            self._for(part, gradient).add_(by_warped)
        return gradient

    def value(self, sums: Tensor) -> Tensor:
        """Return the weighted sum of the parts' values."""
        each = zip(self.parts, self.shares(sums), strict=True)
        return torch.stack([weight * part.value(own) for (part, weight), own in each]).sum()

    def _each(self, features: Tensor, warped: Tensor, weight: Tensor) -> Iterator[tuple[Similarity, Parts]]:
        """Yield every part with what it is given."""
        each = zip(self.parts, features.split(self.channels, 1), weight.split(1, 1), strict=True)
        for (part, _), own, counted in each:
            yield part, (_cropped(own, self._lacking(part)), self._for(part, warped), counted)

    def _for(self, part: Similarity, volume: Tensor) -> Tensor:
        """Return a volume without the voxels beyond a part's support."""
        return _cropped(volume, self.support - part.support)

    def _lacking(self, part: Similarity) -> int:
        """Return by how many voxels a part's features are narrower than the image."""
        return self.support - part.feature_margin

    def joined(self, sums: list[Tensor]) -> Tensor:
        """Return the sums of all parts, one after another."""
        self.lengths = [len(own) for own in sums]
        return torch.cat(sums)


def _cropped(volume: Tensor, n: int) -> Tensor:
    x, y, z = (slice(n, size - n) for size in volume.shape[-3:])
    return volume[..., x, y, z]
