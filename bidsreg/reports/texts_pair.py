"""One pair on the page of its subject: how it stands, what the result is worth, and what it was made from."""

from __future__ import annotations

import typing
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from markupsafe import Markup

from bidsreg.messages import explain_linear
from bidsreg.reports.elements import badge, box, code, fill, join, number, table
from bidsreg.reports.record import PairRecord, sources

if typing.TYPE_CHECKING:
    from bidsreg.settings import Settings


#: For each verdict the kind of the box that tells it.
KINDS = {'PASS': 'good', 'CHECK': 'warn', 'FAIL': 'bad'}
#: What is said of a pair that was made in a hurry.
SLOPPY = 'Made with --sloppy, which is fast and bad: to try a set-up, never for results.'


def anchor(record: PairRecord) -> str:
    """Return the id of a pair's section in the page of its subject."""
    return record.name


def reasons(record: PairRecord) -> list[str]:
    """Return the sentences that say why the verdict is not PASS."""
    return record.verdict.reasons if record.verdict else []


def facts_section(record: PairRecord, settings: Settings) -> Markup:
    """Return the boxes that say how a pair stands, and the table of what was used."""
    findings = header_findings(record)
    said = [box('warn', fill('<b>About the headers:</b>'), *findings)] if findings else []
    return join('\n', [*_state(record), *_worth(record), table(_fact_rows(record, settings)), *said])


def _state(record: PairRecord) -> list[Markup]:
    """Tell in boxes whether the pair is done, and by which run."""
    boxes = [box('bad', f'Nothing of this pair can be told: {record.unusable}.')] if record.unusable else []
    if record.failed and record.outcome:
        words = code(record.outcome.step or '?'), record.outcome.message
        boxes.append(box('bad', fill('<b>This pair failed</b> at {}: {}', *words)))
        if record.complete:
            boxes.append(box('warn', 'What is shown below is of an earlier run.'))
        elif record.qc:
            boxes.append(box('warn', 'What is shown below was known when it failed.'))
    elif record.outcome and record.outcome.status == 'locked':
        boxes.append(box('warn', f'Not done by this run: {record.outcome.message or "another run has this pair"}.'))
    elif not record.complete:
        boxes.append(box('warn', 'This pair is not done: there is no QC file of it in the derivatives.'))
    if record.complete and not record.current:
        boxes.append(box('warn', 'The derivatives were made with other settings than those of this run.'))
    if failure := record.ratio_failure:
        words = code(failure.step), failure.message
        boxes.append(box('bad', fill('<b>The ratio T1w/T2w failed</b> at {}: {}', *words), 'The pair is not touched.'))
    if is_sloppy(record):
        boxes.append(box('warn', SLOPPY))
    return boxes


def is_sloppy(record: PairRecord) -> bool:
    """Tell whether a pair was made with ``--sloppy``, whatever its numbers are."""
    return record.qc.get('sloppy') is True


def _worth(record: PairRecord) -> list[Markup]:
    """Tell in boxes what the result is worth: verdict, decision, folds."""
    boxes: list[Markup] = []
    result = record.result
    if record.verdict:
        why = reasons(record) or ['All numbers lie within their thresholds.']
        boxes.append(box(KINDS[record.verdict.status], badge(record.verdict.status), *why))
    decision = result.get('decision') or {}
    if decision:
        deformed = decision.get('kept') == 'diffeo'
        kept, kind = ('the deformation', 'good') if deformed else (f'the {record.linear}', 'warn')
        boxes.append(box(kind, fill('<b>Kept: {}.</b> {}', kept, decision.get('reason', ''))))
    folds = (result.get('jacobian') or {}).get('folds')
    if folds:
        boxes.append(box('bad', fill('<b>{} voxels are folded</b> (Jacobian determinant not above 0).', number(folds))))
    return boxes


