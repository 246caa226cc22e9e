"""The slices of the figures: where to cut a head, how to sample it, and which greys it gets.

Slices are cut along world axes and sampled at square pixels, so oblique, thick-slice and left-handed images look like
heads too; the images themselves are not touched.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import nibabel as nib
import numpy as np
from scipy import ndimage as ndi

from bidsreg.bids.images import load_image

COLUMNS = 7
"""Slices of each orientation."""
PIXEL = 0.8
"""Side of a pixel, mm."""
MARGIN = 14.0
"""What is shown around the brain, mm."""
MOST_POINTS = 100_000
"""Voxels of a mask, evenly drawn, from which its ends are taken: enough for a thousandth part of them."""

Source = str | os.PathLike | nib.spatialimages.SpatialImage
Rows = list[list[np.ndarray]]


@dataclass(frozen=True)
class Plane:
    """A slice: a grid of world points (rows run down, columns to the right) and the letters at its sides.

    Attributes
    ----------
    points : ndarray, shape (rows, columns, 3)
        World coordinates of the pixels, mm, RAS+.
    left, right : str
        Letters of the sides.
    place : str
        The place of the cut, e.g. ``'z = 12 mm'``.
    axes : tuple of 3 int
        World axes that are cut, that run across (to the left) and that run down.
    """

    points: np.ndarray
    left: str
    right: str
    place: str
    axes: tuple[int, int, int]

    def pixels(self, points: np.ndarray) -> np.ndarray:
        """Return column and row (pixel centres are whole numbers) of world points (..., 3), seen along the cut axis."""
        _, across, down = self.axes
        start = self.points[0, 0]
        return np.stack([start[across] - points[..., across], start[down] - points[..., down]], axis=-1) / PIXEL


#: Cut axis, axis across, axis down, letters: the right of the head is on the left, as radiologists look.
ORIENTATIONS = ((2, 0, 1, 'RL'), (1, 0, 2, 'RL'), (0, 1, 2, 'AP'))


def load(source: Source) -> nib.spatialimages.SpatialImage:
    """Open an image that is not open yet; axes of length 1 beyond the third are dropped."""
    image = source if isinstance(source, nib.spatialimages.SpatialImage) else load_image(source)
    return image if len(image.shape) == 3 else nib.funcs.squeeze_image(image)


def values(image: nib.spatialimages.SpatialImage) -> np.ndarray:
    """Return the voxels as float32, NaN as 0."""
    return np.nan_to_num(np.asanyarray(image.dataobj).astype(np.float32))


def foreground(image: nib.spatialimages.SpatialImage) -> np.ndarray:
    """Return the voxels that are not background (bool): a stand-in for a mask that is missing or empty."""
    data = np.abs(values(image))
    found = data > 0.25 * np.percentile(data, 98)
    return found if found.any() else np.ones(data.shape, bool)


def brain(mask: Source | None, image: nib.spatialimages.SpatialImage) -> nib.spatialimages.SpatialImage:
    """Return the mask that chooses the slices: the one given, or, where that is missing or empty, the foreground.

    It is in memory: whoever draws reads it several times.
    """
    if mask is not None:
        found = load(mask)
        data = np.asanyarray(found.dataobj)
        if np.nan_to_num(data).any():
            return nib.Nifti1Image(data, found.affine, dtype=data.dtype)
    return nib.Nifti1Image(foreground(image).astype(np.uint8), image.affine)


def _extent(image: nib.spatialimages.SpatialImage) -> tuple[np.ndarray, np.ndarray]:
    """Return the ends (mm, three world axes) of a mask's voxels, of the brightest ones where the image is none."""
    data = values(image)
    binary = data.any() and np.unique(data[:: max(1, data.shape[0] // 20)]).size <= 2
    found = np.flatnonzero(data > 0 if binary else foreground(image))
    some = found[:: max(1, found.size // MOST_POINTS)]
    points = nib.affines.apply_affine(image.affine, np.stack(np.unravel_index(some, data.shape), axis=-1))
    low, high = np.percentile(points, [0.1, 99.9], axis=0)
    return low, high


def _plane(orientation: tuple[int, int, int, str], place: float, first: np.ndarray, last: np.ndarray) -> Plane:
    """Lay a grid of pixels over the slice at a place (mm), between two world points."""
    cut, across, down, letters = orientation
    along = np.arange(last[across], first[across], -PIXEL)
    up = np.arange(last[down], first[down], -PIXEL)
    grid = np.empty((len(up), len(along), 3), np.float32)
    grid[..., cut] = place
    grid[..., across] = along[None, :]
    grid[..., down] = up[:, None]
    # + 0 turns -0 into 0
    return Plane(grid, letters[0], letters[1], f'{"xyz"[cut]} = {round(place) + 0} mm', (cut, across, down))


def choose_planes(mask: Source, columns: int = COLUMNS) -> list[list[Plane]]:
    """Choose rows of axial, coronal and sagittal slices through a mask.

    Parameters
    ----------
    mask : path or image
        The image to cut through: its nonzero voxels (its brightest ones if it is not binary, all if there are none).
    columns : int
        Slices of each orientation.

    Returns
    -------
    list of list of Plane
        Three rows of `columns` slices, spread over the middle nine tenths of the mask.
    """
    low, high = _extent(load(mask))
    rows = []
    for orientation in ORIENTATIONS:
        cut = orientation[0]
        start = low[cut] + (0.10 if cut == 2 else 0.06) * (high[cut] - low[cut])
        places = np.linspace(start, high[cut] - 0.06 * (high[cut] - low[cut]), columns)
        rows.append([_plane(orientation, place, low - MARGIN, high + MARGIN) for place in places])
    return rows


def planes_through(mask: Source, points: Sequence[np.ndarray]) -> list[list[Plane]]:
    """Lay a row of an axial, a coronal and a sagittal slice through each of some world points (mm).

    `mask` is as for :func:`choose_planes`; it says how far the slices reach.
    """
    low, high = _extent(load(mask))
    first, last = low - MARGIN, high + MARGIN
    return [
        [_plane(orientation, point[orientation[0]], first, last) for orientation in ORIENTATIONS] for point in points
    ]


def slices(image: nib.spatialimages.SpatialImage, planes: list[list[Plane]], matrix: np.ndarray | None = None) -> Rows:
    """Sample an image on every plane.

    Parameters
    ----------
    image : image
        3-D.
    planes : list of list of Plane
        The slices.
    matrix : ndarray, shape (4, 4), optional
        From the planes' world to the image's (mm, RAS+): an alignment that is looked at without resampling the image.

    Returns
    -------
    list of list of ndarray
        float32, linear; 0 outside the image.
    """
    data = values(image)
    to_voxel = np.linalg.inv(image.affine) @ (np.eye(4) if matrix is None else matrix)

    def cut(plane: Plane) -> np.ndarray:
        at = np.moveaxis(nib.affines.apply_affine(to_voxel, plane.points), -1, 0)
        return ndi.map_coordinates(data, at, order=1, cval=0.0)

    return [[cut(plane) for plane in row] for row in planes]


def flat(pictures: Rows, where: Rows | None = None) -> np.ndarray:
    """Return all pixels of all slices in one array, or only those where `where` is above one half."""
    if where is None:
        return np.concatenate([picture.ravel() for row in pictures for picture in row])
    pairs = [pair for rows in zip(pictures, where, strict=True) for pair in zip(*rows, strict=True)]
    return np.concatenate([picture[part > 0.5] for picture, part in pairs])


def mapped(function: Callable[..., Any], *rows: Rows) -> Rows:
    """Apply a function to the slices at the same place of one or several sets."""
    return [[function(*cuts) for cuts in zip(*line, strict=True)] for line in zip(*rows, strict=True)]


def greys(pictures: Rows, inside: Rows | None = None, window: tuple[float, float] | None = None) -> Rows:
    """Return slices as grey levels in [0, 1].

    Parameters
    ----------
    pictures : list of list of ndarray
        As :func:`slices` returns them.
    inside : list of list of ndarray, optional
        Brain mask on the same planes: what is in it chooses the greys, as the fat around it is often much brighter.
    window : tuple of 2 float, optional
        Intensities that become black and white. Default: robust limits of the brain, or of all that is not dark.
    """
    low, high = window or _window(pictures, inside)
    return mapped(lambda picture: np.clip((picture - low) / (high - low), 0, 1), pictures)


def _window(pictures: Rows, inside: Rows | None) -> tuple[float, float]:
    """Return robust limits of the intensities: of the brain, or, without one, of all that is not dark."""
    shown = flat(pictures)
    brain = shown[:0] if inside is None else flat(pictures, inside)
    bright = shown[shown > 0.05 * np.percentile(shown, 99)] if shown.any() else shown
    # where a scan lies apart from the mask, there is nothing of it inside
    chosen = brain if brain.size > 100 and (brain > 0).mean() > 0.5 else bright
    low, high = (0.0, 1.1 * float(np.percentile(chosen, 99))) if chosen.size else (0.0, 1.0)
    low = min(low, float(np.percentile(shown, 0.5)))
    return low, high if high > low else low + 1.0
