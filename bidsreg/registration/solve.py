"""Coarse to fine: the optimisation of a velocity network so that the warped moving image looks like the fixed one."""

from __future__ import annotations

import copy
import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from scipy import ndimage as ndi

from bidsreg.registration import evidence, metrics
from bidsreg.registration.deformation import Deformation
from bidsreg.registration.errors import RegistrationError
from bidsreg.registration.evidence import Evidence
from bidsreg.registration.flow import Eulerian, Solver, chunks, flow, integrate
from bidsreg.registration.grid import Grid, apply_affine
from bidsreg.registration.image import Image, resample
from bidsreg.registration.numerics import separable
from bidsreg.registration.numerics.inversion import InversionError, invert_displacement
from bidsreg.registration.numerics.optimiser import TensorwiseAdam
from bidsreg.registration.numerics.threads import in_threads, one_thread_an_operation
from bidsreg.registration.presets import MOST_ITERATIONS, Preset, preset
from bidsreg.registration.regularity import OF_DISPLACEMENT, REGULARISERS, Path
from bidsreg.registration.similarity.base import SIMILARITIES, Similarity
from bidsreg.registration.similarity.dataterm import DataTerm
from bidsreg.registration.velocity.lddmm import path_length
from bidsreg.registration.velocity.registry import VELOCITIES

Tensor = torch.Tensor
LOGGER = logging.getLogger(__name__)

MARGIN = (8.0, 1.75)
"""mm around the brain over which the velocity fades to zero: at least, and in standard deviations of its smoothing."""
CHECK_EVERY = 10
"""Iterations between looks at the loss: a look makes a GPU wait."""
RISEN, SLOWER = 1e-3, 4
"""A loss that has risen by this fraction came of too large steps; how many times smaller the next ones are."""
COARSER = 2
"""How often the velocity's grid can be halved: coarse image levels need no finer velocity than themselves."""
LAST_RATE = 0.1
"""Fraction of the learning rate at the end of a stage on the finest images; it falls over the stage's second half."""
FINAL_STEPS = 4
"""How many times finer in time than the optimisation the written fields are integrated."""
FIT_ITERATIONS, FIT_RATE = 60, 0.02
"""Iterations that bring the network to an earlier deformation, and the first of their shrinking steps."""
REPAIRS = (2.0, 3.0, 4.5, 6.5, 10.0)
"""Standard deviations in mm of the Gaussian that smooths the velocity about folded voxels, one after another."""
CONSISTENT = {'mean': 0.05, 'p99': 0.5}
"""mm: how far the written inverse may end beside where the written field began, over the brain."""
FINER_ABOVE = 1.2
"""mm: larger voxels of the written fields are halved where linear interpolation between them is too far off."""
ATTEMPTS = 3
"""How often a result that folds even so is solved again, each time four times as stiff."""


@dataclass(frozen=True)
class Progress:
    """One look at a running optimisation.

    Attributes
    ----------
    level : float
        Image spacing in mm.
    iteration, iterations : int
        Done and at most to be done on this level.
    loss, similarity, regularity : float
        The loss and its two (weighted) parts.
    seconds_left : float
        Estimated for this level.
    """

    level: float
    iteration: int
    iterations: int
    loss: float
    similarity: float
    regularity: float
    seconds_left: float


@dataclass(frozen=True)
class Result:
    """What a registration found, and how.

    Attributes
    ----------
    deformation : Deformation
        The answer.
    preset : Preset
        The settings it was found with (stiffer than asked for when the first attempts folded).
    history : list of dict
        level (mm), factor on the weights, iteration, loss, similarity and regularity of every iteration.
    stopped : list of str
        Why each level ended.
    folds : int
        Voxels of the written field with a non-positive Jacobian determinant by any of three difference schemes, or
        without an inverse where that is searched for.
    repaired : int
        Voxels that had folded before the velocity was smoothed about them.
    attempts : int
        How often it was solved.
    seconds : dict
        Of `solve` and `finish`.
    mask : Image
        The fixed mask on the deformation's grid.
    evidence : dict
        How alike the pair looks `before` (None where the headers place the brains apart), after the `affine` and after
        the `diffeo`, by measures that were not optimised.
    path_length : float or None
        Of `lddmm`, the only velocity with a metric: V-norm of the velocity integrated over time, as a root mean square
        over the fixed mask, mm. Before folds were repaired.
    boxed : bool
        It was worked on box by box: on a CPU always, on a GPU when its memory did not suffice for more.
    """

    deformation: Deformation
    preset: Preset
    history: list[dict[str, float]]
    stopped: list[str]
    folds: int
    repaired: int
    attempts: int
    mask: Image
    evidence: dict[str, Evidence | None]
    seconds: dict[str, float] = field(default_factory=dict)
    path_length: float | None = None
    boxed: bool = True


