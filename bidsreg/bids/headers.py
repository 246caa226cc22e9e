"""Cheap checks of the headers of images before any work, and one sane image out of a doubtful file."""

from __future__ import annotations

import gzip
import os
import zlib
from dataclasses import dataclass
from pathlib import Path

import nibabel as nb
import numpy as np

from bidsreg.bids.images import corner_distance, load_image
from bidsreg.errors import InputError

#: Corners of the image may move this far (mm) when a sheared affine is made orthonormal.
MAX_SHEAR_MM = 0.1
#: Disagreement of qform and sform, in mm at the corners, that is worth a word.
FORM_TOLERANCE_MM = 0.1
#: An image with fewer voxels along an axis is no volume that could be registered.
MIN_VOXELS = 8


@dataclass(frozen=True)
class HeaderReport:
    """A report of what the header of one image says.

    Parameters
    ----------
    path
        The file.
    shape
        Its voxels; an axis of length one at the end is dropped.
    zooms
        Voxel size in mm, from the affine.
    affine
        The 4x4 matrix to use, voxel to world in mm (RAS+), free of shear.
    obliqueness_deg
        Largest angle between a voxel axis and the world's.
    findings
        Sentences about what is odd, and what is done about it.
    errors
        Reasons why the image cannot be used; empty when it can.

    """

    path: Path
    shape: tuple[int, ...] = ()
    zooms: tuple[float, ...] = ()
    affine: np.ndarray | None = None
    obliqueness_deg: float = 0.0
    findings: tuple[str, ...] = ()
    errors: tuple[str, ...] = ()


def check_header(path: str | os.PathLike) -> HeaderReport:
    """Check the header of an image without reading its voxels.

    Parameters
    ----------
    path
        A NIfTI file.

    Returns
    -------
    HeaderReport
        Never raises for a bad file: what is wrong is in its ``errors``.

    """
    path = Path(path)
    image, error = _open(path)
    if image is None:
        return HeaderReport(path, errors=(error,))
    errors, findings = [], []
    shape = _shape(image.shape)
    errors += _shape_errors(shape) + _type_errors(image.get_data_dtype())
    affine, form_errors, form_findings = _choose_affine(image.header, shape)
    errors += form_errors
    findings += form_findings
    if affine is not None:
        affine, shear_errors, shear_findings = _straighten(affine, shape)
        errors += shear_errors
        findings += shear_findings
    if affine is None or len(shape) != 3:
        return HeaderReport(path, shape, findings=tuple(findings), errors=tuple(errors))
    findings += _geometry_findings(affine, shape)
    return HeaderReport(
        path,
        shape,
        tuple(float(zoom) for zoom in nb.affines.voxel_sizes(affine)),
        affine,
        float(np.degrees(nb.affines.obliquity(affine)).max()),
        tuple(findings),
        tuple(errors),
    )


def load_sane(path: str | os.PathLike) -> nb.Nifti1Image:
    """Load an image that everything downstream reads alike.

    Parameters
    ----------
    path
        A NIfTI file.

    Returns
    -------
    nibabel.Nifti1Image
        3-D; integers of up to 32 bits keep their type, all else is float32; the affine is free of shear, and qform
        and sform both hold it (codes 1).

    Raises
    ------
    InputError
        When header or data cannot be used: everything :func:`check_header` finds, truncated files, NaN or infinite
        voxels, and an image that is the same everywhere.

    """
    report = check_header(path)
    if report.errors:
        raise InputError(f'{path}: ' + '; '.join(report.errors))
    data = _read_data(load_image(path), path).reshape(report.shape)
    image = nb.Nifti1Image(data, report.affine, dtype=data.dtype)
    image.header.set_xyzt_units('mm')
    image.set_sform(report.affine, 1)
    image.set_qform(report.affine, 1)
    return image


def _open(path: Path) -> tuple[nb.Nifti1Image | None, str]:
    """Open a NIfTI file lazily, or say in one line why that cannot be done."""
    try:
        if path.is_symlink() and not path.exists():
            return None, 'is a link to a file that is not there (with DataLad, "datalad get" brings it)'
        if path.stat().st_size == 0:
            return None, 'is empty (0 bytes): copy or convert it again'
        image = nb.load(path)
        if not isinstance(image, nb.Nifti1Image):
            return None, f'is {type(image).__name__}, not NIfTI'
        return image, ''
    except FileNotFoundError:
        return None, 'is not there'
    except PermissionError:
        return None, 'may not be read (no permission)'
    except (
        nb.spatialimages.HeaderDataError,
        ValueError,
    ) as error:  # for example a qform that is no rotation, and no sform
        return None, f'has a header that cannot be decoded ({_one_line(error)}): convert it again'
    except Exception as error:  # whatever nibabel, gzip or the file system makes of a broken file
        return None, f'cannot be read as NIfTI ({_one_line(error)}): copy or convert it again'


def _one_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    shape = tuple(int(n) for n in shape)
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    return shape


def _shape_errors(shape: tuple[int, ...]) -> list[str]:
    size = ' x '.join(str(n) for n in shape)
    if len(shape) > 3:
        return [f'is {len(shape)}-D ({size}): give one volume, 3-D']
    if len(shape) < 3:
        return [f'is {len(shape)}-D ({size}): a volume is needed']
    if min(shape) < MIN_VOXELS:
        return [f'has only {min(shape)} slice(s) along one axis ({size}): at least {MIN_VOXELS} are needed']
    return []


