"""The table in the paper's layout: Markdown to read, HTML to look at, LaTeX to put into a paper."""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from bidsreg.benchmark.measures import DICE, FOLDS, FOLDS_PERCENT, MEASURES, TRE, Measure
from bidsreg.benchmark.methods import AFFINE, Method
from bidsreg.benchmark.statistics import Comparison, compare

#: What the paper reports, on another dataset.
PUBLISHED = Path(__file__).with_name('published.tsv')
PUBLISHED_GROUP = 'As published, on OASIS-3 (other data: not to be compared row by row)'
APP_PROGRAMS, OURS = 'Baseline', 'NODE + similarity'
NONE = '–'


@dataclass(frozen=True)
class Cell:
    """A text of the table, and whether it is the best of its column."""

    text: str
    best: bool = False


@dataclass(frozen=True)
class Table:
    """What is printed, whatever the format.

    Attributes
    ----------
    title : str
        Above the table.
    columns : tuple of str
        Headings; the first is that of the methods.
    groups : tuple of (str, tuple of tuple of Cell)
        A heading of its own, and rows.
    notes, failures : tuple of str
        Below the table.
    """

    title: str
    columns: tuple[str, ...]
    groups: tuple[tuple[str, tuple[tuple[Cell, ...], ...]], ...]
    notes: tuple[str, ...] = ()
    failures: tuple[str, ...] = ()


def primary(results: pd.DataFrame) -> Measure:
    """Return what methods are compared by: Dice where there are labels, else the error at points."""
    return TRE if results[DICE.key].isna().all() and results[TRE.key].notna().any() else DICE


