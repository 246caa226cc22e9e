"""A study: a row for every pair that is done, failed or missing, read from the derivatives alone.

`read_study` collects; `study_page.write_study` writes ``group_registration.tsv``, ``.json`` and ``.html``.
"""

from __future__ import annotations

import csv
import logging
import math
import re
import typing
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, TypeGuard

from bidsreg.bids.earlier import earlier_files
from bidsreg.bids.names import Contrasts, pair_name, parse_pair_name
from bidsreg.bids.pairs import node_name
from bidsreg.bids.scans import contrast_of
from bidsreg.bids.sidecars import parse_json
from bidsreg.errors import InputError
from bidsreg.execution.crashes import last_crash
from bidsreg.qc.dictionary import common_words, read_dictionaries, read_dictionary
from bidsreg.qc.values import At, value_at
from bidsreg.qc.verdict import CHECKS, STATUSES, Threshold, Verdict, read_thresholds
from bidsreg.reports.record import QC_ENDING, UNUSABLE, judge_qc, natural, recall

if typing.TYPE_CHECKING:
    from bidsreg.settings import Settings

STEM = 'group_registration'
REACH = 1.5
"""A number beyond its quartiles by more than this many interquartile ranges is an outlier (Tukey's fences)."""
LEAST = 5
"""The fewest pairs of which quartiles are taken and outliers named."""

LOGGER = logging.getLogger('bidsreg')

#: The statuses of a row, and what they mean.
ROW_STATUSES = {
    'done': 'it has a QC file',
    'failed': 'its work broke off; the verdict is FAIL',
    'not done': 'it is in the plan and has no QC file, and no failure is on record',
    'unreadable': 'its QC file cannot be read: run the participant level again',
    'left out': 'a T2w (or other scan that was asked for) that was not registered',
    'no pair': 'a subject without a T1w and a T2w (or other) that go together',
}

#: Keys of a QC file that hold no number and no short text to compare pairs by (or have a column of their own).
_SKIPPED = (
    'pair',
    'sources',
    'verdict',
    'result.settings',
    'result.versions',
    'result.loss_history',
    'result.events',
    'result.grid',
    'ratio.points',
    'ratio.reference',
    'ratio.reference_source',
    'ratio.lines',
    'ratio.passed_over',
    'ratio_failure.kind',
    'ratio_failure.step',
    'ratio_failure.detail',
)
#: What a key of a QC file is made of; it becomes a part of the heading of a column.
_PART = re.compile(r'[A-Za-z][A-Za-z0-9_]{0,60}')
#: Columns of the plan that name no scan.
_NO_SCAN = ('subject', 'session', 'reference', 'decision', 'reason', None)
_AXES = ('x', 'y', 'z')
_PLANES = ('xy', 'xz', 'yz')


@dataclass(frozen=True)
class Row:
    """A row of the table: one pair, or what stands in the place of one.

    Parameters
    ----------
    name : str
        As :attr:`bidsreg.bids.pairs.Pair.name`; ``sub-<label>`` of a subject that has no pair.
    status : str
        One of :data:`ROW_STATUSES`.
    reason : str
        The reason why it is not done, or why the verdict is not PASS.
    verdict : Verdict or None
        By the thresholds of today; None where there are no numbers.
    values : mapping
        Numbers and short texts of its QC file, by the names of the columns.
    """

    name: str
    status: str
    reason: str = ''
    verdict: Verdict | None = None
    values: Mapping[str, Any] = field(default_factory=dict)

    @property
    def entities(self) -> dict[str, str]:
        """The entities of the moving scan (pybids' names)."""
        return parse_pair_name(self.name)[0]

    @property
    def contrasts(self) -> Contrasts:
        """The contrasts of its scans."""
        return parse_pair_name(self.name)[1]

    @property
    def judgement(self) -> str:
        """The verdict: PASS, CHECK or FAIL, empty where nothing was judged. A pair whose work broke off is a FAIL."""
        if self.status == 'failed':
            return 'FAIL'
        return self.verdict.status if self.verdict else ''


