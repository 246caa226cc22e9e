"""The drawing board of the figures: where to cut a head, how to sample it, and how slices become one SVG.

Slices are cut along world axes and sampled at square pixels, so oblique, thick-slice and left-handed images look like
heads too; the images themselves are not touched. Sides are written into every picture. Colours are from the palette of
Okabe and Ito, which colour-blind readers tell apart; every bright line lies on a dark one, so that it is seen on any
grey and in a print without colours. Rasters are embedded as JPEG, outlines are vectors.
"""

from __future__ import annotations

import base64
import hashlib
import io
import math
import os
import typing
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import nibabel as nib
import numpy as np
from scipy import ndimage as ndi

from bidsreg.bids.images import load_image
from bidsreg.registration.atomic import write_text

ORANGE, SKY, VERMILLION, BLUE = '#E69F00', '#56B4E9', '#D55E00', '#0072B2'
COLUMNS = 7
PIXEL = 0.8  # mm
MARGIN = 14.0  # mm shown around the brain
WIDTH = 1400  # of the picture, in its own units (about pixels)
TITLE = 28  # height of the line above each picture
FOOT = 26  # and of the line below it
GAP = 4.0  # between slices
STRIP = 18  # below each row of slices, for their places: on top of bone a minus is easily seen where there is none
BAR = 50.0  # mm, length of the scale bar
SIDES = 'R right of the person, L left, A front, P back'

Source = str | os.PathLike | nib.spatialimages.SpatialImage
Rows = list[list[np.ndarray]]


# ------------------------------------------------------------------------------------------------- where to cut
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
    """Return the mask that chooses the slices: the one given, or, where that is missing or empty, the foreground."""
    found = None if mask is None else load(mask)
    if found is None or not values(found).any():
        return nib.Nifti1Image(foreground(image).astype(np.uint8), image.affine)
    return found


