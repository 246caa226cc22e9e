"""Cheap checks of the headers of images before any work, and one sane image out of a doubtful file."""

from __future__ import annotations

import itertools
import os
import typing
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import nibabel as nb
import numpy as np

from bidsreg.bids.images import corner_distance
from bidsreg.bids.nifti import NiftiFile, UnreadableError, check_whole, one_line, open_nifti
from bidsreg.errors import InputError

#: Corners of the image may move this far (mm) when a sheared affine is made orthonormal.
MAX_SHEAR_MM = 0.1
#: Disagreement of qform and sform, in mm at the corners, that is worth a word.
FORM_TOLERANCE_MM = 0.1
#: An image that is shorter (mm) along an axis does not show the whole head.
SLAB_MM = 100.0
#: An image that is shorter or longer (mm) than this in its longest direction has another unit than it says.
#: By judgement, from less than a mouse's head to a whole body; no files but those of the tests were in view.
LONGEST_MM = (5.0, 2000.0)
#: Slices are thick from here on (mm), or when they are three times as thick as the image's finest voxel side.
THICK_MM = 3.0
#: An image with fewer voxels along an axis is no volume that could be registered.
MIN_VOXELS = 8
#: Standard deviation (mm) of the blur before a head is told from noisy air; more would widen it.
AIR_BLUR_MM = 1.5
#: So many times as far above the middle of the air as its brightest voxels are those of a head.
DISTINCT = 2.0
#: Share of a corner that is not zero, above which the corner shows air.
LEAST_MEASURED = 0.1


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

    @property
    def is_slab(self) -> bool:
        """Only part of the head is in the image, as far as its header can be read."""
        return bool(self.zooms) and min(np.multiply(self.zooms, self.shape)) < SLAB_MM

    @property
    def has_thick_slices(self) -> bool:
        """Details between slices are not in the image, as far as its header can be read."""
        return bool(self.zooms) and (max(self.zooms) > THICK_MM or max(self.zooms) > 3 * min(self.zooms))


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
    try:
        opened = open_nifti(path)
    except UnreadableError as error:
        return HeaderReport(path, errors=(str(error),))
    header, errors, findings = opened.header, [], list(opened.findings)
    shape = _shape(opened.dataobj.shape)
    if len(shape) < len(opened.dataobj.shape):
        findings.append(f'its last axes, of length one, are dropped ({" x ".join(map(str, opened.dataobj.shape))})')
    findings += _intent_findings(header)
    errors += _shape_errors(shape) + type_errors(header.get_data_dtype())
    affine, form_errors, form_findings = _choose_affine(header, shape, opened.unit_mm)
    errors += form_errors
    findings += form_findings
    if affine is not None:
        affine, shear_errors, shear_findings = _straighten(affine, shape)
        errors += shear_errors
        findings += shear_findings
    if affine is None or len(shape) != 3:
        return HeaderReport(path, shape, findings=tuple(findings), errors=tuple(errors))
    report = HeaderReport(
        path,
        shape,
        tuple(float(zoom) for zoom in nb.affines.voxel_sizes(affine)),
        affine,
        float(np.degrees(nb.affines.obliquity(affine)).max()),
        errors=tuple(errors),
    )
    return replace(
        report,
        errors=(*errors, *_size_errors(report)),
        findings=(*findings, *_geometry_findings(report)),
    )


def affine_of(opened: NiftiFile, path: str | os.PathLike) -> np.ndarray:
    """Return the affine, 4x4, voxel to world in mm (RAS+), that :func:`check_header` takes; of any shape, and sheared.

    Parameters
    ----------
    opened
        The file, opened.
    path
        Its name, for messages.

    Raises
    ------
    InputError
        When it is not known where its voxels lie.
    """
    affine, errors, _ = _choose_affine(opened.header, _shape(opened.dataobj.shape), opened.unit_mm)
    if affine is None:
        raise InputError(f'{path}: ' + '; '.join(errors))
    return affine


def load_sane(path: str | os.PathLike) -> nb.Nifti1Image:
    """Load an image that everything downstream reads alike.

    Parameters
    ----------
    path
        A NIfTI file.

    Returns
    -------
    nibabel.Nifti1Image
        3-D; integers of up to 32 bits keep their type, all else is float32; voxels of the air that are not finite are
        zero; the affine is free of shear, and qform and sform both hold it (codes 1).

    Raises
    ------
    InputError
        When header or data cannot be used: everything :func:`check_header` finds, files that are truncated, fail their
        checksum or are longer than their header says, voxels of the head that are not finite, and an image that is the
        same everywhere or nowhere above zero.

    """
    report = check_header(path)
    if report.errors:
        raise InputError(f'{path}: ' + '; '.join(report.errors))
    data = _read_data(open_nifti(path), report.zooms, path).reshape(report.shape)
    image = nb.Nifti1Image(data, report.affine, dtype=data.dtype)
    image.header.set_xyzt_units('mm')
    image.set_sform(report.affine, 1)
    image.set_qform(report.affine, 1)
    return image


