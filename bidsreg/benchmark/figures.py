"""Pictures of a benchmark: how well, where, at what cost, and what it looks like."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import nibabel as nb
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullFormatter

from bidsreg.benchmark.labels import by_structure
from bidsreg.benchmark.measures import CPU_SECONDS, DICE, SECONDS, TRE, Measure
from bidsreg.benchmark.tables import primary
from bidsreg.registration.atomic import write_atomic

#: Colours that people with any colour vision can tell apart (Okabe and Ito 2008, but grey, on which a hatch shows, for
#: black), yellow last.
OKABE_ITO = ('#0072B2', '#E69F00', '#009E73', '#CC79A7', '#56B4E9', '#D55E00', '#999999', '#F0E442')
#: Of boxes, and of dots likewise, where there are more methods than colours.
HATCHES = ('', '///', '...', 'xxx')
MARKERS = ('o', 's', '^', 'D')
#: Inches across; what needs more goes on in another row.
WIDEST = 12.0
#: Contours in the panels: labels of the fixed image, and those brought onto it.
FIXED_COLOUR, MOVED_COLOUR = '#E69F00', '#56B4E9'
DPI = 170
#: What is shown around the labels in the panels.
MARGIN_MM = 8.0
#: Views, the axis across, and how far through the brain: beside its middle, and through its deep structures.
VIEWS = (('sagittal', 0, 0.62), ('coronal', 1, 0.5), ('axial', 2, 0.57))


@dataclass(frozen=True)
class Style:
    """How a method is drawn, in every figure alike."""

    colour: str
    hatch: str
    marker: str


def styles(methods: Sequence[str]) -> dict[str, Style]:
    """Give every method a colour, and another hatch and marker where there are more methods than colours."""
    count, looks = len(OKABE_ITO), list(zip(HATCHES, MARKERS, strict=True))
    return {name: Style(OKABE_ITO[n % count], *looks[n // count % len(looks)]) for n, name in enumerate(methods)}


def write_figures(
    folder: Path,
    results: pd.DataFrame,
    labels: pd.DataFrame,
    names: Mapping[int, str],
    methods: Sequence[str],
    example: Path,
) -> list[Path]:
    """Draw everything there is data for.

    Parameters
    ----------
    folder : Path
        Where the figures go: PNG, and PDF of the plots.
    results, labels : DataFrame
        See :mod:`bidsreg.benchmark.results`.
    names : mapping
        Names of the labels, by value.
    methods : sequence of str
        In the order of the table.
    example : Path
        Folder with the images of the example pair.

    Returns
    -------
    list of Path
        The PNG files.
    """
    done = results[results['status'] == 'done']
    methods = [name for name in methods if name in set(done['method'])]
    drawn: dict[str, Figure] = {}
    for measure, stem in ((DICE, 'dice'), (TRE, 'tre')):
        if done[measure.key].notna().any():
            drawn[stem] = by_method(done, measure, methods)
    if len(labels):
        drawn['dice_by_structure'] = by_label_structure(labels, names, methods)
    for cost in (SECONDS, CPU_SECONDS):
        if done[cost.key].notna().any():
            drawn[f'quality_by_{cost.key}'] = against_cost(done, primary(results), cost, methods)
    for stem, figure in drawn.items():
        save(figure, folder / f'{stem}.pdf')
    panels = panel(example, methods, names)
    if panels is not None:
        drawn['example'] = panels
    for stem, figure in drawn.items():
        save(figure, folder / f'{stem}.png')
    return [folder / f'{stem}.png' for stem in drawn]


def save(figure: Figure, path: Path) -> None:
    """Write a figure whole or not at all."""
    write_atomic(path, lambda temporary: figure.savefig(temporary, dpi=DPI, bbox_inches='tight'))


def by_method(done: pd.DataFrame, measure: Measure, methods: Sequence[str]) -> Figure:
    """Box plot of a measure: one box a method, one dot a pair."""
    figure, axes = _plot(width=1.6 + 0.75 * len(methods), height=4.2)
    values = [done.loc[done['method'] == name, measure.key].dropna() * measure.scale for name in methods]
    _boxes(axes, values, range(len(methods)), 0.6, [styles(methods)[name] for name in methods])
    for n, known in enumerate(values):
        axes.plot(n + _spread(len(known)), known, 'o', ms=3.5, mfc='white', mec='black', mew=0.7, zorder=4)
    axes.set_xticks(range(len(methods)), methods, rotation=35, ha='right', rotation_mode='anchor')
    _label(axes.set_ylabel, measure)
    return figure


def by_label_structure(labels: pd.DataFrame, names: Mapping[int, str], methods: Sequence[str]) -> Figure:
    """Box plot of Dice by structure, the two sides of the brain together: one box a method, rows of structures."""
    structures = by_structure(names)
    table = labels.assign(structure=labels['label'].map(structures)).dropna(subset=['dice', 'structure'])
    order = [name for name in dict.fromkeys(structures.values()) if name in set(table['structure'])]
    each = 0.25 + 0.11 * len(methods)
    rows = max(1, math.ceil(each * len(order) / (WIDEST - 1.5)))
    across = math.ceil(len(order) / rows)
    figure, plots = _plots(rows, width=max(7.0, 1.5 + across * each), height=1.2 + 2.9 * rows)
    for n, axes in enumerate(plots):
        _structures(axes, table, order[n * across : (n + 1) * across], across, methods)
    style = styles(methods)
    figure.legend(
        handles=[_patch(style[name], name) for name in methods],
        loc='outside upper left',
        ncols=min(len(methods), 5),
        frameon=False,
    )
    return figure


def _structures(axes: Axes, table: pd.DataFrame, order: Sequence[str], across: int, methods: Sequence[str]) -> None:
    """One row of structures, of which as many as `across` would have room."""
    width, style = 0.8 / len(methods), styles(methods)
    for n, method in enumerate(methods):
        mine = table[table['method'] == method]
        values = [mine.loc[mine['structure'] == name, 'dice'] * DICE.scale for name in order]
        places = np.arange(len(order)) + (n - (len(methods) - 1) / 2) * width
        _boxes(axes, values, places, 0.85 * width, [style[method]] * len(order), fliers=True)
    for n in range(1, len(order)):
        axes.axvline(n - 0.5, color='0.9', lw=0.8, zorder=0)
    axes.set_xlim(-0.5, across - 0.5)
    axes.set_xticks(range(len(order)), order, rotation=20, ha='right', rotation_mode='anchor')
    _label(axes.set_ylabel, DICE)


def against_cost(done: pd.DataFrame, measure: Measure, cost: Measure, methods: Sequence[str]) -> Figure:
    """Mean of a measure against the median cost of a pair; the affine alone, which has none, is a line."""
    figure, axes = _plot(width=8.0, height=4.2)
    style = styles(methods)
    for name in methods:
        mine = done[done['method'] == name]
        quality, seconds = mine[measure.key].mean() * measure.scale, mine[cost.key].median()
        if not np.isfinite(quality):
            continue
        if not np.isfinite(seconds):
            axes.axhline(quality, color='0.5', ls='--', lw=1)
            axes.annotate(
                f'{name} (no deformation)', (1, quality), (-4, 4), xycoords=('axes fraction', 'data'),
                textcoords='offset points', ha='right', color='0.35',
            )  # fmt:skip
            continue
        look = style[name]
        axes.plot(seconds, quality, look.marker, ms=9, color=look.colour, mec='black', mew=0.6, label=name)
    axes.set_xscale('log')
    axes.margins(x=0.1, y=0.15)
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter('{x:g}')
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel(f'{cost.heading} (median over pairs)')
    _label(axes.set_ylabel, measure)
    # names beside the dots would lie over each other
    figure.legend(loc='outside right upper', frameon=False)
    return figure


def panel(example: Path, methods: Sequence[str], names: Mapping[int, str]) -> Figure | None:
    """Draw the example pair: a row a method, three slices each, contours of the labels of both images.

    Parameters
    ----------
    example : Path
        Folder with ``fixed_T1w.nii.gz``, ``METHOD_T2w.nii.gz`` and, where there are labels, the same of ``dseg``.
    methods, names
        See :func:`write_figures`.

    Returns
    -------
    Figure or None
        None when there are no images.
    """
    fixed = _canonical(example / 'fixed_T1w.nii.gz')
    if fixed is None:
        return None
    labels = _canonical(example / 'fixed_dseg.nii.gz')
    rows = [('fixed', fixed, labels, None)]
    for name in methods:
        image = _canonical(example / f'{name}_T2w.nii.gz')
        if image is not None:
            rows.append((name, image, labels, _canonical(example / f'{name}_dseg.nii.gz')))
    spacing = nb.affines.voxel_sizes(fixed.affine)
    box = _box(fixed, labels)
    figure = Figure(figsize=(9.6, 0.5 + 3.0 * len(rows)), layout='constrained', facecolor='white')
    extent = [spacing[n] * (box[n].stop - box[n].start) for n in range(3)]
    ratios = (extent[1] / extent[2], extent[0] / extent[2], extent[0] / extent[1])
    grid = figure.subplots(len(rows), 3, squeeze=False, width_ratios=ratios)
    for line, (name, image, ours, theirs) in zip(grid, rows, strict=True):
        for axes, (view, axis, part) in zip(line, VIEWS, strict=True):
            _slice(axes, image, ours, theirs, (axis, part), box, spacing, names)
            if name == 'fixed':
                axes.set_title(view)
        line[0].set_ylabel('fixed T1w' if name == 'fixed' else name, fontsize=12)
    if labels is not None:
        figure.legend(
            handles=[
                Line2D([], [], color=FIXED_COLOUR, label='labels of the fixed image'),
                Line2D([], [], color=MOVED_COLOUR, label='labels of the moving image, brought onto it'),
            ],
            loc='outside lower center',
            ncols=2,
            frameon=False,
        )
    return figure


def _slice(
    axes: Axes, image, ours, theirs, place: tuple[int, float], box, spacing: np.ndarray, names: Mapping[int, str]
) -> None:
    """One slice across an axis, some part through the box, with the borders of the labels."""
    (axis, part), cut = place, list(box)
    cut[axis] = round(box[axis].start + part * (box[axis].stop - 1 - box[axis].start))
    rest = [n for n in range(3) if n != axis]
    data = np.asanyarray(image.dataobj)
    low, high = np.percentile(data[tuple(box)], (1, 99.8))
    aspect = spacing[rest[1]] / spacing[rest[0]]
    axes.imshow(data[tuple(cut)].T, cmap='gray', vmin=low, vmax=high, origin='lower', aspect=aspect)
    for segmentation, colour in ((ours, FIXED_COLOUR), (theirs, MOVED_COLOUR)):
        if segmentation is not None:
            _borders(axes, np.asanyarray(segmentation.dataobj)[tuple(cut)].T, colour, names)
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)


def _borders(axes: Axes, labels: np.ndarray, colour: str, names: Iterable[int]) -> None:
    for value in np.intersect1d(labels, list(names)):
        axes.contour(labels == value, [0.5], colors=colour, linewidths=0.55)


def _canonical(path: Path):
    """An image with axes that run as near to right, anterior and superior as its grid allows; None if there is none."""
    return nb.as_closest_canonical(nb.load(path)) if path.is_file() else None


def _box(fixed, labels) -> tuple[slice, ...]:
    """What to show: nearly all labels (or what is not background) with a margin; not what a stray voxel is far off."""
    data = np.asanyarray((fixed if labels is None else labels).dataobj)
    where = np.nonzero(data > (np.percentile(data, 99) * 0.1 if labels is None else 0))
    ends = [np.percentile(axis, (0.1, 99.9)) for axis in where]
    margins = np.ceil(MARGIN_MM / nb.affines.voxel_sizes(fixed.affine))
    return tuple(
        slice(int(max(low - margin, 0)), int(min(high + margin + 1, size)))
        for (low, high), margin, size in zip(ends, margins, data.shape, strict=True)
    )


def _plot(width: float, height: float) -> tuple[Figure, Axes]:
    figure, (axes,) = _plots(1, width, height)
    return figure, axes


def _plots(rows: int, width: float, height: float) -> tuple[Figure, list[Axes]]:
    figure = Figure(figsize=(width, height), layout='constrained', facecolor='white')
    plots = list(figure.subplots(rows, squeeze=False, sharey=True)[:, 0])
    for axes in plots:
        axes.spines[['top', 'right']].set_visible(False)
        axes.grid(axis='y', color='0.9', lw=0.8)
        axes.set_axisbelow(True)
    return figure, plots


def _boxes(axes: Axes, values, places, width: float, style: Sequence[Style], *, fliers: bool = False) -> None:
    drawn = axes.boxplot(
        [np.asarray(known) for known in values],
        positions=list(places),
        widths=width,
        patch_artist=True,
        manage_ticks=False,
        showfliers=fliers,
        flierprops={'marker': '.', 'ms': 2.5, 'mec': '0.4'},
        medianprops={'color': 'black', 'lw': 1.2},
        whiskerprops={'lw': 0.8},
        capprops={'lw': 0.8},
        boxprops={'lw': 0.8},
    )
    for box, one in zip(drawn['boxes'], style, strict=True):
        box.set(facecolor=one.colour + 'B0', hatch=one.hatch)


def _patch(style: Style, name: str):
    from matplotlib.patches import Patch

    return Patch(facecolor=style.colour + 'B0', hatch=style.hatch, edgecolor='black', lw=0.8, label=name)


def _spread(count: int) -> np.ndarray:
    """Places beside each other for dots of one box, always the same."""
    return np.random.default_rng(0).uniform(-0.15, 0.15, count)


def _label(put: Callable[[str], object], measure: Measure) -> None:
    put(measure.heading + measure.arrow)
