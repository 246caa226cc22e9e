"""Coarse to fine: the optimisation of a velocity so that the warped moving image looks like the fixed one."""

from __future__ import annotations

import copy
import math
import time
from dataclasses import dataclass

import numpy as np
import torch

from bidsreg.registration import evidence, metrics
from bidsreg.registration.deformation import Deformation
from bidsreg.registration.events import (
    Backtracked,
    Event,
    LevelEnded,
    LevelSkipped,
    Listener,
    LooseningRejected,
    NotRecorded,
    Progress,
    StartFitted,
    ignore,
)
from bidsreg.registration.evidence import Evidence
from bidsreg.registration.finish import FieldWriter
from bidsreg.registration.flow import STEPS, Solver
from bidsreg.registration.numerics.compute import Compute
from bidsreg.registration.numerics.graphs import recorded
from bidsreg.registration.numerics.optimiser import TensorwiseAdam
from bidsreg.registration.presets import FIT_ITERATIONS, Preset
from bidsreg.registration.problem import COARSER, STILL, Problem, margin
from bidsreg.registration.regularity import REGULARISERS
from bidsreg.registration.similarity import SIMILARITIES, Similarity
from bidsreg.registration.similarity.level import WeightedTerms
from bidsreg.registration.velocity import VELOCITIES, FlowPath, StartPoints

Tensor = torch.Tensor

CHECK_EVERY = 10
"""Iterations between looks at the loss: a look makes a GPU wait."""
RISEN, SLOWER = 1e-3, 4
"""A loss that has risen by this fraction came of too large steps; how many times smaller the next ones are. Halving,
quartering and two ways of restoring were compared by experiments/pairs.py on simulated heads 02, 05 and 06."""
FINE_ENOUGH = 2.001
"""Velocity grids may be as coarse as this many times the spacing of the images (2, but for rounding)."""
LAST_RATE = 0.1
"""Fraction of the learning rate at the end of a stage on the finest images; it falls over the stage's second half."""
FIT_RATE = 0.02
"""The first of the shrinking steps that bring the velocity to an earlier deformation."""


@dataclass(frozen=True)
class Stage:
    """One stretch of the optimisation on one image grid.

    Attributes
    ----------
    spacing : float
        Of the images, in mm.
    iterations : int
        At most.
    patch : int
        Radius in voxels of the patches that descriptors compare.
    factor : float
        By which all weights of regularity are multiplied.
    """

    spacing: float
    iterations: int
    patch: int
    factor: float = 1.0


def stages(chosen: Preset) -> list[Stage]:
    """Return the levels of a preset, coarse to fine."""
    return [Stage(spacing, n, chosen.patch(level)) for level, (spacing, n) in enumerate(chosen.levels)]


def loosened_rounds(chosen: Preset) -> list[list[Stage]]:
    """Return the rounds with less and less regularity that may follow, each from coarse to the finest level."""
    return [[Stage(spacing, n, chosen.patch(-1), factor) for spacing, n in levels] for factor, levels in chosen.rounds]


