"""What all programs share: the input written for a program, the program run, its fields turned into a deformation."""

from __future__ import annotations

import ctypes
import dataclasses
import importlib.metadata
import importlib.util
import logging
import os
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from bidsreg.outcome import describe_signal
from bidsreg.registration.errors import RegistrationError

if TYPE_CHECKING:
    from bidsreg.registration.deformation import Deformation
    from bidsreg.registration.evidence import Evidence
    from bidsreg.registration.image import Image

LOGGER = logging.getLogger(__name__)

LPS = np.array([-1, -1, 1], np.float32)
"""RAS to LPS and back, for vectors."""
LAST_LINES = 15
"""Of what a failed program said, in the error."""
BLANK = 0.01
"""An image of which less than this fraction lies outside its mask has been skull-stripped."""
THREAD_VARIABLES = (
    'OMP_NUM_THREADS',
    'MKL_NUM_THREADS',
    'OPENBLAS_NUM_THREADS',
    'ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS',
)
_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None)


class ProgramError(RegistrationError):
    """A program failed, or wrote what is no deformation of the pair."""


@dataclass(frozen=True, eq=False)
class Workspace:
    """A pair in a folder of its own, for one run of a program.

    Attributes
    ----------
    folder : Path
        For input and output; removed afterwards.
    affine : ndarray, shape (4, 4)
        Fixed world to moving world, mm, RAS+.
    masked : bool
        Whether masks are to be used: there are some, and the images show more than they cover.
    threads, seed : int
        How many CPUs, and the start of all random numbers.
    sloppy, quiet : bool
        Few iterations; no words of the program on stderr.
    device : str
        Of torch, for a program that can use a GPU.
    """

    folder: Path
    affine: np.ndarray
    masked: bool
    threads: int = 1
    seed: int = 2026
    sloppy: bool = False
    quiet: bool = False
    device: str = 'cpu'

    def path(self, name: str) -> Path:
        """``fixed``, ``moving``, ``fixed_mask`` or ``moving_mask`` as NIfTI; any other name is free for the program."""
        return self.folder / f'{name}.nii'

    @property
    def itk_affine(self) -> Path:
        """The affine as ITK has it."""
        return self.folder / 'affine.txt'

    @property
    def plain_affine(self) -> Path:
        """The affine as a 4x4 matrix, RAS+."""
        return self.folder / 'affine.mat'


@dataclass(frozen=True, eq=False)
class Fields:
    """What a program found.

    Attributes
    ----------
    forward : ndarray, shape (X, Y, Z, 3)
        u(x) in mm (RAS+) on the fixed grid; points go to A(x + u(x)).
    inverse : ndarray, shape (X, Y, Z, 3), or None
        The same of the inverse of x + u(x); None where the program gives none.
    """

    forward: np.ndarray
    inverse: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class ProgramResult:
    """The answer of a program, with the attributes that a `bidsreg.registration.Result` has.

    Attributes
    ----------
    deformation : Deformation
        On the fixed grid. Its displacements need not vanish at the border.
    mask : Image
        The fixed mask, or ones.
    evidence : dict
        How alike the pair looks ``before``, after the ``affine`` and after the ``diffeo``.
    folds : int
        Voxels with a non-positive Jacobian determinant by any of three difference schemes.
    stopped : list of str
        Notes on how it ended.
    history : list
        Empty: the programs do not tell their losses.
    seconds : dict
        Of `solve` (the program) and `finish` (inverse and evidence).
    iterations : None
        Not known.
    attempts, repaired : int
        Always 1 and 0: nothing is done about folds.
    """

    deformation: Deformation
    mask: Image
    evidence: dict[str, Evidence | None]
    folds: int
    stopped: list[str]
    seconds: dict[str, float]
    history: list[dict[str, float]] = field(default_factory=list)
    iterations: int | None = None
    attempts: int = 1
    repaired: int = 0