def _type_errors(dtype: np.dtype) -> list[str]:
    if dtype.fields:
        return ['holds colours (RGB), not intensities']
    if dtype.kind == 'c':
        return ['holds complex numbers: give the magnitude image']
    return []


def _form(header: nb.Nifti1Header, name: str) -> tuple[np.ndarray | None, str]:
    """Return qform or sform when its code is set, or None; and what is wrong with it."""
    if int(header[f'{name}_code']) <= 0:
        return None, ''
    try:
        affine = header.get_sform() if name == 'sform' else header.get_qform()
    except Exception as error:  # a quaternion that is none
        return None, f'its {name} cannot be decoded ({_one_line(error)})'
    if not np.isfinite(affine).all():
        return None, f'its {name} holds numbers that are not finite'
    zooms = nb.affines.voxel_sizes(affine)
    if zooms.min() < 1e-4 or abs(np.linalg.det(affine[:3, :3])) < 1e-3 * zooms.prod():
        return None, f'its {name} is singular (voxels without volume)'
    return affine, ''


def _choose_affine(header: nb.Nifti1Header, shape: tuple[int, ...]) -> tuple[np.ndarray | None, list[str], list[str]]:
    """Take the sform where its code is set, else the qform, as fMRIPrep and nibabel do."""
    sform, sform_fault = _form(header, 'sform')
    qform, qform_fault = _form(header, 'qform')
    if sform_fault:
        return None, [f'{sform_fault}: correct the header, for example by copying the qform, if that is good'], []
    if sform is None and qform is None:
        reason = qform_fault or 'it has neither a qform nor a sform (both codes are 0)'
        return None, [f'{reason}: where its voxels lie is not known; convert it again with dcm2niix'], []
    if sform is None:
        return qform, [], []
    if qform_fault:
        return sform, [], [f'{qform_fault}; the sform is used']
    if qform is not None and len(shape) == 3:
        distance = corner_distance(sform, qform, shape, edge=0.5)
        if distance > FORM_TOLERANCE_MM:
            return sform, [], [f'qform and sform disagree by up to {distance:.1f} mm; the sform is used']
    return sform, [], []


def _straighten(affine: np.ndarray, shape: tuple[int, ...]) -> tuple[np.ndarray, list[str], list[str]]:
    """Give the affine the nearest orthonormal directions, turning about the middle of the image."""
    zooms = nb.affines.voxel_sizes(affine)
    left, _, right = np.linalg.svd(affine[:3, :3] / zooms)
    middle = (np.array((*shape, 1, 1, 1)[:3]) - 1) / 2
    straight = np.eye(4)
    straight[:3, :3] = left @ right * zooms
    straight[:3, 3] = affine[:3, :3] @ middle + affine[:3, 3] - straight[:3, :3] @ middle
    moved = corner_distance(affine, straight, (*shape, 1, 1, 1)[:3], edge=0.5)
    if moved > MAX_SHEAR_MM:
        return straight, [f'its affine is sheared (by {moved:.1f} mm at a corner): resample it to a proper grid'], []
    if moved > 1e-2:
        return straight, [], [f'its affine was sheared by {moved:.2f} mm at a corner; repaired']
    return straight, [], []


def _geometry_findings(affine: np.ndarray, shape: tuple[int, ...]) -> list[str]:
    zooms = nb.affines.voxel_sizes(affine)
    size = ' x '.join(f'{zoom:.2f}' for zoom in zooms)
    findings = []
    if zooms.max() > 3 or zooms.max() > 3 * zooms.min():
        findings.append(f'thick slices ({size} mm): details between slices are not in the image')
    if zooms.min() < 0.2 or zooms.max() > 8:
        findings.append(f'unusual voxel size ({size} mm): are the units of the header right?')
    extent = zooms * shape
    if extent.min() < 100:
        findings.append(f'a thin slab ({extent.min():.0f} mm): only part of the head is in the image')
    distance = np.linalg.norm(nb.affines.apply_affine(affine, (np.array(shape) - 1) / 2))
    if distance > 500:
        findings.append(f'its middle lies {distance:.0f} mm away from the origin of the scanner')
    return findings


def _read_data(image: nb.Nifti1Image, path: str | os.PathLike) -> np.ndarray:
    """Read the voxels and make sure that they are an image."""
    try:
        data = np.asanyarray(image.dataobj)
    except (OSError, EOFError, ValueError, zlib.error, gzip.BadGzipFile) as error:
        raise InputError(f'{path}: is truncated or damaged ({_one_line(error)}): copy it again') from error
    if data.dtype.kind not in 'iu' or data.dtype.itemsize > 4:
        with np.errstate(over='ignore'):
            data = data.astype(np.float32)
    bad = data.size - np.count_nonzero(np.isfinite(data))
    if bad:
        raise InputError(f'{path}: {bad} voxel(s) are NaN or infinite: replace them, for example by 0')
    if data.min() == data.max():
        raise InputError(f'{path}: every voxel is {data.flat[0]}: there is nothing to see in it')
    return data
