"""The figures of a benchmark: how well each method does, in which structures, and at what cost."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import LogLocator, NullFormatter

from bidsreg.benchmark.labels import by_structure
from bidsreg.benchmark.measures import CPU_SECONDS, DICE, RESCAN, SECONDS, TRE, Measure
from bidsreg.benchmark.panels import panel
from bidsreg.benchmark.tables import primary
from bidsreg.bids.names import T2W_TO_T1W, Contrasts
from bidsreg.registration.atomic import write_atomic

#: Colours that people with any colour vision can tell apart (Okabe and Ito 2008, but grey, on which a hatch shows, for
#: black), yellow last.
OKABE_ITO = ('#0072B2', '#E69F00', '#009E73', '#CC79A7', '#56B4E9', '#D55E00', '#999999', '#F0E442')
#: Textures of boxes, and shapes of dots likewise, where there are more methods than colours.
HATCHES = ('', '///', '...', 'xxx')
MARKERS = ('o', 's', '^', 'D')
#: Inches across a figure; what needs more goes on in another row.
WIDEST = 12.0
#: Dots per inch of a PNG file.
DPI = 170


@dataclass(frozen=True)
class MethodStyle:
    """The colour, hatch and marker of a method, in every figure alike."""

    colour: str
    hatch: str
    marker: str


def styles(methods: Sequence[str]) -> dict[str, MethodStyle]:
    """Give every method a colour, and another hatch and marker where there are more methods than colours."""
    count, textures = len(OKABE_ITO), list(zip(HATCHES, MARKERS, strict=True))
    return {
        name: MethodStyle(OKABE_ITO[n % count], *textures[n // count % len(textures)]) for n, name in enumerate(methods)
    }


def write_figures(
    folder: Path,
    results: pd.DataFrame,
    labels: pd.DataFrame,
    names: Mapping[int, str],
    methods: Sequence[str],
    example: Path,
    contrasts: Contrasts = T2W_TO_T1W,
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
        Names of the methods, in the order of the table.
    example : Path
        Folder with the images of the example pair.
    contrasts : Contrasts
        Those of the pairs.

    Returns
    -------
    list of Path
        The PNG files.
    """
    done = results[results['status'] == 'done']
    methods = [name for name in methods if name in set(done['method'])]
    drawn: dict[str, Figure] = {}
    for measure, stem in ((DICE, 'dice'), (TRE, 'tre'), (RESCAN, 'rescan')):
        if done[measure.key].notna().any():
            drawn[stem] = by_method(done, measure, methods)
    if len(labels):
        drawn['dice_by_structure'] = by_label_structure(labels, names, methods)
    for cost in (SECONDS, CPU_SECONDS):
        if done[cost.key].notna().any():
            drawn[f'quality_by_{cost.key}'] = against_cost(done, primary(results), cost, methods)
    for stem, figure in drawn.items():
        save(figure, folder / f'{stem}.pdf')
    panels = panel(example, methods, names, contrasts)
    if panels is not None:
        drawn['example'] = panels
    for stem, figure in drawn.items():
        save(figure, folder / f'{stem}.png')
    return [folder / f'{stem}.png' for stem in drawn]


def save(figure: Figure, path: Path) -> None:
    """Write a figure atomically."""
    write_atomic(path, lambda temporary: figure.savefig(temporary, dpi=DPI, bbox_inches='tight'))


def by_method(done: pd.DataFrame, measure: Measure, methods: Sequence[str]) -> Figure:
    """Draw boxes of a measure: one box a method, one dot a pair."""
    figure, axes = _plot(width=1.6 + 0.75 * len(methods), height=4.2)
    values = [done.loc[done['method'] == name, measure.key].dropna() * measure.scale for name in methods]
    _boxes(axes, values, range(len(methods)), 0.6, [styles(methods)[name] for name in methods])
    for n, known in enumerate(values):
        axes.plot(n + _spread(len(known)), known, 'o', ms=3.5, mfc='white', mec='black', mew=0.7, zorder=4)
    axes.set_xticks(range(len(methods)), methods, rotation=35, ha='right', rotation_mode='anchor')
    _label(axes.set_ylabel, measure)
    return figure


def by_label_structure(labels: pd.DataFrame, names: Mapping[int, str], methods: Sequence[str]) -> Figure:
    """Draw boxes of Dice by structure, both sides of the brain together: one box a method, rows of structures."""
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
    """Draw one row of structures, in which as many as `across` would have room."""
    width, style = 0.8 / len(methods), styles(methods)
    for n, method in enumerate(methods):
        mine = table[table['method'] == method]
        values = [mine.loc[mine['structure'] == name, 'dice'] * DICE.scale for name in order]
        places = np.arange(len(order)) + (n - (len(methods) - 1) / 2) * width
        _boxes(axes, values, places, 0.85 * width, [style[method]] * len(order), fliers=True)
    for n in range(1, len(order)):
        axes.axvline(n - 0.5, color='0.9', lw=0.8, zorder=0)
    axes.set_xlim(-0.5, across - 0.5)
    # a name of the user's is no formula
    axes.set_xticks(range(len(order)), order, rotation=20, ha='right', rotation_mode='anchor', parse_math=False)
    _label(axes.set_ylabel, DICE)


def against_cost(done: pd.DataFrame, measure: Measure, cost: Measure, methods: Sequence[str]) -> Figure:
    """Draw the mean of a measure against the median cost of a pair; the affine alone, which has none, is a line."""
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
        own = style[name]
        axes.plot(seconds, quality, own.marker, ms=9, color=own.colour, mec='black', mew=0.6, label=name)
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


def _boxes(
    axes: Axes,
    values: Iterable[pd.Series],
    places: Iterable[float],
    width: float,
    style: Sequence[MethodStyle],
    *,
    fliers: bool = False,
) -> None:
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


def _patch(style: MethodStyle, name: str) -> Patch:
    return Patch(facecolor=style.colour + 'B0', hatch=style.hatch, edgecolor='black', lw=0.8, label=name)


def _spread(count: int) -> np.ndarray:
    """Return places beside each other for dots of one box, always the same."""
    return np.random.default_rng(0).uniform(-0.15, 0.15, count)


def _label(put: Callable[[str], object], measure: Measure) -> None:
    put(measure.heading + measure.arrow)
