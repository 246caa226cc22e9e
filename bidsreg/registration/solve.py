"""Coarse to fine: the optimisation of a velocity network so that the warped moving image looks like the fixed one."""

from __future__ import annotations

import copy
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from scipy import ndimage as ndi

from bidsreg.registration import evidence, metrics, separable
from bidsreg.registration.dataterm import DataTerm
from bidsreg.registration.deformation import Deformation
from bidsreg.registration.evidence import Evidence
from bidsreg.registration.flow import integrate
from bidsreg.registration.grid import Grid, apply_affine
from bidsreg.registration.image import Image, identity, resample, to_sampler
from bidsreg.registration.parallel import in_threads, one_thread_an_operation
from bidsreg.registration.presets import Preset, preset
from bidsreg.registration.regularity import REGULARISERS
from bidsreg.registration.similarity import SIMILARITIES
from bidsreg.registration.velocity import VELOCITIES

Tensor = torch.Tensor
LOGGER = logging.getLogger(__name__)

MARGIN = 14.0
"""mm around the brain over which the velocity fades to zero."""
REACH = 3.0
"""mm around the brain mask in which images are still compared: the edge of the brain says where it lies."""
CHECK_EVERY = 10
"""Iterations between looks at the loss: a look makes a GPU wait."""
PARTICLE_SLAB = 16
"""Slices of particles that flow together: they do not meet, and fit the cache."""
FINAL_STEPS = 8
"""How many times finer in time than the optimisation the written fields are integrated."""
ATTEMPTS = 3
"""How often a folded result is solved again, each time four times as stiff."""


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
        level (mm), weight, iteration, loss, similarity and regularity of every iteration.
    stopped : list of str
        Why each level ended.
    folds : int
        Voxels of the written field with a non-positive Jacobian determinant by any of three difference schemes.
    attempts : int
        How often it was solved.
    seconds : dict
        Of `solve` and `finish`.
    mask : Image
        The fixed mask on the deformation's grid.
    evidence : dict
        How alike the pair looks `before` (None where the headers place the brains apart), after the `affine` and after
        the `diffeo`, by measures that were not optimised.
    """

    deformation: Deformation
    preset: Preset
    history: list[dict[str, float]]
    stopped: list[str]
    folds: int
    attempts: int
    mask: Image
    evidence: dict[str, Evidence | None]
    seconds: dict[str, float] = field(default_factory=dict)


class FoldedError(RuntimeError):
    """Even the stiffest attempt gave a deformation that folds."""


@dataclass(frozen=True, eq=False)
class Problem:
    """A pair made ready: intensities scaled, everything cropped to the brain."""

    fixed: Image
    moving: Image
    fixed_mask: Image
    moving_mask: Image | None
    affine: np.ndarray
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
) -> Problem:
    """Check the input, crop it to the brain and lay out the grids.

    Raises
    ------
    ValueError
        If a mask is empty or lies on another grid than its image, an image is constant inside its mask, or the
        affine moves the fixed mask out of the moving image or its mask.
    """
    check_mask('fixed', fixed, fixed_mask)
    check_mask('moving', moving, moving_mask)
    mask = _binary(fixed_mask) if fixed_mask else Image(np.ones(fixed.grid.shape, np.float32), fixed.grid)
    check_overlap(mask, moving_mask or Image(np.ones(moving.grid.shape, np.float32), moving.grid), affine)
    finest = fixed.grid.orthogonalised().coarsened(min(h for h, _ in chosen.levels))
    brain, velocity, whole = lay_out(finest, mask, chosen.velocity_spacing)
    world = velocity.to_world(metrics.corners(velocity.shape))
    there = apply_affine(affine, world)
    near_mask = _binary(_cropped(moving_mask, there, 4.0)) if moving_mask else None
    mask = _cropped(mask, world, 4.0)
    return Problem(
        fixed=_standardised('fixed', _cropped(fixed, world, 4.0), mask),
        moving=_standardised('moving', _cropped(moving, there, 4.0), near_mask),
        fixed_mask=_dilated(mask, REACH if fixed_mask else 0),
        moving_mask=_dilated(near_mask, REACH) if near_mask else None,
        affine=affine,
        brain=brain,
        velocity=velocity,
        field=whole,
    )


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


def lay_out(finest: Grid, mask: Image, velocity_spacing: float) -> tuple[Grid, Grid, Grid]:
    """The brain's box on the finest grid, the velocity's grid around it, and the finest grid that covers that."""
    at = finest.to_voxels(mask.grid.to_world(np.argwhere(mask.data > 0)))
    low, high = np.floor(at.min(0) + 1e-3), np.ceil(at.max(0) - 1e-3) + 1
    reach, margin = (np.ceil(mm / finest.spacing) for mm in (REACH, MARGIN))
    velocity = finest.cropped(low - margin, high + margin).covering(np.full(3, velocity_spacing))
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

    def __init__(self, problem: Problem, chosen: Preset, device: torch.device, seed: int, threads: int = 1) -> None:
        torch.manual_seed(seed)
        self.threads = threads if device.type == 'cpu' else 1
        self.problem, self.preset, self.device = problem, chosen, device
        grid = problem.velocity
        self.network = VELOCITIES[chosen.velocity](grid.shape, grid.spacing, MARGIN - 2, chosen).to(device)
        self.spacing = torch.as_tensor(grid.spacing, dtype=torch.float32, device=device)
        self.regulariser = REGULARISERS[chosen.regulariser]
        self.start = identity(grid.shape, device)
        self.to_sampler = torch.as_tensor(2 / grid.extent, dtype=torch.float32, device=device)[:, None, None, None]
        voxels = np.linalg.inv(problem.moving.grid.affine) @ problem.affine @ grid.affine
        turn = to_sampler(voxels, grid.shape, problem.moving.grid.shape)[:3, :3]
        self.turn = torch.as_tensor(turn, dtype=torch.float32, device=device)

    def sampler_velocity(self, velocity: Tensor) -> Tensor:
        """Velocity (1, 3, X, Y, Z) in mm as ``grid_sample`` coordinates of its grid, axes reversed."""
        return (velocity * self.to_sampler).flip(1)

    def displacement(self, velocity: Tensor) -> Tensor:
        """Where the flow takes the velocity grid's points: a displacement in the moving image's sampler coordinates."""
        end = integrate(self.sampler_velocity(velocity), self.start, self.preset.solver, self.preset.time_steps)
        return ((end - self.start) @ self.turn.T).permute(0, 4, 1, 2, 3)

    def losses(self, term: DataTerm, weight: float) -> tuple[Tensor, Tensor]:
        """Similarity and weighted regularity now."""
        velocity = self.network()
        energy = self.regulariser(velocity, self.spacing) / self.problem.volume
        return term(self.displacement(velocity)), weight * energy

    def run_level(
        self, spacing: float, iterations: int, weight: float, callback: Callable[[Progress], None] | None
    ) -> tuple[list[dict[str, float]], str]:
        """Iterate on one image grid with one weight of regularity; the history of the losses, and why it ended."""
        term = DataTerm.at(self.problem, spacing, SIMILARITIES[self.preset.similarity](), self.device, self.threads)
        if not term.slabs:
            return [], f'{spacing:g} mm: left out, no voxel has its whole neighbourhood in the field of view'
        optimiser = torch.optim.Adam(self.network.parameters(), lr=self.preset.learning_rate, betas=(0.9, 0.99))
        kept: list[Tensor] = []
        looked: list[float] = []
        began, stopped = time.perf_counter(), f'{iterations} iterations done'
        for i in range(1, iterations + 1):
            optimiser.zero_grad(set_to_none=True)
            similarity, regularity = self.losses(term, weight)
            (similarity + regularity).backward()
            optimiser.step()
            kept.append(torch.stack([similarity.detach(), regularity.detach()]))
            if i % CHECK_EVERY and i != iterations:
                continue
            image_part, smooth_part = kept[-1].tolist()
            looked.append(torch.stack(kept[-CHECK_EVERY:]).sum(1).mean().item())
            left = (time.perf_counter() - began) / i * (iterations - i)
            if callback:
                callback(Progress(spacing, i, iterations, image_part + smooth_part, image_part, smooth_part, left))
            if len(looked) > 1 and looked[-2] - looked[-1] < self.preset.slope_tolerance * abs(looked[-2]):
                stopped = f'the loss fell by less than {self.preset.slope_tolerance:g} over {CHECK_EVERY} iterations'
                break
        values = torch.stack(kept).cpu().tolist()
        rows = [
            {'level': spacing, 'iteration': i, 'loss': s + r, 'similarity': s, 'regularity': r, 'weight': weight}
            for i, (s, r) in enumerate(values, 1)
        ]
        return rows, f'{spacing:g} mm, weight {weight:g}: {stopped}'

    @torch.no_grad()
    def field(self, backward: bool) -> np.ndarray:
        """The flow's world displacement (X, Y, Z, 3) in mm on the problem's full-resolution field grid.

        Particles flow on a grid twice as fine as the velocity's, in smaller steps than during the optimisation; their
        displacement is smooth on that scale, so cubic interpolation takes it to the field grid.
        """
        coarse, grid = self.problem.velocity, self.problem.field
        dense = coarse.covering(coarse.spacing / 2)
        velocity = separable.apply(self.network(), separable.between(dense, coarse, self.spacing))
        velocity, start = self.sampler_velocity(velocity), identity(dense.shape, self.device)
        steps = FINAL_STEPS * self.preset.time_steps

        def flow(particles: Tensor) -> Tensor:
            with torch.no_grad():
                return integrate(velocity, particles, self.preset.solver, steps, backward)

        end = torch.cat(in_threads(flow, start.split(PARTICLE_SLAB, 1), self.threads), 1)
        half = torch.as_tensor(dense.extent / 2, dtype=torch.float32, device=self.device)
        local = ((end - start).flip(-1) * half).permute(0, 4, 1, 2, 3)
        full = separable.apply(local, separable.between(grid, dense, self.spacing))[0].permute(1, 2, 3, 0)
        x, y, z = [(at > 0) & (at < n - 1) for at, n in zip(separable.positions(grid, dense), dense.shape, strict=True)]
        inside = (x[:, None, None] & y[:, None] & z)[..., None]
        return np.ascontiguousarray(full.cpu().numpy() @ coarse.directions.T.astype(np.float32) * inside)


def register(
    fixed: Image,
    moving: Image,
    method: str | Preset = 'node-mind',
    *,
    fixed_mask: Image | None = None,
    moving_mask: Image | None = None,
    affine: np.ndarray | None = None,
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
    """
    chosen = preset(method) if isinstance(method, str) else method
    affine = np.eye(4) if affine is None else np.asarray(affine, dtype=float)
    problem = prepare(fixed, moving, chosen, fixed_mask, moving_mask, affine)
    for attempt in range(1, ATTEMPTS + 1):
        with one_thread_an_operation() as threads:
            result = _solve(problem, chosen, torch.device(device), seed, threads, callback)
        if result.folds == 0:
            return replace(result, attempts=attempt)
        LOGGER.warning(
            'attempt %d: the deformation folds at %d voxels; solving again, four times as stiff', attempt, result.folds
        )
        chosen = replace(chosen, regularity_weight=4 * chosen.regularity_weight, loosened=())
    raise FoldedError(
        f'after {ATTEMPTS} attempts, each four times as stiff, the deformation still folds at {result.folds} voxels'
    )


