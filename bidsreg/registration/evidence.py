"""Judging a result by evidence the solver did not optimise, and keeping the affine where the deformation is worse."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
import torch
from scipy import ndimage as ndi

from bidsreg.registration import descriptors, metrics
from bidsreg.registration.deformation import Deformation
from bidsreg.registration.grid import Grid
from bidsreg.registration.image import Image

HELD_OUT_OFFSET = 2
"""Neighbours of the judging MIND, in voxels of the finest grid; the solver looks at neighbours one voxel away."""
HELD_OUT_BLUR = 0.7
"""Gaussian in voxels before the judging MIND, so that its patches are wider than the solver's too."""
EDGE_BLUR = 1.0
"""Gaussian in mm of the derivatives whose magnitude is an edge."""
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
    sigma = EDGE_BLUR / spacing
    parts = [
        ndi.gaussian_filter(data, sigma, order=[int(axis == a) for a in range(3)]) / spacing[axis] for axis in range(3)
    ]
    return np.sqrt(sum(p**2 for p in parts))


def compare(fixed: np.ndarray, warped: np.ndarray, mask: np.ndarray, grid: Grid) -> Evidence:
    """Measure how alike two images on one grid are.

    Parameters
    ----------
    fixed, warped : ndarray, shape (X, Y, Z)
        On `grid`.
    mask : ndarray of bool, shape (X, Y, Z)
        Where to look; at least three voxels from the border count.
    grid : Grid
        Gives the voxel size.
    """
    support = HELD_OUT_OFFSET + 1
    inner = (slice(support, -support),) * 3
    inside = mask[inner]
    distance = np.square(_mind(fixed, mask) - _mind(warped, mask)).mean(0)[inside].mean()
    a, b = (_edges(data, grid.spacing)[mask] for data in (fixed, warped))
    mi, nmi = metrics.mutual_information(fixed[mask], warped[mask])
    return Evidence(float(distance), mi, nmi, float(np.corrcoef(a, b)[0, 1]))


def gather(fixed: Image, moving: Image, deformation: Deformation, mask: Image) -> dict[str, Evidence]:
    """Evidence before registration, after the affine and after the deformation.

    All three are measured over the same voxels: those of `mask` that lie in the moving field of view each time.

    Parameters
    ----------
    fixed, moving : Image
        On their own grids.
    deformation : Deformation
        The result.
    mask : Image
        Brain mask on a grid in the fixed world: the grid to measure on.
    """
    still = np.zeros_like(deformation.forward)
    states = {
        'before': Deformation(np.eye(4), still, still, deformation.grid),
        'affine': Deformation(deformation.affine, still, still, deformation.grid),
        'diffeo': deformation,
    }
    here = Deformation(np.eye(4), still, still, deformation.grid).apply(fixed, mask.grid).data
    ones = Image(np.ones(moving.grid.shape, np.float32), moving.grid)
    warped = {name: state.apply(moving, mask.grid).data for name, state in states.items()}
    seen = {name: state.apply(ones, mask.grid, order=0).data > 0 for name, state in states.items()}
    everywhere = (mask.data > 0) & seen['affine'] & seen['diffeo']
    # far-off headers must not leave nothing to compare the other two on
    before = everywhere & seen['before']
    common = before if before.sum() > 0.5 * everywhere.sum() else everywhere
    return {name: compare(here, data, common, mask.grid) for name, data in warped.items()}


def decide(evidence: dict[str, Evidence]) -> Decision:
    """Keep the deformation only where held-out evidence says that it does no harm.

    The held-out MIND distance must not rise and the edges must not agree less than after the affine, by more than
    `TOLERANCE`; mutual information is reported but not asked, since blur by interpolation moves it as much as
    misalignment does on thick slices.
    """
    affine, diffeo = evidence['affine'], evidence['diffeo']
    mind = (affine.mind_heldout - diffeo.mind_heldout) / max(affine.mind_heldout, 1e-9)
    edges = (diffeo.edge_correlation - affine.edge_correlation) / max(abs(affine.edge_correlation), 0.05)
    numbers = (
        f'held-out MIND distance {affine.mind_heldout:.4f} to {diffeo.mind_heldout:.4f}, '
        f'edge correlation {affine.edge_correlation:.3f} to {diffeo.edge_correlation:.3f}'
    )
    if min(mind, edges) >= -TOLERANCE:
        return Decision('diffeo', f'the deformation does no harm by evidence it was not optimised on: {numbers}')
    return Decision(
        'affine', f'the deformation looks worse than the affine by evidence it was not optimised on: {numbers}'
    )


def as_dict(evidence: dict[str, Evidence]) -> dict[str, dict[str, float]]:
    """Plain numbers, for JSON."""
    return {name: asdict(values) for name, values in evidence.items()}
