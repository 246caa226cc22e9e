"""The page of a study: one file, with everything in it but the subjects' pages that it links to."""

from __future__ import annotations

import json
import math
import typing
from collections import Counter
from importlib import resources
from pathlib import Path
from typing import Any
from urllib.parse import quote

from bidsreg import __version__
from bidsreg.bids.names import Contrasts
from bidsreg.bids.sidecars import read_json
from bidsreg.qc.verdict import STATUSES, Threshold
from bidsreg.registration.atomic import write_text
from bidsreg.reports.elements import number
from bidsreg.reports.policy import policy
from bidsreg.reports.record import PairRecord
from bidsreg.reports.study import LEAST, REACH, ROW_STATUSES, STEM, Column, Row, Study
from bidsreg.reports.study_spaces import STEM as SPACES_STEM
from bidsreg.reports.study_spaces import StudySpaces, read_study_spaces, write_study_spaces
from bidsreg.reports.study_table import describe, study_tsv
from bidsreg.reports.texts_pair import anchor

if typing.TYPE_CHECKING:
    from bidsreg.settings import Settings

DIGITS = 5
"""Significant digits of what is drawn; the table in ``group_registration.tsv`` has all."""
NAMED = 8
"""So many outliers are named below a number at once; the others when they are asked for."""

#: Sections of the numbers that are not judged: where in the QC file they lie.
SECTIONS = {
    'How well the scans agree': (
        'overlap',
        'alternatives',
        'contrast',
        'depth_contrast',
        'tissue_contrast',
        'edge_lncc',
        'result.evidence',
    ),
    'The deformation': (
        'result.jacobian',
        'result.displacement_mm',
        'result.inverse_consistency_mm',
        'result.path_length_mm',
    ),
    'The linear alignment': ('affine', 'linear'),
    'The rigid alignment': ('rigid',),
    'Scans and masks': ('images', 'masks', 'mask_evidence'),
    'The work': ('',),
}


def write_study(study: Study, settings: Settings) -> Path:
    """Write ``group_registration.tsv``, ``.json`` and ``.html`` into the output folder, each by an atomic write.

    Where people were normalised, ``group_normalisation.tsv`` and ``.json`` come beside them.

    Returns
    -------
    Path
        The page.
    """
    out = settings.output_dir
    write_text(out / f'{STEM}.tsv', study_tsv(study))
    write_text(out / f'{STEM}.json', json.dumps(describe(study), indent=2, ensure_ascii=False) + '\n')
    spaces = read_study_spaces(settings)
    write_study_spaces(spaces, settings)
    return write_text(out / f'{STEM}.html', page(study, settings, spaces))


def page(study: Study, settings: Settings, spaces: StudySpaces | None = None) -> str:
    """Return the page as HTML.

    Parameters
    ----------
    study : Study
        As :func:`bidsreg.reports.study.read_study` gives it.
    settings : Settings
        ``output_dir``: a pair is linked to the page of its subject where there is one.
    spaces : StudySpaces, optional
        The normalisations of the study.
    """
    from jinja2 import Environment

    package = resources.files('bidsreg.reports')
    texts = {
        name: package.joinpath(name).read_text(encoding='utf-8') for name in ('study.html', 'study.css', 'study.js')
    }
    links = _links(study, settings)
    drawn, same = _drawn(study)
    judged = [column for column in drawn if column.checks]
    return (
        Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
        .from_string(texts['study.html'])
        .render(
            policy=policy(texts['study.js'], texts['study.css']),
            css=texts['study.css'],
            script=texts['study.js'],
            data=_data(study, drawn, links),
            title=_title(settings),
            version=__version__,
            stem=STEM,
            reach=f'{REACH:g}',
            least=LEAST,
            heading=_heading(study),
            total=len(study.rows),
            counts=study.count(),
            kinds=[(_kind(kind), count) for kind, count in study.kinds.items()] if len(study.kinds) > 1 else [],
            notes=_notes(study, links),
            sections=_sections(study, drawn, links),
            same=[f'{column.title}: {_with_unit(value, column.unit)}' for column, value in same],
            judged=[(drawn.index(column), column) for column in judged],
            rows=[_row(study, place, judged, links[place]) for place in _worst_first(study)],
            spaces=spaces or StudySpaces((), ()),
            spaces_stem=SPACES_STEM,
        )
    )


