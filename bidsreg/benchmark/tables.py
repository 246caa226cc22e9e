"""The results of a benchmark in the layout of the paper's table, whatever the format."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from bidsreg.benchmark.measures import DICE, FOLDS, FOLDS_PERCENT, MEASURES, RESCAN, TRE, Measure
from bidsreg.benchmark.methods import AFFINE, Method
from bidsreg.benchmark.statistics import compare

#: What the paper reports, on another dataset: a table of its numbers.
PUBLISHED = Path(__file__).with_name('published.tsv')
PUBLISHED_GROUP = 'As published, on OASIS-3 (other data: not to be compared row by row)'
BASELINES, OURS, TRANSLATED = 'Baseline', 'NODE + similarity', 'Translation, then NODE'
NONE = '–'


@dataclass(frozen=True)
class TableCell:
    """One text of the table, and whether it is the best of its column."""

    text: str
    best: bool = False


@dataclass(frozen=True)
class Table:
    """A table that is printed, whatever the format.

    Attributes
    ----------
    title : str
        Text above the table.
    columns : tuple of str
        Headings; the first is that of the methods.
    groups : tuple of (str, tuple of tuple of TableCell)
        A heading of its own, and rows.
    notes, failures : tuple of str
        Texts below the table.
    """

    title: str
    columns: tuple[str, ...]
    groups: tuple[tuple[str, tuple[tuple[TableCell, ...], ...]], ...]
    notes: tuple[str, ...] = ()
    failures: tuple[str, ...] = ()


def primary(results: pd.DataFrame) -> Measure:
    """Return what methods are compared by: Dice where there are labels, else the error at points, or the maps."""
    return next((measure for measure in (DICE, TRE, RESCAN) if results[measure.key].notna().any()), DICE)


def comparisons(results: pd.DataFrame, reference: str) -> dict[str, float]:
    """Test every method against a reference by the primary measure; see :func:`.compare`."""
    values = results.pivot(index='pair', columns='method', values=primary(results).key)
    return compare(values[list(dict.fromkeys(results['method']))], reference)


def paper_table(
    results: pd.DataFrame,
    methods: Sequence[Method],
    reference: str,
    *,
    title: str,
    notes: Iterable[str] = (),
) -> Table:
    """Lay results out as the paper does.

    Parameters
    ----------
    results : DataFrame
        See :func:`bidsreg.benchmark.results.results_table`.
    methods : sequence of Method
        The rows, in order.
    reference : str
        The method that the others are tested against.
    title, notes
        Texts above and below.

    Returns
    -------
    Table
    """
    done = results[results['status'] == 'done']
    shown = [measure for measure in MEASURES if measure.heading and done[measure.key].notna().any()]
    groups = {method.name: group_of(method) for method in methods}
    tests = comparisons(results, reference)
    judged_by = primary(results)
    pairs = results['pair'].nunique()
    best = _best(done, shown)
    rows: dict[str, list[tuple[TableCell, ...]]] = {BASELINES: [], TRANSLATED: [], OURS: []}
    for method in methods:
        mine = done[done['method'] == method.name]
        cells = [TableCell(method.name), TableCell(f'{len(mine)}/{pairs}')]
        if len(mine):
            cells += [TableCell(_mean(mine[m.key], m), method.name in best[m.key]) for m in shown]
        else:
            cells += [TableCell('failed'), *[TableCell(NONE)] * (len(shown) - 1)][: len(shown)]
        test = [TableCell(_p(tests.get(method.name), method.name == reference))] if tests else []
        rows[groups[method.name]].append((*cells, *test))
    columns = ['Method', 'Pairs', *(measure.heading + measure.arrow for measure in shown)]
    columns += [f'p ({judged_by.heading.split(" (")[0]})'] if tests else []
    filled = [(name, tuple(lines)) for name, lines in rows.items() if lines]
    if DICE in shown:
        filled.append((PUBLISHED_GROUP, tuple(_published(shown, len(columns)))))
    below = (*_not_first(best, shown, methods), *_explain(judged_by, reference, tests, pairs), *notes)
    return Table(title, tuple(columns), tuple(filled), below, _failures(results))


def group_of(method: Method) -> str:
    """Return the heading that a method stands below."""
    return TRANSLATED if method.translation else OURS if method.is_ours else BASELINES


def _best(done: pd.DataFrame, shown: Iterable[Measure]) -> dict[str, set[str]]:
    """Find the methods with the best mean of each measure; nobody where all are equal."""
    best: dict[str, set[str]] = {}
    for measure in shown:
        of = done[done['method'] != AFFINE] if measure.of_field else done
        means = of.groupby('method')[measure.key].mean().dropna() * measure.better
        top = means[means >= means.max() - 1e-12]
        best[measure.key] = set(top.index) if 0 < len(top) < len(means) else set()
    return best


def _not_first(best: Mapping[str, set[str]], shown: Iterable[Measure], methods: Iterable[Method]) -> list[str]:
    """Say, before all else, in which measures no preset is first, and who is; empty where there is none of either."""
    ours = {method.name for method in methods if method.is_ours}
    lost = [
        f'{measure.heading} ({", ".join(sorted(best[measure.key]))})'
        for measure in shown
        if best[measure.key] and not best[measure.key] & ours
    ]
    return [f'No preset of bidsreg is first in: {"; ".join(lost)}.'] if ours and lost else []


def _mean(values: pd.Series, measure: Measure) -> str:
    """Format mean and standard deviation over pairs."""
    known = values.dropna() * measure.scale
    if not len(known):
        return NONE
    mean = format(known.mean(), measure.form)
    # equal numbers have a spread of their last digits
    spread = known.std() if len(known) > 1 and not np.allclose(known, known.iloc[0], rtol=1e-9, atol=0) else 0
    return f'{mean} ± {format(spread, measure.form)}' if spread else mean


def _p(p: float | None, is_reference: bool) -> str:
    if is_reference:
        return 'reference'
    return NONE if p is None or not np.isfinite(p) else f'{p:.3g}'


def _published(shown: Iterable[Measure], width: int) -> list[tuple[TableCell, ...]]:
    """Read the rows of the paper into our columns; what it does not report stays empty."""
    rows = []
    for row in pd.read_csv(PUBLISHED, sep='\t').to_dict('records'):
        known = {
            DICE.key: TableCell(f'{row["dice_mean"]:.2f} ± {row["dice_sd"]:.2f}', row['bold'] == 'yes'),
            FOLDS.key: TableCell(f'{row["folds"]:.3g}'),
            FOLDS_PERCENT.key: TableCell(f'{row["folds_percent"]:.3g}'),
        }
        empty = TableCell(NONE)
        cells = [TableCell(row['method']), empty, *(known.get(measure.key, empty) for measure in shown)]
        rows.append((*cells, *[empty] * (width - len(cells))))
    return rows


def _explain(measure: Measure, reference: str, tests: Mapping[str, float], pairs: int) -> list[str]:
    lines = ['Mean ± standard deviation over pairs; bold: the best mean of these data (none where all are equal).']
    if tests:
        lines.append(
            f'p: Wilcoxon signed-rank test of {measure.heading} against {reference}, two-sided, paired '
            f'over the pairs that both have done, corrected for {len(tests)} comparisons by Holm.'
        )
        least = 2 / 2**pairs
        if least * len(tests) > 0.05:
            lines.append(f'With {pairs} pairs p cannot fall below {least:.2g} before the correction: too few to tell.')
    return lines


def _failures(results: pd.DataFrame) -> tuple[str, ...]:
    failed = results[results['status'] == 'failed']
    return tuple(f'failed: {row.method} on {row.pair}: {row.reason}' for row in failed.itertuples())
