"""Pictures of a registration: plain functions, files in, one SVG out.

Every picture of a brain shows axial, coronal and sagittal slices of the same places, cut along world axes and sampled
at square pixels, so oblique, thick-slice and left-handed images look like heads too; the images themselves are not
touched. Radiological convention is not assumed: R and L are written into the picture. Colours are from the palette of
Okabe and Ito, which colour-blind readers tell apart. Rasters are embedded as JPEG, outlines are vectors.
"""

from __future__ import annotations

import base64
import io
import itertools
import json
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from scipy import ndimage as ndi

from bidsreg.reports.whole import write_whole

ORANGE, SKY, VERMILLION, BLUE = '#E69F00', '#56B4E9', '#D55E00', '#0072B2'
COLUMNS = 7
MARGIN = 14.0  # mm shown around the brain
WIDTH = 1400  # of the picture, in its own units (about pixels)
TITLE = 26  # height of the line above each picture

Source = str | os.PathLike | nib.spatialimages.SpatialImage


# ------------------------------------------------------------------------------------------------- where to cut
@dataclass(frozen=True)
class Plane:
    """One slice: a grid of world points (rows run down, columns to the right) and the letters at its sides."""

    points: np.ndarray  # (rows, columns, 3) mm
    left: str
    right: str
    place: str  # e.g. 'z = 12 mm'


def _load(source: Source) -> nib.spatialimages.SpatialImage:
    image = source if isinstance(source, nib.spatialimages.SpatialImage) else nib.load(source)
    return image if len(image.shape) == 3 else nib.funcs.squeeze_image(image)


def _data(image: nib.spatialimages.SpatialImage) -> np.ndarray:
    return np.nan_to_num(np.asanyarray(image.dataobj).astype(np.float32))


def _foreground(image: nib.spatialimages.SpatialImage) -> np.ndarray:
    """Voxels that are not background: a stand-in for a mask that is missing or empty."""
    data = np.abs(_data(image))
    found = data > 0.25 * np.percentile(data, 98)
    return found if found.any() else np.ones(data.shape, bool)


