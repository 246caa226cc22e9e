"""Judging a result by evidence the solver did not optimise, and keeping the affine where the deformation is worse."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass

import numpy as np
import torch
from scipy import ndimage as ndi

from bidsreg.registration import descriptors, metrics
from bidsreg.registration.grid import Grid, apply_affine
from bidsreg.registration.image import Image, resample

HELD_OUT_OFFSET = 2
"""Neighbours of the judging MIND, in voxels of the finest grid; the solver looks at neighbours one voxel away."""
HELD_OUT_BLUR = 0.7
"""Gaussian in voxels before the judging MIND, so that its patches are wider than the solver's too."""
EDGE_BLUR = 1.0
"""Gaussian in mm of the derivatives whose magnitude is an edge; at least 0.7 voxels."""
RIM = HELD_OUT_OFFSET + 4
"""Voxels around the mask that the measures reach into."""
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
    """Which transform is kept, and why, in a sentence for the report."""

    kept: str
    reason: str


def _mind(data: np.ndarray, weight: np.ndarray) -> np.ndarray:
    blurred = torch.as_tensor(ndi.gaussian_filter(data, HELD_OUT_BLUR))[None, None]
    support = HELD_OUT_OFFSET + 1
    inner = torch.as_tensor(weight[(slice(support, -support),) * 3].astype(np.float32))[None, None]
    floor = descriptors.variance_floor(blurred, inner, HELD_OUT_OFFSET)
    return descriptors.mind(blurred, HELD_OUT_OFFSET, floor)[0].numpy()


def _edges(data: np.ndarray, spacing: np.ndarray) -> np.ndarray:
    sigma = np.maximum(EDGE_BLUR / spacing, 0.7)  # in voxels: narrower kernels are not a derivative
    parts = [
        ndi.gaussian_filter(data, sigma, order=[int(axis == a) for a in range(3)]) / spacing[axis] for axis in range(3)
    ]
    return np.sqrt(sum(p**2 for p in parts))


class View:
    """An image on a grid, with what is compared of it.

    Parameters
    ----------
    data : ndarray, shape (X, Y, Z)
        Intensities.
    mask : ndarray of bool, shape (X, Y, Z)
        Where it will be looked at; at least three voxels from the border count for MIND.
    grid : Grid
        Gives the voxel size.
    """

    def __init__(self, data: np.ndarray, mask: np.ndarray, grid: Grid) -> None:
        self.data, self.mind, self.edges = data, _mind(data, mask), _edges(data, grid.spacing)


def compare(fixed: View, warped: View, mask: np.ndarray) -> Evidence:
    """Measure how alike two images on one grid are inside a mask."""
    support = HELD_OUT_OFFSET + 1
    inside = mask[(slice(support, -support),) * 3]
    distance = np.square(fixed.mind - warped.mind).mean(0)[inside].mean()
    mi, nmi = metrics.mutual_information(fixed.data[mask], warped.data[mask])
    return Evidence(float(distance), mi, nmi, float(np.corrcoef(fixed.edges[mask], warped.edges[mask])[0, 1]))


def gains(old: Evidence, new: Evidence) -> dict[str, float]:
    """By how much, relatively, each kind of evidence is better in `new` than in `old`."""
    return {
        'held-out MIND': (old.mind_heldout - new.mind_heldout) / max(old.mind_heldout, 1e-9),
        'mutual information': (new.mi - old.mi) / max(abs(old.mi), 1e-9),
        'edge correlation': (new.edge_correlation - old.edge_correlation) / max(abs(old.edge_correlation), 0.05),
    }


