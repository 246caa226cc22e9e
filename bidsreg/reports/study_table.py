"""The table of a study and its data dictionary, as BIDS writes them."""

from __future__ import annotations

from typing import Any

from bidsreg.reports.study import LEAST, REACH, ROW_STATUSES, Study
from bidsreg.tables import to_tsv


def study_tsv(study: Study) -> str:
    """Return the rows as BIDS writes tables: tabs, ``n/a`` where there is nothing."""
    header = ['pair', 'participant_id', 'session_id', 'verdict', 'status', 'reason', 'outlier_in']
    lines: list[list[Any]] = [[*header, *(column.name for column in study.columns)]]
    for row, outlier_in in zip(study.rows, study.outlier_in, strict=True):
        subject, session = row.entities.get('subject'), row.entities.get('session')
        fixed = [
            row.name,
            f'sub-{subject}',
            f'ses-{session}' if session else None,
            row.judgement or None,
            row.status,
            row.reason or None,
            ','.join(outlier_in) or None,
        ]
        lines.append([*fixed, *(row.values.get(column.name) for column in study.columns)])
    return to_tsv(lines)


def describe(study: Study) -> dict[str, dict[str, Any]]:
    """Return the data dictionary of the table: BIDS' keys, the place in the QC file, and the thresholds in force."""
    words: dict[str, dict[str, Any]] = {
        'pair': {'Description': 'Name of the pair: subject, session and the other entities of its T2w'},
        'participant_id': {'Description': 'Subject'},
        'session_id': {'Description': 'Session'},
        'verdict': {
            'Description': 'Whether to use the pair, by the thresholds in force when this table was made',
            'Levels': {
                'PASS': 'every number lies within its thresholds',
                'CHECK': 'at least one number is unusual: look at the pictures',
                'FAIL': 'at least one number says that the alignment or the data are wrong, or the work broke off',
            },
        },
        'status': {'Description': 'What became of the pair', 'Levels': ROW_STATUSES},
        'reason': {'Description': 'Why it is not done, or a sentence for each number beyond its threshold'},
        'outlier_in': {
            'Description': 'The judged numbers (columns) in which the pair lies more than '
            f'{REACH:g} interquartile ranges beyond the quartiles of the study, of at least {LEAST} pairs'
        },
    }
    for column in study.columns:
        item: dict[str, Any] = {'Description': column.description}
        if column.unit:
            item['Units'] = column.unit
        if column.path:
            item['QCFileKey'] = column.path
        if column.checks:
            item['LongName'] = column.title
            item['Thresholds'] = {check: str(study.thresholds[check]) for check in column.checks}
        words[column.name] = item
    return words
