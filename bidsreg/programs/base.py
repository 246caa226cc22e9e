"""The contract of a program, and what happens to its answer, whichever program gave it."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import importlib.util
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Self, TypeVar

import numpy as np

from bidsreg import SEED
from bidsreg.programs.errors import ProgramError
from bidsreg.programs.events import FieldFolds, ProgramEnded
from bidsreg.programs.exchange import Fields, Workspace, checked_field, inverse_of, write_pair
from bidsreg.registration.atomic import hidden_folder
from bidsreg.registration.events import Event

if TYPE_CHECKING:
    from bidsreg.registration.deformation import Deformation
    from bidsreg.registration.evidence import Evidence
    from bidsreg.registration.image import Image


@dataclass(frozen=True)
class ProgramSettings:
    """All that decides a program's result, apart from images and seed; a subclass lists it as its fields.

    Attributes
    ----------
    few : mapping
        Fields with the values that they take for a quick look; set once for the class.
    """

    few: ClassVar[Mapping[str, Any]] = MappingProxyType({})

    def sloppy(self) -> Self:
        """Return the same settings with few iterations, for tests."""
        return dataclasses.replace(self, **self.few)


@dataclass(frozen=True)
class SimilarityText:
    """The words for the similarity that a program optimises.

    Attributes
    ----------
    name : str
        What lists call it.
    phrase : str
        What the methods of a paper say of it.
    references : mapping
        What `phrase` cites, in full, by a short key.
    """

    name: str
    phrase: str
    references: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class ProgramResult:
    """The answer of a program, with the attributes that a `bidsreg.registration.Result` has.

    Attributes
    ----------
    deformation : Deformation
        What was found, on the fixed grid. Its displacements need not vanish at the border.
    mask : Image
        The fixed mask, or ones.
    evidence : dict
        How alike the pair looks ``before``, after the ``affine`` and after the ``diffeo``.
    folds : int
        Voxels with a non-positive Jacobian determinant by any of three difference schemes.
    events : tuple of Event
        What happened; see :mod:`bidsreg.programs.events`.
    history : list
        Empty: the programs do not tell their losses.
    seconds : dict
        How long `solve` (the program) and `finish` (inverse and evidence) took.
    iterations : None
        Not known.
    attempts, repaired : int
        Always 1 and 0: nothing is done about folds.
    """

    deformation: Deformation
    mask: Image
    evidence: dict[str, Evidence | None]
    folds: int
    events: tuple[Event, ...]
    seconds: dict[str, float]
    history: list[dict[str, float]] = field(default_factory=list)
    iterations: int | None = None
    attempts: int = 1
    repaired: int = 0


OwnSettings = TypeVar('OwnSettings', bound=ProgramSettings)
"""The class of settings that a program has."""


class Program(ABC, Generic[OwnSettings]):
    """A program of somebody else that finds a deformation.

    A subclass says what it is called, what it needs, and how it is run (`run`); the rest is the same for all.

    Attributes
    ----------
    name : str
        What the user calls it.
    description : str
        One line for lists.
    peer : bool
        Whether it is there for comparisons only: the BIDS App does not offer it.
    uses_gpu : bool
        Whether it can work on a GPU; the others work on the CPU only.
    leaves_out : tuple of str
        Of which images (``fixed``, ``moving``) it can leave lesions out: those whose mask it takes.
    package, distribution : str
        The Python package that is imported to use it, and what is installed to have that package; empty for a program
        that needs none.
    settings : ProgramSettings
        All that decides its result, apart from images and seed.
    sentence : str
        How it works, worded so that a paper's methods can go on with it after "with".
    references : mapping
        What `sentence` names, in full, by a short key.
    """

    name: str = ''
    description: str = ''
    peer: bool = False
    uses_gpu: bool = False
    leaves_out: tuple[str, ...] = ()
    package: str = ''
    distribution: str = ''
    settings: OwnSettings
    sentence: str = ''
    references: Mapping[str, str] = MappingProxyType({})

    def missing(self) -> str:
        """Say what is absent and how to get it; return an empty text when the program can be used here."""
        if not self.package or importlib.util.find_spec(self.package):
            return ''
        return f'the Python package {self.package} is not installed; pip install {self.distribution}'

    def version(self) -> str:
        """Return the program's version; an empty text where it is no package and does not say it otherwise."""
        return importlib.metadata.version(self.distribution) if self.distribution else ''

    def cannot_leave_out(self, end: str) -> str:
        """Say why a lesion in an image (``fixed`` or ``moving``) cannot be left out; return an empty text if it can."""
        if end in self.leaves_out:
            return ''
        others = f'; it takes that of the {self.leaves_out[0]} image alone' if self.leaves_out else ''
        return f'{self.name} takes no mask of the {end} image, so it cannot leave a lesion there out{others}'

    def used_settings(self, sloppy: bool) -> OwnSettings:
        """Return the settings of a run; the sloppy ones have fewer iterations."""
        return self.settings.sloppy() if sloppy else self.settings

    def as_dict(self, sloppy: bool = False) -> dict[str, Any]:
        """Return the settings of a run as JSON-ready values, with the name."""
        return {'name': self.name, **dataclasses.asdict(self.used_settings(sloppy))}

    @abstractmethod
    def run(self, workspace: Workspace) -> Fields:
        """Run the program on the files of a workspace and read what it found.

        Raises
        ------
        ProgramError
            If it fails.
        """

    def child(self, words: Sequence[str]) -> int:
        """Do what `run` asked of a Python process of its own, in that process, and return its exit code.

        Only a program whose `run` calls `bidsreg.programs.process.run_python` has such a process.

        Parameters
        ----------
        words : sequence of str
            What `run_python` was given.

        Raises
        ------
        ProgramError
            If the program works without one.
        """
        raise ProgramError(f'{self.name} has no Python process of its own')

    def register(
        self,
        fixed: Image,
        moving: Image,
        *,
        fixed_mask: Image | None = None,
        moving_mask: Image | None = None,
        affine: np.ndarray | None = None,
        fixed_lesion: Image | None = None,
        moving_lesion: Image | None = None,
        threads: int = 1,
        seed: int = SEED,
        sloppy: bool = False,
        quiet: bool = True,
        device: str = 'cpu',
        scratch: Path | None = None,
    ) -> ProgramResult:
        """Find a deformation that aligns a moving image with a fixed one.

        Parameters
        ----------
        fixed, moving : Image
            On grids of their own, with axes at right angles.
        fixed_mask, moving_mask : Image, optional
            Where to compare (above zero), each on its image's grid. The program gets them unless nothing is to be seen
            outside of them. Default: everywhere in the field of view.
        affine : ndarray, shape (4, 4), optional
            Fixed world to moving world in mm, RAS+. Default: identity. It is kept as it is.
        fixed_lesion, moving_lesion : Image, optional
            Above zero where nothing may be compared, each on its image's grid, of those images that the program has in
            `leaves_out`. They are taken out of the masks, and drawn over in the images that it gets.
        threads : int
            CPUs the program may use.
        seed : int
            Start of its random numbers, where it has any and takes one.
        sloppy : bool
            Make few iterations, for tests.
        quiet : bool
            Do not repeat on stderr what the program says.
        device : str
            The torch device; counts where the program uses it.
        scratch : Path, optional
            Folder in which the program's files lie while it runs. Default: where the system keeps such.

        Returns
        -------
        ProgramResult

        Raises
        ------
        ValueError
            If the input cannot be registered, or the program cannot leave a lesion out.
        ProgramError
            If the program is missing or fails, or its field is of no use.
        """
        from bidsreg.registration import metrics
        from bidsreg.registration.deformation import Deformation

        if why := self.missing():
            raise ProgramError(f'{self.name}: {why}')
        matrix = np.eye(4) if affine is None else np.asarray(affine, float)
        masks = fixed_mask, moving_mask
        check_pair(self.name, fixed, moving, *masks, matrix)
        for end, lesion in (('fixed', fixed_lesion), ('moving', moving_lesion)):
            if lesion is not None and (why := self.cannot_leave_out(end)):
                raise ValueError(why)
        fixed, fixed_lesion, here = without_lesion('fixed', fixed, fixed_mask, fixed_lesion)
        moving, moving_lesion, there = without_lesion('moving', moving, moving_mask, moving_lesion)
        began = time.perf_counter()
        with hidden_folder(scratch or Path(tempfile.gettempdir()), self.name) as folder:
            masked = write_pair(folder, fixed, moving, here, there, matrix) or bool(fixed_lesion or moving_lesion)
            found = self.run(Workspace(folder, matrix, masked, threads, seed, sloppy, quiet, device))
        forward = checked_field(self.name, found.forward, fixed)
        solved = time.perf_counter()
        inverse, events = inverse_of(self.name, forward, found.inverse, fixed)
        deformation = Deformation(matrix, forward, inverse, fixed.grid)
        mask, evidence = judged(fixed, moving, *masks, fixed_lesion, moving_lesion, deformation, threads)
        folds = metrics.count_folds(deformation.forward, deformation.grid)
        seconds = {'solve': solved - began, 'finish': time.perf_counter() - solved}
        folded = [FieldFolds(self.name, folds)] if folds else []
        return ProgramResult(deformation, mask, evidence, folds, (ProgramEnded(self.name), *events, *folded), seconds)


