"""The figures of a report: plain functions, files in, one SVG out; :mod:`bidsreg.reports.canvas` draws for them."""

from __future__ import annotations

import io
import itertools
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage as ndi

from bidsreg.registration.atomic import write_text
from bidsreg.reports import canvas, slicing
from bidsreg.reports.canvas import BLUE, FOOT, ORANGE, SKY, VERMILLION, WIDTH, Layout
from bidsreg.reports.slicing import Rows, Source

SQUARE = 20.0
"""Side of the squares of a checkerboard, mm."""


def mask_outline(
    image: Source, mask: Source, out: str | os.PathLike, title: str = 'Brain mask', lesion: Source | None = None
) -> Path:
    """Draw the outline of a mask on an image.

    Parameters
    ----------
    image, mask : path or image
        3-D; they may lie on different grids of one world.
    out : path
        SVG to write.
    title : str
        Said above the slices.
    lesion : path or image, optional
        A lesion in the same world, whose outline is drawn as well.

    Returns
    -------
    Path
        `out`, absolute.
    """
    image, mask = slicing.load(image), slicing.load(mask)
    planes = slicing.choose_planes(slicing.brain(mask, image))
    layout = Layout.of(planes)
    inside = slicing.slices(mask, planes)
    body = [
        canvas.raster(slicing.greys(slicing.slices(image, planes), inside), layout),
        canvas.outline(smooth(inside), 0.5, layout, ORANGE, 1.6),
        canvas.labels(planes, layout),
        canvas.heading(title),
        canvas.heading('outline: brain mask', ORANGE, WIDTH - 10, 'end'),
    ]
    if lesion is not None:
        body.append(canvas.outline(smooth(slicing.slices(slicing.load(lesion), planes)), 0.5, layout, SKY, 1.6))
        body.append(canvas.heading('outline: lesion', SKY, WIDTH / 2, 'middle'))
    return canvas.write_svg(out, layout.bottom + FOOT, body, title)


def smooth(pictures: Rows) -> Rows:
    """Blur masks a little: a line comes of the staircase of their voxels."""
    return slicing.mapped(lambda cut: ndi.gaussian_filter(cut, 0.8), pictures)


def flicker(
    fixed: Source,
    moving: Source,
    mask: Source | None,
    out: str | os.PathLike,
    title: str = '',
    matrix: np.ndarray | None = None,
    names: tuple[str, str] = ('T1w', 'T2w'),
    lesion: tuple[Source, np.ndarray | None] | None = None,
) -> Path:
    """Draw two images of one place: the moving one under the fixed one's tissue borders; under the pointer, both.

    At rest (and in a print) the moving image is shown with the borders of the fixed image's tissues. While the pointer
    is on the picture, or it has been touched, the lines are gone and the images fade into each other.

    Parameters
    ----------
    fixed : path or image
        The image to which the moving one was brought.
    moving : path or image
        Moving image, on any grid.
    mask : path or image, optional
        Brain mask in the fixed image's world: chooses the slices. None or empty: the foreground of `fixed` does.
    out : path
        SVG to write.
    title : str
        Said above the slices.
    matrix : ndarray, shape (4, 4), optional
        From the fixed image's world to the moving one's (mm, RAS+). Default: they are the same.
    names : tuple of 2 str
        Names of the images.
    lesion : (path or image, ndarray or None), optional
        A lesion that is outlined, too, and the matrix from the fixed image's world to its own, as `matrix`.

    Returns
    -------
    Path
        `out`, absolute.
    """
    fixed, moving = slicing.load(fixed), slicing.load(moving)
    mask = slicing.brain(mask, fixed)
    planes = slicing.choose_planes(mask)
    layout = Layout.of(planes)
    first, second = slicing.slices(fixed, planes), slicing.slices(moving, planes, matrix)
    inside = slicing.slices(mask, planes)
    lines = tissue_borders(first, inside, layout)
    if lesion is not None:
        cuts = slicing.slices(slicing.load(lesion[0]), planes, lesion[1])
        lines += canvas.outline(smooth(cuts), 0.5, layout, VERMILLION, 1.6)
        lines += canvas.heading('outline: lesion', VERMILLION, WIDTH / 4, 'middle')
    style = (
        '@keyframes bidsreg-fade{0%,30%{opacity:1}70%,100%{opacity:0}}'
        '.bidsreg-top{animation:bidsreg-fade 1s ease-in-out infinite alternate paused}'
        'svg:hover .bidsreg-top{animation-play-state:running}'
        'svg:hover .bidsreg-lines{visibility:hidden}'
        # who asks for less motion sees the fixed image while the pointer is there
        '@media (prefers-reduced-motion:reduce){.bidsreg-top{animation:none}svg:hover .bidsreg-top{opacity:0}}'
        '@media print{.bidsreg-top{animation:none;opacity:1}.bidsreg-lines{visibility:visible}}'
    )
    height = layout.bottom + FOOT
    body = [
        f'<g>{canvas.raster(slicing.greys(first, inside), layout)}{canvas.heading(names[0], SKY)}</g>',
        f'<g class="bidsreg-top"><rect width="{WIDTH}" height="{height:.0f}"/>'
        f'{canvas.raster(slicing.greys(second, inside), layout)}{canvas.heading(names[1], ORANGE)}</g>',
        f'<g class="bidsreg-lines">{lines}'
        f'{canvas.heading(f"lines: tissue borders of the {names[0]}", SKY, WIDTH - 10, "end")}</g>',
        canvas.labels(planes, layout),
        canvas.heading(title, x=WIDTH / 2, anchor='middle'),
    ]
    return canvas.write_svg(out, height, body, title or f'{names[0]} and {names[1]}', style)


