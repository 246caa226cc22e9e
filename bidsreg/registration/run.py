"""The registration of two images: made ready, optimised, finished, and the evidence whether it helped."""

from __future__ import annotations

import time
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace

import numpy as np
import torch

from bidsreg.registration import evidence
from bidsreg.registration.deformation import Deformation
from bidsreg.registration.errors import FoldedError, RegistrationError
from bidsreg.registration.events import BoxByBox, Event, Listener, NothingFound, SolvedAgain, ignore
from bidsreg.registration.evidence import Evidence
from bidsreg.registration.finish import FieldWriter, finish
from bidsreg.registration.image import Image
from bidsreg.registration.numerics.compute import Compute
from bidsreg.registration.numerics.threads import one_thread_an_operation
from bidsreg.registration.optimise import Optimisation, loosen, stages
from bidsreg.registration.presets import FIT_ITERATIONS, MOST_ITERATIONS, Preset, preset
from bidsreg.registration.problem import Problem, prepare

ATTEMPTS, STIFFER = 3, 4.0
"""How often a result that folds is solved, and how many times as stiff each time."""


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
    events : tuple of Event
        What happened, in order; see :mod:`.events`.
    folds : int
        Voxels of the written field with a non-positive Jacobian determinant by any of three difference schemes, or
        without an inverse where that is searched for. Always 0 in what `register` returns.
    repaired : int
        Voxels that had folded before the velocity was smoothed about them.
    attempts : int
        How often it was solved.
    mask : Image
        Where images were compared, on the deformation's grid: the fixed mask, grown by the preset's `reach`.
    evidence : dict
        How alike the pair looks `before` (None where the headers place the brains apart), after the `affine` and after
        the `diffeo`, by measures that were not optimised.
    seconds : dict
        Of `solve` and `finish`.
    path_length : float or None
        Of a velocity with a metric: the V-norm integrated over time, as a root mean square over the fixed mask, mm.
        Before folds were repaired.
    boxed : bool
        Whether it was worked on box by box: on a CPU always, on a GPU when its memory did not suffice for more.
    """

    deformation: Deformation
    preset: Preset
    history: list[dict[str, float]]
    events: tuple[Event, ...]
    folds: int
    repaired: int
    attempts: int
    mask: Image
    evidence: dict[str, Evidence | None]
    seconds: dict[str, float] = field(default_factory=dict)
    path_length: float | None = None
    boxed: bool = True


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
    callback: Listener = ignore,
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
        An earlier answer to go on from, instead of `affine`: the velocity is first fitted to it.
    device : str
        A torch device. On a CPU as many threads work as ``torch.get_num_threads()`` says, and the result is the same to
        the last bit for any number.
    seed : int
        Of the velocity's initial parameters.
    callback : callable
        Called with every event as it happens, a `Progress` every ten iterations among them. Default: nobody listens.

    Returns
    -------
    Result

    Raises
    ------
    ValueError
        If the input cannot be registered; see `problem.prepare`.
    FoldedError
        If the deformation folds even after it was made stiffer.
    RegistrationError
        If the memory of a GPU does not suffice even box by box.
    """
    chosen = preset(method) if isinstance(method, str) else method
    affine = _start_affine(chosen, affine, start)
    with one_thread_an_operation() as threads, exact_convolutions(), current(torch.device(device)):
        compute = Compute(torch.device(device), threads)
        scans = fixed, moving, chosen, fixed_mask, moving_mask, affine, fixed_lesion, moving_lesion
        try:
            problem = prepare(*scans, compute)
        except torch.cuda.OutOfMemoryError as error:
            raise _too_little_memory(str(error).splitlines()[0]) from error
        return _solved_without_folds(problem, chosen, compute, seed, callback, start)


def current(device: torch.device) -> AbstractContextManager[object]:
    """Let a GPU be the one that is meant where none is named; nothing for a CPU."""
    return torch.cuda.device(device) if device.type == 'cuda' else nullcontext()


def exact_convolutions() -> AbstractContextManager[None]:
    """Let a GPU convolve in single precision, in an order that does not change: by default it rounds to 10 bits."""
    return torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False)