def choose_planes(mask: Source, pixel: float = 0.8, columns: int = COLUMNS) -> list[list[Plane]]:
    """Rows of axial, coronal and sagittal slices through a mask.

    Parameters
    ----------
    mask : path or image
        What to cut through: its nonzero voxels (its brightest ones if it is not binary, all if there are none).
    pixel : float
        Size of a pixel, mm.
    columns : int
        Slices of each orientation.

    Returns
    -------
    list of list of Plane
        Three rows of `columns` slices, spread over the middle nine tenths of the mask.
    """
    image = _load(mask)
    data = _data(image)
    inside = (
        data > 0 if data.any() and np.unique(data[:: max(1, data.shape[0] // 20)]).size <= 2 else _foreground(image)
    )
    points = nib.affines.apply_affine(image.affine, np.argwhere(inside))
    low, high = np.percentile(points, [0.1, 99.9], axis=0)
    first, last = low - MARGIN, high + MARGIN
    rows = []
    # (cut axis, axis along a row of pixels, axis down): the right of the head is on the left, as radiologists look.
    for cut, across, down, letters in ((2, 0, 1, 'RL'), (1, 0, 2, 'RL'), (0, 1, 2, 'AP')):
        start = low[cut] + (0.10 if cut == 2 else 0.06) * (high[cut] - low[cut])
        places = np.linspace(start, high[cut] - 0.06 * (high[cut] - low[cut]), columns)
        along = np.arange(last[across], first[across], -pixel)
        up = np.arange(last[down], first[down], -pixel)
        row = []
        for place in places:
            grid = np.empty((len(up), len(along), 3), np.float32)
            grid[..., cut] = place
            grid[..., across] = along[None, :]
            grid[..., down] = up[:, None]
            row.append(Plane(grid, letters[0], letters[1], f'{"xyz"[cut]} = {round(place)} mm'))
        rows.append(row)
    return rows


def _sample(image: nib.spatialimages.SpatialImage, planes: list[list[Plane]], order: int = 1) -> list[list[np.ndarray]]:
    """The image on every plane (float32; 0 outside the image)."""
    data, world_to_voxel = _data(image), np.linalg.inv(image.affine)

    def cut(plane: Plane) -> np.ndarray:
        at = np.moveaxis(nib.affines.apply_affine(world_to_voxel, plane.points), -1, 0)
        return ndi.map_coordinates(data, at, order=order, cval=0.0)

    return [[cut(plane) for plane in row] for row in planes]


def _window(image: nib.spatialimages.SpatialImage, pictures: list[list[np.ndarray]]) -> tuple[float, float]:
    """Grey levels that become black and white: robust limits of the foreground."""
    shown = np.concatenate([picture.ravel() for row in pictures for picture in row])
    bright = shown[shown > 0.05 * np.percentile(shown, 99)] if shown.any() else shown
    low, high = (0.0, float(np.percentile(bright, 99))) if bright.size else (0.0, 1.0)
    low = min(low, float(np.percentile(shown, 0.5)))
    return low, high if high > low else low + 1.0


# ------------------------------------------------------------------------------------------------- from slices to SVG
@dataclass(frozen=True)
class _Layout:
    """Where each slice goes on the picture; scale is in picture units per pixel."""

    scale: float
    corners: list[list[tuple[float, float]]]
    height: float

    @classmethod
    def of(cls, planes: list[list[Plane]]) -> _Layout:
        gap = 4.0
        widest = max(sum(plane.points.shape[1] for plane in row) for row in planes)
        scale = (WIDTH - gap * (len(planes[0]) + 1)) / widest
        corners, top = [], float(TITLE)
        for row in planes:
            used = sum(plane.points.shape[1] * scale for plane in row)
            space = (WIDTH - used) / (len(row) + 1)
            left, line = space, []
            for plane in row:
                line.append((left, top))
                left += plane.points.shape[1] * scale + space
            corners.append(line)
            top += row[0].points.shape[0] * scale + gap
        return cls(scale, corners, top)


def _raster(pictures: list[list[np.ndarray]], window: tuple[float, float], layout: _Layout) -> str:
    """All slices as one greyscale JPEG in an <image> element."""
    from PIL import Image

    shrink = 1 / layout.scale
    canvas = np.zeros((math.ceil((layout.height - TITLE) * shrink), math.ceil(WIDTH * shrink)), np.uint8)
    low, high = window
    for row, line in zip(pictures, layout.corners, strict=True):
        for picture, (left, top) in zip(row, line, strict=True):
            grey = np.clip((picture - low) / (high - low), 0, 1) ** 0.85 * 255
            y, x = round((top - TITLE) * shrink), round(left * shrink)
            target = canvas[y : y + grey.shape[0], x : x + grey.shape[1]]
            target[:] = grey[: target.shape[0], : target.shape[1]].astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(canvas).save(buffer, 'JPEG', quality=82, optimize=True)
    code = base64.b64encode(buffer.getvalue()).decode()
    return (
        f'<image x="0" y="{TITLE}" width="{canvas.shape[1] * layout.scale:.1f}" '
        f'height="{canvas.shape[0] * layout.scale:.1f}" preserveAspectRatio="none" '
        f'href="data:image/jpeg;base64,{code}"/>'
    )


def _outline(
    pictures: list[list[np.ndarray]], level: float, layout: _Layout, colour: str, width: float = 1.2, least: int = 8
) -> str:
    """Iso-lines of the slices as one <path> element; lines of fewer than `least` points are left out."""
    from contourpy import contour_generator

    shrink, parts = 1 / layout.scale, []
    for row, line in zip(pictures, layout.corners, strict=True):
        for picture, (left, top) in zip(row, line, strict=True):
            # The raster is placed on whole pixels; lines are moved by the same rounding.
            x0, y0 = round(left * shrink) + 0.5, round((top - TITLE) * shrink) + 0.5
            for points in contour_generator(z=picture).lines(level):
                if len(points) < least:
                    continue
                thinned = np.append(points[:-1:2], points[-1:], axis=0) + np.array([x0, y0])
                kept = np.round(thinned * layout.scale * 10).astype(int)
                kept[:, 1] += TITLE * 10
                steps = np.diff(kept, axis=0)
                move = f'M{kept[0, 0] / 10:g} {kept[0, 1] / 10:g}l'
                parts.append(move + ' '.join(f'{x / 10:g} {y / 10:g}' for x, y in steps))
    return f'<path d="{"".join(parts)}" fill="none" stroke="{colour}" stroke-width="{width}"/>' if parts else ''


def _escape(text: str) -> str:
    return text.replace('&', '&amp;').replace('<', '&lt;').replace('>', '&gt;')


def _labels(planes: list[list[Plane]], layout: _Layout) -> str:
    """Side letters on every slice and its place in mm."""
    parts = ['<g font-size="13" fill="#fff" stroke="#000" stroke-width="3" paint-order="stroke">']
    for row, line in zip(planes, layout.corners, strict=True):
        for plane, (left, top) in zip(row, line, strict=True):
            height, width = (n * layout.scale for n in plane.points.shape[:2])
            parts += [
                f'<text x="{left + 3:.0f}" y="{top + 13:.0f}">{plane.left}</text>',
                f'<text x="{left + width - 3:.0f}" y="{top + 13:.0f}" text-anchor="end">{plane.right}</text>',
                f'<text x="{left + width / 2:.0f}" y="{top + height - 3:.0f}" text-anchor="middle" '
                f'fill="#bbb" font-size="11">{plane.place}</text>',
            ]
    return '\n'.join([*parts, '</g>'])


def _write_svg(out: str | os.PathLike, height: float, body: Sequence[str], title: str, style: str = '') -> Path:
    """Write the picture whole: to a hidden file beside it, then renamed."""
    out = Path(out).absolute()
    text = '\n'.join(
        [
            # nireports rewrites the first line when it has a width or height: it has none.
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0f}" '
            'preserveAspectRatio="xMidYMid meet" font-family="DejaVu Sans, Arial, Helvetica, sans-serif">',
            f'<title>{_escape(title)}</title>',
            f'<style>{style}</style>' if style else '',
            f'<rect width="{WIDTH}" height="{height:.0f}" fill="#000"/>',
            *body,
            '</svg>',
            '',
        ]
    )
    return write_whole(out, text)


def _heading(text: str, colour: str = '#fff', x: float = 10, anchor: str = 'start') -> str:
    return f'<text x="{x:.0f}" y="18" font-size="15" fill="{colour}" text-anchor="{anchor}">{_escape(text)}</text>'


# ------------------------------------------------------------------------------------------------- the figures
def mask_outline(image: Source, mask: Source, out: str | os.PathLike, title: str = 'Brain mask') -> Path:
    """Draw the outline of a mask on an image.

    Parameters
    ----------
    image, mask : path or image
        3-D; they may lie on different grids of one world.
    out : path
        SVG to write.
    title : str
        Said above the slices.

    Returns
    -------
    Path
        `out`, absolute.
    """
    image, mask = _load(image), _load(mask)
    planes = choose_planes(mask if _data(mask).any() else image)
    layout = _Layout.of(planes)
    pictures = _sample(image, planes)
    # The mask's own voxels are coarse: a little blur makes a line of the staircase.
    edges = [[ndi.gaussian_filter(cut, 0.8) for cut in row] for row in _sample(mask, planes)]
    body = [
        _raster(pictures, _window(image, pictures), layout),
        _outline(edges, 0.5, layout, ORANGE, 1.6),
        _labels(planes, layout),
        _heading(title),
        _heading('outline: brain mask', ORANGE, WIDTH - 10, 'end'),
    ]
    return _write_svg(out, layout.height, body, title)


def flicker(
    fixed: Source,
    moving: Source,
    mask: Source | None,
    out: str | os.PathLike,
    title: str = '',
    names: tuple[str, str] = ('T1w', 'T2w'),
) -> Path:
    """Two images of one place that fade into each other while the pointer is on the picture.

    The borders of the fixed image's tissues are drawn on both, so that a picture that does not move (a print, a
    touch screen) shows how well they agree, too.

    Parameters
    ----------
    fixed : path or image
        What the moving image was brought to.
    moving : path or image
        Moving image in the fixed image's world (any grid).
    mask : path or image, optional
        Brain mask in the same world: chooses the slices. None or empty: the foreground of `fixed` does.
    out : path
        SVG to write.
    title : str
        Said above the slices.
    names : tuple of 2 str
        What the images are called.

    Returns
    -------
    Path
        `out`, absolute.
    """
    fixed, moving = _load(fixed), _load(moving)
    mask_image = None if mask is None else _load(mask)
    if mask_image is None or not _data(mask_image).any():
        mask_image = nib.Nifti1Image(_foreground(fixed).astype(np.uint8), fixed.affine)
    planes = choose_planes(mask_image)
    layout = _Layout.of(planes)
    first, second = _sample(fixed, planes), _sample(moving, planes)
    inside = _sample(mask_image, planes)
    borders = _tissue_borders(first, inside, layout)
    # Shown first is the moving image: what one came to see; under the pointer it fades to the fixed one and back.
    style = (
        '@keyframes fade{0%,30%{opacity:1}70%,100%{opacity:0}}'
        '.top{animation:fade 1s ease-in-out infinite alternate paused}'
        'svg:hover .top{animation-play-state:running}'
    )
    body = [
        f'<g>{_raster(first, _window(fixed, first), layout)}{_heading(names[0], SKY)}</g>',
        f'<g class="top"><rect width="{WIDTH}" height="{layout.height:.0f}"/>'
        f'{_raster(second, _window(moving, second), layout)}{_heading(names[1], ORANGE)}</g>',
        borders,
        _labels(planes, layout),
        _heading(title, x=WIDTH / 2, anchor='middle'),
        _heading(f'lines: tissue borders of the {names[0]}', SKY, WIDTH - 10, 'end'),
    ]
    return _write_svg(out, layout.height, body, title or f'{names[0]} and {names[1]}', style)


def _tissue_borders(pictures: list[list[np.ndarray]], inside: list[list[np.ndarray]], layout: _Layout) -> str:
    """Outline of the brighter half of the brain (white matter of a T1w), and of the brain."""
    values = np.concatenate(
        [
            cut[part > 0.5]
            for row, parts in zip(pictures, inside, strict=True)
            for cut, part in zip(row, parts, strict=True)
        ]
    )
    smooth = [[ndi.gaussian_filter(part, 0.8) for part in row] for row in inside]
    brain = _outline(smooth, 0.5, layout, SKY, 1.0)
    if values.size < 100 or not np.ptp(values):
        return brain
    level = _otsu(values)
    masked = [
        [ndi.gaussian_filter(np.where(part > 0.5, cut, 0), 1.0) for cut, part in zip(row, parts, strict=True)]
        for row, parts in zip(pictures, inside, strict=True)
    ]
    return brain + _outline(masked, level, layout, SKY, 0.8, least=24)


def _otsu(values: np.ndarray) -> float:
    """Threshold between the two brightest of three classes (Otsu's criterion, by search over a histogram)."""
    low, high = np.percentile(values, [0.5, 99.5])
    counts, edges = np.histogram(values, bins=64, range=(low, high))
    centres, weight = (edges[1:] + edges[:-1]) / 2, np.cumsum(counts / max(counts.sum(), 1))
    mean = np.cumsum(counts / max(counts.sum(), 1) * centres)

    def spread(a: int, b: int) -> float:
        """Weight times squared mean of the bins (a, b]."""
        w = weight[b] - (weight[a] if a >= 0 else 0)
        m = mean[b] - (mean[a] if a >= 0 else 0)
        return m * m / w if w > 1e-9 else 0.0

    last = len(centres) - 1
    best = max(
        ((spread(-1, i) + spread(i, j) + spread(j, last), j) for i in range(last - 1) for j in range(i + 1, last)),
        default=(0.0, last // 2),
    )
    return float(edges[best[1] + 1])


def loss_curve(result: str | os.PathLike | dict[str, Any], out: str | os.PathLike) -> Path:
    """Draw how the loss fell, level by level.

    Parameters
    ----------
    result : path or dict
        ``result.json`` of ``bidsreg-pair`` (or a QC file that holds the same), or its content: its ``loss_history``
        is a list of ``{"level": mm, "iteration": i, "loss": x, "similarity": x, "regularity": x}``.
    out : path
        SVG to write.

    Returns
    -------
    Path
        `out`, absolute.
    """
    import matplotlib as mpl
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    content = result if isinstance(result, dict) else json.loads(Path(result).read_text())
    history = [step for step in content.get('loss_history') or [] if step.get('loss') is not None]
    out = Path(out).absolute()
    with mpl.rc_context({'svg.hashsalt': 'bidsreg', 'font.size': 9, 'svg.fonttype': 'path'}):
        figure = Figure(figsize=(11, 3.2), layout='constrained')
        FigureCanvasSVG(figure)
        axes = figure.add_subplot()
        if history:
            _draw_history(axes, history)
        else:
            axes.text(0.5, 0.5, 'no loss history', ha='center', transform=axes.transAxes)
        buffer = io.StringIO()
        figure.savefig(buffer, format='svg', metadata={'Date': None})
    text = buffer.getvalue()
    return write_whole(out, text[text.index('<svg') :])


def _parts(history: list[dict[str, Any]]) -> list[tuple[int, str]]:
    """Find where another level or another weight of the regularity begins: first step, and what to write above.

    The weight is told only where it changes within a level.
    """
    keys = [(step.get('level'), step.get('weight')) for step in history]
    starts = [k for k in range(len(keys)) if k == 0 or keys[k] != keys[k - 1]]
    often = [level for level, _ in (keys[k] for k in starts)]
    labels = []
    for level, weight in (keys[k] for k in starts):
        label = f'{level:g} mm' if isinstance(level, int | float) else str(level)
        told = often.count(level) > 1 and isinstance(weight, int | float)
        labels.append(f'{label},\nweight {weight:g}' if told else label)
    return list(zip(starts, labels, strict=True))


def _draw_history(axes: Any, history: list[dict[str, Any]]) -> None:
    steps = np.arange(1, len(history) + 1)
    parts = _parts(history)
    starts = [first for first, _ in parts] + [len(history)]
    for name, colour, dash in (('loss', BLUE, '-'), ('similarity', VERMILLION, '--')):
        values = np.array([np.nan if step.get(name) is None else step[name] for step in history], float)
        if np.isfinite(values).any():
            for first, last in itertools.pairwise(starts):  # losses of two parts are not to be compared: no line
                label = name if first == 0 else None
                axes.plot(steps[first:last], values[first:last], color=colour, ls=dash, lw=1.6, label=label)
    for number, ((first, last), (_, text)) in enumerate(zip(itertools.pairwise(starts), parts, strict=True)):
        axes.axvspan(first + 0.5, last + 0.5, color='#000', alpha=0.05 * (number % 2), lw=0)
        axes.text((first + last + 1) / 2, 1.02, text, ha='center', transform=axes.get_xaxis_transform())
    axes.set(xlabel='iteration', ylabel='loss', xlim=(0.5, len(history) + 0.5))
    axes.spines[['top', 'right']].set_visible(False)
    axes.legend(frameon=False, loc='upper right')
