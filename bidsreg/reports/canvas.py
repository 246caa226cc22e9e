"""The drawing board of the figures: how slices become one SVG, with lines, labels and headings.

Sides are written into every picture. Colours are from the palette of Okabe and Ito, which colour-blind readers tell
apart; every bright line lies on a dark one, so that it is seen on any grey and in a print without colours. Rasters are
embedded as JPEG, outlines are vectors.
"""

from __future__ import annotations

import base64
import hashlib
import io
import math
import os
import typing
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import escape

import numpy as np

from bidsreg.registration.atomic import write_text
from bidsreg.reports.slicing import PIXEL, Plane, Rows

ORANGE, SKY, VERMILLION, BLUE = '#E69F00', '#56B4E9', '#D55E00', '#0072B2'
WIDTH = 1400  # of the picture, in its own units (about pixels)
TITLE = 28  # height of the line above each picture
FOOT = 26  # and of the line below it
GAP = 4.0  # between slices
STRIP = 18  # below each row of slices, for their places: on top of bone a minus is easily seen where there is none
BAR = 50.0  # mm, length of the scale bar
SIDES = 'R right of the person, L left, A front, P back'


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