def comparisons(results: pd.DataFrame, reference: str) -> list[Comparison]:
    """Test every method against a reference by the primary measure, over the pairs that both have done."""
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
        Above and below.

    Returns
    -------
    Table
    """
    done = results[results['status'] == 'done']
    shown = [measure for measure in MEASURES if measure.heading and done[measure.key].notna().any()]
    groups = {method.name: OURS if method.is_ours else APP_PROGRAMS for method in methods}
    tests = {test.method: test for test in comparisons(results, reference)}
    judged_by = primary(results)
    pairs = results['pair'].nunique()
    best = _best(done, shown)
    rows: dict[str, list[tuple[Cell, ...]]] = {APP_PROGRAMS: [], OURS: []}
    for method in methods:
        mine = done[done['method'] == method.name]
        cells = [Cell(method.name), Cell(f'{len(mine)}/{pairs}')]
        if len(mine):
            cells += [Cell(_mean(mine[m.key], m), method.name in best[m.key]) for m in shown]
        else:
            cells += [Cell('failed'), *[Cell(NONE)] * (len(shown) - 1)][: len(shown)]
        test = [Cell(_p(tests.get(method.name), method.name == reference))] if tests else []
        rows[groups[method.name]].append((*cells, *test))
    columns = ['Method', 'Pairs', *(measure.heading + measure.arrow for measure in shown)]
    columns += [f'p ({judged_by.heading.split(" (")[0]})'] if tests else []
    filled = [(name, tuple(lines)) for name, lines in rows.items() if lines]
    if DICE in shown:
        filled.append((PUBLISHED_GROUP, tuple(_published(shown, len(columns)))))
    told = [*_explain(judged_by, reference, tests, pairs), *notes]
    return Table(title, tuple(columns), tuple(filled), tuple(told), _failures(results))


def _best(done: pd.DataFrame, shown: Iterable[Measure]) -> dict[str, set[str]]:
    """The methods with the best mean of each measure; nobody where all are equal."""
    best: dict[str, set[str]] = {}
    for measure in shown:
        of = done[done['method'] != AFFINE] if measure.of_field else done
        means = of.groupby('method')[measure.key].mean().dropna() * measure.better
        top = means[means >= means.max() - 1e-12]
        best[measure.key] = set(top.index) if 0 < len(top) < len(means) else set()
    return best


def _mean(values: pd.Series, measure: Measure) -> str:
    """Mean and standard deviation over pairs."""
    known = values.dropna() * measure.scale
    if not len(known):
        return NONE
    mean = format(known.mean(), measure.form)
    # equal numbers have a spread of their last digits
    spread = known.std() if len(known) > 1 and not np.allclose(known, known.iloc[0], rtol=1e-9, atol=0) else 0
    return f'{mean} ± {format(spread, measure.form)}' if spread else mean


def _p(test: Comparison | None, is_reference: bool) -> str:
    if is_reference:
        return 'reference'
    return NONE if test is None or not np.isfinite(test.p_holm) else f'{test.p_holm:.3g}'


def _published(shown: Iterable[Measure], width: int) -> list[tuple[Cell, ...]]:
    """The rows of the paper, in our columns; what it does not report stays empty."""
    rows = []
    for row in pd.read_csv(PUBLISHED, sep='\t').to_dict('records'):
        known = {
            DICE.key: Cell(f'{row["dice_mean"]:.2f} ± {row["dice_sd"]:.2f}', row['bold'] == 'yes'),
            FOLDS.key: Cell(f'{row["folds"]:.3g}'),
            FOLDS_PERCENT.key: Cell(f'{row["folds_percent"]:.3g}'),
        }
        cells = [Cell(row['method']), Cell(NONE), *(known.get(measure.key, Cell(NONE)) for measure in shown)]
        rows.append((*cells, *[Cell(NONE)] * (width - len(cells))))
    return rows


def _explain(measure: Measure, reference: str, tests: Mapping[str, Comparison], pairs: int) -> list[str]:
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


# ---------------------------------------------------------------------------------------------------- formats
class Markdown:
    """A table as GitHub and others show it."""

    extension = '.md'

    def __call__(self, table: Table) -> str:
        """Render."""
        lines = [f'## {table.title}', '', self._line(map(Cell, table.columns)), '|' + '---|' * len(table.columns)]
        for name, rows in table.groups:
            lines.append(self._line([Cell(f'*{name}*'), *[Cell('')] * (len(table.columns) - 1)]))
            lines += [self._line(row) for row in rows]
        return '\n'.join([*lines, '', *(f'- {note}' for note in (*table.notes, *table.failures)), ''])

    @staticmethod
    def _line(cells: Iterable[Cell]) -> str:
        texts = [(cell.text.replace('|', r'\|'), cell.best) for cell in cells]
        return '| ' + ' | '.join(f'**{text}**' if best else text for text, best in texts) + ' |'


class Html:
    """A page of its own, readable offline."""

    extension = '.html'
    style = (
        'body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:90rem;padding:0 1rem;color:#111;'
        'background:#fff}div{overflow-x:auto}table{border-collapse:collapse;font-size:13px}'
        'th,td{padding:.2rem .45rem;text-align:right}td{white-space:nowrap}th{vertical-align:bottom}'
        'th:first-child,td:first-child{text-align:left;position:sticky;left:0;background:#fff}'
        'thead th{border-top:2px solid;border-bottom:1px solid}tbody th{border-top:1px solid;font-weight:600;'
        'font-style:italic;text-align:left}tbody:last-child tr:last-child td{border-bottom:2px solid}li{margin:.2rem 0}'
    )

    def __call__(self, table: Table) -> str:
        """Render."""
        title, width = html.escape(table.title), len(table.columns)
        # an arrow does not stand alone on a line
        names = [re.sub(' (?=[↑↓])', '\N{NO-BREAK SPACE}', html.escape(name)) for name in table.columns]
        head = ''.join(f'<th scope="col">{name}</th>' for name in names)
        bodies = [
            f'<tbody><tr><th scope="rowgroup" colspan="{width}">{html.escape(name)}</th></tr>\n'
            + '\n'.join(f'<tr>{"".join(map(self._cell, row))}</tr>' for row in rows)
            + '</tbody>'
            for name, rows in table.groups
        ]
        notes = '\n'.join(f'<li>{html.escape(note)}</li>' for note in (*table.notes, *table.failures))
        return (
            f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
            f'<meta name="viewport" content="width=device-width"><style>{self.style}</style></head>\n<body>'
            f'<h1>{title}</h1>\n<div><table><thead><tr>{head}</tr></thead>\n' + '\n'.join(bodies) + '</table></div>\n'
            f'<ul>{notes}</ul></body></html>\n'
        )

    @staticmethod
    def _cell(cell: Cell) -> str:
        text = html.escape(cell.text)
        return f'<td>{f"<strong>{text}</strong>" if cell.best else text}</td>'


class Latex:
    """A table for the package booktabs; one of many columns lies on its side, by the package rotating."""

    extension = '.tex'
    #: More columns than this are not legible across an upright page.
    upright = 7
    #: So many failures are told; a page holds no more.
    failures = 3
    signs = str.maketrans({
        '\\': r'\textbackslash{}', '%': r'\%', '_': r'\_', '&': r'\&', '#': r'\#', '$': r'\$', '{': r'\{', '}': r'\}',
        '~': r'\textasciitilde{}', '^': r'\textasciicircum{}', '<': r'\textless{}', '>': r'\textgreater{}',
        '|': r'\textbar{}', '"': "''", '±': r'$\pm$', '↑': r'$\uparrow$', '↓': r'$\downarrow$', '≤': r'$\leq$',
        '–': r'\textendash{}',
    })  # fmt:skip
    #: What pdflatex can print without another package, beside ASCII and `signs`.
    letters = frozenset('äöüÄÖÜßéèêëÉÈÊáàâãåÁÀÂÃÅæÆøØœŒñÑçÇíìîïÍóòôõÓÔÕúùûÚłŁšŠžŽčČ‘’“”—…')

    def __call__(self, table: Table) -> str:
        """Render."""
        width = len(table.columns)
        wide = width > self.upright
        kind = 'sidewaystable' if wide else 'table'
        begin, end = (r'\resizebox{\textwidth}{!}{%', r'\end{tabular}}') if wide else (r'\small', r'\end{tabular}')
        lines = [
            r'% needs \usepackage{booktabs}' + (r' and \usepackage{rotating}' if wide else ''),
            rf'\begin{{{kind}}}',
            r'\centering',
            r'\setlength{\tabcolsep}{3pt}',
            rf'\caption{{{self._text(table.title)}}}',
            begin,
            rf'\begin{{tabular}}{{l{"r" * (width - 1)}}}',
            r'\toprule',
            ' & '.join(map(self._heading, table.columns)) + r' \\',
        ]
        for name, rows in table.groups:
            lines += [r'\midrule', rf'\multicolumn{{{width}}}{{l}}{{\textit{{{self._text(name)}}}}} \\']
            lines += [' & '.join(map(self._cell, row)) + r' \\' for row in rows]
        lines += [r'\bottomrule', end, r'\par\smallskip\scriptsize\raggedright']
        lines += [self._text(note) for note in self._short(table)]
        return '\n'.join([*lines, rf'\end{{{kind}}}', ''])

    def _short(self, table: Table) -> list[str]:
        """The notes as sentences of one paragraph, failures only as far as there is room."""
        told = [f'{note.rstrip(".")}.' for note in (*table.notes, *table.failures[: self.failures])]
        more = len(table.failures) - self.failures
        return [*told, f'{more} more failed, see results.tsv.'] if more > 0 else told

    def _heading(self, text: str) -> str:
        """On two lines where it is long, so that numbers and not words decide how wide a column is."""
        middle = re.sub(r' (?=\(|of |≤|error|seconds)', '\n', text, count=1).split('\n')
        lines = r' \\ '.join(map(self._text, middle))
        return rf'\shortstack[r]{{{lines}}}' if len(middle) > 1 else lines

    def _text(self, text: str) -> str:
        plain = ''.join(map(self._printable, text)).replace('|J|', '\0').translate(self.signs)
        # two hyphens in a row would become a dash
        return re.sub('-(?=-)', '-{}', plain).replace('\0', r'$|J_\phi|$')

    def _printable(self, sign: str) -> str:
        if ord(sign) in self.signs or sign in self.letters or ' ' <= sign <= '~':
            return sign
        return unicodedata.normalize('NFKD', sign).encode('ascii', 'ignore').decode() or '?'

    def _cell(self, cell: Cell) -> str:
        text = self._text(cell.text)
        return rf'\textbf{{{text}}}' if cell.best else text


FORMATS = (Markdown(), Html(), Latex())