def check_pair(
    name: str,
    fixed: Image,
    moving: Image,
    fixed_mask: Image | None,
    moving_mask: Image | None,
    affine: np.ndarray,
) -> None:
    """Refuse what no program can register, before any work.

    Raises
    ------
    ValueError
        If a mask is empty or on another grid than its image, an image is constant inside its mask or has axes that are
        not at right angles, or the affine moves the fixed mask out of the moving image or its mask.
    """
    from bidsreg.registration.image import Image
    from bidsreg.registration.problem import check_mask, check_overlap

    for end, image, mask in (('fixed', fixed, fixed_mask), ('moving', moving, moving_mask)):
        check_mask(end, image, mask)
        if not image.grid.is_orthogonal():
            raise ValueError(f'{end}: the axes are not at right angles, which {name} cannot read; resample it first')
        values = image.data if mask is None else image.data[mask.data > 0]
        if not values.max() > values.min():
            raise ValueError(f'{end}: the image is constant inside the mask: there is nothing to align')

    def everywhere(image: Image) -> Image:
        return Image(np.ones(image.grid.shape, np.float32), image.grid)

    check_overlap(fixed_mask or everywhere(fixed), moving_mask or everywhere(moving), affine)


def without_lesion(
    end: str, image: Image, mask: Image | None, lesion: Image | None
) -> tuple[Image, Image | None, Image | None]:
    """Leave the lesion of an image out, where there is one, as `bidsreg.registration.lesions.left_out` does.

    Returns
    -------
    image, lesion, mask
        The lesion drawn over, the lesion with the voxels that touch it, and the mask without it.

    Raises
    ------
    ValueError
        If the lesion is empty, lies on another grid, or covers the brain.
    """
    if lesion is None:
        return image, None, mask
    from bidsreg.registration.image import Image
    from bidsreg.registration.lesions import check_lesion, left_out
    from bidsreg.registration.problem import check_mask

    check_mask(end, image, lesion, 'lesion mask')
    check_lesion(end, lesion, mask)
    shown, wider = left_out(image, lesion)
    assert wider is not None
    inside = (wider.data == 0) if mask is None else (wider.data == 0) & (mask.data > 0)
    return shown, wider, Image(inside.astype(np.float32), image.grid)


def judged(
    fixed: Image,
    moving: Image,
    fixed_mask: Image | None,
    moving_mask: Image | None,
    fixed_lesion: Image | None,
    moving_lesion: Image | None,
    found: Deformation,
    threads: int,
) -> tuple[Image, dict[str, Evidence | None]]:
    """Return the mask on the field's grid, and the evidence before, after the affine and after the deformation."""
    from bidsreg.registration import evidence
    from bidsreg.registration.image import Image
    from bidsreg.registration.numerics.compute import ON_CPU

    inside = np.ones(fixed.grid.shape, bool) if fixed_mask is None else fixed_mask.data > 0
    mask = Image(inside, fixed.grid)
    pair = fixed.standardised(inside), moving.standardised(None if moving_mask is None else moving_mask.data > 0)
    lesions = fixed_lesion, moving_lesion
    judge = evidence.Judge(*pair, found.affine, mask, replace(ON_CPU, threads=threads), *lesions)
    return mask, {'before': judge.before, 'affine': judge.after_affine, 'diffeo': judge(found.forward)}