class FoldedError(RuntimeError):
    """Even the stiffest attempt gave a deformation that folds."""


@dataclass(frozen=True, eq=False)
class Problem:
    """A pair made ready: intensities scaled, everything cropped to the brain."""

    fixed: Image
    moving: Image
    fixed_mask: Image
    moving_mask: Image | None
    fixed_lesion: Image | None
    moving_lesion: Image | None
    affine: np.ndarray
    resolution: float
    """mm: images are never compared sharper than this."""
    brain: Grid
    """The voxels of the finest grid that images are compared on."""
    velocity: Grid
    """Where the velocity lives; it vanishes at the border."""
    field: Grid
    """Where the written fields live: the finest grid, covering `velocity`."""

    @property
    def volume(self) -> float:
        """Of the fixed mask, in mm^3."""
        return float(self.fixed_mask.data.sum() * abs(np.linalg.det(self.fixed_mask.grid.affine[:3, :3])))

    def velocity_grid(self, coarser: int) -> Grid:
        """`velocity` with every length halved `coarser` times, corners kept."""
        x, y, z = ((n - 1) // 2**coarser + 1 for n in self.velocity.shape)
        return Grid((x, y, z), self.velocity.affine @ np.diag([2.0**coarser] * 3 + [1.0]))

    def moving_counts(self, spacing: float, similarity: Similarity) -> Image | None:
        """Above 0.5 where the moving image may be compared at `spacing` mm; None if everywhere."""
        if self.moving_lesion is None:
            return self.moving_mask
        valid = _dilated(self.moving_lesion, similarity.support * spacing).data < 0.5
        if self.moving_mask is not None:
            valid &= self.moving_mask.data > 0.5
        return Image(valid.astype(np.float32), self.moving.grid)


def _dilated(mask: Image, mm: float) -> Image:
    distance = ndi.distance_transform_edt(mask.data == 0, sampling=mask.grid.spacing)
    return Image((distance <= mm).astype(np.float32), mask.grid)


def _cropped(image: Image, points: np.ndarray, margin: float) -> Image:
    """The part of an image around world points, with `margin` mm."""
    voxels = image.grid.to_voxels(points)
    reach = np.ceil(margin / image.grid.spacing)
    start = np.clip(np.floor(voxels.min(0)) - reach, 0, np.array(image.grid.shape) - 2).astype(int)
    stop = np.clip(np.ceil(voxels.max(0)) + reach + 1, start + 2, image.grid.shape).astype(int)
    cut = tuple(slice(a, b) for a, b in zip(start, stop, strict=True))
    return Image(np.ascontiguousarray(image.data[cut]), image.grid.cropped(start, stop))


def prepare(
    fixed: Image,
    moving: Image,
    chosen: Preset,
    fixed_mask: Image | None,
    moving_mask: Image | None,
    affine: np.ndarray,
    fixed_lesion: Image | None = None,
    moving_lesion: Image | None = None,
) -> Problem:
    """Check the input, crop it to the brain and lay out the grids.

    Raises
    ------
    ValueError
        If a mask or lesion is empty or lies on another grid than its image, an image is constant inside its mask, or
        the affine moves the fixed mask out of the moving image or its mask.
    """
    check_mask('fixed', fixed, fixed_mask)
    check_mask('moving', moving, moving_mask)
    check_mask('fixed lesion', fixed, fixed_lesion)
    check_mask('moving lesion', moving, moving_lesion)
    mask = _binary(fixed_mask) if fixed_mask else Image(np.ones(fixed.grid.shape, np.float32), fixed.grid)
    check_overlap(mask, moving_mask or Image(np.ones(moving.grid.shape, np.float32), moving.grid), affine)
    finest = fixed.grid.orthogonalised().coarsened(min(h for h, _ in chosen.levels))
    brain, velocity, whole = lay_out(finest, mask, chosen.velocity_spacing, margin(chosen), chosen.reach)
    world = velocity.to_world(metrics.corners(velocity.shape))
    there = apply_affine(affine, world)
    near_mask = _binary(_cropped(moving_mask, there, 4.0)) if moving_mask else None
    mask = _cropped(mask, world, 4.0)
    wider = [(mask, chosen.reach if fixed_mask else 0), *([(near_mask, chosen.reach)] if near_mask else [])]
    fixed_region, *moving_region = in_threads(lambda region: _dilated(*region), wider, torch.get_num_threads())
    return Problem(
        fixed=_standardised('fixed', _cropped(fixed, world, 4.0), mask),
        moving=_standardised('moving', _cropped(moving, there, 4.0), near_mask),
        fixed_mask=fixed_region,
        moving_mask=moving_region[0] if moving_region else None,
        fixed_lesion=_binary(_cropped(fixed_lesion, world, 4.0)) if fixed_lesion else None,
        moving_lesion=_binary(_cropped(moving_lesion, there, 4.0)) if moving_lesion else None,
        affine=affine,
        resolution=chosen.image_resolution,
        brain=brain,
        velocity=velocity,
        field=whole,
    )


def margin(chosen: Preset) -> float:
    """How many mm around the brain the velocity takes to fade to zero."""
    least, widths = MARGIN
    return max(least, widths * chosen.velocity_smoothing, chosen.reach + 5)


def check_mask(name: str, image: Image, mask: Image | None) -> None:
    """Refuse a mask that is empty or does not lie on its image's grid."""
    if mask is not None and not mask.grid.same_as(image.grid, 0.01):
        raise ValueError(f'the {name} mask lies on another grid than the {name} image; resample it first')
    if mask is not None and not (mask.data > 0).any():
        raise ValueError(f'the {name} mask is empty')


def check_overlap(mask: Image, moving_mask: Image, affine: np.ndarray) -> None:
    """Refuse an affine that leaves less than a tenth of the fixed mask in the moving image or its mask."""
    moved = Grid(mask.grid.shape, affine @ mask.grid.affine)
    met = (mask.data > 0) & (resample(_binary(moving_mask), moved, order=0) > 0)
    if met.sum() < 0.1 * (mask.data > 0).sum():
        raise ValueError(
            'less than a tenth of the fixed mask lies inside the moving image (or its mask); '
            'is the affine the right way round?'
        )


def lay_out(
    finest: Grid, mask: Image, velocity_spacing: float, around: float, beyond: float
) -> tuple[Grid, Grid, Grid]:
    """The brain's box on the finest grid, the velocity's grid `around` mm about it, and the finest grid over that.

    The first has `beyond` mm around the brain, in which images are compared, too.
    """
    at = finest.to_voxels(mask.grid.to_world(np.argwhere(mask.data > 0)))
    low, high = np.floor(at.min(0) + 1e-3), np.ceil(at.max(0) - 1e-3) + 1
    reach, room = (np.ceil(mm / finest.spacing) for mm in (beyond, around))
    velocity = finest.cropped(low - room, high + room).covering(np.full(3, velocity_spacing))
    # so that halving its lengths keeps the corners
    more = -(np.array(velocity.shape) - 1) % 2**COARSER
    velocity = velocity.cropped(-(more // 2), np.array(velocity.shape) + more - more // 2)
    span = finest.to_voxels(velocity.to_world(metrics.corners(velocity.shape)))
    whole = finest.cropped(np.floor(span.min(0)) - 1, np.ceil(span.max(0)) + 2)
    return finest.cropped(low - reach, high + reach), velocity, whole


def _binary(mask: Image) -> Image:
    return Image((mask.data > 0).astype(np.float32), mask.grid)


def _standardised(name: str, image: Image, mask: Image | None) -> Image:
    try:
        return image.standardised(None if mask is None else mask.data > 0)
    except ValueError as error:
        raise ValueError(f'{name}: {error}') from error


class Optimisation:
    """A velocity network and what it takes to improve it: the state that passes from level to level."""

    def __init__(
        self,
        problem: Problem,
        chosen: Preset,
        device: torch.device,
        seed: int,
        threads: int = 1,
        boxed: bool = False,
    ) -> None:
        torch.manual_seed(seed)
        self.boxed = boxed
        self.threads = threads if device.type == 'cpu' else 1
        self.problem, self.preset, self.device = problem, chosen, device
        grid = problem.velocity
        self.network = VELOCITIES[chosen.velocity](grid.shape, grid.spacing, margin(chosen) - 2, chosen).to(device)
        self.lagrangian = getattr(self.network, 'lagrangian', False)
        self.solver = Solver(chosen.solver, chosen.time_steps, chosen.tolerance, chosen.adjoint)
        self.optimiser = TensorwiseAdam(self.network.parameters(), chosen.learning_rate)
        self.caution, self.refined = 1.0, False
        self.repairs: list[tuple[Tensor, separable.Matrices]] = []
        self.regularisers = [(REGULARISERS[name], weight) for name, weight in chosen.regularity]
        self.everywhere = any(name in OF_DISPLACEMENT for name, _ in chosen.regularity)

    def coarser(self, level: float) -> int:
        """How often the velocity's grid is halved for images at `level` mm: twice their spacing is fine enough."""
        if self.lagrangian:
            return 0
        return int(np.clip(np.floor(np.log2(2.001 * level / self.preset.velocity_spacing)), 0, COARSER))

    def rate(self, level: float, done: float) -> float:
        """The learning rate on a level of which the fraction `done` is done: on the finest it falls at the end."""
        finest = min(spacing for spacing, _ in self.preset.levels)
        return self.preset.learning_rate * (np.clip(2 - 2 * done, LAST_RATE, 1.0) if level == finest else 1.0)

    def path(self, coarser: int = 0, needed: Tensor | None = None) -> Path:
        """The flow as it is now, on the velocity's grid with lengths halved `coarser` times.

        With flat indices of `needed` points only these flow, and the displacement of the others is zero.
        """
        grid = self.problem.velocity_grid(coarser)
        spacing = torch.as_tensor(grid.spacing, dtype=torch.float32, device=self.device)
        if self.lagrangian:
            return lagrangian_path(self.network, grid, spacing, self.solver, self.preset)
        velocity = self.network(coarser)
        unit = spacing[:, None, None, None]
        start = voxels(grid.shape, self.device)
        if needed is not None:
            start = start.flatten(1)[:, needed, None, None]
        moved = (flow(velocity / unit, start, self.solver) - start) * unit
        if needed is not None:
            moved = velocity.new_zeros(3, math.prod(grid.shape)).index_copy(1, needed, moved[:, :, 0, 0])
        return Path(velocity, moved.view(1, 3, *grid.shape), spacing, self.preset)

    def losses(self, term: DataTerm, factor: float, coarser: int) -> tuple[Tensor, Tensor]:
        """Similarity and weighted regularity now."""
        path = self.path(coarser, None if self.everywhere else term.needed)
        energy = path.displacement.new_zeros(())
        for regulariser, weight in self.regularisers:
            energy = energy + weight * regulariser(path)
        return term(path.displacement), factor * energy / self.problem.volume

    def run_level(
        self, spacing: float, iterations: int, factor: float, patch: int, callback: Callable[[Progress], None] | None
    ) -> tuple[list[dict[str, float]], str]:
        """Iterate on one image grid with all weights times `factor`; the history of the losses, and why it ended."""
        coarser = self.coarser(spacing)
        similarity = SIMILARITIES[self.preset.similarity](patch)
        term = DataTerm.at(self.problem, spacing, coarser, similarity, self.device, self.threads, self.boxed)
        if not term.tiles:
            return [], f'{spacing:g} mm: left out, no voxel has its whole neighbourhood in the field of view'
        kept: list[Tensor] = []
        looked: list[float] = []
        began, stopped = time.perf_counter(), f'{iterations} iterations done'
        if factor != 1:
            # with other weights gradients have another size
            self.optimiser, self.caution = TensorwiseAdam(self.network.parameters(), self.preset.learning_rate), 1.0
        best = Best(self.optimiser)
        for i in range(1, iterations + 1):
            self.optimiser.lr = self.caution * self.rate(spacing, (i - 1) / iterations)
            self.optimiser.zero_grad()
            unlike, rough = self.losses(term, factor, coarser)
            (unlike + rough).backward()
            kept.append(torch.stack([unlike.detach(), rough.detach()]))
            look = i % CHECK_EVERY == 0 or i == iterations
            thrown = (look or i == 1) and best.put_back(kept[-1].sum().item())
            if thrown:
                self.caution /= SLOWER
            else:
                self.optimiser.step()
            if not look:
                continue
            left = (time.perf_counter() - began) / i * (iterations - i)
            image_part, smooth_part = kept[-1].tolist()
            if callback:
                callback(Progress(spacing, i, iterations, image_part + smooth_part, image_part, smooth_part, left))
            if thrown:
                continue
            looked.append(torch.stack(kept[-CHECK_EVERY:]).sum(1).mean().item())
            if len(looked) > 1 and looked[-2] - looked[-1] < self.preset.slope_tolerance * abs(looked[-2]):
                stopped = f'the loss fell by less than {self.preset.slope_tolerance:g} over {CHECK_EVERY} iterations'
                break
        values = torch.stack(kept).cpu().tolist()
        rows = [
            {'level': spacing, 'iteration': i, 'loss': s + r, 'similarity': s, 'regularity': r, 'factor': factor}
            for i, (s, r) in enumerate(values, 1)
        ]
        times = 'once' if best.times == 1 else f'{best.times} times'
        again = f'; put back {times}, to go on with a quarter of the steps' if best.times else ''
        return rows, f'{spacing:g} mm, weights x {factor:g}: {stopped}{again}'

    def fit(self, start: Deformation) -> str:
        """Bring the network to an earlier deformation; says how near it came."""
        grid = self.problem.velocity
        index = np.stack(np.meshgrid(*map(np.arange, grid.shape), indexing='ij'), -1)
        world = metrics.displacement_at(start.forward, start.grid, grid.to_world(index.reshape(-1, 3)))
        along = np.moveaxis((world @ grid.directions).reshape(*grid.shape, 3), -1, 0)[None]
        target = torch.as_tensor(along.astype(np.float32), device=self.device)
        optimiser = TensorwiseAdam(self.network.parameters(), FIT_RATE)
        for i in range(FIT_ITERATIONS):
            optimiser.lr = FIT_RATE * (1 - i / FIT_ITERATIONS)
            optimiser.zero_grad()
            off = self.path().displacement - target
            off.square().mean().backward()
            optimiser.step()
        with torch.no_grad():
            off, size = (self.path().displacement - target).norm(dim=1), target.norm(dim=1)
        far = size > 0.1 * size.max()
        return f'start: fitted to {off[far].mean().item():.2f} mm of {size[far].mean().item():.2f} mm in the mean'

    @torch.no_grad()
    def path_length(self) -> float | None:
        """Length in mm (root mean square over the fixed mask) of a path that has one."""
        if not getattr(self.network, 'metric', False):
            return None
        spacing = torch.as_tensor(self.problem.velocity.spacing, dtype=torch.float32, device=self.device)
        return path_length(self.network(), spacing, self.preset).item() / math.sqrt(self.problem.volume)

    @torch.no_grad()
    def field(self, backward: bool) -> np.ndarray:
        """The world displacement (X, Y, Z, 3) in mm on the problem's full-resolution field grid, or its inverse's.

        Particles flow on a grid twice as fine as the velocity's, or as fine as a refined field's, in smaller steps than
        during the optimisation; their displacement is smooth on that scale: cubic interpolation takes it to the field.
        """
        coarse, grid = self.problem.velocity, self.problem.field
        like = torch.zeros((), device=self.device)
        if self.lagrangian:
            dense, local = coarse, self.path().displacement
        else:
            dense = coarse.covering(np.minimum(coarse.spacing / 2, grid.spacing if self.refined else np.inf))
            local = self.dense_displacement(dense, backward)
        full = separable.apply(local, separable.between(grid, dense, like))[0].permute(1, 2, 3, 0)
        x, y, z = [(at > 0) & (at < n - 1) for at, n in zip(separable.positions(grid, dense), dense.shape, strict=True)]
        inside = (x[:, None, None] & y[:, None] & z)[..., None]
        world = np.ascontiguousarray(full.cpu().numpy() @ coarse.directions.T.astype(np.float32) * inside)
        return invert_displacement(world, grid)[0] if backward and self.lagrangian else world

    def refine(self) -> bool:
        """Halve the voxels of the written fields along the axes where they are large; whether there are any."""
        spacing = self.problem.field.spacing
        wanted = np.where(spacing > FINER_ABOVE, spacing / 2, spacing)
        self.problem, self.refined = replace(self.problem, field=self.problem.field.covering(wanted)), True
        return bool((spacing > FINER_ABOVE).any())

    @torch.no_grad()
    def repair(self, forward: np.ndarray, sigma: float) -> int:
        """Smooth the velocity by a Gaussian of `sigma` mm about folded voxels and where they go; how many fold."""
        folded = metrics.folded(forward, self.problem.field)
        grid, voxels_there = self.problem.velocity, np.argwhere(folded)
        world = self.problem.field.to_world(voxels_there)
        marks = np.zeros(grid.shape)
        for points in (world, world + forward[folded]):
            at = np.clip(np.round(grid.to_voxels(points)).astype(int), 0, np.array(grid.shape) - 1)
            marks[tuple(at.T)] = 1
        away = ndi.distance_transform_edt(marks == 0, sampling=grid.spacing)
        where = torch.as_tensor(np.exp(-0.5 * (away / (2 * sigma)) ** 2), dtype=torch.float32, device=self.device)
        matrices = [separable.gaussian_weights(n, sigma / h) for n, h in zip(grid.shape, grid.spacing, strict=True)]
        self.repairs.append((where, separable.to_tensors(matrices, where)))
        return len(voxels_there)

    def dense_displacement(self, dense: Grid, backward: bool) -> Tensor:
        """Displacement in mm along the axes, (1, 3, X, Y, Z), of particles that flow on a grid of their own."""
        coarse = self.problem.velocity
        velocity = self.network()
        for where, smoothing in self.repairs:
            velocity = velocity + where * (separable.apply(velocity, smoothing) - velocity)
        velocity = separable.apply(velocity, separable.between(dense, coarse, velocity))
        unit = torch.as_tensor(dense.spacing, dtype=torch.float32, device=self.device)[:, None, None, None]
        rate, solver = Eulerian(velocity / unit), replace(self.solver, steps=FINAL_STEPS * self.solver.steps)
        start = voxels(dense.shape, self.device)

        def one(particles: Tensor) -> Tensor:
            with torch.no_grad():
                return integrate(rate, particles, replace(solver, adjoint=False), backward)

        end = torch.cat(in_threads(one, chunks(start), self.threads), 1)
        return ((end - start) * unit)[None]


class Best:
    """The lowest loss looked at so far, and the way back to it when the steps after it were too large.

    Steps have a fixed size, but how large they may be depends on the weights: where a problem is stiff, they can throw
    the network far from a minimum that it had all but reached.
    """

    def __init__(self, optimiser: TensorwiseAdam) -> None:
        self.optimiser = optimiser
        self.saved, self.lowest, self.times = optimiser.snapshot(), math.inf, 0

    def put_back(self, loss: float) -> bool:
        """Go back if the loss has risen, or is no number; whether it did."""
        if loss < self.lowest:
            self.saved, self.lowest = self.optimiser.snapshot(), loss
        # written so that a loss that is no number has risen, too
        elif not loss <= self.lowest + RISEN * abs(self.lowest):
            self.optimiser.back_to(self.saved)
            self.times += 1
            return True
        return False


def voxels(shape: tuple[int, ...], device: torch.device) -> Tensor:
    """Voxel indices of a grid, (3, X, Y, Z)."""
    axes = [torch.arange(n, dtype=torch.float32, device=device) for n in shape]
    return torch.stack(torch.meshgrid(*axes, indexing='ij'))


def lagrangian_path(network: Any, grid: Grid, spacing: Tensor, solver: Solver, chosen: Preset) -> Path:
    """The path of a cloud of voxels whose velocity depends on the whole cloud's state."""
    unit = spacing[:, None, None, None]
    start = voxels(grid.shape, spacing.device)
    middle = (torch.tensor(grid.shape, device=spacing.device) - 1).reshape(3, 1, 1, 1) / 2
    cloud = ((start - middle) * unit)[None]
    seen: list[Tensor] = []

    def rate(t: Tensor, state: Tensor) -> Tensor:
        seen.append(network.at(t, state))
        return seen[-1]

    end = integrate(rate, cloud, solver)
    return Path(torch.cat(seen), end - cloud, spacing, chosen)


def register(
    fixed: Image,
    moving: Image,
    method: str | Preset = 'node-mind',
    *,
    fixed_mask: Image | None = None,
    moving_mask: Image | None = None,
    affine: np.ndarray | None = None,
    fixed_lesion: Image | None = None,
    moving_lesion: Image | None = None,
    start: Deformation | None = None,
    device: str = 'cpu',
    seed: int = 2026,
    callback: Callable[[Progress], None] | None = None,
) -> Result:
    """Find the diffeomorphism that aligns a moving image with a fixed one.

    Parameters
    ----------
    fixed, moving : Image
        On grids of their own; neither is resampled more than once.
    method : str or Preset
        A name of :data:`.presets.PRESETS`, or a preset of your own.
    fixed_mask, moving_mask : Image, optional
        Where to compare (above zero), each on its image's grid. Default: everywhere in the field of view.
    affine : ndarray, shape (4, 4), optional
        Fixed world to moving world in mm, RAS+. Default: identity.
    fixed_lesion, moving_lesion : Image, optional
        Above zero where nothing may be compared, each on its image's grid: cost-function masking.
    start : Deformation, optional
        An earlier answer to go on from, instead of `affine`: the network is first fitted to it.
    device : str
        A torch device. On a CPU as many threads work as ``torch.get_num_threads()`` says, and the result is the same to
        the last bit for any number.
    seed : int
        Of the network's initial weights.
    callback : callable, optional
        Called with a `Progress` every ten iterations.

    Returns
    -------
    Result

    Raises
    ------
    ValueError
        If the input cannot be registered; see `prepare`.
    FoldedError
        If the deformation folds even after it was made stiffer.
    RegistrationError
        If the memory of a GPU does not suffice even box by box.
    """
    chosen = preset(method) if isinstance(method, str) else method
    affine = _start_affine(chosen, affine, start)
    problem = prepare(fixed, moving, chosen, fixed_mask, moving_mask, affine, fixed_lesion, moving_lesion)
    for attempt in range(1, ATTEMPTS + 1):
        with one_thread_an_operation() as threads:
            result = _solve_in_memory(problem, chosen, torch.device(device), seed, threads, callback, start)
        if result.folds == 0:
            return replace(result, attempts=attempt)
        LOGGER.warning(
            'attempt %d: the deformation folds at %d voxels; solving again, four times as stiff', attempt, result.folds
        )
        chosen = replace(chosen.stiffer(4), loosened=())
    raise FoldedError(
        f'after {ATTEMPTS} attempts, each four times as stiff, the deformation still folds at {result.folds} voxels'
    )


def _start_affine(chosen: Preset, affine: np.ndarray | None, start: Deformation | None) -> np.ndarray:
    """The affine to begin with; refuses a start that does not go together with the rest."""
    if start is None:
        return np.eye(4) if affine is None else np.asarray(affine, dtype=float)
    if affine is not None:
        raise ValueError('an earlier deformation has its own affine: give either start or affine')
    if start.is_inverse:
        raise ValueError('the start leads from the moving to the fixed image: give its inverse')
    if chosen.iterations + FIT_ITERATIONS > MOST_ITERATIONS:
        raise ValueError(
            f'fitting the start takes {FIT_ITERATIONS} iterations: leave at most '
            f'{MOST_ITERATIONS - FIT_ITERATIONS} of the {chosen.iterations} for the levels'
        )
    return start.affine


def _solve_in_memory(
    problem: Problem,
    chosen: Preset,
    device: torch.device,
    seed: int,
    threads: int,
    callback: Callable[[Progress], None] | None,
    start: Deformation | None,
) -> Result:
    """Solve; when the memory of a GPU does not suffice, once more box by box, and say so."""
    try:
        return _solve(problem, chosen, device, seed, threads, callback, start)
    except torch.cuda.OutOfMemoryError as error:
        LOGGER.warning('the GPU ran out of memory; once more, box by box: the same answer in more time')
        said = str(error).splitlines()[0]
    # out of the except clause: its traceback held what was computed so far
    torch.cuda.empty_cache()
    try:
        return _solve(problem, chosen, device, seed, threads, callback, start, boxed=True)
    except torch.cuda.OutOfMemoryError as error:
        raise RegistrationError(
            f'the GPU has too little memory even when it works box by box ({said}): let nothing else use it, or use '
            '--working-resolution 1.5, or --device cpu'
        ) from error


def _solve(
    problem: Problem,
    chosen: Preset,
    device: torch.device,
    seed: int,
    threads: int,
    callback: Callable[[Progress], None] | None,
    start: Deformation | None,
    boxed: bool = False,
) -> Result:
    began = time.perf_counter()
    optimisation = Optimisation(problem, chosen, device, seed, threads, boxed)
    history: list[dict[str, float]] = []
    stopped: list[str] = []

    def run(spacing: float, iterations: int, factor: float, level: int) -> None:
        rows, why = optimisation.run_level(spacing, iterations, factor, chosen.patch(level), callback)
        history.extend(rows)
        stopped.append(why)

    if start is not None:
        stopped.append(optimisation.fit(start))
    for level, (spacing, iterations) in enumerate(chosen.levels):
        run(spacing, iterations, 1.0, level)
    if not history:
        raise ValueError('the field of view is too thin: no voxel of the mask has its whole neighbourhood in it')
    mask = Image(resample(problem.fixed_mask, problem.field, order=0) > 0, problem.field)
    judge = evidence.Judge(problem.fixed, problem.moving, problem.affine, mask, threads)
    forward = optimisation.field(backward=False)
    found: Evidence | None = None
    if chosen.loosened:
        forward, found = _loosened(optimisation, judge, forward, run, stopped)
    forward, folds, repaired = _unfolded(optimisation, forward)
    if found is None or repaired:
        found = judge(forward)
    solved = time.perf_counter()
    inverse, stuck = _inverse(optimisation)
    while not folds + stuck and (off := _inconsistency(forward, inverse, mask)):
        size = float(mask.grid.spacing.max())
        if not optimisation.refine():
            stopped.append(f'the inverse is off by {off}: the deformation is rough for its grid')
            LOGGER.warning(stopped[-1])
            break
        stopped.append(f'fields with voxels of {size:.3g} mm are consistent to {off} only: written with half of that')
        mask = Image(resample(problem.fixed_mask, optimisation.problem.field, order=0) > 0, optimisation.problem.field)
        forward, folds, more = _unfolded(optimisation, optimisation.field(backward=False))
        inverse, stuck = _inverse(optimisation)
        repaired = max(repaired, more)
    if repaired and folds == 0:
        LOGGER.warning('the deformation folded at %d voxels; the velocity was smoothed about them', repaired)
        stopped.append(f'repaired: the velocity was smoothed about {repaired} folded voxels')
    return Result(
        deformation=Deformation(problem.affine, forward, inverse, mask.grid),
        preset=chosen,
        history=history,
        stopped=stopped,
        folds=max(folds, stuck),
        repaired=repaired,
        attempts=1,
        mask=mask,
        evidence={'before': judge.before, 'affine': judge.after_affine, 'diffeo': found},
        seconds={'solve': solved - began, 'finish': time.perf_counter() - solved},
        path_length=optimisation.path_length(),
        boxed=boxed or device.type == 'cpu',
    )


def _unfolded(optimisation: Optimisation, forward: np.ndarray) -> tuple[np.ndarray, int, int]:
    """The field with the velocity smoothed about folds; how many are left, and how many there were."""
    grid, repaired = optimisation.problem.field, 0
    folds = metrics.count_folds(forward, grid)
    for sigma in () if optimisation.lagrangian else REPAIRS:
        if folds == 0:
            break
        repaired = max(repaired, optimisation.repair(forward, sigma))
        forward = optimisation.field(backward=False)
        folds = metrics.count_folds(forward, grid)
    return forward, folds, repaired


def _inconsistency(forward: np.ndarray, inverse: np.ndarray, mask: Image) -> str:
    """How far off the inverse is, as words, by every other voxel of the brain along each axis; empty if near enough."""
    some = np.zeros_like(mask.data, dtype=bool)
    some[::2, ::2, ::2] = mask.data[::2, ::2, ::2]
    if not some.any():
        return ''
    off = metrics.inverse_consistency(forward, inverse, mask.grid, some)
    near = all(off[key] <= most for key, most in CONSISTENT.items())
    return '' if near else f'{off["mean"]:.2f} mm in the mean, {off["p99"]:.2f} mm at 99 %'


def _inverse(optimisation: Optimisation) -> tuple[np.ndarray, int]:
    """The field of the inverse, and at how many voxels there is none."""
    try:
        return optimisation.field(backward=True), 0
    except InversionError as error:
        return error.best, error.stuck


def _loosened(
    optimisation: Optimisation,
    judge: evidence.Judge,
    forward: np.ndarray,
    run: Callable[[float, int, float, int], None],
    stopped: list[str],
) -> tuple[np.ndarray, Evidence]:
    """Go on with less and less regularity for as long as held-out evidence improves; the field, and its evidence."""
    chosen, best = optimisation.preset, judge(forward)
    # where the stiff answer lost evidence already, a looser one would fit what is not there
    sound = min(evidence.gains(judge.after_affine, best).values()) > -evidence.TOLERANCE
    for factor, iterations in chosen.loosened if sound else ():
        stiff = copy.deepcopy(optimisation.network.state_dict())
        run(chosen.levels[-1][0], iterations, factor, -1)
        looser = optimisation.field(backward=False)
        now = judge(looser)
        if not evidence.improves(best, now):
            optimisation.network.load_state_dict(stiff)
            stopped[-1] += '; taken back, held-out evidence did not improve'
            break
        forward, best = looser, now
    return forward, best
