"""Evidence about a brain mask that does not come from the mask: the head around it, and what lies inside and outside.

Everything is measured on copies with voxels of about :data:`~bidsreg.qc.symmetry.COARSE_MM`.
"""

from __future__ import annotations

from typing import Any

import nibabel as nb
import numpy as np
from nibabel.affines import apply_affine
from scipy import ndimage as ndi

from bidsreg.frame import sizes
from bidsreg.qc.symmetry import CoarseHead, Midplane, thinned

CORE_MM = 8.0
"""Depth under the mask's surface from which on the mask's tissues are learnt."""
RING_MM = (2.0, 8.0)
"""Distances from the mask between which what lies around it is compared with them."""
DEEP_MM, RIM_MM = 15.0, (2.0, 10.0)
"""Depths from which on a brain is mostly white matter, and between which it is mostly cortex."""
FINE_MM = 2.0
"""Voxels of the copies in which tissues are looked at that are thinner than those of :data:`COARSE_MM`: bone, fluid."""
DARK, DARK_MM = 0.3, 6.0
"""Share of the brain's median in a T2w below which nothing of a brain is, but bone, air and muscle; and the depth under
the mask's surface from which on they are looked for: masks that are some mm wider than the brain hold bone above it."""
TOUCH_MM = 3.0
"""A ball of tissue touches a mask where no more lies between them."""
BOX_MM, MOSTLY = 15.0, 0.7
"""A place is brain where this share of the box around it, as wide as that, has the grey levels of the core: edges
within the brain have others."""
BEYOND_MM = 10.0
"""From how far outside of a mask on another one has a piece that it lacks: edges differ by less."""
TISSUE_MM, BRIGHT, AROUND_MM = 5.0, 0.55, 15.0
"""Depth from which on, and brightness in the T1w by its 90th percentile in the brain above which, there is no fluid;
and the standard deviation of the Gaussian mean that voxels are compared with: what a coil does to both is gone."""
LEAST_VOXELS = 100
"""A core of fewer says nothing about grey levels."""
LARGEST_BELOW_ZERO = 0.1
"""Where a larger share of a brain is below zero its mean was taken off, and nothing in it is dark or bright. As for the
bias field."""
LEVELS, LIKE = 12, 0.9
"""Grey levels of each scan; and the share of the core that is in the pairs of levels that count as the brain's."""


def counts_from_zero(brain: np.ndarray) -> bool:
    """Tell whether the intensities of a brain are measured from zero, and not from their mean."""
    return bool((brain < 0).mean() <= LARGEST_BELOW_ZERO)


def mask_evidence(
    fixed: nb.Nifti1Image,
    mask: nb.Nifti1Image,
    warped: nb.Nifti1Image,
    head: CoarseHead,
    plane: Midplane,
    second: nb.Nifti1Image | None = None,
) -> dict[str, Any]:
    """Measure whether a mask can be that of the brain.

    Parameters
    ----------
    fixed, mask, warped
        The T1w, its brain mask and the registered T2w, on one grid.
    head, plane
        The head in the T1w, and the plane between its halves.
    second
        The mask that is found without this one, on the same grid.

    Returns
    -------
    dict
        ``both_halves``, the share of the mask whose mirror image lies in it; ``width_share``, its width, at its middle,
        by that of the head; ``on_grid_edge``, the share of its surface that lies on the border of the grid;
        ``brain_around``, the share of what lies around it (:data:`RING_MM`) that has the grey levels of its core in
        both scans, None where there is no core; ``second_dice``, Dice of the two masks, and ``second_beyond``
        (:func:`beyond`), None without a second. All in [0, 1], but for the width.
    """
    inside = np.asanyarray(mask.dataobj) > 0
    return {
        'both_halves': _both_halves(mask, plane),
        'width_share': _width_share(mask, head, plane),
        'on_grid_edge': _on_grid_edge(inside),
        'brain_around': _brain_around(fixed, mask, warped),
        **({'second_dice': None, 'second_beyond': None} if second is None else compare_masks(mask, second)),
    }


def compare_masks(mask: nb.Nifti1Image, second: nb.Nifti1Image) -> dict[str, float]:
    """Return ``second_dice`` (:func:`dice`) and ``second_beyond`` (:func:`beyond`) of two masks on one grid."""
    one, other = (np.asanyarray(image.dataobj) > 0 for image in (mask, second))
    return {'second_dice': dice(one, other), 'second_beyond': beyond(mask, second)}


def dice(one: np.ndarray, other: np.ndarray) -> float:
    """Return Dice of two masks (bool) on one grid; 0 where both are empty."""
    return round(float(2 * (one & other).sum() / max(one.sum() + other.sum(), 1)), 5)