def require_scan(image: nb.Nifti1Image, path: str | os.PathLike) -> None:
    """Raise where an image that should be a scan has two values alone: it is a mask under the name of one.

    Parameters
    ----------
    image
        As :func:`load_sane` returns it.
    path
        Its file, for the message.

    Raises
    ------
    InputError
        When it has.
    """
    data = np.asanyarray(image.dataobj)
    low, high = data.min(), data.max()
    if ((data == low) | (data == high)).all():
        raise InputError(f'{path}: every voxel is {low} or {high}: it is a mask, not a scan')


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


def type_errors(dtype: np.dtype) -> list[str]:
    """Return why voxels of a type are no intensities, in a few words; empty where they may be."""
    if dtype.fields:
        return ['holds colours (RGB), not intensities']
    if dtype.kind == 'c':
        return ['holds complex numbers: give the magnitude image']
    return []


def _intent_findings(header: nb.Nifti1Header) -> list[str]:
    """Say what else than intensities the header claims that the voxels are."""
    code = int(header['intent_code'])
    if code == 0:
        return []
    names = nb.nifti1.intent_codes
    name = names.label[code] if code in names.code else f'code {code}'
    return [f'its header says that the voxels are something else than intensities (intent: {name}); not so taken']


def _form(header: nb.Nifti1Header, name: str, unit_mm: float) -> tuple[np.ndarray | None, str]:
    """Return qform or sform in mm when its code is set, or None; and what is wrong with it."""
    if int(header[f'{name}_code']) <= 0:
        return None, ''
    try:
        affine = header.get_sform() if name == 'sform' else _handed(header).get_qform()
    except Exception as error:  # a quaternion that is none
        return None, f'its {name} cannot be decoded ({one_line(error)})'
    if not np.isfinite(affine).all():
        return None, f'its {name} holds numbers that are not finite'
    affine = np.diag([unit_mm] * 3 + [1.0]) @ affine
    zooms = nb.affines.voxel_sizes(affine)
    if name == 'qform' and not np.all(header['pixdim'][1:4] > 0):
        return None, 'its qform has voxels of size zero (pixdim)'
    if zooms.min() < 1e-4 or abs(np.linalg.det(affine[:3, :3])) < 1e-3 * zooms.prod():
        return None, f'its {name} is singular (voxels without volume)'
    return affine, ''


def _handed(header: nb.Nifti1Header) -> nb.Nifti1Header:
    """Return a header whose ``pixdim[0]`` is 1 where it was 0: so nifti1.h reads old files, which nibabel refuses."""
    if header['pixdim'][0]:
        return header
    copy = header.copy()
    copy['pixdim'][0] = 1
    return copy


def _choose_affine(
    header: nb.Nifti1Header, shape: tuple[int, ...], unit_mm: float
) -> tuple[np.ndarray | None, list[str], list[str]]:
    """Take the sform where its code is set, else the qform, as fMRIPrep and nibabel do."""
    sform, sform_fault = _form(header, 'sform', unit_mm)
    qform, qform_fault = _form(header, 'qform', unit_mm)
    if sform_fault:
        return None, [f'{sform_fault}: correct the header, for example by copying the qform, if that is good'], []
    if sform is None and qform is None:
        reason = qform_fault or 'it has neither a qform nor a sform (both codes are 0)'
        return None, [f'{reason}: where its voxels lie is not known; convert it again with dcm2niix'], []
    if sform is None:
        unsaid = 'its qform does not say its handedness (pixdim[0] is 0), which NIfTI takes for 1'
        return qform, [], [] if header['pixdim'][0] else [unsaid]
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


def _size_errors(report: HeaderReport) -> list[str]:
    longest = max(np.multiply(report.zooms, report.shape))
    if LONGEST_MM[0] <= longest <= LONGEST_MM[1]:
        return []
    return [f'is {longest:.3g} mm long, which no head is: correct the unit (xyzt_units) or the affine of its header']


def _geometry_findings(report: HeaderReport) -> list[str]:
    affine = typing.cast(np.ndarray, report.affine)
    size = ' x '.join(f'{zoom:.2f}' for zoom in report.zooms)
    findings = []
    if report.has_thick_slices:
        findings.append(f'thick slices ({size} mm): details between slices are not in the image')
    if min(report.zooms) < 0.2 or max(report.zooms) > 8:
        findings.append(f'unusual voxel size ({size} mm): are the units of the header right?')
    if report.is_slab:
        extent = min(np.multiply(report.zooms, report.shape))
        findings.append(f'a thin slab ({extent:.0f} mm): only part of the head is in the image')
    distance = np.linalg.norm(nb.affines.apply_affine(affine, (np.array(report.shape) - 1) / 2))
    if distance > 500:
        findings.append(f'its middle lies {distance:.0f} mm away from the origin of the scanner')
    return findings


