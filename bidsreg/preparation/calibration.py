"""Calibration of a T1w and a T2w: each is mapped linearly so that two points of the head take reference values."""

from __future__ import annotations

import functools
import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from importlib.resources import files
from typing import Any, ClassVar

import nibabel as nb
import numpy as np

from bidsreg.errors import InputError
from bidsreg.preparation.headfield import head_fields
from bidsreg.preparation.landmarks import SeenHead, find_eyes, find_muscle, to_template
from bidsreg.preparation.tissue import CLASSES

#: The least of the fluid inside the brain (ml), without the voxels at its rim, that gives a value.
CSF_ML = 0.3


class Unfit(StrEnum):
    """Why a calibration was passed over."""

    #: A point was not found in the head.
    NOT_FOUND = 'not found'
    #: The two points are not as bright as they should be, one against the other.
    ORDER = 'in the wrong order'


@dataclass(frozen=True, eq=False)
class Scans:
    """A T1w and a T2w on its grid, and what is known of the head.

    Parameters
    ----------
    t1w, t2w
        Values, float32, (X, Y, Z), best without their bias fields.
    inside
        bool: the brain.
    classes
        uint8: the tissue classes of the brain (:mod:`bidsreg.preparation.tissue`).
    affine
        Voxel to world, mm.
    """

    t1w: np.ndarray
    t2w: np.ndarray
    inside: np.ndarray
    classes: np.ndarray
    affine: np.ndarray


class Calibration(ABC):
    """Two points of a head by which scans are calibrated.

    Attributes
    ----------
    name
        The key in :data:`CALIBRATIONS`.
    points
        Names of the two points, keys of the reference.
    words
        The two as people read them.
    """

    name: ClassVar[str]
    points: ClassVar[tuple[str, str]]
    words: ClassVar[str]

    @abstractmethod
    def regions(self, scans: Scans) -> dict[str, np.ndarray]:
        """Return the voxels (bool) of each point; none where it was not found."""

    def levelled(self, scans: Scans, regions: Mapping[str, np.ndarray]) -> Scans:
        """Return the scans in which the points are as bright as they were in the field of the brain's white matter."""
        return scans


class Face(Calibration):
    """The fluid of the eyes, and the temporal muscles (Ganzetti et al. 2014)."""

    name = 'eyes-muscle'
    points = ('eyes', 'muscle')
    words = 'eyes and temporal muscles'

    def regions(self, scans: Scans) -> dict[str, np.ndarray]:
        """Find both where the template that the brain is aligned with says (:mod:`bidsreg.preparation.landmarks`)."""
        template = to_template(nb.Nifti1Image(scans.t1w, scans.affine), scans.inside)
        white = scans.classes == 1 + CLASSES.index('white')
        head = SeenHead(scans.t1w, scans.t2w, scans.inside, white, scans.affine, template)
        return {'eyes': find_eyes(head), 'muscle': find_muscle(head)}

    def levelled(self, scans: Scans, regions: Mapping[str, np.ndarray]) -> Scans:
        """Take what is left of the fields out of both points (:mod:`bidsreg.preparation.headfield`)."""
        found = [regions[point] for point in self.points]
        fields = head_fields((scans.t1w, scans.t2w), scans.classes, scans.inside, found, scans.affine)
        at = np.logical_or(*found)
        factors = np.exp(-fields.at(nb.affines.apply_affine(scans.affine, np.argwhere(at))))
        t1w, t2w = scans.t1w.copy(), scans.t2w.copy()
        t1w[at] *= factors[:, 0]
        t2w[at] *= factors[:, 1]
        return replace(scans, t1w=t1w, t2w=t2w)


class Tissue(Calibration):
    """Cerebrospinal fluid and grey matter inside the brain, for heads without a face."""

    name = 'csf-grey'
    points = ('csf', 'grey')
    words = 'cerebrospinal fluid and grey matter'

    def regions(self, scans: Scans) -> dict[str, np.ndarray]:
        """Take both from the tissue classes; of the fluid the voxels that fluid alone surrounds."""
        from scipy import ndimage

        csf = ndimage.binary_erosion(scans.classes == 1 + CLASSES.index('csf'))
        enough = csf.sum() * abs(np.linalg.det(scans.affine[:3, :3])) / 1000 >= CSF_ML
        return {'csf': csf & enough, 'grey': scans.classes == 1 + CLASSES.index('grey')}


