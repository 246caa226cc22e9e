"""What happens when another program is used, as records without words; see :mod:`bidsreg.registration.events`."""

from __future__ import annotations

from dataclasses import dataclass

from bidsreg.registration.events import Event


@dataclass(frozen=True)
class ProgramEvent(Event):
    """The base of them.

    Attributes
    ----------
    program : str
        The name of the program.
    """

    program: str


@dataclass(frozen=True)
class ProgramEnded(ProgramEvent):
    """The program ended by its own rule."""


@dataclass(frozen=True)
class InverseSearched(ProgramEvent):
    """The program gives no inverse: the field was inverted."""


@dataclass(frozen=True)
class InverseMissing(ProgramEvent):
    """The program gives no inverse, and its field has none: the best approximation was taken.

    Attributes
    ----------
    voxels : int
        Where it is off by more than the tolerance of the search.
    worst_mm : float
        By how much at most.
    """

    warning = True
    voxels: int
    worst_mm: float


@dataclass(frozen=True)
class FieldFolds(ProgramEvent):
    """The program's field folds; it is written as it is.

    Attributes
    ----------
    voxels : int
        How many of them fold.
    """

    warning = True
    voxels: int