def _read_data(opened: NiftiFile, spacing: Sequence[float], path: str | os.PathLike) -> np.ndarray:
    """Read the voxels, and the file to its end, and make sure that they are an image."""
    try:
        check_whole(path, opened)
    except UnreadableError as error:
        raise InputError(f'{path}: {error}') from error
    data = np.asanyarray(opened.dataobj)
    if data.dtype.kind not in 'iu' or data.dtype.itemsize > 4:
        data = _without_holes(_as_float32(data, path), spacing, path)
    if data.min() == data.max():
        raise InputError(f'{path}: every voxel is {data.flat[0]}: there is nothing to see in it')
    if data.max() <= 0:
        raise InputError(
            f'{path}: no voxel is above zero (from {data.min():g} to {data.max():g}): give the magnitude image, or '
            'correct the scale of its header (scl_slope)'
        )
    return data


def _as_float32(data: np.ndarray, path: str | os.PathLike) -> np.ndarray:
    finite = np.isfinite(data)
    if finite.any() and np.abs(data[finite]).max() > np.finfo(np.float32).max / 1e3:
        raise InputError(f'{path}: its values are too large for an image (up to {np.abs(data[finite]).max():.3g})')
    return data.astype(np.float32)


def _without_holes(data: np.ndarray, spacing: Sequence[float], path: str | os.PathLike) -> np.ndarray:
    """Give voxels of the air that are not finite the value 0; refuse such voxels of the head."""
    bad = ~np.isfinite(data)
    if not bad.any():
        return data
    inside = int((bad & head_of(data, spacing)).sum())
    if inside:
        raise InputError(
            f'{path}: {inside} voxel(s) in the head are NaN or infinite: convert or reconstruct it again, or replace '
            'them by what is around them'
        )
    return np.where(bad, np.float32(0), data)


def head_of(data: np.ndarray, spacing: Sequence[float] | np.ndarray) -> np.ndarray:
    """Return where the head (or the brain, where that is all) is, without holes: bool, of the image's shape.

    Voxels brighter than a tenth of the bright ones, gaps of two voxels closed, the largest region of them filled. Where
    the air in the corners of the image is brighter than that, the image is blurred and the air's brightness taken off;
    then a voxel of the head is also brighter than what is left of the air's noise. An image whose corners do not differ
    from the rest is all head.

    Parameters
    ----------
    data
        An image, (X, Y, Z) and maybe axes of one.
    spacing
        Size of its voxels, mm.
    """
    from scipy import ndimage

    volume = data.reshape(data.shape[:3])
    known = np.where(np.isfinite(volume), volume, 0)
    if not (known > 0).any():
        return np.zeros(data.shape, bool)
    level = _bright(known) / 10
    measured = known != 0
    if _air_of(known, measured)[1] > level:
        smooth = ndimage.gaussian_filter(known.astype(np.float32), AIR_BLUR_MM / np.asarray(spacing[:3]))
        middle, most = _air_of(smooth, measured)
        bright = _bright(smooth - middle)
        # else the corners are like all the rest: tissue up to the edges, or nothing but noise
        if bright > DISTINCT * (most - middle):
            known, level = smooth - middle, max(bright / 10, most - middle)
    padded = np.pad(known > level, 3)
    closed = ndimage.binary_closing(padded, iterations=2)[3:-3, 3:-3, 3:-3]
    labels, count = ndimage.label(closed)
    if count > 1:
        closed = labels == np.bincount(labels.ravel())[1:].argmax() + 1
    return ndimage.binary_fill_holes(closed).reshape(data.shape)


def _bright(values: np.ndarray) -> float:
    """Return how bright the bright voxels of an image are; 0 where none is above zero."""
    above = values[values > 0]
    return float(np.percentile(above, 98)) if above.size else 0.0


def _air_of(values: np.ndarray, measured: np.ndarray) -> tuple[float, float]:
    """Return the median and nearly the largest value of the air: of the second darkest corner, as heads fill some.

    Corners that were cut away, as faces are, say nothing of the air in the others.
    """
    ends = [(slice(0, n // 8 + 1), slice(n - n // 8 - 1, n)) for n in values.shape]
    corners = list(itertools.product(*ends))
    some = [corner for corner in corners if measured[corner].mean() > LEAST_MEASURED]
    if len(some) < 2:
        some, measured = corners, np.ones_like(measured)
    levels = [np.percentile(values[corner][measured[corner]], (50, 99.5)) for corner in some]
    middle, most = np.sort(levels, axis=0)[1]
    return float(middle), float(most)