class Optimisation:
    """A velocity and what it takes to improve it: the state that passes from level to level.

    Parameters
    ----------
    problem : Problem
        The pair.
    chosen : Preset
        The settings.
    compute : Compute
        Where to work.
    seed : int
        Of the velocity's initial parameters.
    listener : callable
        Is told of every event.

    Attributes
    ----------
    history : list of dict
        level (mm), factor on the weights, iteration, loss, similarity and regularity of every iteration so far.
    events : list of Event
        What happened so far, `Progress` left out.
    moved : bool
        Whether any stage has ended elsewhere than where it began.
    """

    def __init__(
        self, problem: Problem, chosen: Preset, compute: Compute, seed: int, listener: Listener = ignore
    ) -> None:
        torch.manual_seed(seed)
        self.problem, self.preset, self.compute, self.listener = problem, chosen, compute, listener
        grid = problem.velocity
        kind = VELOCITIES[chosen.velocity]
        self.velocity = kind(grid.shape, grid.spacing, margin(chosen) - STILL, chosen).to(compute.device)
        self.solver = Solver(chosen.solver, chosen.time_steps, chosen.tolerance, chosen.adjoint)
        self.step_scale, self.factor = 1.0, 1.0
        self.optimiser = self._new_optimiser()
        self.regularisers = [(REGULARISERS[name], weight) for name, weight in chosen.regularity]
        self.everywhere = not self.velocity.eulerian or any(r.needs_displacement for r, _ in self.regularisers)
        self.history: list[dict[str, float]] = []
        self.events: list[Event] = []
        self.moved = False

    def _new_optimiser(self) -> TensorwiseAdam:
        return TensorwiseAdam(self.velocity.parameters(), self.preset.learning_rate)

    def record(self, event: Event) -> None:
        """Keep an event, and tell the listener."""
        self.events.append(event)
        self.listener(event)

    def coarser(self, level: float) -> int:
        """Return how often the velocity's grid is halved for images at `level` mm."""
        if not self.velocity.eulerian:
            return 0
        return int(np.clip(np.floor(np.log2(FINE_ENOUGH * level / self.preset.velocity_spacing)), 0, COARSER))

    def rate(self, level: float, done: float) -> float:
        """Return the learning rate where the fraction `done` of a level is done: on the finest it falls at the end."""
        finest = min(spacing for spacing, _ in self.preset.levels)
        return self.preset.learning_rate * (np.clip(2 - 2 * done, LAST_RATE, 1.0) if level == finest else 1.0)

    @property
    def recordable(self) -> bool:
        """Whether an iteration is the same work every time, and a GPU can repeat it by itself."""
        return self.compute.device.type == 'cuda' and self.solver.method in STEPS and not self.solver.adjoint

    def start(self, coarser: int = 0, needed: Tensor | None = None) -> StartPoints:
        """Return the points of the velocity's grid with lengths halved `coarser` times, or only those `needed`."""
        return StartPoints.of(self.problem.velocity_grid(coarser), self.compute.device, needed)

    def path(self, start: StartPoints, coarser: int = 0) -> FlowPath:
        """Return the flow as it is now, from points of the velocity's grid with lengths halved `coarser` times."""
        return self.velocity.path(start, self.solver, self.preset, coarser)

    def losses(self, term: WeightedTerms, start: StartPoints, factor: float, coarser: int) -> tuple[Tensor, Tensor]:
        """Return dissimilarity and weighted regularity now."""
        path = self.path(start, coarser)
        energy = path.displacement.new_zeros(())
        for regulariser, weight in self.regularisers:
            energy = energy + weight * regulariser(path)
        return term(path.displacement), factor * energy / self.problem.volume

    def run(self, stage: Stage, *, again: bool = False) -> None:
        """Iterate on one image grid until the loss does not fall any more, or all iterations are done.

        `again`: with the smaller steps that the same stage went back to.
        """
        coarser = self.coarser(stage.spacing)
        compared = [
            (self._similarity(name, stage.patch), weight, max(stage.spacing, finest))
            for name, weight, finest in self.preset.similarities
        ]
        term = WeightedTerms.at(self.problem, coarser, compared, self.compute)
        if term.empty:
            self.record(LevelSkipped(stage.spacing))
            return
        # other images may bear larger steps again
        self.step_scale = self.step_scale if again else min(SLOWER * self.step_scale, 1.0)
        if stage.factor != self.factor:
            # with other weights gradients have another size
            self.optimiser, self.step_scale, self.factor = self._new_optimiser(), 1.0, stage.factor
        _StageRun(self, stage, term, coarser).iterate()

    def _similarity(self, name: str, radius: int) -> Similarity:
        similarity = SIMILARITIES[name](radius)
        similarity.outlined = self.problem.outlined
        return similarity

    def fit(self, start: Deformation) -> None:
        """Bring the velocity to an earlier deformation."""
        grid = self.problem.velocity
        index = np.stack(np.meshgrid(*map(np.arange, grid.shape), indexing='ij'), -1)
        world = metrics.displacement_at(start.forward, start.grid, grid.to_world(index.reshape(-1, 3)))
        along = np.moveaxis((world @ grid.directions).reshape(*grid.shape, 3), -1, 0)[None]
        target = torch.as_tensor(along.astype(np.float32), device=self.compute.device)
        optimiser, points = TensorwiseAdam(self.velocity.parameters(), FIT_RATE), self.start()
        for i in range(FIT_ITERATIONS):
            optimiser.lr = FIT_RATE * (1 - i / FIT_ITERATIONS)
            optimiser.zero_grad()
            off = self.path(points).displacement - target
            off.square().mean().backward()
            optimiser.step()
        with torch.no_grad():
            off, size = (self.path(points).displacement - target).norm(dim=1), target.norm(dim=1)
        far = size > 0.1 * size.max()
        self.record(StartFitted(off[far].mean().item(), size[far].mean().item()))

    @torch.no_grad()
    def path_length(self) -> float | None:
        """Return the length in mm (root mean square over the fixed mask) of a path that has one."""
        if not self.velocity.has_metric:
            return None
        spacing = torch.as_tensor(self.problem.velocity.spacing, dtype=torch.float32, device=self.compute.device)
        return self.velocity.path_length(spacing, self.preset).item() / math.sqrt(self.problem.volume)


