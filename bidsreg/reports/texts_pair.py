"""One pair on the page of its subject: how it stands, what the result is worth, and what it was made from."""

from __future__ import annotations

import typing
from collections.abc import Mapping
from typing import Any

from bidsreg.reports.elements import badge, box, escape, number, table
from bidsreg.reports.record import PairRecord, sources

if typing.TYPE_CHECKING:
    from bidsreg.settings import Settings


#: For each verdict the kind of the box that tells it.
KINDS = {'PASS': 'good', 'CHECK': 'warn', 'FAIL': 'bad'}


def anchor(record: PairRecord) -> str:
    """Return the id of a pair's section in the page of its subject."""
    return record.name


def reasons(record: PairRecord) -> list[str]:
    """Return the sentences that say why the verdict is not PASS."""
    return record.verdict.reasons if record.verdict else []


def facts_section(record: PairRecord, settings: Settings) -> str:
    """Return the boxes that say how a pair stands, and the table of what was used."""
    findings = header_findings(record)
    said = [box('warn', '<b>About the headers:</b><br>' + '<br>'.join(map(escape, findings)))] if findings else []
    return '\n'.join([*_state(record), *_worth(record), table(_fact_rows(record, settings)), *said])


def _state(record: PairRecord) -> list[str]:
    """Tell in boxes whether the pair is done, and by which run."""
    boxes = []
    if record.failed and record.outcome:
        step = escape(record.outcome.step or '?')
        boxes.append(box('bad', f'<b>This pair failed</b> at <code>{step}</code>: {escape(record.outcome.message)}'))
        if record.complete:
            boxes.append(box('warn', 'What is shown below is of an earlier run.'))
        elif record.qc:
            boxes.append(box('warn', 'What is shown below was known when it failed.'))
    elif record.outcome and record.outcome.status == 'locked':
        boxes.append(
            box('warn', f'Not done by this run: {escape(record.outcome.message or "another run has this pair")}.')
        )
    elif not record.complete:
        boxes.append(box('warn', 'This pair is not done: there is no QC file of it in the derivatives.'))
    if record.complete and not record.current:
        boxes.append(box('warn', 'The derivatives were made with other settings than those of this run.'))
    return boxes


def _worth(record: PairRecord) -> list[str]:
    """Tell in boxes what the result is worth: verdict, decision, folds."""
    boxes, result = [], record.result
    if record.verdict:
        why = reasons(record) or ['All numbers lie within their thresholds.']
        lines = [badge(record.verdict.status), *map(escape, why)]
        boxes.append(box(KINDS[record.verdict.status], '<br>'.join(lines)))
    decision = result.get('decision') or {}
    if decision:
        kept = 'the deformation' if decision.get('kept') == 'diffeo' else f'the {decision.get("kept")}'
        boxes.append(
            box(
                'good' if decision.get('kept') == 'diffeo' else 'warn',
                f'<b>Kept: {escape(kept)}.</b> {escape(decision.get("reason", ""))}',
            )
        )
    folds = (result.get('jacobian') or {}).get('folds')
    if folds:
        boxes.append(box('bad', f'<b>{number(folds)} voxels are folded</b> (Jacobian determinant not above 0).'))
    return boxes


def _fact_rows(record: PairRecord, settings: Settings) -> list[tuple[str, str]]:
    """Return the rows of the table of what was used."""
    rows = []
    for label, uri in zip(('T1w', 'T2w'), sources(record, settings), strict=False):
        path = getattr(record.pair, label.lower()) if record.pair else None
        rows.append((f'{label}', f'<code>{escape(uri)}</code>{_grid(path)}'))
    if record.pair:
        rows.append(('Why this T1w', escape(record.pair.reason)))
    rows.append(
        ('Brain mask', escape(record.qc.get('mask_method') or (record.pair.fixed_mask_reason if record.pair else '–')))
    )
    if record.qc.get('moving_mask_method'):
        rows.append(('Brain mask of the T2w', escape(record.qc['moving_mask_method'])))
    volumes = record.qc.get('masks')
    if isinstance(volumes, Mapping):
        names = {'t1w_ml': 'T1w', 't2w_ml': 'T2w'}
        rows.append(
            ('Volume of the mask', ', '.join(f'{names.get(k, k)} {number(v, 4)} ml' for k, v in volumes.items()))
        )
    if record.qc.get('prealign_start'):
        rows.append(('Alignment started from', escape(record.qc['prealign_start'])))
    return rows


def _grid(path: Any) -> str:
    """Return shape, voxel size and tilt of a scan, when its file is there."""
    if path is None:
        return ''
    try:
        from bidsreg.bids.headers import check_header

        report = check_header(path)
    except Exception:  # the report of a broken file must not break on it
        return ''
    if not report.shape or not report.zooms:
        return ''
    shape = ' × '.join(str(n) for n in report.shape)
    zooms = ' × '.join(f'{zoom:.3g}' for zoom in report.zooms)
    tilt = f', oblique by {report.obliqueness_deg:.1f}°' if report.obliqueness_deg > 0.5 else ''
    return f'<br>{shape} voxels of {zooms} mm{tilt}'


def header_findings(record: PairRecord) -> list[str]:
    """Return what is odd about the headers: from the QC file, else from the files themselves."""
    found = [str(item) for key, value in record.qc.items() if 'findings' in key for item in _flatten(key, value)]
    if not found and record.pair is not None:
        from bidsreg.bids.headers import check_header

        for label, path in (('T1w', record.pair.t1w), ('T2w', record.pair.t2w)):
            try:
                report = check_header(path)
            except Exception as error:
                found.append(f'{label}: {error}')
                continue
            found += [f'{label}: {text}' for text in (*report.errors, *report.findings)]
    return found


def _flatten(key: str, value: Any) -> list[str]:
    """Return the findings under a key of the QC file, each with the scan that it is about."""
    label = key.partition('_')[0]
    prefix = f'{label.upper().replace("W", "w")}: ' if label in ('t1w', 't2w') else ''
    if isinstance(value, Mapping):
        return [text for name, items in value.items() for text in _flatten(str(name).lower() + '_findings', items)]
    if isinstance(value, list | tuple):
        return [f'{prefix}{item}' for item in value]
    return [f'{prefix}{value}'] if value else []
