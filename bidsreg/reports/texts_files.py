"""The head of the page of a subject: what became of each pair, and every file with what is done with it."""

from __future__ import annotations

import typing
from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from bidsreg.reports.elements import badge, box, code, fill, join, link, number, table
from bidsreg.reports.record import PairRecord
from bidsreg.reports.space_record import SpaceRecord
from bidsreg.reports.texts_numbers import EVIDENCE
from bidsreg.reports.texts_pair import KINDS, SLOPPY, anchor, header_findings, is_sloppy, reasons
from bidsreg.reports.texts_spaces import space_card

if typing.TYPE_CHECKING:
    from bidsreg.bids.pairs import Plan


def files_section(
    subject: str, plan: Plan, records: Sequence[PairRecord], spaces: Sequence[SpaceRecord] = ()
) -> Markup:
    """Return what became of each pair and each normalisation, and the plan's rows of this subject."""
    from bidsreg.bids.pairs import plan_table

    rows = plan_table(plan)
    rows = rows[rows['subject'] == subject]
    keys = ('session', *(contrast.lower() for contrast in plan.contrasts), 'decision', 'reason')
    every = f'{", ".join(plan.contrasts[:-1])} and {plan.contrasts[-1]}'
    listed = table(
        ([row[key] or '–' for key in keys] for _, row in rows.iterrows()),
        ('Session', *plan.contrasts, 'Decision', 'Why'),
        f'Every {every} of this subject, what is done with it and why',
    )
    return join('\n', [*map(_card, records), *map(space_card, spaces), listed])


def _card(record: PairRecord) -> Markup:
    """Tell a pair in a few lines: verdict, what was paired and why, what to know."""
    status, said = _end(record)
    pair = record.pair
    chosen = (
        fill('{} to {} ({})', code(pair.moving.name), code(pair.fixed.name), pair.reason) if pair is not None else ''
    )
    odd = header_findings(record)
    warned = f'Header{"s" if len(odd) > 1 else ""}: {"; ".join(odd)}' if odd else ''
    quick = SLOPPY if is_sloppy(record) else ''
    head = fill('{} {} {}', link(f'#{anchor(record)}', record.title), badge(_status(record)), status)
    return box(KINDS.get(_status(record), 'none'), *filter(None, [head, quick, chosen, *said, warned]))


def _end(record: PairRecord) -> tuple[str, list[str]]:
    """Return what became of a pair, and the lines to say of it."""
    status = record.outcome.status if record.outcome else ('done' if record.complete else 'not done')
    if record.failed and record.outcome:
        return fill('<b>{}</b>', status), [f'{record.outcome.step}: {record.outcome.message}'.strip(': ')]
    if record.outcome and record.outcome.status == 'locked':
        return status, [record.outcome.message or 'another run has it']
    failure = record.ratio_failure
    ratio = f'The ratio T1w/T2w failed: {failure.step}: {failure.message}' if failure else ''
    return status, [*reasons(record), *filter(None, [kept_line(record), ratio])]


def _status(record: PairRecord) -> str:
    """Return PASS, CHECK or FAIL; a pair that could not be registered is a FAIL, one that is not done has none."""
    if record.failed:
        return 'FAIL'
    return record.verdict.status if record.verdict else '–'


def kept_line(record: PairRecord) -> str:
    """Tell in one line which transform was kept, how many folds it has, and how the evidence speaks."""
    result, parts = record.result, []
    kept = (result.get('decision') or {}).get('kept')
    if kept:
        parts.append({'diffeo': 'deformation kept', 'affine': f'{record.linear} kept'}.get(kept, str(kept)))
    folds = (result.get('jacobian') or {}).get('folds')
    if folds is not None:
        parts.append(f'{number(folds)} folds')
    better, judged = _count_better(result.get('evidence') or {})
    if judged and kept != 'affine':  # of a deformation that was not kept it would mislead
        parts.append(f'{better} of {judged} measures better than after the {record.linear}')
    return ', '.join(parts)


def _count_better(evidence: Mapping[str, Any]) -> tuple[int, int]:
    """Count the measures in which the deformation is better than the affine, and those that both have."""
    affine, diffeo = evidence.get('affine') or {}, evidence.get('diffeo') or {}
    both = [
        key for key in EVIDENCE if isinstance(affine.get(key), int | float) and isinstance(diffeo.get(key), int | float)
    ]
    return sum((diffeo[key] - affine[key]) * EVIDENCE[key][1] > 0 for key in both), len(both)