def beyond(one: nb.Nifti1Image, other: nb.Nifti1Image) -> float:
    """Return the share of two masks together that lies more than :data:`BEYOND_MM` outside of one of them.

    Two ways to find a brain differ by some mm everywhere, which costs Dice; a piece that one of them lacks may cost
    less, but goes deep.
    """
    coarse = [np.asarray(thinned(mask).dataobj) > 0.5 for mask in (one, other)]
    spacing = sizes(thinned(one).affine)
    if not all(inside.any() for inside in coarse):
        return 1.0
    far = [ndi.distance_transform_edt(~inside, spacing) > BEYOND_MM for inside in coarse]
    apart = (coarse[0] & far[1]) | (coarse[1] & far[0])
    return round(float(apart.sum() / (coarse[0] | coarse[1]).sum()), 5)


def mask_tissues(
    fixed: nb.Nifti1Image,
    mask: nb.Nifti1Image,
    warped: nb.Nifti1Image,
    moving: nb.Nifti1Image,
    matrix: np.ndarray,
    t2w_is_fixed: bool = False,
) -> dict[str, float | None]:
    """Look whether a mask holds what a T2w shows not to be brain, and whether brain goes on beside it.

    No other mask is asked: it is evidence about a mask of a network as well as about one of the user. Measured on
    copies with voxels of about :data:`FINE_MM`, in the view of the moving scan.

    Parameters
    ----------
    fixed, mask, warped
        The fixed scan, its brain mask and the registered moving scan, on one grid.
    moving, matrix
        The moving scan on its own grid, and the 4x4 from the fixed world to its world (mm, RAS+).
    t2w_is_fixed
        Which of the two is the T2w.

    Returns
    -------
    dict
        ``dark_inside``, the share of the mask that lies deeper than :data:`DARK_MM` in it and is darker in the T2w than
        :data:`DARK` of the median of its core; ``beside_mm``, the radius of the largest ball outside of it that touches
        it (:data:`TOUCH_MM`), lies above its middle, since the neck is no brain, and has mostly the core's grey levels
        in both scans (:data:`MOSTLY`), 0 where there is none. None where the mask has no core, and ``dark_inside`` also
        where the T2w does not count from zero.
    """
    coarse = thinned(mask, FINE_MM)
    inside, spacing = np.asarray(coarse.dataobj) > 0.5, sizes(coarse.affine)
    depth = _depth(inside, spacing)
    places = apply_affine(coarse.affine, np.moveaxis(np.indices(inside.shape), 0, -1))
    voxels = apply_affine(np.linalg.inv(moving.affine) @ matrix, places)
    seen = ((voxels >= 0) & (voxels <= np.array(moving.shape[:3]) - 1)).all(-1)
    core = (depth > CORE_MM) & seen
    if core.sum() < LEAST_VOXELS:
        return {'dark_inside': None, 'beside_mm': None}
    scans = [np.asarray(thinned(one, FINE_MM).dataobj) for one in (fixed, warped)]
    t2w = scans[0 if t2w_is_fixed else 1]
    dark = (t2w < DARK * np.median(t2w[core])) & (depth > DARK_MM) & seen
    box = [2 * max(round((BOX_MM / step - 1) / 2), 1) + 1 for step in spacing]
    outside = (ndi.uniform_filter(_like_core(scans, core).astype(np.float32), box) > MOSTLY) & ~inside & seen
    ball = _depth(outside, spacing)
    touches = outside & (ball >= ndi.distance_transform_edt(~inside, spacing) - TOUCH_MM)
    beside = ball[touches & (places[..., 2] > places[..., 2][inside].mean())]
    return {
        'dark_inside': round(float(dark.sum() / (inside & seen).sum()), 5) if counts_from_zero(t2w[core]) else None,
        'beside_mm': round(float(beside.max(initial=0)), 2),
    }


def depth_contrast(fixed: nb.Nifti1Image, mask: nb.Nifti1Image, warped: nb.Nifti1Image) -> float | None:
    """Compare how much brighter the depth of the brain is than its rim, in the T1w and in the T2w.

    Returns
    -------
    float or None
        Logarithm of the ratio of the two ratios of medians: above 0 for a T1w and a T2w, in which white matter is
        bright and dark; what a bias field does to both cancels. None where a part is missing or not bright at
        all, or a scan does not count from zero.
    """
    depth = _depth(np.asarray(thinned(mask).dataobj) > 0.5, sizes(thinned(mask).affine))
    parts = depth > DEEP_MM, (depth > RIM_MM[0]) & (depth <= RIM_MM[1])
    if min(part.sum() for part in parts) < LEAST_VOXELS:
        return None
    values = [np.asarray(thinned(one).dataobj) for one in (fixed, warped)]
    medians = np.array([[np.median(one[part]) for part in parts] for one in values])
    if medians.min() <= 0 or not all(counts_from_zero(one[parts[0] | parts[1]]) for one in values):
        return None
    (deep, rim), (deep2, rim2) = np.log(medians)
    return round(float(deep - rim - deep2 + rim2), 5)


