"""What every kind of file shares: the errand that it is given, what became of it, and the class that it is of."""

from __future__ import annotations

import abc
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from bidsreg.apply.chain import Leg


@dataclass(frozen=True)
class Options:
    """How files are carried, the same for all of a command.

    Attributes
    ----------
    interpolation : str, optional
        A key of :data:`~bidsreg.apply.interpolation.INTERPOLATIONS`; by default what the kind of file takes.
    kind : str, optional
        A key of :data:`~bidsreg.apply.kinds.KINDS`; by default what the file looks like.
    surface_space : str
        Where the coordinates of surfaces are: ``auto`` asks the file, ``scanner`` and ``tkr`` say it.
    outside : float
        The value of voxels that nothing is known of.
    threads : int
        How many work; results do not depend on it.
    overwrite : bool
        What is there already is replaced.
    """

    interpolation: str | None = None
    kind: str | None = None
    surface_space: str = 'auto'
    outside: float = 0.0
    threads: int = 1
    overwrite: bool = False


@dataclass(frozen=True)
class Route:
    """A way from one space to another, for everything that may go it.

    Attributes
    ----------
    images, points : tuple of Leg
        What images are pulled through, and what points go through, in the order in which points go: of images from the
        goal to where they come from, of points the other way. They are inverse to each other.
    origin, target : str
        The names of both spaces; empty where they are not known.
    view : Path, optional
        An image of the space that it begins at.
    notes : tuple of str
        Sentences that the user has to read.
    """

    images: tuple[Leg, ...]
    points: tuple[Leg, ...]
    origin: str = ''
    target: str = ''
    view: Path | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Errand:
    """One file to carry.

    Attributes
    ----------
    source, out : Path
        The file, and what is to be written.
    route : Route
        Its way.
    reference : Path, optional
        An image on whose grid images are wanted; points and surfaces need none.
    sidecar : Path, optional
        Where a description of the result goes.
    dataset : Path, optional
        The dataset of the result, to which BIDS URIs are relative.
    """

    source: Path
    out: Path
    route: Route
    reference: Path | None = None
    sidecar: Path | None = None
    dataset: Path | None = None


@dataclass(frozen=True)
class Carried:
    """What became of a file.

    Attributes
    ----------
    facts : dict
        For its sidecar, in the words of BIDS where it has some.
    notes : tuple of str
        Sentences that the user has to read.
    """

    facts: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


class FileKind(abc.ABC):
    """One kind of file.

    Attributes
    ----------
    name
        What ``--kind`` and sidecars call it.
    endings
        How the names of its files end.
    on_grid
        Whether it is resampled onto the grid of a reference.
    suffix
        The BIDS suffix of a result whose source has no BIDS name; empty where there is no telling.
    """

    name: ClassVar[str]
    endings: ClassVar[tuple[str, ...]]
    on_grid: ClassVar[bool] = False
    suffix: ClassVar[str] = ''

    def ending_of(self, source: Path) -> str:
        """Return how the name of a result ends whose source has this name."""
        return next(ending for ending in self.endings if source.name.endswith(ending))

    @abc.abstractmethod
    def check(self, errand: Errand, options: Options) -> None:
        """Raise :class:`InputError` for what can be told before any work, from names and headers."""

    @abc.abstractmethod
    def carry(self, errand: Errand, options: Options, hidden: Path) -> Carried:
        """Carry a file and write the result to `hidden`, which has the ending of ``errand.out``.

        Raises
        ------
        InputError
            If what is in the file cannot be carried, or not so.
        """
