"""What happens during a registration, as frozen records without words: sentences are made where people read them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, ClassVar


@dataclass(frozen=True)
class Event:
    """The base of all events.

    Attributes
    ----------
    warning : bool
        Whether the user should hear of it in any case.
    """

    warning: ClassVar[bool] = False

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as JSON-ready values, with the class's name as ``event``."""
        return {'event': type(self).__name__, **asdict(self)}


Listener = Callable[[Event], None]
"""Is told of every event as it happens."""


def ignore(event: Event) -> None:
    """Listen to nothing."""


@dataclass(frozen=True)
class Progress(Event):
    """The loss was looked at. The only event that a `Result` does not keep: it has the whole history.

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
class StartFitted(Event):
    """The velocity was fitted to an earlier deformation.

    Attributes
    ----------
    error, displacement : float
        How far it still is from the start, and the length of the start's displacements, in mm: means over the points
        that move by at least a tenth of the largest displacement.
    """

    error: float
    displacement: float


@dataclass(frozen=True)
class NotRecorded(Event):
    """A GPU could not record the iterations of a level, and was told each operation of each: the same, but slower.

    Attributes
    ----------
    level : float
        Image spacing in mm.
    reason : str
        What torch said.
    """

    level: float
    reason: str


@dataclass(frozen=True)
class LevelSkipped(Event):
    """A level was left out: no voxel of it has its whole neighbourhood in the field of view.

    Attributes
    ----------
    level : float
        Image spacing in mm.
    """

    level: float


@dataclass(frozen=True)
class LevelEnded(Event):
    """A level, of the stiff start or of a loosened round, has ended.

    Attributes
    ----------
    level : float
        Image spacing in mm.
    factor : float
        By which all weights of regularity were multiplied.
    iterations, planned : int
        Done, and at most to be done.
    converged : bool
        Whether the loss had stopped falling; otherwise all iterations are done.
    backtracks : int
        How often it went back to a lower loss.
    """

    level: float
    factor: float
    iterations: int
    planned: int
    converged: bool
    backtracks: int


@dataclass(frozen=True)
class Backtracked(Event):
    """The loss had risen: steps were too large. The parameters with the lowest loss came back, and steps are smaller.

    Attributes
    ----------
    level : float
        Image spacing in mm.
    iteration : int
        When it was noticed.
    loss, lowest : float
        The loss then, and the one that it went back to.
    step_scale : float
        What steps are multiplied by from here on, of the preset's learning rate.
    """

    level: float
    iteration: int
    loss: float
    lowest: float
    step_scale: float


@dataclass(frozen=True)
class LooseningRejected(Event):
    """The answer with less regularity was discarded: held-out evidence did not improve.

    Attributes
    ----------
    factor : float
        By which the weights were multiplied.
    """

    factor: float


@dataclass(frozen=True)
class NothingFound(Event):
    """The optimisation ended where it began: the deformation moves no voxel of the brain.

    Attributes
    ----------
    largest_mm : float
        The largest displacement in the brain.
    """

    warning = True
    largest_mm: float


@dataclass(frozen=True)
class Repaired(Event):
    """The written field folded; the velocity was smoothed about those voxels, and the field is a flow without folds.

    Attributes
    ----------
    voxels : int
        How many had folded.
    """

    warning = True
    voxels: int


@dataclass(frozen=True)
class Refined(Event):
    """The written fields got half the voxel size, since linear interpolation between larger voxels was too far off.

    Attributes
    ----------
    voxel_mm : float
        The largest side of a voxel before.
    mean, p99 : float
        How far the inverse led beside then, in mm over the brain.
    """

    voxel_mm: float
    mean: float
    p99: float


@dataclass(frozen=True)
class InverseInexact(Event):
    """The deformation is rough for the finest voxels that are written: its inverse leads beside.

    Attributes
    ----------
    mean, p99 : float
        How far, in mm over the brain.
    """

    warning = True
    mean: float
    p99: float


@dataclass(frozen=True)
class SolvedAgain(Event):
    """The deformation still folded after repairs; the pair is solved again with stiffer regularity.

    Attributes
    ----------
    attempt : int
        The one that folded, from 1.
    folds : int
        Voxels.
    stiffer : float
        By which all weights of regularity are multiplied now.
    """

    warning = True
    attempt: int
    folds: int
    stiffer: float


@dataclass(frozen=True)
class BoxByBox(Event):
    """The memory of the GPU did not suffice; the work is done again box by box: the same answer in more time.

    Attributes
    ----------
    reason : str
        The first line of what torch said.
    """

    warning = True
    reason: str
