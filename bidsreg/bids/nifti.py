"""Opening NIfTI files as they come: what is wrong with a file itself, and fields of its header that mislead readers."""

from __future__ import annotations

import os
import typing
from dataclasses import dataclass
from pathlib import Path

import nibabel as nb
import numpy as np

from bidsreg.errors import InputError
from bidsreg.registration.integrity import GZIP, DamagedError, check_size, content_size

#: Files as small as this may stand for content that is elsewhere; the smallest NIfTI header is larger.
POINTER_BYTES = 340
#: Bytes before the voxels of a file that holds header and voxels, by the size of its header.
LEAST_OFFSET = {348: 352, 540: 544}
#: mm in a unit of length, by its code in ``xyzt_units``: none, metre, millimetre, micrometre.
UNIT_MM = {0: 1.0, 1: 1000.0, 2: 1.0, 3: 0.001}
UNIT_NAMES = {1: 'metres', 3: 'micrometres'}
#: mm between which the voxels of a head may lie, a mouse's brain included. By judgement; no files but those of the
#: tests were in view.
VOXEL_MM = (0.01, 30.0)
#: Values may lie so far beside whole numbers, and be meant for them: what interpolation leaves lies anywhere between.
NEARLY_WHOLE = 1e-3
#: From steps of this size between two values that can be stored a whole number may become another one.
COARSE_STEP = 0.5
#: FreeSurfer's own format, which its masks have.
MGH = ('.mgz', '.mgh')


class UnreadableError(ValueError):
    """A file that is no NIfTI image, or not one that can be read: its message says what to do."""


@dataclass(frozen=True)
class NiftiFile:
    """A NIfTI file that has been opened.

    Attributes
    ----------
    header
        Its header as it is written: nibabel would mend what it finds odd without a word.
    dataobj
        Its voxels, which are not read before they are asked for.
    unit_mm
        mm in the unit of its affine.
    findings
        Sentences about what was mended.
    """

    header: nb.Nifti1Header
    dataobj: nb.arrayproxy.ArrayLike
    unit_mm: float = 1.0
    findings: tuple[str, ...] = ()


def open_nifti(path: str | os.PathLike) -> NiftiFile:
    """Open a NIfTI file without reading its voxels.

    Fields that readers take differently are settled: the place of the voxels, where the header has none, and the unit
    of length. FreeSurfer's format is taken as well.

    Raises
    ------
    UnreadableError
        With the reason in a few words, and the remedy.
    """
    path = Path(path)
    try:
        _check_content(path)
        if path.name.endswith(MGH):
            other = typing.cast(nb.Nifti1Image, nb.load(path))
            return NiftiFile(nb.Nifti1Image(other.dataobj, other.affine).header, other.dataobj)
        return _opened(path)
    except UnreadableError:
        raise
    except FileNotFoundError:
        raise UnreadableError('is not there') from None
    except PermissionError:
        raise UnreadableError('may not be read (no permission)') from None
    except (nb.spatialimages.HeaderDataError, ValueError) as error:
        raise UnreadableError(f'has a header that cannot be decoded ({one_line(error)}): convert it again') from error
    except Exception as error:  # whatever nibabel, gzip or the file system makes of a broken file
        raise UnreadableError(f'cannot be read as NIfTI ({one_line(error)}): copy or convert it again') from error


def whole_numbers(data: np.ndarray, header: nb.Nifti1Header) -> np.ndarray | None:
    """Return the whole numbers that were meant by the values of a file, or ``None`` where they are none.

    Who stores labels or a mask as integers with a scale, as nibabel does with floats under the header of a scan, finds
    them beside whole numbers by up to half a step of what can be stored.

    Parameters
    ----------
    data
        The values.
    header
        The header of the file, with its scale.
    """
    if data.dtype.kind in 'iub':
        return data
    if not np.isfinite(data).all():
        return None
    slope = header.get_slope_inter()[0] if 'scl_slope' in header else None
    step = abs(slope) if slope is not None and header.get_data_dtype().kind in 'iu' else 0.0
    near = max(NEARLY_WHOLE, 0.501 * step) if step < COARSE_STEP else NEARLY_WHOLE
    whole = np.rint(data)
    # a mask of very small values is not an empty one
    meant = bool((np.abs(data - whole) <= near).all()) and bool(whole.any() or not data.any())
    return whole if meant else None


def check_whole(path: str | os.PathLike, opened: NiftiFile) -> None:
    """Read a file to its end: checksum and length of what is compressed, and the size that its header promises.

    Raises
    ------
    UnreadableError
        With the reason in a few words, and the remedy.
    """
    try:
        size = content_size(Path(path))
        if not Path(path).name.endswith(MGH):  # FreeSurfer writes parameters of the scan behind the voxels
            check_size(size, typing.cast(nb.arrayproxy.ArrayProxy, opened.dataobj))
    except DamagedError as error:
        raise UnreadableError(str(error)) from error
    except OSError as error:
        raise UnreadableError(f'cannot be read to its end ({one_line(error)}): copy it again') from error