def _fact_rows(record: PairRecord, settings: Settings) -> list[tuple[str, str]]:
    """Return the rows of the table of what was used."""
    rows: list[tuple[str, str]] = []
    for role, uri in zip(('fixed', 'moving'), sources(record, settings), strict=False):
        path = getattr(record.pair, role) if record.pair else None
        rows.append((getattr(record.contrasts, role), fill('{}{}', code(uri), _grid(path))))
    if record.pair:
        rows.append((f'Why this {record.contrasts.fixed}', record.pair.reason))
    rows.append(('Brain mask', record.qc.get('mask_method') or (record.pair.fixed_mask_reason if record.pair else '–')))
    return [*rows, *_qc_rows(record)]


def _qc_rows(record: PairRecord) -> list[tuple[str, str]]:
    """Return those of these rows that the QC file alone knows."""
    rows: list[tuple[str, str]] = []
    if record.qc.get('second_mask_method'):
        rows.append(('Brain mask that it is compared with', record.qc['second_mask_method']))
    if record.qc.get('moving_mask_method'):
        rows.append((f'Brain mask of the {record.contrasts.moving}', record.qc['moving_mask_method']))
    for end, contrast in asdict(record.contrasts).items():
        if said := record.qc.get(f'{end}_lesion_method'):
            rows.append((f'Lesions of the {contrast}', said))
    volumes = record.qc.get('masks')
    if isinstance(volumes, Mapping):
        names = {f'{contrast.lower()}_ml': contrast for contrast in asdict(record.contrasts).values()}
        rows.append(
            ('Volume of the mask', ', '.join(f'{names.get(k, k)} {number(v, 4)} ml' for k, v in volumes.items()))
        )
    if record.qc.get('prealign_start'):
        rows.append(('Alignment started from', record.qc['prealign_start']))
    if linear := record.qc.get('linear'):
        said = explain_linear(linear['kept'], linear['mind_heldout'], linear.get('stretch'))
        rows.append(('Linear alignment', said))
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
    return fill('<br>{} voxels of {} mm{}', shape, zooms, tilt)


def header_findings(record: PairRecord) -> list[str]:
    """Return what is odd about the headers: from the QC file, else from the files themselves."""
    found = _qc_findings(record)
    if not found and record.pair is not None:
        from bidsreg.bids.headers import check_header

        told = asdict(record.contrasts)
        for label, path in ((told['fixed'], record.pair.fixed), (told['moving'], record.pair.moving)):
            try:
                report = check_header(path)
            except Exception as error:
                found.append(f'{label}: {error}')
                continue
            found += [f'{label}: {text}' for text in (*report.errors, *report.findings)]
    return found


def _qc_findings(record: PairRecord) -> list[str]:
    labels = {contrast.lower(): contrast for contrast in asdict(record.contrasts).values()}
    found = [(key, value) for key, value in record.qc.items() if 'findings' in key]
    return [str(item) for key, value in found for item in _flatten(key, value, labels)]


def check_told(record: PairRecord) -> None:
    """Tell everything that the QC file says, for whoever wants to know before a page is made whether that can be done.

    Raises
    ------
    Exception
        One of :data:`bidsreg.reports.record.UNUSABLE`, if it holds what no QC file holds.
    """
    join('', [*_worth(record), table(_qc_rows(record)), *_qc_findings(record), *sorted(record.qc.get('sources', {}))])


def _flatten(key: str, value: Any, labels: Mapping[str, str]) -> list[str]:
    """Return the findings under a key of the QC file, each with the scan that it is about."""
    label = labels.get(key.partition('_')[0], '')
    prefix = f'{label}: ' if label else ''
    if isinstance(value, Mapping):
        return [
            text for name, items in value.items() for text in _flatten(str(name).lower() + '_findings', items, labels)
        ]
    if isinstance(value, list | tuple):
        return [f'{prefix}{item}' for item in value]
    return [f'{prefix}{value}'] if value else []