def tissue_contrast(t1w: nb.Nifti1Image, mask: nb.Nifti1Image, other: nb.Nifti1Image) -> float | None:
    """Correlate the intensities of a T1w and another scan in grey and white matter, each by its mean around the voxel.

    White matter is brighter than grey matter in a T1w alone; a FLAIR, in which fluid is dark as well, is like a T1w
    elsewhere only.

    Parameters
    ----------
    t1w, mask, other
        The T1w, a brain mask and the other scan, on one grid.

    Returns
    -------
    float or None
        Pearson's correlation, values beyond 1 and 99 % clipped; None where there is too little tissue, or one of the
        scans is constant in it or does not count from zero.
    """
    coarse, spacing = np.asarray(thinned(mask).dataobj) > 0.5, sizes(thinned(mask).affine)
    values = [np.asarray(thinned(one).dataobj) for one in (t1w, other)]
    deep = _depth(coarse, spacing) > TISSUE_MM
    if deep.sum() < LEAST_VOXELS or not all(counts_from_zero(one[deep]) for one in values):
        return None
    tissue = deep & (values[0] > BRIGHT * np.percentile(values[0][coarse], 90))
    if tissue.sum() < LEAST_VOXELS:
        return None
    first, second = (_beside_its_mean(one, tissue, spacing) for one in values)
    if min(first.std(), second.std()) < 1e-6:
        return None
    return round(float(np.corrcoef(first, second)[0, 1]), 5)


def _beside_its_mean(values: np.ndarray, tissue: np.ndarray, spacing: np.ndarray) -> np.ndarray:
    """Return the voxels of a tissue relative to the mean of the tissue around each, outliers clipped."""
    clipped = np.clip(values, *np.percentile(values[tissue], (1, 99))) * tissue
    sums = [ndi.gaussian_filter(one, AROUND_MM / spacing)[tissue] for one in (clipped, tissue.astype(np.float32))]
    return clipped[tissue] / np.maximum(sums[0] / sums[1], 1e-6 * max(float(clipped.max()), 1e-9)) - 1


def _depth(inside: np.ndarray, spacing: np.ndarray) -> np.ndarray:
    """Return how deep (mm) voxels lie in a mask, beyond whose grid nothing is; 0 outside."""
    return ndi.distance_transform_edt(np.pad(inside, 1), spacing)[1:-1, 1:-1, 1:-1]


def _both_halves(mask: nb.Nifti1Image, plane: Midplane) -> float:
    inside = np.asanyarray(mask.dataobj) > 0
    points = np.argwhere(inside)
    there = np.linalg.inv(mask.affine) @ plane.mirror() @ mask.affine
    values = ndi.map_coordinates(inside.astype(np.uint8), apply_affine(there, points).T, order=0, mode='constant')
    return round(float(values.mean()), 5)


def _width_share(mask: nb.Nifti1Image, head: CoarseHead, plane: Midplane) -> float | None:
    """Return the width of a mask by that of the head, in a beam across the plane through the middle of the mask."""
    points = apply_affine(mask.affine, np.argwhere(np.asanyarray(mask.dataobj) > 0))
    middle = points.mean(0)

    def beam(places: np.ndarray) -> np.ndarray:
        away = places - middle
        along = away @ plane.normal
        return along[np.linalg.norm(away - np.outer(along, plane.normal), axis=1) < 25]

    brain, whole = beam(points), beam(head.points)
    if len(brain) < 10 or len(whole) < 10:
        return None
    return round(float(np.ptp(np.percentile(brain, (0.5, 99.5))) / np.ptp(np.percentile(whole, (0.5, 99.5)))), 5)


def _on_grid_edge(inside: np.ndarray) -> float:
    surface = inside & ~ndi.binary_erosion(inside)
    edge = np.ones(inside.shape, bool)
    edge[1:-1, 1:-1, 1:-1] = False
    return round(float((surface & edge).sum() / max(surface.sum(), 1)), 5)


def _brain_around(fixed: nb.Nifti1Image, mask: nb.Nifti1Image, warped: nb.Nifti1Image) -> float | None:
    coarse = thinned(mask)
    inside = np.asarray(coarse.dataobj) > 0.5
    spacing = sizes(coarse.affine)
    core = _depth(inside, spacing) > CORE_MM
    away = ndi.distance_transform_edt(~inside, spacing)
    ring = (away > RING_MM[0]) & (away <= RING_MM[1])
    if core.sum() < LEAST_VOXELS or not ring.any():
        return None
    alike = _like_core([np.asarray(thinned(one).dataobj) for one in (fixed, warped)], core)
    return round(float(alike[ring].mean()), 5)


def _like_core(images: list[np.ndarray], core: np.ndarray) -> np.ndarray:
    """Return where two images have a pair of grey levels that is one of the core's usual ones."""
    pairs = np.zeros(core.shape, int)
    for values in images:
        low, high = np.percentile(values[core], (1, 99))
        level = np.floor((values - low) / max(high - low, 1e-9) * LEVELS).astype(int) + 1  # 0, and the last: beyond
        pairs = pairs * (LEVELS + 2) + level.clip(0, LEVELS + 1)
    counts = np.bincount(pairs[core], minlength=(LEVELS + 2) ** 2)
    usual = np.argsort(-counts)
    enough = int(np.searchsorted(np.cumsum(counts[usual]), LIKE * core.sum())) + 1
    return np.isin(pairs, usual[:enough])
