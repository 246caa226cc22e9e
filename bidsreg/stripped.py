"""Skull-stripped images: recognised by what is left around the brain, whoever asks, and the mask that lies in them."""

from __future__ import annotations

import numpy as np

#: Volumes (ml) between which the non-zero part of a stripped image must lie: wide bounds on a brain, to tell it from a
#: whole head and from a fragment.
PLAUSIBLE_BRAIN_ML = (300.0, 2100.0)
#: What is smaller than this part of the bright voxels is about zero: undershoot and ringing of interpolation, noise.
#: By judgement: above what those leave around the simulated heads of the tests; no stripped scan was in view.
ABOUT_ZERO = 0.03
#: Of all that is not zero, by size, a larger part lies below zero where the mean of a brain was taken off: half of it
#: does. By judgement: splines leave up to .02, around the simulated heads of the tests and of a real label map.
BELOW_ZERO = 0.1
#: The background of a stripped image is in the median smaller than this part of the bright voxels; a scan's air is not.
#: By judgement, between the simulated heads of the tests, stripped and not.
QUIET = 0.005
#: The largest part of a side of the box around a stripped image that tissue may cover. A brain is round, and covers up
#: to .03 of one with voxels of 1 to 2 mm (the six labelled pairs, the example head) and .10 with voxels of 4 mm; where
#: the field of view ended, at the neck or elsewhere, a head covers .22 to .46 (the example head, real sessions of two
#: patients), however wide a margin of zeros has been put around it since.
LARGEST_SIDE = 0.15

#: The largest part of the rays from the middle outward that may pass a layer less than half as bright as what lies on
#: both sides of it, within :data:`SHELL_MM` of the surface and after a blur of :data:`BLUR_MM`. Furrows make it .01 to
#: .37 of brains (as above), a skull .44 to .83 of real heads; .12 of the example head's T2w, whose scalp is dark.
LARGEST_SHELL = 0.4
SHELL_MM, BLUR_MM, RAYS = 40, 1.5, 600


def nonzero_mask(data: np.ndarray) -> np.ndarray:
    """Return the largest region of an image that is not about zero, its holes filled: bool, of the image's shape.

    What noise and interpolation leave around a brain that has been cut out counts as zero (:data:`ABOUT_ZERO`). Half of
    a brain is below zero, and not zero, once its mean has been taken off (:data:`BELOW_ZERO`).
    """
    from scipy import ndimage

    labels, count = ndimage.label(_not_zero(data))
    if count == 0:
        return np.zeros(data.shape, bool)
    largest = np.bincount(labels.ravel())[1:].argmax() + 1
    return ndimage.binary_fill_holes(labels == largest)


def stripped_already(data: np.ndarray, affine: np.ndarray) -> tuple[bool, str]:
    """Decide as :func:`stripped_brain` whether only the brain is left in an image, and say why."""
    brain, why = stripped_brain(data, affine)
    return brain is not None, why


def stripped_brain(data: np.ndarray, affine: np.ndarray) -> tuple[np.ndarray | None, str]:
    """Return the brain of an image in which nothing else is left, :func:`nonzero_mask`; else None; and say why.

    Four things must hold: at least a tenth of the voxels are about zero and quieter than the air of a scan; what is
    not zero is one region, which ends nowhere as a field of view does (a head has a neck; :data:`LARGEST_SIDE`); that
    region is as large as a brain and not as a head (:data:`PLAUSIBLE_BRAIN_ML`); and no skull lies in it
    (:data:`LARGEST_SHELL`), for heads of infants are as large as brains of adults.

    Parameters
    ----------
    data
        The image's values.
    affine
        4x4, voxel to world, mm.
    """
    bright, tissue = _brightness(data), _not_zero(data)
    if not tissue.any() or tissue.mean() > 0.9 or np.median(np.abs(data[~tissue])) > QUIET * bright:
        return None, 'as the background is not zero'
    region = nonzero_mask(data)
    side = _largest_side(region)
    if side > LARGEST_SIDE:
        return None, f'as what is not zero ends as a field of view does (flat over {100 * side:.0f} % of a side)'
    # by brightness: the lobes of ringing are many and dim
    if np.abs(data[region & tissue]).sum(dtype=float) < 0.95 * np.abs(data[tissue]).sum(dtype=float):
        return None, 'as what is not zero lies in several places'
    volume = region_ml(region, affine)
    low, high = PLAUSIBLE_BRAIN_ML
    if not low <= volume <= high:
        return None, f'as what is not zero has {volume:.0f} ml, which is no brain alone'
    if _shell(data, region, affine) > LARGEST_SHELL:
        return None, 'as a dark shell, a skull, lies in what is not zero'
    return region, f'as the image is stripped already (zero around one region of {volume:.0f} ml)'