@dataclass(frozen=True)
class Column:
    """A column of the table: a number of the QC file, one of its texts, or a number that the verdict makes of several.

    Parameters
    ----------
    name : str
        The heading of the column.
    title : str
        Its name for people.
    description, unit : str
        The words of the dictionary; the unit is empty for a plain ratio and for texts.
    path : str
        Its dotted path in the QC file.
    checks : tuple of str
        The checks of the verdict that look at it.
    """

    name: str
    title: str
    description: str
    unit: str
    path: str
    checks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Spread:
    """The distribution of a number over the pairs that have it.

    Parameters
    ----------
    q1, median, q3 : float
        Quartiles (linear interpolation).
    low, high : float
        The fences: :data:`REACH` interquartile ranges beyond the quartiles.
    """

    q1: float
    median: float
    q3: float
    low: float
    high: float

    def outside(self, value: float) -> bool:
        """Tell whether a value is an outlier; rounding errors of equal values are none."""
        slack = 1e-9 * max(abs(self.low), abs(self.high))
        return not self.low - slack <= value <= self.high + slack


def spread(values: Sequence[float]) -> Spread | None:
    """Return quartiles and fences of finite values; None for fewer than :data:`LEAST`."""
    if len(values) < LEAST:
        return None
    ordered = sorted(values)

    def quantile(share: float) -> float:
        place = share * (len(ordered) - 1)
        below = math.floor(place)
        above = min(below + 1, len(ordered) - 1)
        return ordered[below] + (place - below) * (ordered[above] - ordered[below])

    q1, median, q3 = (quantile(share) for share in (0.25, 0.5, 0.75))
    reach = REACH * (q3 - q1)
    return Spread(q1, median, q3, q1 - reach, q3 + reach)


@dataclass(frozen=True)
class Study:
    """All rows of a study, in natural order, and the columns they fill.

    Parameters
    ----------
    rows : tuple of Row
        Sorted so that 2 comes before 10.
    columns : tuple of Column
        Those that at least one row fills.
    thresholds : mapping of str to Threshold
        Those in force, by their checks.
    """

    rows: tuple[Row, ...]
    columns: tuple[Column, ...]
    thresholds: Mapping[str, Threshold]

    @cached_property
    def numbers(self) -> tuple[Column, ...]:
        """The columns that hold numbers, those that are judged first, in the order of the checks."""
        held = [column for column in self.columns if self.values(column)]
        order = {check: place for place, check in enumerate(CHECKS)}
        return tuple(
            sorted(held, key=lambda column: min((order[check] for check in column.checks), default=len(order)))
        )

    @cached_property
    def kinds(self) -> dict[Contrasts, int]:
        """The contrasts of the pairs, and how many pairs have them."""
        return Counter(row.contrasts for row in self.rows if row.status != 'no pair')

    @cached_property
    def spreads(self) -> dict[str, dict[Contrasts, Spread | None]]:
        """The spread of every number in the pairs of the same contrasts, by the name of its column."""
        found: dict[str, dict[Contrasts, Spread | None]] = {}
        for number in self.numbers:
            values = self.values(number)
            mine = {
                kind: [v for place, v in values.items() if self.rows[place].contrasts == kind] for kind in self.kinds
            }
            found[number.name] = {kind: spread(numbers) for kind, numbers in mine.items()}
        return found

    def values(self, column: Column) -> dict[int, float]:
        """Return the finite numbers of a column, by the place of their row."""
        found = {place: row.values.get(column.name) for place, row in enumerate(self.rows)}
        return {place: value for place, value in found.items() if is_number(value) and math.isfinite(value)}

    def outliers(self, column: Column) -> list[int]:
        """Return the places of the rows that are outliers in a number, the farthest from the median first.

        A pair is compared with those of its contrasts: other contrasts have other numbers.
        """
        beyond = {}
        for place, value in self.values(column).items():
            known = self.spreads[column.name].get(self.rows[place].contrasts)
            if known is not None and known.outside(value):
                beyond[place] = abs(value - known.median)
        return sorted(beyond, key=lambda place: -beyond[place])

    @cached_property
    def outlier_in(self) -> list[list[str]]:
        """The judged numbers in which a row is an outlier, for each row."""
        found: list[list[str]] = [[] for _ in self.rows]
        for number in self.numbers:
            for place in self.outliers(number) if number.checks else ():
                found[place].append(number.name)
        return found

    def count(self) -> dict[str, int]:
        """Count the rows by their verdict; under the empty text those that have none."""
        return {status: sum(row.judgement == status for row in self.rows) for status in (*STATUSES, '')}

    def summary(self) -> str:
        """Return the counts in one line."""
        counts = self.count()
        named = ', '.join(f'{counts[status]} {status}' for status in STATUSES)
        return f'{len(self.rows)} pair(s): {named}, {counts[""]} without a verdict'