def _inside(image: nib.spatialimages.SpatialImage) -> np.ndarray:
    """Return world points (N, 3) of a mask's voxels, of the brightest ones where the image is none."""
    data = values(image)
    binary = data.any() and np.unique(data[:: max(1, data.shape[0] // 20)]).size <= 2
    return nib.affines.apply_affine(image.affine, np.argwhere(data > 0 if binary else foreground(image)))


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
    low, high = np.percentile(_inside(load(mask)), [0.1, 99.9], axis=0)
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
    low, high = np.percentile(_inside(load(mask)), [0.1, 99.9], axis=0)
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


# ------------------------------------------------------------------------------------------------- from slices to SVG
@dataclass(frozen=True)
class Layout:
    """A layout: where each slice goes on the picture, in its own units.

    Attributes
    ----------
    scale : float
        Picture units per pixel.
    corners : list of list of (float, float)
        Left and top of each slice.
    bottom : float
        Height at which the slices end.
    """

    scale: float
    corners: list[list[tuple[float, float]]]
    bottom: float

    @classmethod
    def of(cls, planes: list[list[Plane]]) -> Layout:
        """Lay rows of slices out over the whole width."""
        widest = max(sum(plane.points.shape[1] for plane in row) for row in planes)
        scale = (WIDTH - GAP * (len(planes[0]) + 1)) / widest
        corners, top = [], float(TITLE)
        for row in planes:
            used = sum(plane.points.shape[1] * scale for plane in row)
            space = (WIDTH - used) / (len(row) + 1)
            left, line = space, []
            for plane in row:
                line.append((left, top))
                left += plane.points.shape[1] * scale + space
            corners.append(line)
            top += max(plane.points.shape[0] for plane in row) * scale + STRIP + GAP
        return cls(scale, corners, top)

    def corner(self, row: int, column: int) -> np.ndarray:
        """Return where the middle of a slice's first pixel is (x, y), picture units; rasters lie on whole pixels."""
        left, top = self.corners[row][column]
        x, y = round(left / self.scale) + 0.5, round((top - TITLE) / self.scale) + 0.5
        return np.array([x * self.scale, TITLE + y * self.scale])


def raster(pictures: Rows, layout: Layout) -> str:
    """Draw all slices as one JPEG in an <image> element.

    Parameters
    ----------
    pictures : list of list of ndarray
        In [0, 1]: grey (rows, columns), or colours (rows, columns, 3).
    layout : Layout
        Their places.
    """
    from PIL import Image

    shape = (math.ceil((layout.bottom - TITLE) / layout.scale), math.ceil(WIDTH / layout.scale))
    canvas = np.zeros((*shape, *pictures[0][0].shape[2:]), np.uint8)
    for row, line in zip(pictures, layout.corners, strict=True):
        for picture, (left, top) in zip(row, line, strict=True):
            y, x = round((top - TITLE) / layout.scale), round(left / layout.scale)
            target = canvas[y : y + picture.shape[0], x : x + picture.shape[1]]
            target[:] = np.round(picture[: target.shape[0], : target.shape[1]] * 255).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(canvas).save(buffer, 'JPEG', quality=82, optimize=True)
    code = base64.b64encode(buffer.getvalue()).decode()
    return (
        f'<image x="0" y="{TITLE}" width="{canvas.shape[1] * layout.scale:.1f}" '
        f'height="{canvas.shape[0] * layout.scale:.1f}" preserveAspectRatio="none" '
        f'href="data:image/jpeg;base64,{code}"/>'
    )


def path_data(points: np.ndarray) -> str:
    """Return a line through points (N, 2) in picture units as the ``d`` of a path, to a tenth of a unit."""
    kept = np.round(points * 10).astype(int)
    move = f'M{kept[0, 0] / 10:g} {kept[0, 1] / 10:g}l'
    return move + ' '.join(f'{x / 10:g} {y / 10:g}' for x, y in np.diff(kept, axis=0))


def line_art(paths: Sequence[str], colour: str, width: float) -> str:
    """Draw lines in a colour, each on a wider dark one that sets it off from what is below.

    Parameters
    ----------
    paths : sequence of str
        As :func:`path_data` returns them.
    colour : str
        Colour of the lines.
    width : float
        Width of the lines, picture units.
    """
    if not paths:
        return ''
    data = ''.join(paths)
    name = f'p{hashlib.sha256(data.encode()).hexdigest()[:10]}'  # several pictures may come to lie in one page
    return (
        f'<defs><path id="{name}" d="{data}" fill="none"/></defs>'
        f'<use href="#{name}" stroke="#000" stroke-opacity="0.55" stroke-width="{width + 1.6:g}"/>'
        f'<use href="#{name}" stroke="{colour}" stroke-width="{width:g}"/>'
    )


def outline(pictures: Rows, level: float, layout: Layout, colour: str, width: float = 1.2, least: int = 8) -> str:
    """Draw iso-lines of the slices at a level; lines of fewer than `least` points are left out."""
    from contourpy import contour_generator

    parts = []
    for place, row in enumerate(pictures):
        for column, picture in enumerate(row):
            # lines are arrays of points unless another type of line is asked for
            lines = typing.cast(list[np.ndarray], contour_generator(z=picture).lines(level))
            for points in lines:
                if len(points) >= least:
                    thinned = np.append(points[:-1:2], points[-1:], axis=0)
                    parts.append(path_data(layout.corner(place, column) + thinned * layout.scale))
    return line_art(parts, colour, width)


def escape_xml(text: str) -> str:
    """Return a text that is safe in the elements and attributes of SVG."""
    return escape(text, {'"': '&quot;'})


def labels(planes: list[list[Plane]], layout: Layout, legend: str = SIDES) -> str:
    """Write side letters on every slice, its place in mm, a scale bar, and the line below that explains them."""
    parts = ['<g font-size="15" fill="#fff" stroke="#000" stroke-width="3" paint-order="stroke">']
    for row, line in zip(planes, layout.corners, strict=True):
        for plane, (left, top) in zip(row, line, strict=True):
            height, width = (n * layout.scale for n in plane.points.shape[:2])
            parts += [
                f'<text x="{left + 3:.0f}" y="{top + 15:.0f}">{plane.left}</text>',
                f'<text x="{left + width - 3:.0f}" y="{top + 15:.0f}" text-anchor="end">{plane.right}</text>',
                f'<text x="{left + width / 2:.0f}" y="{top + height + 14:.0f}" text-anchor="middle" '
                f'font-size="13">{plane.place}</text>',
            ]
    y, length = layout.bottom + 12, BAR / PIXEL * layout.scale
    parts += [
        f'<path d="M10 {y - 5:.1f}v8m0 -4h{length:.1f}m0 -4v8" stroke="#fff" stroke-width="2" fill="none"/>',
        f'<text x="{length + 18:.0f}" y="{y + 4:.0f}" font-size="14">{BAR:g} mm</text>',
        f'<text x="{WIDTH - 10}" y="{y + 4:.0f}" font-size="14" text-anchor="end">{escape_xml(legend)}</text>',
    ]
    return '\n'.join([*parts, '</g>'])


def heading(text: str, colour: str = '#fff', x: float = 10, anchor: str = 'start') -> str:
    """Write a word in the line above the slices."""
    return f'<text x="{x:.0f}" y="20" font-size="16" fill="{colour}" text-anchor="{anchor}">{escape_xml(text)}</text>'


def write_svg(out: str | os.PathLike, height: float, body: Sequence[str], title: str, style: str = '') -> Path:
    """Write a picture by an atomic write.

    Parameters
    ----------
    out : path
        SVG to write.
    height : float
        Height of the picture, in its own units.
    body : sequence of str
        Elements of the picture.
    title : str
        A description for those who cannot see it.
    style : str
        CSS of the picture.

    Returns
    -------
    Path
        `out`, absolute.
    """
    text = '\n'.join(
        [
            # nireports rewrites the first line when it has a width or height: it has none.
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0f}" role="img" '
            f'aria-label="{escape_xml(title)}" preserveAspectRatio="xMidYMid meet" '
            'font-family="DejaVu Sans, Arial, Helvetica, sans-serif">',
            f'<style>{style}</style>' if style else '',
            f'<rect width="{WIDTH}" height="{height:.0f}" fill="#000"/>',
            *body,
            '</svg>',
            '',
        ]
    )
    return write_text(Path(out).absolute(), text)
