"""How held-out evidence looks at images, and compares what it sees: by torch, or by compiled kernels on a CPU."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch

from bidsreg.registration.grid import Grid
from bidsreg.registration.looking import (
    FLOOR,
    HELD_OUT_BLUR,
    HELD_OUT_OFFSET,
    MARGIN,
    NOWHERE,
    ArraySource,
    ArrayViewer,
    View,
    deep_in,
    floor_of,
    mind_of,
)
from bidsreg.registration.numerics import information, separable
from bidsreg.registration.numerics.boxes import Box, boxes
from bidsreg.registration.numerics.compute import ON_CPU, Compute
from bidsreg.registration.numerics.edges import axis_filters
from bidsreg.registration.numerics.filters import filter_weights
from bidsreg.registration.numerics.positions import mapped_voxels
from bidsreg.registration.numerics.sampling import Sampler
from bidsreg.registration.numerics.threads import in_threads
from bidsreg.registration.numerics.volumes import percentiles
from bidsreg.registration.similarity import descriptors
from bidsreg.registration.volume import Volume

Tensor = torch.Tensor


class Source:
    """An image to look at, whose border value goes on beyond its field of view.

    Parameters
    ----------
    image : Volume
        The image.
    hidden : Volume, optional
        1 where it is not to be looked at and 0 elsewhere, on its grid; between voxels at least 0.5 counts.
    """

    def __init__(self, image: Volume, hidden: Volume | None = None) -> None:
        self.data, self.sampler = image.data, Sampler(image.data[None])
        self.hidden = None if hidden is None else hidden.data
        self.to_voxels = np.linalg.inv(image.grid.affine)
        # positions are good to a thousandth of a voxel: one on the border is not outside
        last = torch.tensor(image.grid.shape, dtype=torch.float32, device=image.data.device)
        self.last = last[:, None] - 1 + 1e-3


class Viewer(ABC):
    """Looks at one image after another at the same voxels of a grid.

    Parameters
    ----------
    brain : ndarray of bool, shape (X, Y, Z)
        The voxels.
    grid : Grid
        Where they lie.
    compute : Compute
        Where to work.

    Attributes
    ----------
    deep : Tensor of bool, shape (N,)
        Which of the voxels, in the order of its views, have all neighbours of their MIND on the grid.
    """

    deep: Tensor

    @abstractmethod
    def __init__(self, brain: np.ndarray, grid: Grid, compute: Compute) -> None: ...

    @abstractmethod
    def look(self, source: Source, matrix: np.ndarray, displacement: Tensor | None = None) -> View[Tensor]:
        """Look at an image.

        Parameters
        ----------
        source : Source
            The image.
        matrix : ndarray, shape (4, 4)
            The (displaced) world of the grid to that of the image.
        displacement : Tensor, shape (3, X, Y, Z), optional
            In mm, of every voxel of the grid.
        """

    @abstractmethod
    def floor(self, view: View[Tensor], counted: Tensor) -> float:
        """Return the least local variance that the MIND of an image divides by, of the voxels that are `counted`."""

    @abstractmethod
    def mind(self, view: View[Tensor], floor: float) -> Tensor:
        """Return MIND, (6, N)."""

    @abstractmethod
    def mind_mismatch(self, view: View[Tensor], floor: float, mind: Tensor, counted: Tensor) -> float:
        """Return the sum, over the voxels that are `counted` (N,), of the mean squared difference of MIND.

        Parameters
        ----------
        view : View of Tensor
            One image.
        floor : float
            Smallest variance in it.
        mind : Tensor, shape (6, N)
            Of the other image.
        counted : Tensor of bool, shape (N,)
            Which voxels count.
        """

    @abstractmethod
    def bins(self, values: Tensor, among: Tensor) -> Tensor:
        """Return the bin of each value (N,), between the 0.5th and 99.5th percentile of those `among` (M,)."""

    @abstractmethod
    def joint_counts(self, first: Tensor, second: Tensor, counted: Tensor) -> np.ndarray:
        """Return how many of the voxels that are `counted` lie in each pair of two images' bins."""

    @abstractmethod
    def correlation(self, first: Tensor, second: Tensor, counted: Tensor) -> float:
        """Return Pearson's correlation of two images (N,) over the voxels that are `counted`."""


def bin_edges(among: Tensor) -> np.ndarray:
    """Return the edges of `information.BINS` bins for some values: low, inner and high ones, (BINS + 1,)."""
    low, high = percentiles(among, (0.5, 99.5))
    return np.linspace(low, high, information.BINS + 1)