def is_number(value: Any) -> TypeGuard[int | float]:
    """Tell whether a value is one to draw: no text, no truth value."""
    return isinstance(value, int | float) and not isinstance(value, bool)


# ------------------------------------------------------------------------------------------------------- collecting
def read_study(settings: Settings) -> Study:
    """Collect the rows of a study from its output folder; the raw data are not looked at.

    A pair is in it when it has a QC file, when its failure is on record (``logs/sub-*_outcomes.json``), or when it is
    in the plan (``logs/pairs.tsv``); scans without a T1w and subjects without a pair are, too. What a filter of the
    user left out is not.

    Parameters
    ----------
    settings : Settings
        ``output_dir`` and ``qc_thresholds`` are read.

    Raises
    ------
    InputError
        When there is nothing of this kind in the folder.
    """
    out = settings.output_dir
    thresholds = read_thresholds(settings.qc_thresholds)
    paths = dict.fromkeys(_made(), '')
    rows = {name: _read_qc(name, path, thresholds, paths) for name, path in _qc_files(out)}
    for path in sorted(out.glob('logs/sub-*_outcomes.json')):
        for name, outcome in recall(path.name[len('sub-') : -len('_outcomes.json')], out).items():
            if outcome.status == 'failed' and name not in rows:
                rows[name] = Row(name, 'failed', f'{outcome.step}: {outcome.message}'.strip(': '))
    for row in _planned(out):
        rows.setdefault(row.name, row)
    subjects = {row.name.partition('_')[0] for row in rows.values() if row.status != 'no pair'}
    kept = [row for row in rows.values() if row.status != 'no pair' or row.name not in subjects]
    if not kept:
        raise InputError(
            f'{out} has no QC file (sub-*/anat/*{QC_ENDING}) and no logs/pairs.tsv: run the participant level first, '
            'or give the output folder of a run.'
        )
    kept.sort(key=lambda row: natural(row.name))
    kept = [_with_crash(row, out) if row.status == 'not done' else row for row in kept]
    if any(row.values and row.contrasts.told for row in kept):  # the QC file of a T2w and a T1w does not say it
        kept = [_with_contrasts(row) for row in kept]
        paths |= {f'contrasts_{role}': f'contrasts.{role}' for role in ('fixed', 'moving')}
    return Study(tuple(kept), tuple(_columns(kept, paths)), thresholds)


def _qc_files(out: Path) -> Iterator[tuple[str, Path]]:
    """Yield name and QC file of every pair that has one, but for those of an earlier release."""
    earlier = earlier_files(out)
    for name in sorted(earlier):
        LOGGER.warning('%s: of an earlier release, and left out of the study until it is done anew', name)
    for folder in ('sub-*/anat', 'sub-*/ses-*/anat'):
        for path in out.glob(f'{folder}/*{QC_ENDING}'):
            if (name := path.name.removesuffix(QC_ENDING)) not in earlier:
                yield name, path


def _read_qc(
    name: str,
    path: Path,
    thresholds: Mapping[str, Threshold],
    paths: dict[str, str],
) -> Row:
    """Make the row of a QC file, or one that says why it cannot be read; `paths` learns where its columns lie."""
    try:
        facts = parse_json(path.read_text(encoding='utf-8'))
    except (OSError, ValueError) as error:
        return Row(name, 'unreadable', f'{path.name} cannot be read: {error}')
    if not isinstance(facts, dict):
        return Row(name, 'unreadable', f'{path.name} holds {type(facts).__name__} in the place of a JSON object')
    try:
        verdict = judge_qc(facts, thresholds)
        values = {key: value for key, check in _made().items() if is_number(value := check.value(facts))}
        for key, value, where in _flat_facts(facts, read_dictionary(parse_pair_name(name)[1])):
            values[key], paths[key] = value, where
    except UNUSABLE as error:
        return Row(name, 'unreadable', f'{path.name} holds what no QC file holds: {error}')
    reason = ' '.join(verdict.reasons) if verdict else f'{path.name} has no number to judge the registration by'
    return Row(name, 'done', reason, verdict, values)


