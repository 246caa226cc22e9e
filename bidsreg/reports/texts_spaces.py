"""The part of a subject's page that tells of a normalisation."""

from __future__ import annotations

from typing import Any

from markupsafe import Markup

from bidsreg.qc.values import At
from bidsreg.reports.elements import badge, box, fill, join, link, number, table
from bidsreg.reports.space_record import SpaceRecord
from bidsreg.reports.texts_pair import SLOPPY

#: Words for the cells of the first table, and where in the QC file they are.
_FACTS = {
    'Template': 'template.origin',
    'Brain mask': 'mask_method',
    'Brain of the person, ml': 'masks.scan_ml',
    'Lesions that were left out': 'lesion_method',
    'Volume by the affine, person to template': 'affine.determinant',
    'Mean displacement, mm': 'result.displacement_mm.mean',
}
_KINDS = {'PASS': 'good', 'CHECK': 'warn', 'FAIL': 'bad'}


def space_card(record: SpaceRecord) -> Markup:
    """Tell a normalisation in a few lines, for the head of the page: verdict, and why."""
    status = record.outcome.status if record.outcome else ('not done' if record.failed else 'done')
    to = link(f'#{record.anchor}', record.title)
    quick = SLOPPY if record.qc.get('sloppy') is True else ''
    said = '' if record.judgement == 'PASS' else record.reason
    head = fill('{} {} {}', to, badge(record.judgement), status)
    return box(_KINDS[record.judgement], *filter(None, [head, quick, said]))


def space_section(record: SpaceRecord) -> Markup:
    """Return the verdict on a normalisation, what is known of it, and the judged numbers."""
    lines: list[Any] = [fill('{} {} to {}', badge(record.judgement), record.contrast, record.space)]
    if record.failed:
        return box('bad', *lines, record.reason)
    reasons = record.verdict.reasons if record.verdict else [record.reason]
    parts = [box(_KINDS[record.judgement], *lines, *(reasons or ['All numbers lie within their thresholds.']))]
    known = [(words, At(path)(record.qc)) for words, path in _FACTS.items()]
    parts.append(
        table([(words, value if isinstance(value, str) else number(value)) for words, value in known if value])
    )
    if record.verdict:
        rows = [
            (check.title, f'{number(check.value)} {check.unit}'.strip(), check.status, check.threshold)
            for check in record.verdict.checks.values()
        ]
        numbers = table(rows, ('Number', 'value', 'verdict', 'thresholds'), numeric=(1,))
        parts.append(fill('<details><summary>The numbers</summary>{}</details>', numbers))
    return join('\n', parts)
