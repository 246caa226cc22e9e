"""The written fields: the flow integrated finely, folds repaired, the inverse, finer voxels where they are needed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch

from bidsreg.registration.events import Event, InverseInexact, Refined, Repaired
from bidsreg.registration.flow import Solver, carried
from bidsreg.registration.grid import Grid
from bidsreg.registration.image import Image
from bidsreg.registration.numerics import separable
from bidsreg.registration.numerics.compute import Compute
from bidsreg.registration.numerics.distance import distance_to
from bidsreg.registration.numerics.folds import count_folds, folded
from bidsreg.registration.numerics.inversion import InversionError, invert_displacement
from bidsreg.registration.numerics.positions import mapped_vectors, voxel_indices
from bidsreg.registration.numerics.sampling import Sampler
from bidsreg.registration.numerics.volumes import percentiles
from bidsreg.registration.presets import Preset
from bidsreg.registration.problem import Problem
from bidsreg.registration.velocity import StartPoints, Velocity
from bidsreg.registration.volume import Volume

Tensor = torch.Tensor

FINAL_STEPS = 4
"""How many times finer in time than the optimisation the written fields are integrated."""
REPAIRS = (2.0, 3.0, 4.5, 6.5, 10.0)
"""Standard deviations in mm of the Gaussian that smooths the velocity about folded voxels, one after another."""
REPAIR_WIDTH = 2.0
"""Standard deviation of the Gaussian window about folded voxels in which it does, in those of the smoothing."""
CONSISTENT = {'mean': 0.05, 'p99': 0.5}
"""mm: how far the written inverse may end beside where the written field began, over the brain."""
FINER_ABOVE = 1.2
"""mm: larger voxels of the written fields are halved where linear interpolation between them is too far off."""
EVERY = 2
"""Inverse consistency is looked at at every such voxel of the brain along each axis."""


class FieldWriter:
    """Turns a velocity into displacements in world mm on the grid of the written fields.

    Parameters
    ----------
    velocity : Velocity
        Its parameters may change between calls.
    problem : Problem
        Gives the grids.
    solver : Solver
        The one of the optimisation; fields of an Eulerian velocity take `FINAL_STEPS` times as many steps.
    preset : Preset
        The settings.
    compute : Compute
        Where to work.

    Attributes
    ----------
    grid : Grid
        Where the written fields live.
    refined : bool
        Whether that is finer than the problem's grid.
    """

    def __init__(self, velocity: Velocity, problem: Problem, solver: Solver, preset: Preset, compute: Compute) -> None:
        self.velocity, self.problem, self.solver = velocity, problem, solver
        self.preset, self.compute = preset, compute
        self.grid, self.refined = problem.field, False
        self._repairs: list[tuple[Tensor, separable.Matrices]] = []

    def mask(self) -> Volume:
        """Return where images are compared (the fixed mask, grown by `reach`) on the grid of the written fields."""
        return Volume(self.problem.fixed_mask.resampled(self.grid, order=0), self.grid).binary()

    @torch.no_grad()
    def displacement(self, backward: bool = False) -> Tensor:
        """Return the world displacement (3, X, Y, Z) in mm, or its inverse's.

        Particles flow on a grid twice as fine as the velocity's, or as fine as a refined field's, in smaller steps than
        during the optimisation; their displacement is smooth on that scale: cubic interpolation takes it to the field.

        Raises
        ------
        InversionError
            If the inverse has to be searched for, and there is none at some voxels.
        """
        coarse = self.problem.velocity
        like = torch.zeros((), device=self.compute.device)
        if self.velocity.eulerian:
            finest = np.minimum(coarse.spacing / 2, self.grid.spacing if self.refined else np.inf)
            dense = coarse.covering(finest)
            local = self._particles(dense, backward)
        else:
            start = StartPoints.of(coarse, self.compute.device)
            dense, local = coarse, self.velocity.path(start, self.solver, self.preset).displacement
        matrices = separable.weights_between(self.grid, dense)
        for positions, n, weights in zip(separable.positions(self.grid, dense), dense.shape, matrices, strict=True):
            # nothing moves on the border and beyond it
            weights[(positions <= 0) | (positions >= n - 1)] = 0
        turn = torch.as_tensor(coarse.directions, dtype=torch.float32, device=self.compute.device)
        full = separable.apply(local, separable.to_tensors(matrices, like))
        world = mapped_vectors(turn, full)[0]
        if backward and not self.velocity.eulerian:
            inverse, _ = invert_displacement(on_host(world), self.grid)
            return from_host(inverse, self.compute.device)
        return world

    def _particles(self, dense: Grid, backward: bool) -> Tensor:
        """Return the displacement in mm along the axes, (1, 3, X, Y, Z), of particles on a grid of their own."""
        velocity = self.velocity()
        for where, smoothing in self._repairs:
            velocity = velocity + where * (separable.apply(velocity, smoothing) - velocity)
        velocity = separable.apply(velocity, separable.between(dense, self.problem.velocity, velocity))
        spacing = torch.as_tensor(dense.spacing, dtype=torch.float32, device=self.compute.device)
        solver = replace(self.solver, steps=FINAL_STEPS * self.solver.steps, adjoint=False)
        start = voxel_indices(dense.shape, self.compute.device)
        return carried(velocity, start, spacing, solver, backward, self.compute.at_a_time)[None]

    @torch.no_grad()
    def repair(self, forward: Tensor, sigma: float) -> int:
        """Smooth the velocity by a Gaussian of `sigma` mm about folded voxels and where they go; return how many."""
        where_folded = folded(forward, self.grid)
        grid, voxels = self.problem.velocity, where_folded.nonzero().cpu().numpy()
        world = self.grid.to_world(voxels)
        marks = np.zeros(grid.shape)
        for points in (world, world + forward[:, where_folded].T.cpu().numpy()):
            at = np.clip(np.round(grid.to_voxels(points)).astype(int), 0, np.array(grid.shape) - 1)
            marks[tuple(at.T)] = 1
        away = distance_to(marks, grid.spacing)
        window = np.exp(-0.5 * (away / (REPAIR_WIDTH * sigma)) ** 2)
        where = torch.as_tensor(window, dtype=torch.float32, device=self.compute.device)
        matrices = [separable.gaussian_weights(n, sigma / h) for n, h in zip(grid.shape, grid.spacing, strict=True)]
        self._repairs.append((where, separable.to_tensors(matrices, where)))
        return len(voxels)

    def unfold(self, forward: Tensor) -> tuple[Tensor, int, int]:
        """Smooth the velocity about folds until there are none.

        Returns
        -------
        forward : Tensor, shape (3, X, Y, Z)
            The field then, in mm.
        folds, repaired : int
            How many voxels still fold, and how many did at most.
        """
        repaired = 0
        folds = count_folds(forward, self.grid)
        for sigma in REPAIRS if self.velocity.eulerian else ():
            if folds == 0:
                break
            repaired = max(repaired, self.repair(forward, sigma))
            forward = self.displacement()
            folds = count_folds(forward, self.grid)
        return forward, folds, repaired

    def inverse(self) -> tuple[Tensor, int]:
        """Return the field of the inverse (3, X, Y, Z) in mm, and at how many voxels there is none."""
        try:
            return self.displacement(backward=True), 0
        except InversionError as error:
            return from_host(error.best, self.compute.device), error.stuck

    def refine(self) -> bool:
        """Halve the voxels of the written fields along the axes where they are large; return whether there were any."""
        spacing = self.grid.spacing
        wanted = np.where(spacing > FINER_ABOVE, spacing / 2, spacing)
        self.grid, self.refined = self.grid.covering(wanted), True
        return bool((spacing > FINER_ABOVE).any())


@dataclass(frozen=True, eq=False)
class WrittenFields:
    """The written fields, and what was done to them.

    Attributes
    ----------
    forward, inverse : ndarray, shape (X, Y, Z, 3)
        Displacements in mm.
    mask : Image
        The fixed mask on their grid.
    folds : int
        Voxels that fold or have no inverse.
    repaired : int
        Voxels that had folded before the velocity was smoothed about them.
    """

    forward: np.ndarray
    inverse: np.ndarray
    mask: Image
    folds: int
    repaired: int


def finish(
    writer: FieldWriter, forward: Tensor, folds: int, repaired: int, record: Callable[[Event], None]
) -> WrittenFields:
    """Invert a field, and write both with finer voxels for as long as the inverse leads beside.

    Parameters
    ----------
    writer : FieldWriter
        Of the velocity.
    forward : Tensor, shape (3, X, Y, Z)
        Its field in mm.
    folds, repaired : int
        As `FieldWriter.unfold` returned them.
    record : callable
        Is told what happens.
    """
    mask = writer.mask()
    inverse, stuck = writer.inverse()
    while not folds + stuck and (off := inconsistency(forward, inverse, mask)):
        voxel = float(mask.grid.spacing.max())
        if not writer.refine():
            record(InverseInexact(off['mean'], off['p99']))
            break
        record(Refined(voxel, off['mean'], off['p99']))
        mask = writer.mask()
        forward, folds, more = writer.unfold(writer.displacement())
        inverse, stuck = writer.inverse()
        repaired = max(repaired, more)
    if repaired and folds == 0:
        record(Repaired(repaired))
    image = mask.image()
    compared = Image(image.data > 0, image.grid)
    return WrittenFields(on_host(forward), on_host(inverse), compared, max(folds, stuck), repaired)


@torch.no_grad()
def inconsistency(forward: Tensor, inverse: Tensor, mask: Volume) -> dict[str, float]:
    """Return how far in mm the inverse leads beside over some voxels of the brain; nothing where it is near enough.

    Parameters
    ----------
    forward, inverse : Tensor, shape (3, X, Y, Z)
        Displacements in mm on the grid of `mask`.
    mask : Volume
        Where the brain is.
    """
    some = (mask.data[::EVERY, ::EVERY, ::EVERY] > 0).nonzero().T * EVERY
    if not some.shape[1]:
        return {}
    to_voxels = torch.as_tensor(np.linalg.inv(mask.grid.affine[:3, :3]), dtype=torch.float32, device=forward.device)
    moved = forward[(slice(None), *some)]
    there = some.float() + to_voxels @ moved
    back = Sampler(inverse).values(there[:, :, None, None])[:, :, 0, 0]
    error = (moved + back).norm(dim=0)
    p95, p99, most = percentiles(error, (95, 99, 100))
    off = {'mean': float(error.mean(dtype=torch.float64)), 'p95': p95, 'p99': p99, 'max': most}
    near = all(off[key] <= limit for key, limit in CONSISTENT.items())
    return {} if near else off


def on_host(field: Tensor) -> np.ndarray:
    """Return a field (3, X, Y, Z) as an array (X, Y, Z, 3) in the computer's memory."""
    return field.permute(1, 2, 3, 0).contiguous().cpu().numpy()


def from_host(field: np.ndarray, device: torch.device) -> Tensor:
    """Return a field (X, Y, Z, 3) as a tensor (3, X, Y, Z) on a device."""
    return torch.from_numpy(field).to(device).permute(3, 0, 1, 2).contiguous()