def _solved_without_folds(
    problem: Problem, chosen: Preset, compute: Compute, seed: int, callback: Listener, start: Deformation | None
) -> Result:
    """Solve, and again with more regularity while the deformation folds."""
    before: tuple[Event, ...] = ()
    for attempt in range(1, ATTEMPTS + 1):
        result = _solve_in_memory(problem, chosen, compute, seed, callback, start)
        if result.folds == 0:
            return replace(result, attempts=attempt, events=(*before, *result.events))
        if attempt < ATTEMPTS:
            again = SolvedAgain(attempt, result.folds, STIFFER)
            callback(again)
            before = (*before, *result.events, again)
            chosen = replace(chosen.stiffer(STIFFER), loosened=())
    raise FoldedError(ATTEMPTS, STIFFER, result.folds)


def _start_affine(chosen: Preset, affine: np.ndarray | None, start: Deformation | None) -> np.ndarray:
    """Return the affine to begin with; refuse a start that does not go together with the rest."""
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
    problem: Problem, chosen: Preset, compute: Compute, seed: int, listener: Listener, start: Deformation | None
) -> Result:
    """Solve; when the memory of a GPU does not suffice, solve once more box by box."""
    try:
        return _solve(problem, chosen, compute, seed, listener, start)
    except torch.cuda.OutOfMemoryError as error:
        short = BoxByBox(str(error).splitlines()[0])
    # out of the except clause: its traceback held what was computed so far
    listener(short)
    torch.cuda.empty_cache()
    try:
        result = _solve(problem, chosen, replace(compute, boxed=True), seed, listener, start)
    except torch.cuda.OutOfMemoryError as error:
        raise _too_little_memory(short.reason) from error
    return replace(result, events=(short, *result.events))


def _too_little_memory(reason: str) -> RegistrationError:
    return RegistrationError(
        f'the GPU has too little memory even when it works box by box ({reason}): let nothing else use it, '
        'or work on a coarser grid, or on the CPU'
    )


def _solve(
    problem: Problem, chosen: Preset, compute: Compute, seed: int, listener: Listener, start: Deformation | None
) -> Result:
    """Optimise, finish, and judge, once."""
    began = time.perf_counter()
    optimisation = Optimisation(problem, chosen, compute, seed, listener)
    if start is not None:
        optimisation.fit(start)
    for stage in stages(chosen):
        optimisation.run(stage)
    # few iterations may all be too large steps, and taken back
    if optimisation.history and not optimisation.moved and chosen.iterations + stage.iterations <= MOST_ITERATIONS:
        optimisation.run(stage, again=True)
    if not optimisation.history:
        raise ValueError('the field of view is too thin: no voxel of the mask has its whole neighbourhood in it')
    writer = FieldWriter(optimisation.velocity, problem, optimisation.solver, chosen, compute)
    lesions = problem.fixed_lesion, problem.moving_lesion
    judge = evidence.Judge(problem.fixed, problem.moving, problem.affine, writer.mask(), compute, *lesions)
    forward = writer.displacement()
    found: Evidence | None = None
    if chosen.loosened:
        forward, found = loosen(optimisation, writer, judge, forward)
    forward, folds, repaired = writer.unfold(forward)
    if found is None or repaired:
        found = judge.under(forward)
    solved = time.perf_counter()
    fields = finish(writer, forward, folds, repaired, optimisation.record)
    deformation = Deformation(problem.affine, fields.forward, fields.inverse, fields.mask.grid)
    largest = evidence.largest_displacement(deformation, fields.mask)
    if largest < evidence.UNMOVED_MM:
        optimisation.record(NothingFound(largest))
    return Result(
        deformation=deformation,
        preset=chosen,
        history=optimisation.history,
        events=tuple(optimisation.events),
        folds=fields.folds,
        repaired=fields.repaired,
        attempts=1,
        mask=fields.mask,
        evidence={'before': judge.before, 'affine': judge.after_affine, 'diffeo': found},
        seconds={'solve': solved - began, 'finish': time.perf_counter() - solved},
        path_length=optimisation.path_length(),
        boxed=compute.small_boxes,
    )