# ------------------------------------------------------------------------------------------------------------- torch
@dataclass(frozen=True, eq=False)
class JudgedTile:
    """A box of the judged grid, and the filters that end in it.

    Attributes
    ----------
    wide : three slices
        What the filters need of the grid.
    core : three slices
        Where in it the box lies.
    brain : Tensor, shape (N,)
        The voxels that are judged, as indices of the flattened box.
    deep : Tensor of bool, shape (N,)
        Which of them have all neighbours of their MIND on the grid.
    blur : three Tensors
        `HELD_OUT_BLUR`, onto the box and `MARGIN` voxels around it.
    slopes : three times three Tensors
        Derivatives of a Gaussian along each axis, intensity per mm.
    """

    wide: Box
    core: Box
    brain: Tensor
    deep: Tensor
    blur: separable.Matrices
    slopes: tuple[separable.Matrices, ...]


def _filters(n: int, spacing: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return blur, Gaussian and its derivative along an axis of n voxels, as matrices; mirrored at the ends."""
    blur = filter_weights(n, HELD_OUT_BLUR)
    return np.pad(blur, ((MARGIN, MARGIN), (0, 0)), mode='symmetric'), *axis_filters(n, spacing)


def _tile(
    box: Box,
    brain: np.ndarray,
    deep: np.ndarray,
    filters: list[tuple[np.ndarray, np.ndarray, np.ndarray]],
    device: torch.device,
) -> JudgedTile:
    wide: list[slice] = []
    core: list[slice] = []
    along: list[list[Tensor]] = []
    for b, (blurring, smoothing, sloping) in zip(box, filters, strict=True):
        rows = [blurring[b.start : b.stop + 2 * MARGIN], smoothing[b], sloping[b]]
        used = np.flatnonzero(np.concatenate(rows).any(0))
        reach = slice(int(used[0]), int(used[-1]) + 1)
        wide.append(reach)
        core.append(slice(b.start - reach.start, b.stop - reach.start))
        along.append([torch.as_tensor(row[:, reach], dtype=torch.float32, device=device) for row in rows])
    blur, smooth, slope = zip(*along, strict=True)
    return JudgedTile(
        wide=(wide[0], wide[1], wide[2]),
        core=(core[0], core[1], core[2]),
        brain=torch.as_tensor(np.flatnonzero(brain[box]), device=device),
        deep=torch.as_tensor(deep[box][brain[box]], device=device),
        blur=blur,
        slopes=tuple(tuple(slope[a] if a == axis else smooth[a] for a in range(3)) for axis in range(3)),
    )


class TiledViewer(Viewer):
    """By torch: in boxes that fit a processor's cache, or the grid as a whole on a GPU."""

    def __init__(self, brain: np.ndarray, grid: Grid, compute: Compute = ON_CPU) -> None:
        filters = [_filters(n, float(size)) for n, size in zip(brain.shape, grid.spacing, strict=True)]
        deep, size = deep_in(brain), None if compute.small_boxes else max(brain.shape)
        self.tiles = [_tile(box, brain, deep, filters, compute.device) for box in boxes(brain, size)]
        self.grid, self.compute = grid, compute
        self.deep = torch.cat([tile.deep for tile in self.tiles])

    def look(self, source: Source, matrix: np.ndarray, displacement: Tensor | None = None) -> View[Tensor]:
        """Look at every tile."""
        to_voxels = source.to_voxels @ matrix @ self.grid.affine
        turn = source.to_voxels[:3, :3] @ matrix[:3, :3]
        parts = in_threads(
            lambda tile: self._look(source, tile, to_voxels, turn, displacement), self.tiles, self.compute.at_a_time
        )
        seen, values, edges, distances, variance = zip(*parts, strict=True)
        return View(torch.cat(seen), torch.cat(values), torch.cat(edges), torch.cat(distances, 1), torch.cat(variance))

    def _look(
        self, source: Source, tile: JudgedTile, to_voxels: np.ndarray, turn: np.ndarray, displacement: Tensor | None
    ) -> tuple[Tensor, ...]:
        at = mapped_voxels(to_voxels, tile.wide, self.compute.device)
        if displacement is not None:
            rows = torch.as_tensor(turn, dtype=torch.float32, device=self.compute.device)
            at += torch.einsum('ij,jxyz->ixyz', rows, displacement[(slice(None), *tile.wide)])
        volume = source.sampler.values(at)[None]
        here = at[(slice(None), *tile.core)].flatten(1).index_select(1, tile.brain)
        seen = ((here >= -1e-3) & (here <= source.last)).all(0)
        if source.hidden is not None:
            seen &= Sampler(source.hidden[None]).values(here[:, :, None, None])[0, :, 0, 0] < 0.5
        values = volume[(0, 0, *tile.core)].flatten().index_select(0, tile.brain)
        blurred = separable.apply(volume, tile.blur)
        distances = descriptors.patch_distances(blurred, HELD_OUT_OFFSET)[0].flatten(1).index_select(1, tile.brain)
        x, y, z = (separable.apply(volume, slope) for slope in tile.slopes)
        edges = x.square_().addcmul_(y, y).addcmul_(z, z).sqrt_()
        return seen, values, edges.flatten().index_select(0, tile.brain), distances, distances.mean(0)

    def floor(self, view: View[Tensor], counted: Tensor) -> float:
        """Return it from sums in single precision."""
        return descriptors.floor_of(view.variance, counted, FLOOR)

    def mind(self, view: View[Tensor], floor: float) -> Tensor:
        """Return it for all tiles at once."""
        return (view.distances / -view.variance.clamp_min(floor)).exp_()

    def mind_mismatch(self, view: View[Tensor], floor: float, mind: Tensor, counted: Tensor) -> float:
        """Return the sum of the differences, tile by tile."""
        counts = [len(tile.brain) for tile in self.tiles]
        parts = zip(*(x.split(counts, -1) for x in (view.distances, view.variance, mind, counted)), strict=True)

        def summed(part: Sequence[Tensor]) -> float:
            distances, variance, other, counts = part
            own = (distances / -variance.clamp_min(floor)).exp_()
            return float(((own - other).square_().mean(0) * counts).sum())

        return float(np.sum(in_threads(summed, list(parts), self.compute.at_a_time)))

    def bins(self, values: Tensor, among: Tensor) -> Tensor:
        """Return bins as int64."""
        inner = torch.as_tensor(bin_edges(among)[1:-1], device=values.device)
        return torch.bucketize(values.double(), inner, right=True)

    def joint_counts(self, first: Tensor, second: Tensor, counted: Tensor) -> np.ndarray:
        """Return counts of pairs."""
        pairs = first[counted] * information.BINS + second[counted]
        joint = torch.bincount(pairs, minlength=information.BINS**2)
        return joint.view(information.BINS, -1).cpu().numpy()

    def correlation(self, first: Tensor, second: Tensor, counted: Tensor) -> float:
        """Return it in double precision."""
        return float(torch.corrcoef(torch.stack([first, second])[:, counted].double())[0, 1])


# ----------------------------------------------------------------------------------------------------------- compiled
class CompiledViewer(Viewer):
    """By compiled kernels on a CPU (`looking`): the same as `TiledViewer` does, in another order of voxels."""

    def __init__(self, brain: np.ndarray, grid: Grid, compute: Compute = ON_CPU) -> None:
        self.viewer, self.threads = ArrayViewer(brain, grid, compute.at_a_time), compute.at_a_time
        self.deep = torch.from_numpy(self.viewer.deep)

    def look(self, source: Source, matrix: np.ndarray, displacement: Tensor | None = None) -> View[Tensor]:
        """Look at the whole grid."""
        hidden = None if source.hidden is None else source.hidden.numpy()
        moved = NOWHERE if displacement is None else displacement.numpy()
        seen = self.viewer.look(ArraySource(source.data.numpy(), source.to_voxels, hidden), matrix, moved)
        return View(**{field.name: torch.from_numpy(getattr(seen, field.name)) for field in fields(seen)})

    def floor(self, view: View[Tensor], counted: Tensor) -> float:
        """Return it from sums in double precision."""
        return floor_of(view.variance.numpy(), counted.numpy())

    def mind(self, view: View[Tensor], floor: float) -> Tensor:
        """Return it for all voxels at once."""
        return torch.from_numpy(mind_of(view.distances.numpy(), view.variance.numpy(), floor, self.threads))

    def mind_mismatch(self, view: View[Tensor], floor: float, mind: Tensor, counted: Tensor) -> float:
        """Return the sum of the differences."""
        return self.viewer.mismatch(_arrays(view), floor, mind.numpy(), counted.numpy())

    def bins(self, values: Tensor, among: Tensor) -> Tensor:
        """Return bins as uint8."""
        from bidsreg.registration.numerics.kernels.evidence import binned

        return torch.from_numpy(binned(values.numpy(), bin_edges(among), self.threads))

    def joint_counts(self, first: Tensor, second: Tensor, counted: Tensor) -> np.ndarray:
        """Return counts of pairs."""
        from bidsreg.registration.numerics.kernels.evidence import joint_counts

        return joint_counts(first.numpy(), second.numpy(), counted.numpy(), information.BINS)

    def correlation(self, first: Tensor, second: Tensor, counted: Tensor) -> float:
        """Return it in double precision."""
        from bidsreg.registration.numerics.kernels.evidence import correlation

        return correlation(first.numpy(), second.numpy(), counted.numpy(), self.threads)


def _arrays(view: View[Tensor]) -> View[np.ndarray]:
    """Return a view as arrays of the same memory."""
    return View(**{field.name: getattr(view, field.name).numpy() for field in fields(view)})


VIEWERS: dict[str, type[Viewer]] = {'cpu': CompiledViewer}
"""By the kind of device; `TiledViewer` for all others."""


def viewer_on(compute: Compute) -> type[Viewer]:
    """Return the viewer for where work is done."""
    return VIEWERS.get(compute.device.type, TiledViewer)
