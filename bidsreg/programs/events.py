"""What happens when another program is used, as records without words; see :mod:`bidsreg.registration.events`."""

from __future__ import annotations

from dataclasses import dataclass

from bidsreg.registration.events import Event


@dataclass(frozen=True)
class ProgramEnded(Event):
    """The program ended by its own rule.

    Attributes
    ----------
    program : str
        Its name.
    """

    program: str


@dataclass(frozen=True)
class InverseSearched(Event):
    """The program gives no inverse: the field was inverted.

    Attributes
    ----------
    program : str
        Its name.
    """

    program: str


@dataclass(frozen=True)
class InverseMissing(Event):
    """The program gives no inverse, and its field has none: the best approximation was taken.

    Attributes
    ----------
    program : str
        Its name.
    reason : str
        How far off the approximation is, and where.
    """

    warning = True
    program: str
    reason: str


@dataclass(frozen=True)
class FieldFolds(Event):
    """The program's field folds; it is written as it is.

    Attributes
    ----------
    program : str
        Its name.
    voxels : int
        How many of them fold.
    """

    warning = True
    program: str
    voxels: int