class _StageRun:
    """The iterations of one stage."""

    def __init__(self, optimisation: Optimisation, stage: Stage, term: WeightedTerms, coarser: int) -> None:
        self.optimisation, self.stage, self.term, self.coarser = optimisation, stage, term, coarser
        self.start = optimisation.start(coarser, None if optimisation.everywhere else term.needed)
        device = optimisation.compute.device
        self.values = torch.zeros(stage.iterations, 2, device=device)
        self.row = torch.zeros(1, dtype=torch.long, device=device)
        self.means: list[float] = []
        self.lowest = LowestLoss(optimisation.optimiser)
        self.evaluate, self.step = self._evaluate, optimisation.optimiser.step
        self.began = time.perf_counter()

    def iterate(self) -> None:
        """Iterate, and add to the optimisation's history and events."""
        planned, converged, risen = self.stage.iterations, False, False
        if self.optimisation.recordable:
            self._record()
        for i in range(1, planned + 1):
            look = i % CHECK_EVERY == 0 or i == planned
            risen = self._iteration(i, look)
            if look:
                self._report(i)
                converged = not risen and self._flat(i)
            if converged:
                break
        # what a GPU has recorded holds memory, and a cycle of references would keep it
        del self.evaluate, self.step
        self.optimisation.optimiser.zero_grad()
        if self.optimisation.recordable:
            torch.cuda.empty_cache()
        self.optimisation.moved |= not risen or self.lowest.loss != self.values[0].sum().item()
        spacing, factor = self.stage.spacing, self.stage.factor
        self.optimisation.history += [
            {'level': spacing, 'iteration': k, 'loss': s + r, 'similarity': s, 'regularity': r, 'factor': factor}
            for k, (s, r) in enumerate(self.values[:i].tolist(), 1)
        ]
        self.optimisation.record(LevelEnded(spacing, factor, i, planned, converged, self.lowest.backtracks))

    def _record(self) -> None:
        """Let the GPU repeat iterations by itself, if it can."""
        try:
            self.evaluate, self.step = recorded(self._evaluate), self._rehearsed_step
        except torch.cuda.OutOfMemoryError:
            raise
        except RuntimeError as error:
            self.optimisation.record(NotRecorded(self.stage.spacing, str(error).splitlines()[0]))
        self.row.zero_()

    def _rehearsed_step(self) -> None:
        """Take a step, and let the GPU repeat the next ones by itself: gradients stay where they are."""
        optimiser = self.optimisation.optimiser
        optimiser.step()
        move = recorded(optimiser.move, rehearsed=True)

        def step() -> None:
            optimiser.prepare()
            move()

        self.step = step

    def _evaluate(self) -> None:
        """Write the losses into their row, and their gradients to the parameters."""
        self.optimisation.optimiser.zero_grad()
        unlike, rough = self.optimisation.losses(self.term, self.start, self.stage.factor, self.coarser)
        (unlike + rough).backward()
        self.values.index_copy_(0, self.row, torch.stack([unlike.detach(), rough.detach()])[None])
        self.row.add_(1)

    def _iteration(self, i: int, look: bool) -> bool:
        """Take one step, or go back where the loss has risen; return whether it had."""
        optimisation, optimiser = self.optimisation, self.optimisation.optimiser
        optimiser.lr = optimisation.step_scale * optimisation.rate(self.stage.spacing, (i - 1) / self.stage.iterations)
        self.evaluate()
        if (look or i == 1) and self.lowest.backtrack(loss := self.values[i - 1].sum().item()):
            optimisation.step_scale /= SLOWER
            optimisation.record(Backtracked(self.stage.spacing, i, loss, self.lowest.loss, optimisation.step_scale))
            return True
        self.step()
        return False

    def _report(self, i: int) -> None:
        planned = self.stage.iterations
        left = (time.perf_counter() - self.began) / i * (planned - i)
        similarity, regularity = self.values[i - 1].tolist()
        loss = similarity + regularity
        self.optimisation.listener(Progress(self.stage.spacing, i, planned, loss, similarity, regularity, left))

    def _flat(self, i: int) -> bool:
        """Tell whether the mean loss since the last look has fallen by less than the preset's tolerance."""
        self.means.append(self.values[max(i - CHECK_EVERY, 0) : i].sum(1).mean().item())
        if len(self.means) < 2:
            return False
        before, now = self.means[-2:]
        return before - now < self.optimisation.preset.slope_tolerance * abs(before)