def _solve(
    problem: Problem,
    chosen: Preset,
    device: torch.device,
    seed: int,
    threads: int,
    callback: Callable[[Progress], None] | None,
) -> Result:
    began = time.perf_counter()
    optimisation = Optimisation(problem, chosen, device, seed, threads)
    history: list[dict[str, float]] = []
    stopped: list[str] = []

    def run(spacing: float, iterations: int, weight: float) -> None:
        rows, why = optimisation.run_level(spacing, iterations, weight, callback)
        history.extend(rows)
        stopped.append(why)

    for spacing, iterations in chosen.levels:
        run(spacing, iterations, chosen.regularity_weight)
    if not history:
        raise ValueError('the field of view is too thin: no voxel of the mask has its whole neighbourhood in it')
    mask = Image(resample(problem.fixed_mask, problem.field, order=0) > 0, problem.field)
    judge = evidence.Judge(problem.fixed, problem.moving, problem.affine, mask)
    forward = optimisation.field(backward=False)
    best = judge(forward)
    for weight, iterations in chosen.loosened:
        stiff = copy.deepcopy(optimisation.network.state_dict())
        run(chosen.levels[-1][0], iterations, weight)
        looser = optimisation.field(backward=False)
        now = judge(looser)
        if not evidence.improves(best, now):
            optimisation.network.load_state_dict(stiff)
            stopped[-1] += '; taken back, held-out evidence did not improve'
            break
        forward, best = looser, now
    solved = time.perf_counter()
    inverse = optimisation.field(backward=True)
    return Result(
        deformation=Deformation(problem.affine, forward, inverse, problem.field),
        preset=chosen,
        history=history,
        stopped=stopped,
        folds=metrics.count_folds(forward, problem.field),
        attempts=1,
        mask=mask,
        evidence={'before': judge.before, 'affine': judge.after_affine, 'diffeo': best},
        seconds={'solve': solved - began, 'finish': time.perf_counter() - solved},
    )
