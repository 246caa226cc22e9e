"""The similarity on one level, worked in boxes that fit the processor's cache, with its gradient."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from bidsreg.registration.image import Image
from bidsreg.registration.numerics import separable, volumes
from bidsreg.registration.numerics.boxes import COLUMN, Box, boxes, whole
from bidsreg.registration.numerics.compute import Compute
from bidsreg.registration.numerics.positions import added_axes, mapped_axes, mapped_vectors
from bidsreg.registration.numerics.sampling import Sampler
from bidsreg.registration.numerics.threads import in_threads
from bidsreg.registration.similarity.base import Similarity
from bidsreg.registration.volume import Volume

if TYPE_CHECKING:
    from bidsreg.registration.similarity.compiled import CompiledTerm

Tensor = torch.Tensor


@dataclass(frozen=True, eq=False)
class Tile:
    """A box of the level's grid: what is compared in it, where it lies, and how the displacement gets there."""

    features: Tensor
    weight: Tensor
    axes: tuple[Tensor, ...]
    """What each axis adds to the undisplaced positions in voxels of the moving volume, (3, x), (3, y) and (3, z)."""
    coarse: Box
    """Which part of the displacement's grid it depends on."""
    matrices: separable.Matrices
    """Interpolation of that part at the box's voxels."""


@dataclass(frozen=True, eq=False)
class FirstPass:
    """What the first of two passes leaves for the second."""

    tile: Tile
    warped: Tensor
    slopes: list[Tensor]
    weight: Tensor
    kept: Any
    """What the similarity wants to be given back."""