class LowestLoss:
    """The lowest loss looked at so far, and the way back to it when the steps after it were too large.

    Steps have a fixed size, but how large they may be depends on the weights: where a problem is stiff, they can throw
    the parameters far from a minimum that they had all but reached.

    Parameters
    ----------
    optimiser : TensorwiseAdam
        What is restored.

    Attributes
    ----------
    loss : float
        The lowest so far.
    saved : Snapshot
        The optimiser's state then.
    backtracks : int
        How often it went back.
    """

    def __init__(self, optimiser: TensorwiseAdam) -> None:
        self.optimiser = optimiser
        self.saved, self.loss, self.backtracks = optimiser.snapshot(), math.inf, 0

    def backtrack(self, loss: float) -> bool:
        """Go back if the loss has risen by more than `RISEN`, or is no number; return whether it did."""
        if loss < self.loss:
            self.saved, self.loss = self.optimiser.snapshot(), loss
        # written so that a loss that is no number has risen, too
        elif not loss <= self.loss + RISEN * abs(self.loss):
            self.optimiser.back_to(self.saved)
            self.backtracks += 1
            return True
        return False


def loosen(
    optimisation: Optimisation, writer: FieldWriter, judge: evidence.Judge, forward: Tensor
) -> tuple[Tensor, Evidence]:
    """Go on with less and less regularity for as long as held-out evidence improves.

    Parameters
    ----------
    optimisation : Optimisation
        All levels are done.
    writer : FieldWriter
        Of its velocity.
    judge : Judge
        Of the pair.
    forward : Tensor, shape (3, X, Y, Z)
        The stiff answer, in mm.

    Returns
    -------
    forward : Tensor, shape (3, X, Y, Z)
        The answer that is kept, to which the velocity belongs.
    found : Evidence
        Under it.
    """
    found = judge.under(forward)
    # where the stiff answer lost evidence already, a looser one would fit what is not there
    if min(evidence.gains(judge.after_affine, found).values()) <= -evidence.TOLERANCE:
        return forward, found
    for stages_of_round in loosened_rounds(optimisation.preset):
        stiff = copy.deepcopy(optimisation.velocity.state_dict())
        for stage in stages_of_round:
            optimisation.run(stage)
        looser = writer.displacement()
        now = judge.under(looser)
        if not evidence.improves(found, now):
            optimisation.velocity.load_state_dict(stiff)
            optimisation.record(LooseningRejected(stage.factor))
            break
        forward, found = looser, now
    return forward, found
