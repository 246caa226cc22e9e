"""Judging a result by evidence the solver did not optimise, and keeping the affine where the deformation is worse."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from bidsreg.registration.deformation import Deformation
from bidsreg.registration.image import Image
from bidsreg.registration.numerics import information, separable
from bidsreg.registration.numerics.boxes import Box, boxes
from bidsreg.registration.numerics.compute import ON_CPU, Compute
from bidsreg.registration.numerics.edges import axis_filters
from bidsreg.registration.numerics.positions import mapped_voxels
from bidsreg.registration.numerics.sampling import Sampler
from bidsreg.registration.numerics.threads import in_threads
from bidsreg.registration.numerics.volumes import percentiles
from bidsreg.registration.similarity import descriptors
from bidsreg.registration.volume import Volume

Tensor = torch.Tensor

HELD_OUT_OFFSET = 2
"""Neighbours of the judging MIND, in voxels of the finest grid; the solver looks at neighbours one voxel away."""
HELD_OUT_BLUR = 0.7
"""Gaussian in voxels before the judging MIND, so that its patches are wider than the solver's too."""
WORTHWHILE = 0.03
"""Relative gain that less regularity has to bring in two measures. On four heads simulated aligned, where it can only
fit noise, it brought 1.2 to 1.8 % of the MIND distance, up to 2.2 % of mutual information and 12 % of the correlation
of edges; on two heads that were distorted 12 and 15 %, 9 and 18 %, 3 and 12 %."""
RIM = HELD_OUT_OFFSET + 4
"""Voxels around the mask that the measures reach into."""
MARGIN = HELD_OUT_OFFSET + 1
"""Voxels around a voxel that its MIND depends on once the image is blurred."""
UNMOVED_MM = 1e-3
"""A field in which no voxel of the brain moves by more is none: well above rounding, well below any use."""
TOLERANCE = 0.002
"""Relative change below which two alignments count as equally good: interpolation alone moves evidence by as much."""


@dataclass(frozen=True)
class Evidence:
    """How alike two images look on one grid, inside a mask.

    Attributes
    ----------
    mind_heldout : float
        Mean squared difference of MIND with another offset and patch than the solver's, in [0, 1]; low is alike.
    mi, nmi : float
        Mutual information in nats, and (H(a) + H(b)) / H(a, b); high is alike.
    edge_correlation : float
        Pearson correlation of the gradient magnitudes, in [-1, 1]; high is alike.
    """

    mind_heldout: float
    mi: float
    nmi: float
    edge_correlation: float


@dataclass(frozen=True)
class Decision:
    """Which transform is kept, and why.

    Attributes
    ----------
    kept : str
        ``affine`` or ``diffeo``.
    worse : tuple of str
        The kinds of evidence, by their fields of `Evidence`, that the deformation made worse than the affine.
    """

    kept: str
    worse: tuple[str, ...]


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


@dataclass(frozen=True, eq=False)
class View:
    """What is compared of an image in one tile, at its N voxels of the brain.

    Attributes
    ----------
    seen : Tensor of bool, shape (N,)
        Which of them lie in the image's field of view.
    values, edges : Tensor, shape (N,)
        Intensities, and the magnitude of their gradient per mm.
    distances : Tensor, shape (6, N)
        Patch distances of the judging MIND.
    variance : Tensor, shape (N,)
        Their mean.
    """

    seen: Tensor
    values: Tensor
    edges: Tensor
    distances: Tensor
    variance: Tensor

    def mind(self, floor: float) -> Tensor:
        """Return MIND, (6, N)."""
        return (self.distances / -self.variance.clamp_min(floor)).exp_()