def _heading(study: Study) -> str:
    """Say how many pairs there are, and what else has a row of the table."""
    statuses = Counter(row.status for row in study.rows)
    alone, left = statuses.pop('no pair', 0), statuses.pop('left out', 0)
    pairs = statuses.total()
    return ', '.join([
        f'{pairs} pair{"" if pairs == 1 else "s"}',
        *([f'{alone} {"person" if alone == 1 else "people"} without one'] if alone else []),
        *([f'{left} scan{"" if left == 1 else "s"} left out'] if left else []),
    ])  # fmt:skip


def _title(settings: Settings) -> str:
    """Return the name of the dataset, where its description has one."""
    description = read_json(settings.output_dir / 'dataset_description.json') or {}
    return str(description.get('Name', f'bidsreg: {settings.output_dir.name}'))


def _links(study: Study, settings: Settings) -> list[str]:
    """Return for each row the address of its pair in the page of its subject; empty where there is no such page."""
    there: dict[str, bool] = {}
    links = []
    for row in study.rows:
        name = f'sub-{row.entities.get("subject")}.html'
        if name not in there:
            there[name] = (settings.output_dir / name).is_file()
        pair = row.status not in ('no pair', 'left out')
        mark = f'#{quote(anchor(PairRecord(row.name, row.entities)))}' if pair else ''
        links.append(quote(name) + mark if there[name] else '')
    return links


def _drawn(study: Study) -> tuple[list[Column], list[tuple[Column, float]]]:
    """Part the numbers into those that are drawn, and those that are the same in all pairs and judged by nothing."""
    drawn, same = [], []
    for column in study.numbers:
        values = set(study.values(column).values())
        if len(values) == 1 and not column.checks and len(study.rows) > 1:
            same.append((column, values.pop()))
        else:
            drawn.append(column)
    return drawn, same


def _worst_first(study: Study) -> list[int]:
    """Return the places of the rows: FAIL, no verdict, CHECK, PASS; among equals those with most outliers first."""
    order = {status: place for place, status in enumerate(('FAIL', '', 'CHECK', 'PASS'))}
    return sorted(
        range(len(study.rows)), key=lambda place: (order[study.rows[place].judgement], -len(study.outlier_in[place]))
    )


def _notes(study: Study, links: list[str]) -> list[str]:
    """Return what to know before numbers are compared."""
    notes = []
    kinds = Counter(
        (str(row.values.get('fingerprint', '?')), str(row.values.get('method', '?')))
        for row in study.rows
        if row.status == 'done'
    )
    if len(kinds) > 1:
        named = '; '.join(f'{count} with {method} ({mark})' for (mark, method), count in kinds.most_common())
        notes.append(
            f'The pairs were made with {len(kinds)} different settings or versions: {named}. Compare like with like.'
        )
    missing = sum(not link and row.status != 'no pair' for row, link in zip(study.rows, links, strict=True))
    if missing:
        notes.append(
            f'{missing} pair(s) have no subject page to open: the participant level with --reports-only writes it.'
        )
    return notes


def _sections(study: Study, drawn: list[Column], links: list[str]) -> list[dict[str, Any]]:
    """Sort the numbers into sections, the judged ones first."""
    titles = {'What the verdict looks at': [column for column in drawn if column.checks]}
    left = [column for column in drawn if not column.checks]
    for title, starts in SECTIONS.items():
        mine = [
            column for column in left if any(f'{column.path}.'.startswith(f'{start}.') or not start for start in starts)
        ]
        left = [column for column in left if column not in mine]
        titles[title] = mine
    return [
        {'title': title, 'figures': [_figure(study, column, drawn.index(column), links) for column in columns]}
        for title, columns in titles.items()
        if columns
    ]