def _flat_facts(facts: Mapping[str, Any], dictionary: Mapping[str, Any]) -> Iterator[tuple[str, Any, str]]:
    """Yield column, value and path of everything in a QC file that the dictionary describes and a cell can hold."""
    for path in dictionary:
        if not any(path == skipped or path.startswith(f'{skipped}.') for skipped in _SKIPPED):
            for name, value in _flat(_column(path), value_at(facts, path)):
                yield name, value, path


def _column(path: str) -> str:
    """Return the name of the column of a path: BIDS wants snake case."""
    return path.removeprefix('result.').replace('.', '_')


def _flat(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Take vectors and tables of numbers apart; lists of texts become one text."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            if not _PART.fullmatch(key):
                raise ValueError(f'the key {key[:40]!r}')
            yield from _flat(f'{name}_{key}', inner)
    elif isinstance(value, list) and len(value) == 3 and all(map(is_number, value)):
        for axis, inner in zip(_PLANES if name.endswith('shears') else _AXES, value, strict=True):
            yield f'{name}_{axis}', inner
    elif isinstance(value, list):
        if value:
            yield name, '; '.join(map(str, value))
    elif value is not None:
        yield name, value


def _made() -> dict[str, Any]:
    """Return the checks whose number is made of several, and so has no place in the dictionary."""
    return {name: check for name, check in CHECKS.items() if not isinstance(check.value, At)}


def _planned(out: Path) -> Iterator[Row]:
    """Yield the rows of the plan: pairs, scans that were not registered, subjects without a pair."""
    try:
        with (out / 'logs' / 'pairs.tsv').open(encoding='utf-8', newline='') as stream:
            plan = list(csv.DictReader(stream, delimiter='\t'))
    except (OSError, UnicodeDecodeError, csv.Error):
        return  # folders that were put together of parts have none
    for line in plan:
        reason = line.get('reason') or ''
        reference = line.get('reference') or 'T1w'
        moving = next((line[key] for key in line if key not in (*_NO_SCAN, reference.lower()) and line[key]), '')
        if line.get('decision') == 'no pair':
            yield Row(f'sub-{line.get("subject")}', 'no pair', reason)
        elif moving and line.get('decision') == 'register':
            yield Row(_name_of(moving, reference), 'not done')
        elif moving and line.get('decision') == 'left out':
            yield Row(_name_of(moving, reference), 'left out', reason)


def _name_of(moving: str, reference: str) -> str:
    """Return the name of the pair of a moving scan."""
    entities, _ = parse_pair_name(moving.partition('.')[0])
    return pair_name(entities, Contrasts(reference, contrast_of(Path(moving))))


def _with_contrasts(row: Row) -> Row:
    """Return a row whose values say its contrasts."""
    told = {f'contrasts_{role}': contrast for role, contrast in asdict(row.contrasts).items()}
    return replace(row, values={**row.values, **told}) if row.values else row


def _with_crash(row: Row, out: Path) -> Row:
    """Say where the work stopped, when a run that was interrupted left a crash file."""
    crash = last_crash(out / 'logs', node_name(row.name))
    left = f'; an earlier run left {crash.crash_file.relative_to(out).as_posix()}' if crash and crash.crash_file else ''
    return Row(row.name, row.status, f'planned, and not done yet{left}')


def _columns(rows: Sequence[Row], paths: Mapping[str, str]) -> Iterator[Column]:
    """Yield the columns that any row fills: what the verdict makes itself, then those of the dictionary in order."""
    kinds = dict.fromkeys(row.contrasts for row in rows if row.values)
    dictionary, words = read_dictionaries(kinds), common_words(kinds)
    order = {path: place for place, path in enumerate(['', *dictionary])}
    filled = {name for row in rows for name in row.values}
    for name in sorted((name for name in paths if name in filled), key=lambda name: order[paths[name]]):
        path = paths[name]
        checks = tuple(
            key
            for key, check in CHECKS.items()
            if (isinstance(check.value, At) and check.value.path_of(words) == path) or key == name
        )
        check = CHECKS[checks[0]] if checks else None
        item = dictionary.get(path) or {'Description': CHECKS[name].name(words), 'Units': CHECKS[name].unit.strip()}
        part = name.removeprefix(_column(path)).lstrip('_') if path else ''
        about = item['Description'] + (f': {part.replace("_", " ")}' if part else '')
        title = check.name(words) if check else name.replace('_', ' ')
        yield Column(name, title, about, item.get('Units', ''), path, checks)