def region_ml(region: np.ndarray, affine: np.ndarray) -> float:
    """Return the volume of a region of voxels, ml."""
    return float(region.sum() * abs(np.linalg.det(affine[:3, :3])) / 1000)


def _brightness(data: np.ndarray) -> float:
    """Return the size of what is bright in an image: of its non-zero voxels' values the 98th percentile."""
    size = np.abs(data[data != 0])
    return float(np.percentile(size, 98)) if size.size else 0.0


def _below_zero(data: np.ndarray) -> bool:
    """Tell whether values below zero are tissue, and not what interpolation leaves (:data:`BELOW_ZERO`)."""
    if not data.size or data.min() >= 0:
        return False
    size = np.abs(data)
    some = size > ABOUT_ZERO * _brightness(data)
    return bool(size[some & (data < 0)].sum(dtype=float) > BELOW_ZERO * size[some].sum(dtype=float))


def _not_zero(data: np.ndarray) -> np.ndarray:
    values = np.abs(data) if _below_zero(data) else data
    return np.asarray(values > ABOUT_ZERO * _brightness(data))


def _largest_side(region: np.ndarray) -> float:
    """Return the largest part of a side of the box around a region that the region covers."""
    where = np.nonzero(region)
    box = region[tuple(slice(axis.min(), axis.max() + 1) for axis in where)]
    return max(float(np.take(box, end, axis).mean()) for axis in range(box.ndim) for end in (0, -1))


def _shell(data: np.ndarray, region: np.ndarray, affine: np.ndarray) -> float:
    """Return which part of the rays from the middle of a region outward pass a dark layer near its surface."""
    from scipy import ndimage

    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    values = ndimage.gaussian_filter(np.where(region, np.abs(data), 0).clip(0, _brightness(data)), BLUR_MM / spacing)
    steps = np.arange(np.linalg.norm(spacing * data.shape))
    ways = np.linalg.inv(affine[:3, :3]) @ _directions(RAYS)
    at = np.array(ndimage.center_of_mass(region))[:, None, None] + ways[:, :, None] * steps
    along = ndimage.map_coordinates(values, at, order=1)
    surface = steps.size - 1 - (ndimage.map_coordinates(region.astype(np.uint8), at, order=0) > 0)[:, ::-1].argmax(1)
    # from the surface inwards
    shell = np.take_along_axis(along, np.maximum(surface[:, None] - np.arange(SHELL_MM), 0), 1)
    outside, inside = (np.maximum.accumulate(shell[:, ::way], 1)[:, ::way] for way in (1, -1))
    return float((np.minimum(outside, inside) > 2 * shell).any(1).mean())


def _directions(count: int) -> np.ndarray:
    """Return unit vectors spread evenly over a sphere (a Fibonacci lattice), shape (3, count)."""
    place = np.arange(count) + 0.5
    polar, around = np.arccos(1 - 2 * place / count), np.pi * (1 + np.sqrt(5)) * place
    return np.stack([np.cos(around) * np.sin(polar), np.sin(around) * np.sin(polar), np.cos(polar)])
