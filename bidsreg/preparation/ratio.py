"""The ratio of a T1w and a T2w, a map that goes with myelin (Glasser and Van Essen 2011)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import nibabel as nb
import numpy as np

from bidsreg.bids.images import load_image
from bidsreg.errors import InputError
from bidsreg.preparation.ants import new_image
from bidsreg.preparation.calibration import Scans, calibrate
from bidsreg.preparation.grids import require_same_grid
from bidsreg.preparation.tissue import CLASSES, tissue_classes
from bidsreg.registration.grid import Grid
from bidsreg.registration.image import Image

#: The least part of a brain that must have a ratio. By judgement: less is no map of it.
LEAST_COVER = 0.5
#: Values further above the upper quartile of the logarithms than this many of their interquartile ranges are outliers:
#: "far out" of Tukey (Exploratory Data Analysis, 1977).
FENCE = 3.0


@dataclass(frozen=True, eq=False)
class RatioMap:
    """A ratio with what was done to it.

    Attributes
    ----------
    values
        float32, (X, Y, Z); 0 outside of the brain and where there is no ratio.
    without
        The part of the brain's voxels that have none, because a scan is not above zero there.
    ceiling
        The value to which those above it were set.
    clamped
        The part of the brain's voxels that were.
    """

    values: np.ndarray
    without: float
    ceiling: float
    clamped: float


def ratio_map(t1w: np.ndarray, t2w: np.ndarray, inside: np.ndarray, *, of: str) -> RatioMap:
    """Divide a T1w by the T2w on its grid, inside the brain.

    Where the T2w is close to zero (vessels, air in the mask) the ratio means nothing and has no bound: values above
    the upper quartile of the logarithms by more than :data:`FENCE` interquartile ranges are set to that bound.

    Parameters
    ----------
    t1w, t2w
        Values, float, (X, Y, Z).
    inside
        bool: the brain.
    of
        The T1w's file, for the message.

    Raises
    ------
    InputError
        If the mask is empty, or fewer than :data:`LEAST_COVER` of its voxels are above zero in both scans.
    """
    if not inside.any():
        raise InputError(f'The brain mask of {of} is empty: there is nothing to take a ratio of.')
    seen = inside & np.isfinite(t1w) & np.isfinite(t2w) & (t1w > 0) & (t2w > 0)
    cover = float(seen.sum() / inside.sum())
    if cover < LEAST_COVER:
        raise InputError(
            f'No ratio of {of} and its T2w: both are above zero in {100 * cover:.0f} % of the brain only. '
            'Does the T2w cover the brain, and are its values magnitudes?'
        )
    logarithms = np.log(t1w[seen].astype(np.float64) / t2w[seen])
    quartiles = np.percentile(logarithms, (25, 75))
    fence = quartiles[1] + FENCE * (quartiles[1] - quartiles[0])
    values = np.zeros(inside.shape, np.float32)
    values[seen] = np.exp(np.minimum(logarithms, fence))
    return RatioMap(values, 1 - cover, float(np.exp(fence)), float((logarithms > fence).sum() / inside.sum()))


def tissue_medians(values: np.ndarray, classes: np.ndarray) -> dict[str, float | None]:
    """Return the median ratio in white and grey matter, over voxels that have one; ``None`` where none has.

    Parameters
    ----------
    values
        The ratio, 0 where there is none.
    classes
        Tissue classes on the same grid, numbered as :data:`~bidsreg.preparation.tissue.CLASSES` from 1.
    """
    medians: dict[str, float | None] = {}
    for name in ('white', 'grey'):
        chosen = values[(classes == 1 + CLASSES.index(name)) & (values > 0)]
        medians[name] = float(np.median(chosen)) if chosen.size else None
    return medians


def _classes_in_box(data: np.ndarray, inside: np.ndarray, affine: np.ndarray) -> np.ndarray:
    """Divide the brain into tissue classes; Atropos gets no more than the box around it."""
    where = np.nonzero(inside)
    starts, stops = np.array([axis.min() for axis in where]), np.array([axis.max() + 1 for axis in where])
    box = tuple(map(slice, starts, stops))
    classes = np.zeros(inside.shape, np.uint8)
    grid = Grid(inside.shape, affine).cropped(starts, stops)
    classes[box] = tissue_classes(Image(np.ascontiguousarray(data[box]), grid), inside[box]).data
    return classes


def _as_they_are(scans: Scans, *, of: str) -> tuple[np.ndarray, np.ndarray, dict[str, Any]]:
    """Leave the scans in the units of the scanner; ``of`` is for nobody."""
    return scans.t1w, scans.t2w, {}


#: The kinds of ratio by the names that ``--ratio`` takes: what is done to the scans before they are divided.
RATIOS: Mapping[str, Callable[..., tuple[np.ndarray, np.ndarray, dict[str, Any]]]] = {
    'uncalibrated': _as_they_are,
    'calibrated': calibrate,
}


def make_ratio(
    kind: str, t1w_path: str, t2w_path: str, mask_path: str, preproc_path: str
) -> tuple[nb.Nifti1Image, dict[str, Any]]:
    """Make the ratio of two scans on disk.

    Works in the current folder, where a calibration leaves files of ANTs.

    Parameters
    ----------
    kind
        A key of :data:`RATIOS`.
    t1w_path, t2w_path
        The two scans to divide, on the grid of the T1w: uncorrected for ``uncalibrated``, as what bias of the receiving
        coil they share cancels; corrected for ``calibrated``, as lines with an intercept would keep a part of it.
    mask_path
        The brain mask of the T1w.
    preproc_path
        The T1w without its bias field, in which tissue is told apart.

    Returns
    -------
    image
        The ratio on the grid of the T1w, float32.
    facts
        ``kind``, ``without``, ``clamped``, ``ceiling`` (:class:`RatioMap`), ``median`` (:func:`tissue_medians`), and
        what :func:`~bidsreg.preparation.calibration.calibrate` tells.

    Raises
    ------
    InputError
        As :func:`ratio_map` and :func:`~bidsreg.preparation.calibration.calibrate`; and where the grids differ.
    """
    t1w = load_image(t1w_path)
    others = [(path, load_image(path)) for path in (t2w_path, mask_path, preproc_path)]
    for path, image in others:
        require_same_grid(image, t1w, what='Image', path=path, of=t1w_path)
    t2w, mask, preproc = (np.asarray(image.dataobj, np.float32) for _, image in others)
    inside = mask > 0
    scans = Scans(np.asarray(t1w.dataobj, np.float32), t2w, inside, np.zeros(inside.shape, np.uint8), t1w.affine)
    ratio_map(scans.t1w, scans.t2w, inside, of=t1w_path)  # before work that takes long
    classes = _classes_in_box(preproc, inside, t1w.affine)
    above, below, facts = RATIOS[kind](replace(scans, classes=classes), of=t1w_path)
    # a line with an intercept makes a signal of none
    above, below = (np.where(scan > 0, made, 0) for scan, made in ((scans.t1w, above), (scans.t2w, below)))
    ratio = ratio_map(above, below, inside, of=t1w_path)
    known = {'kind': kind, 'without': ratio.without, 'clamped': ratio.clamped, 'ceiling': ratio.ceiling}
    return new_image(ratio.values, t1w), {**known, 'median': tissue_medians(ratio.values, classes), **facts}