class Judge:
    """Measures how alike a pair looks under one map after another, always on the same grid.

    Parameters
    ----------
    fixed, moving : Image
        On their own grids.
    affine : ndarray, shape (4, 4)
        Fixed world to moving world.
    mask : Image
        Brain mask on the grid that displacements come on: the grid to measure on.
    """

    def __init__(self, fixed: Image, moving: Image, affine: np.ndarray, mask: Image) -> None:
        inside = np.argwhere(mask.data > 0)
        start = np.maximum(inside.min(0) - RIM, 0)
        stop = np.minimum(inside.max(0) + RIM + 1, mask.grid.shape)
        self.box = tuple(slice(a, b) for a, b in zip(start, stop, strict=True))
        self.grid = mask.grid.cropped(start, stop)
        self.points = self.grid.to_world(np.stack(np.meshgrid(*map(np.arange, self.grid.shape), indexing='ij'), -1))
        self.moving, self.affine = moving, affine
        self.brain = mask.data[self.box] > 0
        self.fixed = View(resample(fixed, self.grid), self.brain, self.grid)
        # far-off headers must not leave nothing to measure on
        self.before = self._measure(self.points, self.brain) if self._seen(self.points).mean() > 0.5 else None
        self.after_affine = self._measure(apply_affine(affine, self.points), self.brain)

    def _voxels(self, world: np.ndarray) -> np.ndarray:
        return np.moveaxis(self.moving.grid.to_voxels(world), -1, 0)

    def _seen(self, world: np.ndarray) -> np.ndarray:
        """Which voxels of the brain a map leaves in the moving field of view."""
        at = self._voxels(world[self.brain])
        return np.all((at >= 0) & (at <= np.array(self.moving.grid.shape)[:, None] - 1), axis=0)

    def _measure(self, world: np.ndarray, mask: np.ndarray) -> Evidence:
        seen = mask.copy()
        seen[mask] = self._seen(world)
        warped = ndi.map_coordinates(self.moving.data, self._voxels(world), order=1, mode='nearest')
        return compare(self.fixed, View(warped, seen, self.grid), seen)

    def __call__(self, forward: np.ndarray) -> Evidence:
        """Evidence under a displacement (X, Y, Z, 3) in mm on the mask's grid, followed by the affine."""
        return self._measure(apply_affine(self.affine, self.points + forward[self.box]), self.brain)


def decide(affine: Evidence, diffeo: Evidence) -> Decision:
    """Keep the deformation unless the evidence, taken together, says that it does harm.

    Three kinds are asked, none of them optimised: the MIND distance at another scale than the solver's, mutual
    information and the correlation of edges. On thick slices they disagree by as much as interpolation moves them, so
    none decides alone: the affine is kept where two of them got worse, or where one lost more than the others gained.
    Changes below `TOLERANCE` are no harm.
    """
    numbers = (
        f'held-out MIND distance {affine.mind_heldout:.4f} to {diffeo.mind_heldout:.4f}, '
        f'mutual information {affine.mi:.3f} to {diffeo.mi:.3f}, '
        f'edge correlation {affine.edge_correlation:.3f} to {diffeo.edge_correlation:.3f}'
    )
    change = gains(affine, diffeo)
    worse = [name for name, gain in change.items() if gain < -TOLERANCE]
    if len(worse) < 2 and sum(change.values()) > -TOLERANCE:
        note = f' (but {worse[0]} fell)' if worse else ''
        return Decision('diffeo', f'the deformation does no harm by evidence it was not optimised on{note}: {numbers}')
    why = 'which lost more than the others gained' if len(worse) == 1 else 'taken together'
    names = ' and '.join(worse or change)
    return Decision('affine', f'the deformation looks worse than the affine by {names}, {why}: {numbers}')


def improves(old: Evidence, new: Evidence) -> bool:
    """Whether two of the three kinds of evidence got better by more than `TOLERANCE`."""
    return sum(gain > TOLERANCE for gain in gains(old, new).values()) >= 2


def as_dict(evidence: Mapping[str, Evidence | None]) -> dict[str, dict[str, float] | None]:
    """Plain numbers, for JSON."""
    return {name: asdict(values) if values else None for name, values in evidence.items()}