class DataTerm:
    """Dissimilarity of the fixed and the warped moving image as a function of the coarse displacement.

    Parameters
    ----------
    fixed : ndarray or Tensor, shape (X, Y, Z)
        The fixed image on the level's grid.
    weight : ndarray or Tensor, shape (X, Y, Z)
        Where to compare, 0 or 1; at least `support` voxels from the border.
    moving : Image or Volume
        Smoothed for the level, on its own grid (on the level's grid for a feature-based similarity).
    counts : Image, Volume or None
        Above 0.5 where the moving image may be compared, on the same grid.
    to_moving : ndarray, shape (4, 4)
        Voxels of the level to voxels of `moving`, without displacement.
    turn : ndarray, shape (3, 3)
        Displacements in mm along the velocity grid's axes to voxels of `moving`.
    interpolation : sequence of ndarray
        For each axis, the matrix that interpolates the coarse displacement at the level's voxels.
    similarity : Similarity
        What is compared.
    compute : Compute
        Where to work; by default one box on a GPU, which is fastest there.
    """

    def __init__(
        self,
        fixed: np.ndarray | Tensor,
        weight: np.ndarray | Tensor,
        moving: Image | Volume,
        counts: Image | Volume | None,
        to_moving: np.ndarray,
        turn: np.ndarray,
        interpolation: list[np.ndarray],
        similarity: Similarity,
        compute: Compute,
    ) -> None:
        self.similarity, self.compute = similarity, compute
        self.turn = self._tensor(turn)
        level, shown = self._tensor(fixed)[None, None], self._tensor(moving.data)[None, None]
        compared = self._tensor(weight)
        inner = similarity.core(compared[None, None])
        axes = mapped_axes(to_moving, whole(fixed.shape), compute.device)
        similarity.calibrate(level, Sampler(shown[0]).values(added_axes(*axes))[None], inner)
        self.margin = 0 if similarity.feature_based else similarity.support
        self.moving = Sampler(similarity.moving_features(shown)[0])
        self.counts = None if counts is None else Sampler(self._tensor(counts.data)[None])
        # a voxel counts where its whole support lies in the moving field of view
        self.bounds = []
        for margin in similarity.margins:
            reach = margin * np.abs(to_moving[:3, :3]).sum(1)
            edges = reach, np.array(moving.data.shape) - 1 - reach
            self.bounds.append([self._tensor(edge)[:, None, None, None] for edge in edges])
        kernels = self._kernels(shown, counts)
        size = COLUMN if kernels else None if compute.small_boxes else max(weight.shape)
        self.needed = self._needed(compared > 0, interpolation)

        def made(box: Box) -> Any:
            tile = self._tile(box, level, inner, axes, interpolation)
            return kernels.box(tile) if kernels else tile

        found = boxes(inner[0, 0].cpu().numpy(), size, similarity.block)
        self.tiles: Sequence[Any] = in_threads(made, found, compute.at_a_time)
        self.sums_and_gradient: Callable[[Any, Tensor], tuple[Tensor, Tensor]] = self._by_torch
        self.first: Callable[[Any, Tensor], tuple[Tensor, Any]] = self._first
        # what the second pass wants of the gradient by the totals
        self.shares: Callable[[Tensor], Any] = lambda upstream: upstream
        self.second: Callable[[Any, Any], Tensor] = self._second
        if kernels:
            self.sums_and_gradient = kernels.sums_and_gradient
            self.first, self.shares, self.second = kernels.first, kernels.shares, kernels.second

    def _kernels(self, shown: Tensor, counts: Image | Volume | None) -> CompiledTerm | None:
        """Return what works by kernels, on a CPU, if there are some for the similarity."""
        if self.compute.device.type != 'cpu' or not all(each.kernels for each in self.similarity.members):
            return None
        # here, since it imports numba
        from bidsreg.registration.similarity.compiled import CompiledTerm

        return CompiledTerm(self.similarity, shown, counts, self.bounds)

    def _tensor(self, values: np.ndarray | Tensor) -> Tensor:
        given = values if isinstance(values, Tensor) else torch.from_numpy(np.ascontiguousarray(values))
        return given.to(self.compute.device, torch.float32).contiguous()

    def _needed(self, compared: Tensor, interpolation: list[np.ndarray]) -> Tensor:
        """Return flat indices of the points of the displacement's grid on which compared voxels depend, ascending."""
        seen = volumes.grown(compared, self.margin).float()
        taps = tuple(self._tensor(weights != 0) for weights in interpolation)
        return separable.apply_transposed(seen[None, None], taps).flatten().nonzero()[:, 0]

    def _tile(
        self, box: Box, fixed: Tensor, weight: Tensor, axes: tuple[Tensor, ...], interpolation: list[np.ndarray]
    ) -> Tile:
        """Cut out what belongs to a box of compared voxels."""
        s, m = self.similarity.support, self.margin
        every = (slice(None), slice(None))
        wide = [slice(b.start + s - m, b.stop + s + m) for b in box]
        around = [slice(b.start, b.stop + 2 * s) for b in box]
        rows = [weights[b] for weights, b in zip(interpolation, wide, strict=True)]
        x, y, z = (np.flatnonzero(r.any(0)) for r in rows)
        coarse = (slice(x[0], x[-1] + 1), slice(y[0], y[-1] + 1), slice(z[0], z[-1] + 1))
        return Tile(
            features=self.similarity.features(fixed[(*every, *around)]).contiguous(),
            weight=weight[(*every, *box)].contiguous(),
            axes=tuple(along[:, part].contiguous() for along, part in zip(axes, wide, strict=True)),
            coarse=coarse,
            matrices=tuple(self._tensor(r[:, c]) for r, c in zip(rows, coarse, strict=True)),
        )

    def _weight(self, tile: Tile, at: Tensor) -> Tensor:
        """Return which voxels of a tile count where they lie now, for each margin of the similarity."""
        m = self.margin
        core = at[:, m : at.shape[1] - m, m : at.shape[2] - m, m : at.shape[3] - m]
        seen = torch.stack([((core >= lowest) & (core <= highest)).all(0) for lowest, highest in self.bounds])
        if self.counts is not None:
            seen &= self.counts.nearest(core) > 0.5
        return tile.weight * seen

    def _placed(self, tile: Tile, displacement: Tensor) -> Tensor:
        """Return positions in the moving volume of a tile's voxels, displaced, (3, x, y, z)."""
        return separable.apply(displacement[(..., *tile.coarse)], tile.matrices)[0].add_(added_axes(*tile.axes))

    def _by_torch(self, tile: Tile, displacement: Tensor) -> tuple[Tensor, Tensor]:
        """Return a tile's sums, and the gradient of the first by the displacement."""
        at = self._placed(tile, displacement)
        warped, slopes = self.moving(at)
        sums, by_warped = self.similarity.sums_and_gradient(tile.features, warped[None], self._weight(tile, at))
        return sums, self._back(tile, slopes, by_warped)

    def _back(self, tile: Tile, slopes: list[Tensor], by_warped: Tensor) -> Tensor:
        """Return the gradient by the displacement from that by the warped image, whose slopes are overwritten."""
        by_position = slopes[0].mul_(by_warped[0, 0])
        for slope, by_channel in zip(slopes[1:], by_warped[0, 1:], strict=True):
            by_position.addcmul_(slope, by_channel)
        return separable.apply_transposed(by_position[None], tile.matrices)[0]

    def _first(self, tile: Tile, displacement: Tensor) -> tuple[Tensor, FirstPass]:
        """Return a tile's sums, and what the second pass needs of the first."""
        at = self._placed(tile, displacement)
        warped, slopes = self.moving(at)
        weight = self._weight(tile, at)
        sums, kept = self.similarity.first_pass(tile.features, warped[None], weight)
        return sums, FirstPass(tile, warped[None], slopes, weight, kept)

    def _second(self, first: FirstPass, upstream: Tensor) -> Tensor:
        """Return the gradient of `upstream` @ sums by the displacement."""
        tile = first.tile
        by_warped = self.similarity.second_pass(tile.features, first.warped, first.weight, upstream, first.kept)
        return self._back(tile, first.slopes, by_warped)

    @torch.no_grad()
    def value_and_gradient(self, displacement: Tensor) -> tuple[Tensor, Tensor]:
        """Return the dissimilarity, and its gradient by the displacement (1, 3, X, Y, Z) in mm along its axes."""
        gradient = torch.zeros_like(displacement)
        if not self.tiles:
            return displacement.new_zeros(()), gradient
        turned = mapped_vectors(self.turn, displacement)
        passes = self._in_one_pass if self.similarity.passes == 1 else self._in_two_passes
        value, scale, parts = passes(turned)
        for tile, part in zip(self.tiles, parts, strict=True):
            gradient[0][(slice(None), *tile.coarse)] += part
        return value, mapped_vectors(self.turn.T * scale, gradient)

    def _in_one_pass(self, turned: Tensor) -> tuple[Tensor, Tensor, list[Tensor]]:
        """Return the value, and the gradient of each tile with what all of them are to be multiplied by."""
        done = in_threads(lambda tile: self.sums_and_gradient(tile, turned), self.tiles, self.compute.at_a_time)
        value, slope = _slope(self.similarity.value, torch.stack([sums for sums, _ in done]).sum(0).float())
        return value, slope[0], [part for _, part in done]

    def _in_two_passes(self, turned: Tensor) -> tuple[Tensor, Tensor, list[Tensor]]:
        """Return the same where the gradient needs the totals: what the first pass samples is kept for the second."""
        done = in_threads(lambda tile: self.first(tile, turned), self.tiles, self.compute.at_a_time)
        value, upstream = _slope(self.similarity.value, torch.stack([sums for sums, _ in done]).sum(0).float())
        firsts, shares = [first for _, first in done], self.shares(upstream)
        parts = in_threads(lambda first: self.second(first, shares), firsts, self.compute.at_a_time)
        return value, value.new_ones(()), parts

    def __call__(self, displacement: Tensor) -> Tensor:
        """Return the dissimilarity as a node of the graph; displacement in mm along the velocity grid's axes."""
        return _Boxwise.apply(displacement, self)


class _Boxwise(torch.autograd.Function):
    """Takes the gradient box by box in the forward pass, so that only a few boxes are ever in memory."""

    @staticmethod
    def forward(ctx: Any, displacement: Tensor, term: DataTerm) -> Tensor:
        value, gradient = term.value_and_gradient(displacement)
        ctx.save_for_backward(gradient)
        return value

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, None]:
        (gradient,) = ctx.saved_tensors
        return upstream * gradient, None


def _slope(function: Callable[[Tensor], Tensor], totals: Tensor) -> tuple[Tensor, Tensor]:
    """Return a function of the totals and its gradient by them."""
    with torch.enable_grad():
        leaf = totals.detach().requires_grad_()
        value = function(leaf)
        return value.detach(), torch.autograd.grad(value, leaf)[0]
