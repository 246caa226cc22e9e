"""The exchange with a program: the files that it gets, and the displacements that it leaves."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from bidsreg import SEED
from bidsreg.programs.errors import ProgramError
from bidsreg.programs.events import InverseMissing, InverseSearched
from bidsreg.registration.events import Event

if TYPE_CHECKING:
    from bidsreg.registration.grid import Grid
    from bidsreg.registration.image import Image

LPS = np.array([-1, -1, 1], np.float32)
"""Factors that turn vectors from RAS+ to LPS+ and back."""
BLANK = 0.01
"""An image of which less than this fraction lies outside its mask has been skull-stripped: a choice, not tuned."""


@dataclass(frozen=True, eq=False)
class Workspace:
    """A pair in a folder of its own, for one run of a program.

    Attributes
    ----------
    folder : Path
        Holds input and output; removed afterwards.
    affine : ndarray, shape (4, 4)
        Fixed world to moving world, mm, RAS+.
    masked : bool
        Whether masks are to be used: there are some, and the images show more than they cover.
    threads, seed : int
        How many CPUs the program may use, and the start of all its random numbers.
    sloppy, quiet : bool
        Whether it makes few iterations only; whether its words are kept from stderr.
    device : str
        The torch device, for a program that can use a GPU.
    """

    folder: Path
    affine: np.ndarray
    masked: bool
    threads: int = 1
    seed: int = SEED
    sloppy: bool = False
    quiet: bool = False
    device: str = 'cpu'

    def path(self, name: str) -> Path:
        """Return the path of a NIfTI file in the folder.

        ``fixed``, ``moving``, ``fixed_mask`` and ``moving_mask`` are there; any other name is free for the program.
        """
        return self.folder / f'{name}.nii'

    @property
    def itk_affine(self) -> Path:
        """The file that holds the affine as ITK writes it."""
        return self.folder / 'affine.txt'

    @property
    def plain_affine(self) -> Path:
        """The file that holds the affine as a 4x4 matrix, RAS+."""
        return self.folder / 'affine.mat'


@dataclass(frozen=True, eq=False)
class Fields:
    """The displacements that a program found.

    Attributes
    ----------
    forward : ndarray, shape (X, Y, Z, 3)
        u(x) in mm (RAS+) on the fixed grid; points go to A(x + u(x)).
    inverse : ndarray, shape (X, Y, Z, 3), or None
        The same of the inverse of x + u(x); None where the program gives none.
    """

    forward: np.ndarray
    inverse: np.ndarray | None = None


def write_pair(
    folder: Path,
    fixed: Image,
    moving: Image,
    fixed_mask: Image | None,
    moving_mask: Image | None,
    affine: np.ndarray,
) -> bool:
    """Write images, masks and affine for a program, and tell whether masks are to be used.

    Every file has equal qform and sform, so that all programs see the same grid. Masks hide the outline of a
    skull-stripped brain and keep what surrounds a whole head out, so they are used where either image shows something
    outside its own; experiments/pairs.py says what they are worth, and where that was measured.

    Parameters
    ----------
    folder : Path
        The folder of a `Workspace`, which says how the files are called.
    fixed, moving : Image
        The pair.
    fixed_mask, moving_mask : Image or None
        Where to compare (above zero); None is everywhere.
    affine : ndarray, shape (4, 4)
        Fixed world to moving world, mm, RAS+.
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


def bring_moving(workspace: Workspace, grid: Grid, end: str = '.nii') -> Path:
    """Write the moving image as it lies on a grid of the fixed world through the affine: for programs that take none.

    Parameters
    ----------
    workspace : Workspace
        Where ``moving`` is; the file is written beside it.
    grid : Grid
        In the fixed world.
    end : str
        How its name ends; it begins with ``resampled``.
    """
    from bidsreg.registration.grid import Grid
    from bidsreg.registration.image import Image, resample

    moving, out = Image.load(workspace.path('moving')), workspace.folder / f'resampled{end}'
    seen = Grid(moving.grid.shape, np.linalg.inv(workspace.affine) @ moving.grid.affine)
    Image(resample(Image(moving.data, seen), grid), grid).save(out)
    return out


def read_voxels(path: str | Path) -> np.ndarray:
    """Read the voxels of a NIfTI file as float32.

    Raises
    ------
    Exception
        Whatever nibabel raises where the file is absent or damaged.
    """
    import nibabel as nib

    # nibabel types what it loads as any file-based image; NIfTI always has voxels
    return np.asarray(cast(Any, nib.load(path)).dataobj, np.float32)


def volume(path: Path) -> np.ndarray:
    """Read the vectors (X, Y, Z, 3) of a NIfTI file.

    Raises
    ------
    ProgramError
        If the program did not write the file, or only a part of it, or no vectors.
    """
    try:
        data = read_voxels(path)
    except Exception as error:
        raise ProgramError(f'the program left no {path.name} that can be read ({error})') from error
    if data.ndim == 5:
        data = data[:, :, :, 0]
    if data.ndim != 4 or data.shape[3] != 3:
        raise ProgramError(f'{path.name} holds no displacements: its shape is {data.shape}')
    return data


def itk_field(path: Path) -> np.ndarray:
    """Read displacements (X, Y, Z, 3) in mm, RAS+, from a warp as ITK writes it: shape (X, Y, Z, 1, 3), mm, LPS+."""
    return volume(path) * LPS


def world_points(image: Image) -> np.ndarray:
    """Return the world positions (X, Y, Z, 3) of all voxels of an image, mm, float64."""
    return image.grid.to_world(np.moveaxis(np.indices(image.grid.shape), 0, -1))


def without_affine(total: np.ndarray, image: Image, affine: np.ndarray) -> np.ndarray:
    """Take the affine off: from displacements d with y = x + d(x) to u with y = A(x + u(x)).

    Parameters
    ----------
    total : ndarray, shape (X, Y, Z, 3)
        d in mm, RAS+, on the image's grid.
    image : Image
        The fixed one.
    affine : ndarray, shape (4, 4)
        A, fixed world to moving world.

    Returns
    -------
    ndarray, shape (X, Y, Z, 3)
        u in mm, RAS+, float32.
    """
    from bidsreg.registration.grid import apply_affine

    points = world_points(image)
    return (apply_affine(np.linalg.inv(affine), points + total) - points).astype(np.float32)


def checked_field(name: str, data: np.ndarray, fixed: Image) -> np.ndarray:
    """Return a field as float32 after a look at its shape and values.

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
) -> tuple[np.ndarray, list[Event]]:
    """Return the inverse that the program gave, else one found by inverting, and what happened.

    Where the field folds there is no inverse: the best approximation is taken, with an event that warns.

    Parameters
    ----------
    name : str
        The program, for the events.
    forward : ndarray, shape (X, Y, Z, 3)
        u(x) in mm on the fixed grid.
    inverse : ndarray, shape (X, Y, Z, 3), or None
        What the program gave.
    fixed : Image
        Whose grid they lie on.
    """
    from bidsreg.registration.numerics.inversion import InversionError, invert_displacement

    if inverse is not None:
        return checked_field(name, inverse, fixed), []
    try:
        return invert_displacement(forward, fixed.grid)[0], [InverseSearched(name)]
    except InversionError as error:
        return error.best, [InverseMissing(name, error.stuck, error.worst)]