class Program(ABC):
    """A program that finds a deformation.

    A subclass says what it is called, what it needs, and how it is run (`run`); the rest is the same for all.

    Attributes
    ----------
    name : str
        What the user calls it.
    description : str
        One line for lists.
    peer : bool
        For comparisons only: the BIDS App does not offer it.
    uses_gpu : bool
        Can work on a GPU; the others work on the CPU only.
    settings : dataclass
        All that decides its result, apart from images and seed.
    """

    name = ''
    description = ''
    peer = False
    uses_gpu = False
    package = ''
    """What is imported to use it."""
    distribution = ''
    """What is installed to have that package."""
    settings: Any = None
    sentence = ''
    """How it works, to go on from "with" in a paper's methods."""
    references: Mapping[str, str] = MappingProxyType({})
    """What `sentence` names, in full, by a short key."""

    def missing(self) -> str:
        """What is absent and how to get it; empty when it can be used here."""
        if importlib.util.find_spec(self.package):
            return ''
        return f'the Python package {self.package} is not installed; pip install {self.distribution}'

    def version(self) -> str:
        """Of the program."""
        return importlib.metadata.version(self.distribution)

    def used_settings(self, sloppy: bool) -> Any:
        """The settings of a run; the sloppy ones have fewer iterations."""
        return self.settings.sloppy() if sloppy else self.settings

    def as_dict(self, sloppy: bool = False) -> dict[str, Any]:
        """The settings of a run as JSON-ready values, with the name."""
        return {'name': self.name, **dataclasses.asdict(self.used_settings(sloppy))}

    @abstractmethod
    def run(self, work: Workspace) -> Fields:
        """Run the program on the files of a work and read what it found.

        Raises
        ------
        ProgramError
            If it fails.
        """

    def register(
        self,
        fixed: Image,
        moving: Image,
        *,
        fixed_mask: Image | None = None,
        moving_mask: Image | None = None,
        affine: np.ndarray | None = None,
        threads: int = 1,
        seed: int = 2026,
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
        threads : int
            CPUs the program may use.
        seed : int
            Of its random numbers, where it has any and takes one.
        sloppy : bool
            Few iterations, for tests.
        quiet : bool
            Do not repeat on stderr what the program says.
        device : str
            Of torch; counts where the program uses it.
        scratch : Path, optional
            Folder in which the program's files lie while it runs. Default: where the system keeps such.

        Returns
        -------
        ProgramResult

        Raises
        ------
        ValueError
            If the input cannot be registered.
        ProgramError
            If the program is missing or fails, or its field is of no use.
        """
        from bidsreg.registration.deformation import Deformation

        if why := self.missing():
            raise ProgramError(f'{self.name}: {why}')
        matrix = np.eye(4) if affine is None else np.asarray(affine, float)
        check_pair(self.name, fixed, moving, fixed_mask, moving_mask, matrix)
        began = time.perf_counter()
        with tempfile.TemporaryDirectory(prefix=f'.{self.name}-', dir=scratch) as folder:
            masked = write_pair(Path(folder), fixed, moving, fixed_mask, moving_mask, matrix)
            found = self.run(Workspace(Path(folder), matrix, masked, threads, seed, sloppy, quiet, device))
        forward = checked_field(self.name, found.forward, fixed)
        solved = time.perf_counter()
        inverse, notes = inverse_of(self.name, forward, found.inverse, fixed)
        notes = [f'{self.name} ended by its own rule', *notes]
        deformation = Deformation(matrix, forward, inverse, fixed.grid)
        mask, evidence = judged(fixed, moving, fixed_mask, moving_mask, deformation, threads)
        folds = count_folds(self.name, deformation)
        seconds = {'solve': solved - began, 'finish': time.perf_counter() - solved}
        return ProgramResult(deformation, mask, evidence, folds, notes, seconds)


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
    from bidsreg.registration.solve import check_mask, check_overlap

    for end, image, mask in (('fixed', fixed, fixed_mask), ('moving', moving, moving_mask)):
        check_mask(end, image, mask)
        if not image.grid.is_orthogonal():
            raise ValueError(f'{end}: the axes are not at right angles, which {name} cannot read; resample it first')
        values = image.data if mask is None else image.data[mask.data > 0]
        if not values.max() > values.min():
            raise ValueError(f'{end}: the image is constant inside the mask: there is nothing to align')

    def whole(image: Image) -> Image:
        return Image(np.ones(image.grid.shape, np.float32), image.grid)

    check_overlap(fixed_mask or whole(fixed), moving_mask or whole(moving), affine)


def write_pair(
    folder: Path,
    fixed: Image,
    moving: Image,
    fixed_mask: Image | None,
    moving_mask: Image | None,
    affine: np.ndarray,
) -> bool:
    """Write images, masks and affine for a program; whether masks are to be used.

    Every file has equal qform and sform, so that all programs see the same grid. Two people's skull-stripped brains
    were aligned worse with masks than without, as then the programs do not see the outline; whole heads within one
    person better. So masks are used where either image shows something outside its own.
    """
    from bidsreg.registration.image import Image
    from bidsreg.registration.itk import write_affine

    shows = []
    for end, image, mask in (('fixed', fixed, fixed_mask), ('moving', moving, moving_mask)):
        image.save(folder / f'{end}.nii')
        inside = np.ones(image.grid.shape, bool) if mask is None else mask.data > 0
        Image(inside.astype(np.uint8), image.grid).save(folder / f'{end}_mask.nii')
        shows.append(np.count_nonzero(image.data[~inside]) > BLANK * np.count_nonzero(image.data))
    write_affine(folder / 'affine.txt', affine)
    np.savetxt(folder / 'affine.mat', affine, fmt='%.12g')
    return any(shows)


def run_program(words: Sequence[str | Path], work: Workspace) -> None:
    """Run a program in the folder of a work, on the work's threads; it ends when this process does.

    Raises
    ------
    ProgramError
        If it cannot be started, or ends with another code than 0; with the last lines of what it said.
    """
    text = [str(word) for word in words]
    environment = os.environ | dict.fromkeys(THREAD_VARIABLES, str(work.threads))
    said: deque[str] = deque(maxlen=LAST_LINES)
    LOGGER.debug('%s', shlex.join(text))
    try:
        process = subprocess.Popen(
            text,
            cwd=work.folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors='replace',
            preexec_fn=_end_with_parent,
        )
    except OSError as error:
        raise ProgramError(f'{text[0]} cannot be started: {error.strerror}') from error
    with process:
        for line in process.stdout or ():
            if line.strip():
                said.append(line.strip())
                if not work.quiet:
                    print(line.rstrip(), file=sys.stderr, flush=True)
    if process.returncode:
        code = process.returncode
        how = describe_signal(-code) if code < 0 else f'ended with {code}'
        raise ProgramError(f'{Path(text[0]).name} {how}: ' + (' | '.join(said) or 'it said nothing'))


def _end_with_parent() -> None:
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def run_python(program: str, words: Sequence[str | Path], work: Workspace) -> None:
    """Call a program's `child` in a Python process of its own, whose libraries see the work's threads when they start.

    Raises
    ------
    ProgramError
        As for `run_program`.
    """
    run_program([sys.executable, '-m', 'bidsreg.programs._child', program, *words], work)


def itk_field(path: Path) -> np.ndarray:
    """Displacements (X, Y, Z, 3) in mm, RAS+, from a warp as ITK writes it: shape (X, Y, Z, 1, 3), mm, LPS."""
    return volume(path) * LPS


def volume(path: Path) -> np.ndarray:
    """Vectors (X, Y, Z, 3) of a NIfTI file.

    Raises
    ------
    ProgramError
        If the program did not write it, or not whole.
    """
    import nibabel as nib

    try:
        data = np.asarray(nib.load(path).dataobj, np.float32)
    except Exception as error:
        raise ProgramError(f'the program left no {path.name} that can be read ({error})') from error
    if data.ndim == 5:
        data = data[:, :, :, 0]
    if data.ndim != 4 or data.shape[3] != 3:
        raise ProgramError(f'{path.name} holds no displacements: its shape is {data.shape}')
    return data


def without_affine(total: np.ndarray, image: Image, affine: np.ndarray) -> np.ndarray:
    """From displacements d with y = x + d(x) to u with y = A(x + u(x)).

    Parameters
    ----------
    total : ndarray, shape (X, Y, Z, 3)
        d in mm, RAS+, on the image's grid.
    image : Image
        The fixed one.
    affine : ndarray, shape (4, 4)
        A, fixed world to moving world.
    """
    from bidsreg.registration.grid import apply_affine

    points = world_points(image)
    return (apply_affine(np.linalg.inv(affine), points + total) - points).astype(np.float32)


def world_points(image: Image) -> np.ndarray:
    """World mm (X, Y, Z, 3) of every voxel, float64."""
    return image.grid.to_world(np.moveaxis(np.indices(image.grid.shape), 0, -1))


def checked_field(name: str, data: np.ndarray, fixed: Image) -> np.ndarray:
    """A field as float32.

    Raises
    ------
    ProgramError
        If it lies on another grid than the fixed image, or holds NaN or infinite values.
    """
    if data.shape != (*fixed.grid.shape, 3):
        raise ProgramError(f'{name} wrote a field of shape {data.shape} for an image of shape {fixed.grid.shape}')
    if not np.isfinite(data).all():
        raise ProgramError(f'{name} wrote a displacement field with NaN or infinite values')
    return np.ascontiguousarray(data, np.float32)


def inverse_of(
    name: str, forward: np.ndarray, inverse: np.ndarray | None, fixed: Image
) -> tuple[np.ndarray, list[str]]:
    """The program's own inverse, else one found by inverting; and notes about it.

    Where the field folds there is no inverse: the best approximation is taken, with a warning.
    """
    from bidsreg.registration.numerics.inversion import InversionError, invert_displacement

    if inverse is not None:
        return checked_field(name, inverse, fixed), []
    try:
        return invert_displacement(forward, fixed.grid)[0], [f'{name} gives no inverse: the field was inverted']
    except InversionError as error:
        LOGGER.warning('%s: %s; the inverse is the best approximation', name, error)
        return error.best, [f'{name} gives no inverse, and the field has none: {error}']


def count_folds(name: str, found: Deformation) -> int:
    """Voxels of a field that fold; a warning where there are any, as nothing is done about them."""
    from bidsreg.registration import metrics

    folds = metrics.count_folds(found.forward, found.grid)
    if folds:
        LOGGER.warning('%s: the deformation folds at %d voxels; it is written as it is', name, folds)
    return folds


def judged(
    fixed: Image,
    moving: Image,
    fixed_mask: Image | None,
    moving_mask: Image | None,
    found: Deformation,
    threads: int,
) -> tuple[Image, dict[str, Evidence | None]]:
    """The mask on the field's grid, and the evidence before, after the affine and after the deformation."""
    from bidsreg.registration import evidence
    from bidsreg.registration.image import Image

    inside = np.ones(fixed.grid.shape, bool) if fixed_mask is None else fixed_mask.data > 0
    mask = Image(inside, fixed.grid)
    pair = fixed.standardised(inside), moving.standardised(None if moving_mask is None else moving_mask.data > 0)
    judge = evidence.Judge(*pair, found.affine, mask, threads)
    return mask, {'before': judge.before, 'affine': judge.after_affine, 'diffeo': judge(found.forward)}
