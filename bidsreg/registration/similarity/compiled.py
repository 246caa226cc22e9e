"""The data term on a CPU by compiled kernels, one box of the level at a time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from bidsreg.registration.image import Image
from bidsreg.registration.numerics.kernels import warping
from bidsreg.registration.similarity.base import Similarity
from bidsreg.registration.similarity.compiled_boxes import LONGEST, CompiledBox, Scratch
from bidsreg.registration.similarity.compiled_members import MEMBERS, Warped
from bidsreg.registration.volume import Volume

if TYPE_CHECKING:
    from bidsreg.registration.similarity.dataterm import Tile

Tensor = torch.Tensor
First = tuple[CompiledBox, Warped]


class CompiledTerm:
    """Sums over boxes and gradients for similarities with `kernels`, as `DataTerm` takes them by torch.

    Where a similarity takes two passes, what the first one samples stays in the memory of each box for the second one.

    Parameters
    ----------
    similarity : Similarity
        Calibrated.
    moving : Tensor, shape (1, 1, X, Y, Z)
        The moving volume.
    counts : Image, Volume or None
        Above 0.5 where it may be compared, on the same grid.
    bounds : sequence of two Tensors, shape (3, 1, 1, 1)
        For each margin of the similarity, between which positions a voxel counts.
    """

    def __init__(
        self,
        similarity: Similarity,
        moving: Tensor,
        counts: Image | Volume | None,
        bounds: Sequence[Sequence[Tensor]],
    ) -> None:
        self.similarity = similarity
        self.members = [MEMBERS[each.kernels](each) for each in similarity.members]
        self.moving, self.shape = moving.numpy().ravel(), np.array(moving.shape[2:])
        self.counts = (
            np.zeros(0, np.uint8) if counts is None else (np.asarray(counts.data) > 0.5).astype(np.uint8).ravel()
        )
        edges = (np.stack([edge.numpy().reshape(3) for edge in side], 1) for side in zip(*bounds, strict=True))
        self.lowest, self.highest = edges
        self.idle: list[Scratch] = []

    def box(self, tile: Tile) -> CompiledBox:
        """Take over a tile of the torch version."""
        box = CompiledBox.of(tile, self.similarity.support)
        counts = self.similarity.feature_counts(tile.features.shape[1])
        each = zip(self.members, tile.features[0].split(counts), strict=True)
        return replace(box, features=[member.features(box, own.numpy()) for member, own in each])

    def sums_and_gradient(self, box: CompiledBox, displacement: Tensor) -> tuple[Tensor, Tensor]:
        """Return what `first` and `second` do, for the first sum, where a similarity takes one pass."""
        scratch = self._scratch()
        warped = self._warp(box, displacement, scratch, scratch)
        (member,), (features,), (weight,) = self.members, box.features, warped.weight
        sums = member.first(box, features, warped.image, weight, scratch, scratch)
        by_coarse = self._collect(box, scratch('gradient', box.room), warped.slopes, scratch)
        self._put_back(scratch, math.isfinite(sums.sum()))
        return torch.from_numpy(sums), torch.from_numpy(by_coarse)

    def first(self, box: CompiledBox, displacement: Tensor) -> tuple[Tensor, First]:
        """Return a box's sums, (S,), and what `second` needs of it.

        Parameters
        ----------
        box : CompiledBox
        displacement : Tensor, shape (1, 3, CX, CY, CZ)
            In voxels of the moving volume.
        """
        scratch = self._scratch()
        warped = self._warp(box, displacement, scratch, box.memory)
        parts = box.memory.parts(len(self.members))
        each = zip(self.members, box.features, warped.weight, parts, strict=True)
        sums = [
            member.first(box, features, warped.image, weight, scratch, memory)
            for member, features, weight, memory in each
        ]
        self._put_back(scratch, all(math.isfinite(own.sum()) for own in sums))
        return self.similarity.joined([torch.from_numpy(own) for own in sums]), (box, warped)

    def shares(self, upstream: Tensor) -> list[np.ndarray]:
        """Return what of a gradient by the sums, (S,), belongs to each of the similarities."""
        return [share.numpy() for share in self.similarity.shares(upstream)]

    def second(self, first: First, shares: Sequence[np.ndarray]) -> Tensor:
        """Return the gradient by the box's part of the displacement, (3, a, b, c), from the `shares` of the sums'."""
        box, warped = first
        scratch = self._scratch()
        gradient, parts = scratch('gradient', box.room), box.memory.parts(len(self.members))
        each = zip(self.members, box.features, warped.weight, shares, parts, strict=True)
        for number, (member, features, weight, share, memory) in enumerate(each):
            member.second(box, features, warped.image, weight, share, memory, gradient, number > 0)
        by_coarse = self._collect(box, gradient, warped.slopes, scratch)
        self._put_back(scratch, math.isfinite(by_coarse.sum()))
        return torch.from_numpy(by_coarse)

    def _scratch(self) -> Scratch:
        """Return memory that no thread works in."""
        try:
            return self.idle.pop()
        except IndexError:
            return Scratch()

    def _put_back(self, scratch: Scratch, finite: bool) -> None:
        """Let scratch memory be used again, if what is left in it is finite."""
        if finite:
            self.idle.append(scratch)

    def _warp(self, box: CompiledBox, displacement: Tensor, scratch: Scratch, memory: Scratch) -> Warped:
        """Sample the moving volume in a box, and weigh its voxels; what is returned lies in `memory`."""
        a, b, _ = (part.stop - part.start for part in box.coarse)
        _, y, z = box.shape
        found = Warped(
            image=memory('image', box.room),
            slopes=memory('slopes', 3, box.room),
            weight=memory('weight', self.lowest.shape[1], box.weight.size),
        )
        warping.warp(
            displacement[0].numpy(),
            box.corner,
            box.bands.neighbours,
            box.bands.taps,
            box.axes,
            self.moving,
            self.shape,
            self.counts,
            self.lowest,
            self.highest,
            box.margin,
            box.needed,
            box.compared,
            box.weight,
            scratch('lines', b, z),
            scratch('planes', 3, a, y * z),
            scratch('across', 4, y * z),
            scratch('at', 3, y * z + LONGEST),
            scratch('corners', 11, LONGEST),
            scratch('cells', LONGEST, dtype=np.int32),
            found.image,
            found.slopes,
            found.weight,
        )
        return found

    def _collect(self, box: CompiledBox, by_image: np.ndarray, slopes: np.ndarray, scratch: Scratch) -> np.ndarray:
        """Return the gradient by a box's part of the displacement, (3, a, b, c), from that by its image."""
        a, b, c = (part.stop - part.start for part in box.coarse)
        x, y, z = box.shape
        by_coarse, planes = np.empty((3, a, b, c), np.float32), scratch('planes back', a, y, z)
        warping.collect(
            by_image,
            slopes,
            box.margin,
            box.adjoint.neighbours,
            box.adjoint.taps,
            scratch('products', x, warping.STRIP),
            planes.reshape(a, y * z),
            planes,
            scratch('line', z),
            by_coarse,
        )
        return by_coarse