#: The calibrations, the first that fits is taken.
CALIBRATIONS: Mapping[str, Calibration] = {one.name: one for one in (Face(), Tissue())}


@functools.cache
def reference() -> dict[str, Any]:
    """Read the reference: ``Values`` of each point in a T1w and a T2w, and their ``Source``."""
    content: dict[str, Any] = json.loads(
        files('bidsreg.preparation').joinpath('ratio_reference.json').read_text(encoding='utf-8')
    )
    return content


def values_at(scans: Scans, region: np.ndarray) -> dict[str, float] | None:
    """Return the medians of T1w and T2w over a region where both are above zero, or ``None`` where neither is."""
    seen = region & (scans.t1w > 0) & (scans.t2w > 0)
    if not seen.any():
        return None
    return {'T1w': float(np.median(scans.t1w[seen])), 'T2w': float(np.median(scans.t2w[seen]))}


def calibrate(
    scans: Scans, *, of: str, among: Mapping[str, Calibration] = CALIBRATIONS
) -> tuple[np.ndarray, np.ndarray, dict[str, Any]]:
    """Calibrate a T1w and a T2w by the first calibration that fits.

    Each scan is mapped by the line through (value found, reference value) of the two points: the linear calibration of
    Ganzetti et al. 2014 (Front Hum Neurosci 8:671). Gains and offsets of a scanner fall out.

    Parameters
    ----------
    scans
        The two scans.
    of
        The T1w's file, for the message.
    among
        The calibrations to try, in this order.

    Returns
    -------
    t1w, t2w
        The calibrated values, float32.
    facts
        ``calibration`` (a key of :data:`CALIBRATIONS`), ``points`` (the values read, for each point and scan),
        ``reference`` (those that they take) and ``reference_source``, ``lines`` (slope and intercept for each scan),
        ``passed_over`` (for each calibration that did not fit its cause).

    Raises
    ------
    InputError
        If none fits.
    """
    passed_over: dict[str, str] = {}
    for name, calibration in among.items():
        regions = calibration.regions(scans)
        if any(values_at(scans, regions[point]) is None for point in calibration.points):
            passed_over[name] = Unfit.NOT_FOUND
            continue
        levelled = calibration.levelled(scans, regions)
        read = ((point, values_at(levelled, regions[point])) for point in calibration.points)
        points = {point: values for point, values in read if values is not None}
        goal = {point: reference()['Values'][point] for point in calibration.points}
        lines = {
            scan: _line(*((points[point][scan], goal[point][scan]) for point in points)) for scan in ('T1w', 'T2w')
        }
        if min(slope for slope, _ in lines.values()) <= 0:
            passed_over[name] = Unfit.ORDER
            continue
        t1w, t2w = (
            (slope * data + intercept).astype(np.float32)
            for data, (slope, intercept) in zip((scans.t1w, scans.t2w), lines.values(), strict=True)
        )
        facts = {
            'calibration': name,
            'points': points,
            'reference': goal,
            'reference_source': reference()['Source'],
            'lines': {scan: {'slope': line[0], 'intercept': line[1]} for scan, line in lines.items()},
            'passed_over': passed_over,
        }
        return t1w, t2w, facts
    why = '; '.join(f'{among[name].words} are {cause}' for name, cause in passed_over.items())
    raise InputError(
        f'{of} and its T2w cannot be calibrated: {why}. Are they a T1w and a T2w of one head? '
        '--ratio uncalibrated needs no such points.'
    )


def _line(one: tuple[float, float], other: tuple[float, float]) -> tuple[float, float]:
    """Return slope and intercept of the line through two points (x, y); slope 0 where they share their x."""
    slope = (one[1] - other[1]) / (one[0] - other[0]) if one[0] != other[0] else 0.0
    return slope, one[1] - slope * one[0]