def check_to_end(path: str | os.PathLike) -> None:
    """Read a compressed file of any kind to its end: its checksum and its length; another file is left alone.

    Raises
    ------
    InputError
        With the file and what to do.
    """
    try:
        content_size(Path(path))
    except DamagedError as error:
        raise InputError(f'{path} {error}') from error
    except OSError as error:
        raise InputError(f'{path} cannot be read to its end ({one_line(error)}): copy it again') from error


def one_line(error: BaseException) -> str:
    """Return the first line of what an error says, or else its name."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _check_content(path: Path) -> None:
    """Raise unless the file has content of its own, compressed as its name says."""
    if path.is_symlink() and not path.exists():
        raise UnreadableError('is a link to a file that is not there: with DataLad, "datalad get" brings it')
    size = path.stat().st_size
    if size == 0:
        raise UnreadableError('is empty (0 bytes): copy or convert it again')
    with open(path, 'rb') as file:
        start = file.read(POINTER_BYTES)
    if size <= POINTER_BYTES:
        if b'annex/objects/' in start:
            raise UnreadableError('holds the name of its content only, as git-annex leaves it: "datalad get" brings it')
        if start.startswith(b'version https://git-lfs'):
            raise UnreadableError('holds the name of its content only, as Git LFS leaves it: "git lfs pull" brings it')
    packed, named = start.startswith(GZIP), path.name.endswith(('.gz', '.mgz'))
    if packed and not named:
        raise UnreadableError('is compressed though its name does not say so: rename it to .nii.gz')
    if named and not packed and _header_size(start) is not None:
        raise UnreadableError('is not compressed though its name says so: rename it to .nii, or compress it (gzip)')


def _header_size(start: bytes) -> int | None:
    """Return the size that a NIfTI header says it has, 348 or 540; ``None`` where there is none."""
    sizes = {int.from_bytes(start[:4], order) for order in ('little', 'big')}
    return next(iter(sizes & set(LEAST_OFFSET)), None)


def _opened(path: Path) -> NiftiFile:
    with nb.openers.ImageOpener(str(path), 'rb') as file:
        start = file.read(540)
        size = _header_size(start)
        if size is None:
            kind = type(nb.load(path))  # raises where it is no image at all
            if issubclass(kind, nb.Nifti1Pair):
                raise UnreadableError('has a header of a size that NIfTI has not (sizeof_hdr): convert it again')
            raise UnreadableError(f'is {kind.__name__}, not NIfTI')
        file.seek(0)
        header = (nb.Nifti2Header if size == 540 else nb.Nifti1Header).from_fileobj(file, check=False)
    if not bytes(header['magic']).startswith((b'n+1', b'n+2')):
        raise UnreadableError('has a header without a NIfTI mark (the voxels may be in another file): convert it again')
    findings = [*_mend_offset(header, size), *_look_at_scaling(header)]
    unit, words = _unit(header)
    findings += words
    shape = tuple(int(n) for n in header['dim'][1 : int(header['dim'][0]) + 1])
    if not 1 <= len(shape) <= 7 or min(shape, default=0) < 1:
        raise UnreadableError(f'has a header that cannot be decoded (dimensions {shape}): convert it again')
    slope, inter = header.get_slope_inter()
    spec = (shape, header.get_data_dtype(), int(header['vox_offset']), 1 if slope is None else slope, inter or 0)
    return NiftiFile(header, nb.arrayproxy.ArrayProxy(str(path), spec), unit, tuple(findings))


def _mend_offset(header: nb.Nifti1Header, size: int) -> list[str]:
    offset, least = float(header['vox_offset']), LEAST_OFFSET[size]
    if offset >= least:
        return []
    header['vox_offset'] = least
    return [f'its header places the voxels inside itself (vox_offset {offset:g}); they are read behind it ({least})']


def _look_at_scaling(header: nb.Nifti1Header) -> list[str]:
    """Say where the scale of the voxels is no number: they are then taken as they are."""
    if 'scl_slope' in header and not np.isfinite(header['scl_slope']):
        header['scl_slope'], header['scl_inter'] = 1, 0
        return ['the scale of its voxels (scl_slope) is no number; they are taken as they are']
    return []


def _unit(header: nb.Nifti1Header) -> tuple[float, list[str]]:
    """Return the mm in the header's unit of length, and what is to be said of it.

    A header may name a unit that is not the one of its numbers: then voxels would be of no size that a head has.
    """
    code = int(header['xyzt_units']) & 0x07
    if code not in UNIT_NAMES:
        return 1.0, []
    size = _voxel_size(header)
    low, high = VOXEL_MM
    if low <= size * UNIT_MM[code] <= high:
        return UNIT_MM[code], [f'its header is in {UNIT_NAMES[code]}; converted to mm']
    return 1.0, [f'its header says {UNIT_NAMES[code]}, in which its voxels would be of no size for a head; taken as mm']


def _voxel_size(header: nb.Nifti1Header) -> float:
    """Return the largest side of a voxel in the header's own unit."""
    if int(header['sform_code']) > 0:
        return float(np.nanmax(nb.affines.voxel_sizes(header.get_sform())))
    return float(np.nanmax(np.abs(header['pixdim'][1:4])))
