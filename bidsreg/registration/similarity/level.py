"""What is compared on one level: the two images on its scale, and the weighted sum of several similarities of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from bidsreg.registration.grid import Grid
from bidsreg.registration.numerics import separable, volumes
from bidsreg.registration.numerics.compute import Compute
from bidsreg.registration.numerics.threads import in_threads
from bidsreg.registration.similarity.base import Similarity
from bidsreg.registration.similarity.combined import CombinedSimilarity
from bidsreg.registration.similarity.dataterm import DataTerm
from bidsreg.registration.volume import Volume

if TYPE_CHECKING:
    from bidsreg.registration.problem import Problem

Tensor = torch.Tensor


@dataclass(frozen=True, eq=False)
class LevelImages:
    """The images of one level.

    Attributes
    ----------
    grid : Grid
        The level's grid.
    fixed : Tensor, shape (X, Y, Z)
        The fixed image on it.
    weight : Tensor, shape (X, Y, Z)
        Where to compare, 0 or 1; at least `support` voxels from the border and from what the fixed image does not show.
    moving : Volume
        The moving image, smoothed for the level, on its own grid.
    counts : Volume or None
        Above 0.5 where the moving image may be compared, on the same grid.
    support : int
        Voxels of the level by which images reach beyond the compared voxels.
    """

    grid: Grid
    fixed: Tensor
    weight: Tensor
    moving: Volume
    counts: Volume | None
    support: int

    @classmethod
    def of(cls, problem: Problem, spacing: float, support: int, block: int, compute: Compute) -> LevelImages:
        """Return the images of a problem at `spacing` mm, for similarities of that `support` and `block` at most."""
        grid = _padded(problem.brain.coarsened(spacing), support, block)
        resolution = max(spacing, problem.resolution)

        def compared() -> Tensor:
            inside = problem.fixed_mask.resampled(grid, order=0) > 0
            return (inside & volumes.eroded(_valid(problem, grid), support or 1)).float()

        pieces: list[Callable[[], Any]] = [
            lambda: problem.fixed.smoothed_for(np.maximum(grid.spacing, problem.resolution)).resampled(grid),
            compared,
            lambda: problem.moving.smoothed_for(np.full(3, resolution)),
            lambda: problem.moving_counts(spacing, support),
        ]
        fixed, weight, moving, counts = in_threads(lambda piece: piece(), pieces, compute.at_a_time)
        return cls(grid, fixed, weight, moving, counts, support)

    def trimmed(self, support: int) -> LevelImages:
        """Return the same with no more voxels around the compared ones than a smaller `support` needs."""
        if support == self.support:
            return self
        n = self.support - support
        grid = self.grid.cropped(np.full(3, n), np.array(self.grid.shape) - n)
        x, y, z = (slice(n, size - n) for size in self.grid.shape)
        return replace(self, grid=grid, fixed=self.fixed[x, y, z], weight=self.weight[x, y, z], support=support)

    def onto_grid(self, affine: np.ndarray) -> LevelImages:
        """Return the same with the moving image on the level's grid, as `affine` (fixed to moving world) places it."""
        onto = Grid(self.grid.shape, affine @ self.grid.affine)
        counts = None if self.counts is None else Volume(self.counts.resampled(onto), onto)
        return replace(self, moving=Volume(self.moving.resampled(onto), onto), counts=counts)


class WeightedTerms:
    """The weighted sum of the data terms of several similarities on one level.

    Parameters
    ----------
    terms : sequence of (DataTerm, float)
        Each with its weight.
    """

    def __init__(self, terms: Sequence[tuple[DataTerm, float]]) -> None:
        self.terms = terms

    @classmethod
    def at(
        cls,
        problem: Problem,
        coarser: int,
        similarities: Sequence[tuple[Similarity, float, float]],
        compute: Compute,
    ) -> WeightedTerms:
        """Return the sum of similarities, each with its weight and image spacing (mm).

        The velocity's grid is `coarser` times halved. Images are made once for all similarities of a spacing.
        """
        images: dict[float, LevelImages] = {}
        for spacing in {spacing for _, _, spacing in similarities}:
            alike = [similarity for similarity, _, here in similarities if here == spacing]
            support, block = max(each.support for each in alike), max(each.block for each in alike)
            images[spacing] = LevelImages.of(problem, spacing, support, block, compute)
        made = [
            (_data_term(problem, images[spacing].trimmed(similarity.support), coarser, similarity, compute), weight)
            for similarity, weight, spacing in _combined(similarities)
        ]
        return cls(made)

    @property
    def empty(self) -> bool:
        """Whether no voxel is compared."""
        return not any(term.tiles for term, _ in self.terms)

    @property
    def needed(self) -> Tensor:
        """Return flat indices of the points of the displacement's grid on which compared voxels depend, ascending."""
        each = [term.needed for term, _ in self.terms]
        return each[0] if len(each) == 1 else torch.cat(each).unique()

    def __call__(self, displacement: Tensor) -> Tensor:
        """Return the dissimilarity as a node of the graph; displacement in mm along the velocity grid's axes."""
        value = displacement.new_zeros(())
        for term, weight in self.terms:
            value = value + weight * term(displacement)
        return value


def _combined(similarities: Sequence[tuple[Similarity, float, float]]) -> list[tuple[Similarity, float, float]]:
    """Return the same with those that can share samples of one image grid combined."""
    apart = [one for one in similarities if one[0].feature_based]
    sharing: dict[tuple[float, bool], list[tuple[Similarity, float]]] = {}
    for similarity, weight, spacing in similarities:
        if not similarity.feature_based:
            # one without kernels would keep others from theirs
            sharing.setdefault((spacing, bool(similarity.kernels)), []).append((similarity, weight))
    for (spacing, _), parts in sharing.items():
        apart.append((*parts[0], spacing) if len(parts) == 1 else (CombinedSimilarity(parts), 1.0, spacing))
    return apart


def _data_term(
    problem: Problem, images: LevelImages, coarser: int, similarity: Similarity, compute: Compute
) -> DataTerm:
    """Return the data term of one similarity."""
    if similarity.feature_based:
        images = images.onto_grid(problem.affine)
    to_voxels = np.linalg.inv(images.moving.grid.affine) @ problem.affine
    return DataTerm(
        fixed=images.fixed,
        weight=images.weight,
        moving=images.moving,
        counts=images.counts,
        to_moving=to_voxels @ images.grid.affine,
        turn=to_voxels[:3, :3] @ problem.velocity.directions,
        interpolation=separable.weights_between(images.grid, problem.velocity_grid(coarser)),
        similarity=similarity,
        compute=compute,
    )


def _valid(problem: Problem, level: Grid) -> Tensor:
    """Return the voxels of a level that the fixed image shows, lesions left out; bool."""
    seen = torch.ones_like(problem.fixed.data)
    if problem.fixed_lesion is not None:
        seen -= problem.fixed_lesion.data
    return Volume(seen, problem.fixed.grid).resampled(level) > 0.99


def _padded(grid: Grid, support: int, block: int) -> Grid:
    """Return the grid with `support` voxels around it, and so many more that whole blocks fit."""
    size = np.array(grid.shape)
    return grid.cropped(np.full(3, -support), -(-size // block) * block + support)
