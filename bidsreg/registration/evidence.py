"""Judging a result by evidence the solver did not optimise, and keeping the affine where the deformation is worse."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass

import numpy as np
import torch
import torch.nn.functional as F

from bidsreg.registration.deformation import Deformation
from bidsreg.registration.image import Image
from bidsreg.registration.looking import MARGIN, View, around, edges_of
from bidsreg.registration.numerics import information
from bidsreg.registration.numerics.compute import ON_CPU, Compute
from bidsreg.registration.views import Source, viewer_on
from bidsreg.registration.volume import Volume

Tensor = torch.Tensor

WORTHWHILE = 0.03
"""Relative gain that less regularity has to bring in two measures. On four heads simulated aligned, where it can only
fit noise, it brought 1.2 to 1.8 % of the MIND distance, up to 2.2 % of mutual information and 12 % of the correlation
of edges; on two heads that were distorted 12 and 15 %, 9 and 18 %, 3 and 12 %."""
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
    fixed_lesion, moving_lesion : Image or Volume, optional
        Above zero where nothing may be judged, each on its image's grid. What of the moving one is met depends on the
        map, as what of its field of view is seen does.

    Raises
    ------
    ValueError
        If the mask is empty but for lesions, or none of it lies in the moving field of view after the affine.
    """

    def __init__(
        self,
        fixed: Image | Volume,
        moving: Image | Volume,
        affine: np.ndarray,
        mask: Image | Volume,
        compute: Compute = ON_CPU,
        fixed_lesion: Image | Volume | None = None,
        moving_lesion: Image | Volume | None = None,
    ) -> None:
        marked = Volume.of(mask).data > 0
        # what is judged of a voxel depends on what is so near
        near = MARGIN * float(mask.grid.spacing.max())
        here, there = (
            None if lesion is None else Volume.of(lesion, compute.device).dilated(near)
            for lesion in (fixed_lesion, moving_lesion)
        )
        if here is not None:
            marked = marked & (here.resampled(mask.grid, order=0) < 0.5).to(marked.device)
        brain = marked.cpu().numpy()
        self.box = around(brain)
        self.device, grid = compute.device, mask.grid.cropped(*edges_of(self.box))
        self.viewer = viewer_on(compute)(brain[self.box], grid, compute)
        self.affine, self.moving = affine, Source(Volume.of(moving, compute.device), there)
        self._keep(self.viewer.look(Source(_in_zeros(Volume.of(fixed, compute.device))), np.eye(4)))
        before = self.viewer.look(self.moving, np.eye(4))
        # far-off headers must not leave nothing to measure on
        self.before = self._measure(before) if float(before.seen.float().mean()) > 0.5 else None
        self.after_affine = self._measure(self.viewer.look(self.moving, affine))

    def _keep(self, view: View[Tensor]) -> None:
        """Keep what is compared of the fixed image."""
        self.mind = self.viewer.mind(view, self.viewer.floor(view, self.viewer.deep))
        self.bins, self.edges = self.viewer.bins(view.values, view.values), view.edges

    def _measure(self, view: View[Tensor]) -> Evidence:
        """Compare an image with the fixed one, where both are seen."""
        seen = view.seen
        if not seen.any():
            raise ValueError("nothing of the brain lies in the moving image's field of view: check the affine")
        counted = seen & self.viewer.deep
        floor = self.viewer.floor(view, counted)
        mismatch = self.viewer.mind_mismatch(view, floor, self.mind, counted)
        bins = self.viewer.bins(view.values, view.values[seen])
        mi, nmi = information.of_counts(self.viewer.joint_counts(self.bins, bins, seen))
        return Evidence(
            mind_heldout=mismatch / counted.sum().item(),
            mi=mi,
            nmi=nmi,
            edge_correlation=self.viewer.correlation(self.edges, view.edges, seen),
        )

    def under(self, displacement: Tensor) -> Evidence:
        """Return the evidence under a displacement (3, X, Y, Z) in mm on the mask's grid, followed by the affine."""
        return self._measure(self.viewer.look(self.moving, self.affine, displacement[(slice(None), *self.box)]))

    def __call__(self, forward: np.ndarray) -> Evidence:
        """Return the same for a displacement in the computer's memory, (X, Y, Z, 3)."""
        displacement = torch.as_tensor(np.moveaxis(forward, -1, 0), dtype=torch.float32, device=self.device)
        return self.under(displacement)


def _in_zeros(image: Volume) -> Volume:
    """Put a voxel of zeros around it, so that zero is what goes on beyond its field of view."""
    around = image.grid.cropped(np.full(3, -1), np.array(image.grid.shape) + 1)
    return Volume(F.pad(image.data, (1,) * 6), around)


def largest_displacement(deformation: Deformation, mask: Image) -> float:
    """Return the length in mm of the largest displacement of a deformation inside a mask on its grid."""
    squared = np.einsum('...i,...i->...', deformation.forward, deformation.forward)
    return float(np.sqrt(squared[mask.data > 0].max(initial=0)))


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