def _filters(n: int, spacing: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return blur, Gaussian and its derivative along an axis of n voxels, as matrices; mirrored at the ends."""
    blur = separable.filter_weights(n, HELD_OUT_BLUR)
    return np.pad(blur, ((MARGIN, MARGIN), (0, 0)), mode='symmetric'), *axis_filters(n, spacing)


def tiles(brain: np.ndarray, spacing: np.ndarray, compute: Compute = ON_CPU) -> list[JudgedTile]:
    """Cut a grid into boxes that fit the processor's cache, or leave it whole for a GPU.

    Parameters
    ----------
    brain : ndarray of bool, shape (X, Y, Z)
        Where to judge.
    spacing : ndarray, shape (3,)
        Size of the voxels in mm.
    compute : Compute
        Where to work.

    Returns
    -------
    list of JudgedTile
        Without those that hold nothing of the brain.
    """
    filters = [_filters(n, float(size)) for n, size in zip(brain.shape, spacing, strict=True)]
    deep = np.zeros_like(brain)
    deep[(slice(MARGIN, -MARGIN),) * 3] = True
    size = None if compute.small_boxes else max(brain.shape)
    return [_tile(box, brain, deep, filters, compute.device) for box in boxes(brain, size)]


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


class Source:
    """An image to look at, whose border value goes on beyond its field of view."""

    def __init__(self, image: Volume) -> None:
        self.device = image.data.device
        self.sampler = Sampler(image.data[None])
        self.to_voxels = np.linalg.inv(image.grid.affine)
        # positions are good to a thousandth of a voxel: one on the border is not outside
        self.last = torch.tensor(image.grid.shape, dtype=torch.float32, device=self.device)[:, None] - 1 + 1e-3

    def view(self, tile: JudgedTile, to_world: np.ndarray, turn: np.ndarray, displacement: Tensor | None) -> View:
        """Look at a tile.

        Parameters
        ----------
        tile : JudgedTile
            Where.
        to_world : ndarray, shape (4, 4)
            Voxels of the judged grid to the image's world.
        turn : ndarray, shape (3, 3)
            Displacements to the image's world.
        displacement : Tensor, shape (3, X, Y, Z), or None
            In mm, of every voxel of the judged grid.
        """
        at = mapped_voxels(self.to_voxels @ to_world, tile.wide, self.device)
        if displacement is not None:
            matrix = torch.as_tensor(self.to_voxels[:3, :3] @ turn, dtype=torch.float32, device=self.device)
            at += torch.einsum('ij,jxyz->ixyz', matrix, displacement[(slice(None), *tile.wide)])
        volume = self.sampler.values(at)[None]
        here = at[(slice(None), *tile.core)].flatten(1).index_select(1, tile.brain)
        blurred = separable.apply(volume, tile.blur)
        distances = descriptors.patch_distances(blurred, HELD_OUT_OFFSET)[0].flatten(1).index_select(1, tile.brain)
        x, y, z = (separable.apply(volume, slope) for slope in tile.slopes)
        edges = x.square_().addcmul_(y, y).addcmul_(z, z).sqrt_()
        return View(
            seen=((here >= -1e-3) & (here <= self.last)).all(0),
            values=volume[(0, 0, *tile.core)].flatten().index_select(0, tile.brain),
            edges=edges.flatten().index_select(0, tile.brain),
            distances=distances,
            variance=distances.mean(0),
        )


def gains(old: Evidence, new: Evidence) -> dict[str, float]:
    """Return by how much, relatively, each kind of evidence (by its field) is better in `new` than in `old`."""
    return {
        'mind_heldout': (old.mind_heldout - new.mind_heldout) / max(old.mind_heldout, 1e-9),
        'mi': (new.mi - old.mi) / max(abs(old.mi), 1e-9),
        'edge_correlation': (new.edge_correlation - old.edge_correlation) / max(abs(old.edge_correlation), 0.05),
    }


class Judge:
    """Measures how alike a pair looks under one map after another, always on the same grid.

    Parameters
    ----------
    fixed, moving : Image or Volume
        On their own grids.
    affine : ndarray, shape (4, 4)
        Fixed world to moving world.
    mask : Image or Volume
        Brain mask on the grid that displacements come on: the grid to measure on.
    compute : Compute
        Where to work.

    Raises
    ------
    ValueError
        If the mask is empty, or none of it lies in the moving field of view after the affine.
    """

    def __init__(
        self,
        fixed: Image | Volume,
        moving: Image | Volume,
        affine: np.ndarray,
        mask: Image | Volume,
        compute: Compute = ON_CPU,
    ) -> None:
        marked = mask.data > 0
        brain = marked if isinstance(marked, np.ndarray) else marked.cpu().numpy()
        around = boxes(brain, max(brain.shape))
        if not around:
            raise ValueError('the brain mask is empty: there is nothing to judge the alignment by')
        start = np.array([max(b.start - RIM, 0) for b in around[0]])
        stop = np.minimum([b.stop + RIM for b in around[0]], mask.grid.shape)
        self.box = tuple(slice(a, b) for a, b in zip(start, stop, strict=True))
        self.grid, self.compute = mask.grid.cropped(start, stop), compute
        self.tiles = tiles(brain[self.box], self.grid.spacing, compute)
        self.deep = torch.cat([tile.deep for tile in self.tiles])
        self.affine, self.moving = affine, Source(Volume.of(moving, compute.device))
        self._keep(self._look(Source(_in_zeros(Volume.of(fixed, compute.device))), np.eye(4)))
        before = self._look(self.moving, np.eye(4))
        # far-off headers must not leave nothing to measure on
        seen = np.mean([float(view.seen.float().mean()) for view in before])
        self.before = self._measure(before) if seen > 0.5 else None
        self.after_affine = self._measure(self._look(self.moving, affine))

    def _look(self, source: Source, matrix: np.ndarray, displacement: Tensor | None = None) -> list[View]:
        """Look at every tile of an image, to whose world a matrix takes the (displaced) world of the grid."""
        to_world = matrix @ self.grid.affine
        return in_threads(
            lambda tile: source.view(tile, to_world, matrix[:3, :3], displacement), self.tiles, self.compute.at_a_time
        )

    def _keep(self, views: list[View]) -> None:
        """Keep what is compared of the fixed image."""
        floor = descriptors.floor_of(torch.cat([v.variance for v in views]), self.deep)
        self.mind = [view.mind(floor) for view in views]
        self.bins = _bins(torch.cat([view.values for view in views]))
        self.edges = torch.cat([view.edges for view in views])

    def _measure(self, views: list[View]) -> Evidence:
        """Compare an image with the fixed one, where both are seen."""
        seen = torch.cat([view.seen for view in views])
        if not seen.any():
            raise ValueError("nothing of the brain lies in the moving image's field of view: check the affine")
        counted = seen & self.deep
        floor = descriptors.floor_of(torch.cat([view.variance for view in views]), counted)
        parts = zip(views, self.mind, counted.split([len(view.seen) for view in views]), strict=True)
        distances = [partial(_mind_distance, view, mind, counts, floor) for view, mind, counts in parts]

        def information_of() -> tuple[float, float]:
            there = _bins(torch.cat([view.values for view in views])[seen])
            joint = torch.bincount(self.bins[seen] * information.BINS + there, minlength=information.BINS**2)
            return information.of_counts(joint.view(information.BINS, -1).cpu().numpy())

        def correlation() -> float:
            edges = torch.stack([self.edges, torch.cat([view.edges for view in views])])[:, seen]
            return float(torch.corrcoef(edges.double())[0, 1])

        # what takes longest begins
        tasks: list[Callable[[], Any]] = [information_of, correlation, *distances]
        (mi, nmi), edge_correlation, *sums = in_threads(lambda task: task(), tasks, self.compute.at_a_time)
        mind_heldout = float(np.sum(sums) / counted.sum().item())
        return Evidence(mind_heldout=mind_heldout, mi=mi, nmi=nmi, edge_correlation=edge_correlation)

    def under(self, displacement: Tensor) -> Evidence:
        """Return the evidence under a displacement (3, X, Y, Z) in mm on the mask's grid, followed by the affine."""
        return self._measure(self._look(self.moving, self.affine, displacement[(slice(None), *self.box)]))

    def __call__(self, forward: np.ndarray) -> Evidence:
        """Return the same for a displacement in the computer's memory, (X, Y, Z, 3)."""
        displacement = torch.as_tensor(np.moveaxis(forward, -1, 0), dtype=torch.float32, device=self.compute.device)
        return self.under(displacement)


def _mind_distance(view: View, mind: Tensor, counts: Tensor, floor: float) -> float:
    """Return the sum over a tile's voxels, where they count, of the mean squared difference of MIND."""
    return float(((view.mind(floor) - mind).square_().mean(0) * counts).sum())


def _bins(values: Tensor) -> Tensor:
    """Return the bin of each value, as `information.to_bins` does."""
    low, high = percentiles(values, (0.5, 99.5))
    inner = torch.linspace(low, high, information.BINS + 1, dtype=torch.float64)[1:-1].to(values.device)
    return torch.bucketize(values.double(), inner, right=True)


def _in_zeros(image: Volume) -> Volume:
    """Put a voxel of zeros around it, so that zero is what goes on beyond its field of view."""
    around = image.grid.cropped(np.full(3, -1), np.array(image.grid.shape) + 1)
    return Volume(F.pad(image.data, (1,) * 6), around)


def largest_displacement(deformation: Deformation, mask: Image) -> float:
    """Return the length in mm of the largest displacement of a deformation inside a mask on its grid."""
    return float(np.linalg.norm(deformation.forward[mask.data > 0], axis=-1).max(initial=0))


def decide(affine: Evidence, diffeo: Evidence) -> Decision:
    """Keep the deformation unless the evidence, taken together, says that it does harm.

    Three kinds are asked, none of them optimised: the MIND distance at another scale than the solver's, mutual
    information and the correlation of edges. On thick slices they disagree by as much as interpolation moves them, so
    none decides alone: the affine is kept where two of them got worse, or where one lost more than the others gained.
    Changes below `TOLERANCE` are no harm.
    """
    change = gains(affine, diffeo)
    worse = tuple(name for name, gain in change.items() if gain < -TOLERANCE)
    harmless = len(worse) < 2 and sum(change.values()) > -TOLERANCE
    return Decision('diffeo' if harmless else 'affine', worse)


def improves(old: Evidence, new: Evidence) -> bool:
    """Tell whether two of the three kinds of evidence got better by more than `WORTHWHILE`, and none worse."""
    change = gains(old, new).values()
    return sum(gain > WORTHWHILE for gain in change) >= 2 and min(change) > -TOLERANCE


def as_dict(evidence: Mapping[str, Evidence | None]) -> dict[str, dict[str, float] | None]:
    """Return plain numbers, for JSON."""
    return {name: asdict(values) if values else None for name, values in evidence.items()}