def tissue_borders(pictures: Rows, inside: Rows, layout: Layout, colour: str = SKY) -> str:
    """Draw the outline of the brighter half of the brain (white matter of a T1w), and of the brain."""
    values = slicing.flat(pictures, inside)
    around = canvas.outline(smooth(inside), 0.5, layout, colour, 1.1)
    if values.size < 100 or not np.ptp(values):
        return around
    masked = slicing.mapped(lambda cut, part: ndi.gaussian_filter(np.where(part > 0.5, cut, 0), 1.0), pictures, inside)
    return around + canvas.outline(masked, _otsu(values), layout, colour, 0.9, least=24)


def _otsu(values: np.ndarray) -> float:
    """Return the threshold between the two brightest of three classes (Otsu's criterion, searched on a histogram)."""
    low, high = np.percentile(values, [0.5, 99.5])
    counts, edges = np.histogram(values, bins=64, range=(low, high))
    centres, weight = (edges[1:] + edges[:-1]) / 2, np.cumsum(counts / max(counts.sum(), 1))
    mean = np.cumsum(counts / max(counts.sum(), 1) * centres)

    def spread(a: int, b: int) -> float:
        """Return weight times squared mean of the bins (a, b]."""
        w = weight[b] - (weight[a] if a >= 0 else 0)
        m = mean[b] - (mean[a] if a >= 0 else 0)
        return m * m / w if w > 1e-9 else 0.0

    last = len(centres) - 1
    best = max(
        ((spread(-1, i) + spread(i, j) + spread(j, last), j) for i in range(last - 1) for j in range(i + 1, last)),
        default=(0.0, last // 2),
    )
    return float(edges[best[1] + 1])


def checkerboard(
    fixed: Source,
    moving: Source,
    mask: Source | None,
    out: str | os.PathLike,
    title: str = 'Checkerboard',
    names: tuple[str, str] = ('T1w', 'T2w'),
) -> Path:
    """Draw squares of the one image and of the other in turn: borders should run on from square to square.

    Inside the brain the greys of the moving image are spread like those of the fixed one, turned over where the two
    correlate below zero, so that a T2w looks much like a T1w, and what is seen at the edge of a square is misalignment
    rather than contrast; outside, only the fixed image is shown.

    Parameters
    ----------
    fixed, moving : path or image
        Two images in one world, on any grids.
    mask : path or image, optional
        Brain mask in the same world. None or empty: the foreground of `fixed`.
    out : path
        SVG to write.
    title : str
        Said above the slices.
    names : tuple of 2 str
        Names of the images.

    Returns
    -------
    Path
        `out`, absolute.
    """
    fixed, moving = slicing.load(fixed), slicing.load(moving)
    mask = slicing.brain(mask, fixed)
    planes = slicing.choose_planes(mask)
    layout = Layout.of(planes)
    inside = slicing.slices(mask, planes)
    first = slicing.slices(fixed, planes)
    second = slicing.slices(moving, planes)
    turned = _are_contrary(first, second, inside)
    second = _alike(second, first, inside, turned)
    how = 'its greys turned over' if turned else f'the greys of the {names[0]}'
    said = f'squares of {SQUARE:g} mm: {names[0]}, and {names[1]} with {how}'

    def mix(one: np.ndarray, other: np.ndarray, part: np.ndarray) -> np.ndarray:
        row, column = np.indices(one.shape) * slicing.PIXEL // SQUARE
        return np.where((part > 0.5) & ((row + column) % 2 == 1), other, one)

    brain = slicing.flat(first, inside)
    low, high = np.percentile(brain, [1, 99]) if brain.size else (0.0, 1.0)
    window = (float(low), float(high) if high > low else float(low) + 1.0)
    body = [
        canvas.raster(
            slicing.mapped(mix, *(slicing.greys(cuts, window=window) for cuts in (first, second)), inside), layout
        ),
        canvas.outline(smooth(inside), 0.5, layout, ORANGE, 1.1),
        canvas.labels(planes, layout),
        canvas.heading(title),
        canvas.heading(said, '#fff', WIDTH - 10, 'end'),
    ]
    return canvas.write_svg(out, layout.bottom + FOOT, body, title)


def _are_contrary(one: Rows, other: Rows, inside: Rows) -> bool:
    """Tell whether what is bright in the brain of one image is dark in the other, as in a T1w and a T2w."""
    ours, theirs = slicing.flat(one, inside), slicing.flat(other, inside)
    return not ours.size or not np.ptp(ours) or not np.ptp(theirs) or float(np.corrcoef(ours, theirs)[0, 1]) < 0


def _alike(pictures: Rows, like: Rows, inside: Rows, turned: bool) -> Rows:
    """Distribute the greys of the brain as in another image, bright and dark exchanged where they are contrary."""
    sign = -1 if turned else 1
    ours, theirs = slicing.flat(pictures, inside), slicing.flat(like, inside)
    if not ours.size or not np.ptp(ours):
        return pictures
    ranks = np.linspace(0, 100, 101)
    known, places = np.unique(np.percentile(sign * ours, ranks), return_index=True)
    goals = np.percentile(theirs, ranks)[places]
    return slicing.mapped(lambda cut: np.interp(sign * cut, known, goals), pictures)


def loss_curve(result: str | os.PathLike | dict[str, Any], out: str | os.PathLike) -> Path:
    """Draw how the loss fell, level by level.

    Parameters
    ----------
    result : path or dict
        ``result.json`` of ``bidsreg-pair`` (or a QC file that holds the same), or its content: its ``loss_history``
        is a list of ``{"level": mm, "iteration": i, "loss": x, "similarity": x, "regularity": x, "factor": x}``.
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
    return write_text(out, text[text.index('<svg') :])


def _parts(history: list[dict[str, Any]]) -> list[tuple[int, str]]:
    """Find where another level or another factor on the weights begins: first step, and what to write above.

    The factor is named only where it changes within a level.
    """
    keys = [(step.get('level'), step.get('factor')) for step in history]
    starts = [k for k in range(len(keys)) if k == 0 or keys[k] != keys[k - 1]]
    often = [level for level, _ in (keys[k] for k in starts)]
    labels = []
    for level, factor in (keys[k] for k in starts):
        label = f'{level:g} mm' if isinstance(level, int | float) else str(level)
        named = often.count(level) > 1 and isinstance(factor, int | float)
        labels.append(f'{label},\nweights x {factor:g}' if named else label)
    return list(zip(starts, labels, strict=True))


def _draw_history(axes: Any, history: list[dict[str, Any]]) -> None:
    """Draw loss and similarity of every step, with the levels they belong to."""
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
    axes.set(
        xlabel='iteration (above: voxel size of the level)', ylabel='loss (no unit)', xlim=(0.5, len(history) + 0.5)
    )
    axes.spines[['top', 'right']].set_visible(False)
    axes.legend(frameon=False, loc='upper right')
