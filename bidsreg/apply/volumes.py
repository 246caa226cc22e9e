"""Images as files: opened, read whole, told whether they hold labels, and written volume by volume."""

from __future__ import annotations

import functools
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import nibabel as nb
import numpy as np

from bidsreg.bids.headers import affine_of
from bidsreg.bids.nifti import MGH, NiftiFile, UnreadableError, check_whole, open_nifti, whole_numbers
from bidsreg.errors import InputError
from bidsreg.registration import packing
from bidsreg.registration.grid import Grid

#: What of the voxels beside others that are not zero either have the same value, from where on an image is one of
#: labels, and below which it is none. Label maps of heads have .74 to .88 (1 and 2 mm), scans .01 to .06.
SAME = (0.2, 0.5)
#: An image of fewer different values may be one of scattered labels.
FEW_VALUES = 32
#: Where voxels begin in a file of header and voxels.
OFFSET = 352


@dataclass(frozen=True, eq=False)
class Volumes:
    """An image as it is stored.

    Attributes
    ----------
    data : ndarray, shape (X, Y, Z, N)
        Its values.
    grid : Grid
        Where they lie.
    header : Nifti1Header
        Its header.
    is_series : bool
        Its volumes are a fourth axis of the file.
    """

    data: np.ndarray
    grid: Grid
    header: nb.Nifti1Header
    is_series: bool


def open_image(path: Path) -> tuple[NiftiFile, Grid, tuple[int, ...]]:
    """Open an image without reading its voxels; returns its grid, and its shape with all axes.

    Raises
    ------
    InputError
        If it is no image, not of scalars, has more than four axes, or does not say where its voxels lie.
    """
    try:
        opened = open_nifti(path)
    except UnreadableError as error:
        raise InputError(f'{path}: {error}') from error
    shape = tuple(int(n) for n in opened.dataobj.shape)
    while len(shape) > 4 and shape[-1] == 1:
        shape = shape[:-1]
    size = ' x '.join(map(str, shape))
    if len(shape) > 4:
        raise InputError(f'{path}: is {len(shape)}-D ({size}): vectors and tensors are not carried, volumes are.')
    if len(shape) < 3:
        raise InputError(f'{path}: is {len(shape)}-D ({size}): a volume is needed.')
    if (kind := opened.header.get_data_dtype()).fields or kind.kind == 'c':
        raise InputError(f'{path}: holds {"colours" if kind.fields else "complex numbers"}, which cannot be carried.')
    return opened, _grid(path, shape, affine_of(opened, path)), shape


def _grid(path: Path, shape: tuple[int, ...], affine: np.ndarray) -> Grid:
    try:
        return Grid((shape[0], shape[1], shape[2]), affine)
    except ValueError as error:
        raise InputError(f'{path}: {error}') from error


def grid_of(path: Path) -> Grid:
    """Return where the voxels of an image lie.

    Raises
    ------
    InputError
        If it is no image, or does not say it.
    """
    return open_image(path)[1]


def load(path: Path) -> Volumes:
    """Read an image to its end.

    Raises
    ------
    InputError
        If it cannot be read whole, or is no image of one value a voxel.
    """
    state = path.stat() if path.is_file() else None
    return _loaded(path.absolute(), state and (state.st_mtime_ns, state.st_size))


@functools.lru_cache(maxsize=1)
def _loaded(path: Path, state: object) -> Volumes:
    opened, grid, shape = open_image(path)
    try:
        check_whole(path, opened)
    except UnreadableError as error:
        raise InputError(f'{path}: {error}') from error
    data = np.asanyarray(opened.dataobj).reshape(*shape[:3], -1)
    return Volumes(data, grid, opened.header, len(shape) == 4)


def told_by_header(path: Path) -> bool:
    """Tell whether the header of an image says that its voxels are labels."""
    if path.name.endswith(MGH):
        return False
    return int(open_image(path)[0].header['intent_code']) == nb.nifti1.intent_codes['label']


def told_by_content(path: Path) -> bool | None:
    """Tell whether the voxels of an image, the first volume's, are labels; None where they may be or may not."""
    volumes = load(path)
    values = whole_numbers(volumes.data[..., 0], volumes.header)
    if values is None:
        return False
    share = same_as_neighbours(values)
    if share >= SAME[1]:
        return True
    return None if share >= SAME[0] or len(np.unique(values)) <= FEW_VALUES else False


def same_as_neighbours(values: np.ndarray) -> float:
    """Return how many of two neighbours that are not zero have the same value; 1 where there are none."""
    same = both = 0
    for axis in range(3):
        along = np.moveaxis(values, axis, 0)
        filled = (along[1:] != 0) & (along[:-1] != 0)
        both += int(filled.sum())
        same += int(((along[1:] == along[:-1]) & filled).sum())
    return same / both if both else 1.0


def write(path: Path, volumes: Iterable[np.ndarray], kind: np.dtype, like: Volumes, target: Path, threads: int) -> None:
    """Write volumes, one after another as they come, as an image on the grid of another.

    Place, codes and unit are those of the target, the step between volumes and its unit those of the source.

    Parameters
    ----------
    path
        The file, ``.nii`` or ``.nii.gz``.
    volumes
        As many as the source has, of the target's shape.
    kind
        The type of the voxels.
    like
        The source.
    target
        An image on the grid that is wanted.
    threads
        How many pack; the file does not depend on it.
    """
    opened, grid, _ = open_image(target)
    count = like.data.shape[3]
    header = nb.Nifti1Header()
    header.set_data_dtype(kind)
    header.set_data_shape((*grid.shape, count) if like.is_series else grid.shape)
    header.set_zooms((*grid.spacing, float(like.header.get_zooms()[3])) if like.is_series else tuple(grid.spacing))
    header.set_xyzt_units('mm', like.header.get_xyzt_units()[1])
    # codes of 0 would leave the place untold
    code = int(opened.header['sform_code']) or int(opened.header['qform_code'])
    header.set_sform(grid.affine, code)
    if grid.is_orthogonal():
        header.set_qform(grid.affine, code)
    header['magic'], header['vox_offset'] = b'n+1', OFFSET
    packed = path.name.endswith('.gz')
    with open(path, 'wb') as file:
        # the header goes with the first volume: an image of one volume is one member of gzip
        start = header.binaryblock + bytes(OFFSET - len(header.binaryblock))
        for volume in volumes:
            content = start + volume.astype(kind, copy=False).tobytes('F')
            strategy = packing.FLOATS if kind.kind == 'f' else zlib.Z_DEFAULT_STRATEGY
            file.writelines(packing.gzipped(content, threads, strategy) if packed else [content])
            start = b''