def _figure(study: Study, column: Column, place: int, links: list[str]) -> dict[str, Any]:
    """Return what stands above and below the picture of one number."""
    values, beyond = study.values(column), study.outliers(column)
    named = [(study.rows[row].name, _with_unit(values[row], column.unit), links[row]) for row in beyond]
    return {
        'place': place,
        'column': column,
        'thresholds': [str(study.thresholds[check]) for check in column.checks],
        'count': len(values),
        'without': len(study.rows) - len(values),
        'few': not any(study.spreads[column.name].values()),
        'outliers': named[:NAMED],
        'more': named[NAMED:],
    }


def _row(study: Study, place: int, judged: list[Column], link: str) -> dict[str, Any]:
    """Return one row of the table."""
    row = study.rows[place]
    return {
        'place': place,
        'name': row.name,
        'link': link,
        'judgement': row.judgement,
        'status': row.status,
        'about': ROW_STATUSES[row.status],
        'reason': row.reason,
        'outlier_in': [column.title for column in judged if column.name in study.outlier_in[place]],
        'cells': [_cell(row, column) for column in judged],
        'words': ' '.join(str(row.values.get(key, '')) for key in ('method', 'fingerprint')),
    }


def _cell(row: Row, column: Column) -> tuple[str, str]:
    """Return a number for people, and its status when it is not PASS."""
    value = row.values.get(column.name)
    if value is None:
        return '–', ''
    found = [row.verdict.checks[check].status for check in column.checks if row.verdict and check in row.verdict.checks]
    worst = max(found, key=STATUSES.index, default='PASS')
    return number(value), '' if worst == 'PASS' else worst


def _with_unit(value: float, unit: str) -> str:
    return f'{number(value)} {unit}'.strip()


def _kind(contrasts: Contrasts) -> str:
    """Return the contrasts of a pair in words."""
    return f'{contrasts.moving} to {contrasts.fixed}'


def _data(study: Study, drawn: list[Column], links: list[str]) -> str:
    """Return what the script of the page reads: JSON that is safe inside HTML."""
    plain = {
        'pairs': [
            {
                'name': row.name,
                'verdict': row.judgement,
                'status': row.status,
                'href': link,
                'kind': '' if row.status == 'no pair' else _kind(row.contrasts),
            }
            for row, link in zip(study.rows, links, strict=True)
        ],
        'numbers': [_number(study, column) for column in drawn],
    }
    text = json.dumps(plain, ensure_ascii=False, separators=(',', ':'), allow_nan=False)
    return text.replace('&', '\\u0026').replace('<', '\\u003c').replace('>', '\\u003e')


def _number(study: Study, column: Column) -> dict[str, Any]:
    """Return what the script needs to draw one number."""
    values, known = study.values(column), next(iter(study.spreads[column.name].values()))
    if len(study.kinds) > 1:  # one box would be that of a mixture
        known = None
    return {
        'title': column.title,
        'unit': column.unit,
        'values': [_short(values[place]) if place in values else None for place in range(len(study.rows))],
        'spread': known and [_short(value) for value in (known.low, known.q1, known.median, known.q3, known.high)],
        'outliers': study.outliers(column),
        'lines': [line for check in column.checks for line in _lines(study.thresholds[check])],
    }


def _lines(threshold: Threshold) -> list[dict[str, Any]]:
    """Return the thresholds to draw; infinite ones are never reached."""
    return [
        {'status': status, 'at': value, 'way': threshold.way}
        for status, value in (('CHECK', threshold.check), ('FAIL', threshold.fail))
        if math.isfinite(value)
    ]


def _short(value: float) -> float:
    return value if isinstance(value, int) else float(f'{value:.{DIGITS}g}')
