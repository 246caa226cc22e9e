"""The tables and texts of a subject page, as HTML."""

from __future__ import annotations

import html
import re
import typing
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from bidsreg.reports.record import PairRecord, sources

if typing.TYPE_CHECKING:
    from bidsreg.bids.pairs import Plan
    from bidsreg.settings import Settings

#: Measures of the evidence: what to call them, which way is better, what they are.
EVIDENCE = {
    'mind_heldout': ('MIND distance', -1, 'at a scale that was not optimised'),
    'mi': ('mutual information', 1, 'inside the brain mask'),
    'nmi': ('normalised mutual information', 1, 'inside the brain mask'),
    'edge_correlation': ('edge correlation', 1, 'of the gradient magnitudes, inside the brain mask'),
}
STAGES = {'before': 'before', 'affine': 'affine', 'diffeo': 'deformable'}


def escape(value: Any) -> str:
    """Text that is safe inside HTML."""
    return html.escape(str(value))


def number(value: Any, digits: int = 3) -> str:
    """A number for people: `digits` significant ones, a dash for none."""
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value:
        return '–' if value is None or value != value else escape(value)
    if isinstance(value, int) or float(value).is_integer():
        return f'{value:.0f}'
    return f'{value:.{digits}g}' if abs(value) < 10**digits else f'{value:.0f}'


def table(
    rows: Iterable[Sequence[str]], header: Sequence[str] = (), caption: str = '', numeric: Sequence[int] = ()
) -> str:
    """An HTML table of cells that are HTML already; columns in `numeric` are set flush right."""

    def line(cells: Sequence[str], tag: str) -> str:
        return ''.join(
            f'<{tag}{" class=n" if place in numeric else ""}>{cell}</{tag}>' for place, cell in enumerate(cells)
        )

    body = ''.join(f'<tr>{line(row, "td")}</tr>\n' for row in rows)
    head = f'<thead><tr>{line(header, "th")}</tr></thead>\n' if header else ''
    title = f'<caption>{escape(caption)}</caption>\n' if caption else ''
    return f'<div class="wide"><table>\n{title}{head}<tbody>\n{body}</tbody></table></div>'


def badge(status: str) -> str:
    """A verdict, told by its word, by a sign and by a colour."""
    return f'<b class="badge {escape(status)}">{escape(status)}</b>'


def note(text: str) -> str:
    """A quiet paragraph."""
    return f'<p class="note">{escape(text)}</p>'


def frame(picture: str) -> str:
    """A picture (HTML) that can be moved about in a narrow window instead of becoming too small to read."""
    return f'<div class="figure" tabindex="0">{picture}</div>'


def box(kind: str, text: str) -> str:
    """A coloured box; `text` is HTML, `kind` is good, warn or bad."""
    return f'<div class="box {kind}">{text}</div>'


# ------------------------------------------------------------------------------------------------------- the subject
def files(subject: str, plan: Plan, records: Sequence[PairRecord]) -> str:
    """The plan's rows of this subject, and what became of each pair."""
    from bidsreg.bids.pairs import plan_table

    rows = plan_table(plan)
    rows = rows[rows['subject'] == subject]
    listed = table(
        (
            [escape(row[key]) or '–' for key in ('session', 't1w', 't2w', 'decision', 'reason')]
            for _, row in rows.iterrows()
        ),
        ('Session', 'T1w', 'T2w', 'Decision', 'Why'),
        'Every T1w and T2w of this subject, what is done with it and why',
    )
    return '\n'.join([*map(_card, records), listed])


def _card(record: PairRecord) -> str:
    """A pair in a few lines: verdict, what was paired and why, what to know."""
    status, said = _end(record)
    pair = record.pair
    chosen = ''
    if pair is not None:
        chosen = f'<code>{escape(pair.t2w.name)}</code> to <code>{escape(pair.t1w.name)}</code> ({escape(pair.reason)})'
    odd = _findings(record)
    warned = f'Header{"s" if len(odd) > 1 else ""}: {escape("; ".join(odd))}' if odd else ''
    lines = [
        f'<a href="#{anchor(record)}">{escape(record.title)}</a> {badge(_status(record))} {status}',
        chosen,
        said,
        warned,
    ]
    return box(_KINDS.get(_status(record), 'none'), '<br>'.join(filter(None, lines)))


#: Verdict: kind of the box that tells it.
_KINDS = {'PASS': 'good', 'CHECK': 'warn', 'FAIL': 'bad'}


def anchor(record: PairRecord) -> str:
    """Id of a pair's section."""
    return record.name


def _end(record: PairRecord) -> tuple[str, str]:
    status = record.outcome.status if record.outcome else ('done' if record.complete else 'not done')
    if record.failed and record.outcome:
        return f'<b>{status}</b>', escape(f'{record.outcome.step}: {record.outcome.message}'.strip(': '))
    if record.outcome and record.outcome.status == 'locked':
        return status, escape(record.outcome.message or 'another run has it')
    return status, '<br>'.join(map(escape, [*_reasons(record), *filter(None, [_kept(record)])]))


def _status(record: PairRecord) -> str:
    """PASS, CHECK or FAIL; a pair that could not be registered is a FAIL, one that is not done has none."""
    if record.failed:
        return 'FAIL'
    return record.verdict.status if record.verdict else '–'


def _reasons(record: PairRecord) -> list[str]:
    return record.verdict.reasons if record.verdict else []


def _kept(record: PairRecord) -> str:
    """One line: which transform was kept, folds, and how the evidence speaks."""
    result, parts = record.result, []
    kept = (result.get('decision') or {}).get('kept')
    if kept:
        parts.append({'diffeo': 'deformation kept', 'affine': 'affine kept'}.get(kept, str(kept)))
    folds = (result.get('jacobian') or {}).get('folds')
    if folds is not None:
        parts.append(f'{number(folds)} folds')
    better, judged = _count_better(result.get('evidence') or {})
    if judged and kept != 'affine':  # of a deformation that was not kept it would mislead
        parts.append(f'{better} of {judged} measures better than after the affine')
    return ', '.join(parts)


def _count_better(evidence: Mapping[str, Any]) -> tuple[int, int]:
    affine, diffeo = evidence.get('affine') or {}, evidence.get('diffeo') or {}
    both = [
        key for key in EVIDENCE if isinstance(affine.get(key), int | float) and isinstance(diffeo.get(key), int | float)
    ]
    return sum((diffeo[key] - affine[key]) * EVIDENCE[key][1] > 0 for key in both), len(both)


# ------------------------------------------------------------------------------------------------------- one pair
def facts(record: PairRecord, settings: Settings) -> str:
    """Boxes that say how it stands, and a table of what was used."""
    findings = _findings(record)
    said = [box('warn', '<b>About the headers:</b><br>' + '<br>'.join(map(escape, findings)))] if findings else []
    return '\n'.join([*_boxes(record), table(_fact_rows(record, settings)), *said])


def _boxes(record: PairRecord) -> list[str]:
    boxes = []
    result = record.result
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
    if record.verdict:
        why = _reasons(record) or ['All numbers lie within their thresholds.']
        lines = [badge(record.verdict.status), *map(escape, why)]
        boxes.append(box(_KINDS[record.verdict.status], '<br>'.join(lines)))
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
    rows = []
    for label, uri in zip(('T1w', 'T2w'), sources(record, settings), strict=False):
        path = getattr(record.pair, label.lower()) if record.pair else None
        rows.append((f'{label}', f'<code>{escape(uri)}</code>{_grid(path)}'))
    if record.pair:
        rows.append(('Why this T1w', escape(record.pair.reason)))
    rows.append(
        ('Brain mask', escape(record.qc.get('mask_method') or (record.pair.fixed_mask_reason if record.pair else '–')))
    )
    volumes = record.qc.get('masks')
    if isinstance(volumes, Mapping):
        names = {'t1w_ml': 'T1w', 't2w_ml': 'T2w'}
        rows.append(
            ('Volume of the mask', ', '.join(f'{names.get(k, k)} {number(v, 4)} ml' for k, v in volumes.items()))
        )
    if record.qc.get('prealign_start'):
        rows.append(('Alignment started from', escape(record.qc['prealign_start'])))
    return rows


def _run_rows(record: PairRecord) -> list[tuple[str, str]]:
    """What the solver says of its work."""
    result, rows = record.result, []
    if result.get('method'):
        rows.append(('Method', escape(result['method'])))
    for key, label in (('device', 'Device'), ('threads', 'Threads'), ('seed', 'Seed'), ('stopped', 'Stopped')):
        if result.get(key) not in (None, ''):
            rows.append((label, escape(_plain(result[key]))))
    if result.get('iterations'):
        rows.append(('Iterations', escape(_plain(result['iterations']))))
    seconds = result.get('seconds')
    if isinstance(seconds, dict):
        rows.append(('Seconds of the solver', escape(_plain(seconds))))
    if result.get('peak_memory_mb'):
        rows.append(('Peak memory of the solver', f'{number(float(result["peak_memory_mb"]), 4)} MB'))
    return rows


def _plain(value: Any) -> str:
    """Text of a value of the QC file; a mapping inside a mapping goes into brackets."""
    if isinstance(value, Mapping):
        return ', '.join(
            f'{key} ({_plain(item)})' if isinstance(item, Mapping) else f'{key}: {_plain(item)}'
            for key, item in value.items()
        )
    if isinstance(value, list | tuple):
        return ', '.join(_plain(item) for item in value)
    return number(value) if isinstance(value, int | float) and not isinstance(value, bool) else str(value)


def _grid(path: Any) -> str:
    """Shape, voxel size and tilt of a scan, when its file is there."""
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


def _findings(record: PairRecord) -> list[str]:
    """Header findings: from the QC file, else from the files themselves."""
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
    label = key.partition('_')[0]
    prefix = f'{label.upper().replace("W", "w")}: ' if label in ('t1w', 't2w') else ''
    if isinstance(value, Mapping):
        return [text for name, items in value.items() for text in _flatten(str(name).lower() + '_findings', items)]
    if isinstance(value, list | tuple):
        return [f'{prefix}{item}' for item in value]
    return [f'{prefix}{value}'] if value else []


def numbers(record: PairRecord) -> str:
    """Tables of the evidence, the deformation and the affine."""
    result, parts = record.result, []
    evidence = result.get('evidence') or {}
    stages = [stage for stage in STAGES if evidence.get(stage)]
    if stages:
        rows = []
        for key, (label, sign, what) in EVIDENCE.items():
            values = [evidence[stage].get(key) for stage in stages]
            if any(value is not None for value in values):
                way = f'{"higher" if sign > 0 else "lower"} is better; {what}'
                rows.append([label, *(number(value, 4) for value in values), f'<span class="note">{way}</span>'])
        rows += _edge_row(record, stages)
        header = ('Measure', *(STAGES[stage] for stage in stages), '')
        parts.append(table(rows, header, 'Do the scans agree?', range(1, len(stages) + 1)))
    if 'before' in evidence and not evidence['before']:
        parts.append(note('Nothing was measured before the alignment: the headers place the two brains apart.'))
    parts += _checks(record)
    jacobian, shift = result.get('jacobian') or {}, result.get('displacement_mm') or {}
    inverse = result.get('inverse_consistency_mm') or {}
    rows = [
        ('Displacement, mm', _named(shift), 'of the deformation alone, in the brain'),
        (
            'Jacobian determinant',
            _named(jacobian, ('min', 'p01', 'median', 'p99', 'max')),
            '1: volume kept; 0 or less: folded',
        ),
        ('Folded voxels', _folds(jacobian), ''),
        ('SD of log Jacobian', number(jacobian.get('sdlogj')), 'smaller is smoother'),
        ('Inverse consistency, mm', _named(inverse), 'forth and back should end where it began'),
    ]
    rows = [
        (label, value, f'<span class="note">{what}</span>') for label, value, what in rows if value not in ('', '–')
    ]
    if rows:
        parts.append(table(rows, caption='The deformation'))
    for key, caption in (('rigid', 'The rigid alignment'), ('affine', 'The affine alignment')):
        if isinstance(record.qc.get(key), Mapping):
            parts.append(_matrix(record.qc[key], f'{caption}, from T1w to T2w'))
    if _run_rows(record):
        parts.append(table(_run_rows(record), caption='The solver'))
    steps = list(_steps(record.qc.get('seconds_per_step')))
    if steps:
        rows = [(escape(' '.join(path)), f'{value:.1f}') for path, value in steps]
        rows.append(('<b>together</b>', f'<b>{sum(value for _, value in steps):.1f}</b>'))
        parts.append(table(rows, ('Step', 'seconds'), 'How long the steps took', (1,)))
    return '\n'.join(parts)


def _edge_row(record: PairRecord, stages: Sequence[str]) -> list[list[str]]:
    """Local correlation of the edges; of a deformation that was not kept there is none."""
    found = record.qc.get('edge_lncc')
    if not isinstance(found, Mapping):
        return []
    kept = (record.result.get('decision') or {}).get('kept')
    known = {**found, 'diffeo': None if kept == 'affine' else found.get('registered')}
    what = '<span class="note">higher is better; in cubes of 9 mm, inside the brain mask</span>'
    return [['local edge correlation', *(number(known.get(stage), 4) for stage in stages), what]]


def _checks(record: PairRecord) -> list[str]:
    """Table of what the verdict looked at."""
    if record.verdict is None:
        return []
    rows = []
    for check in record.verdict.checks.values():
        unit = f' {check.unit}' if check.unit else ''
        rows.append(
            (escape(check.title), f'{number(check.value)}{unit}', badge(check.status), _limits(check.threshold))
        )
    return [table(rows, ('Number', 'value', 'verdict', 'thresholds'), 'What the verdict looks at', (1,))]


def _limits(threshold: str) -> str:
    """Thresholds in words, of which one may never be reached."""
    return re.sub(r'(above|below) -?inf', 'never', threshold)


def _steps(seconds: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], float]]:
    """Seconds of every step, with the rooms it lies in."""
    if isinstance(seconds, Mapping):
        for key, value in seconds.items():
            yield from _steps(value, (*path, str(key)))
    elif isinstance(seconds, int | float):
        yield path, float(seconds)


def _matrix(parameters: Mapping[str, Any], caption: str) -> str:
    """Table of a decomposed matrix: one column per kind of parameter, one row per axis or plane."""
    columns = [
        (label, parameters[key], digits)
        for key, label, digits in (
            ('translation_mm', 'shift of the brain, mm', 2),
            ('rotation_deg', 'rotation, °', 2),
            ('scales', 'scale', 4),
            ('shears', 'shear (xy, xz, yz)', 4),
        )
        if isinstance(parameters.get(key), list) and len(parameters[key]) == 3
    ]
    axes = ('x (left to right)', 'y (back to front)', 'z (feet to head)')
    rows = [(axes[k], *(f'{values[k]:.{digits}f}' for _, values, digits in columns)) for k in range(3)]
    return table(rows, ('Axis', *(label for label, _, _ in columns)), caption, range(1, len(columns) + 1))


def _named(values: Mapping[str, Any], keys: Sequence[str] = ()) -> str:
    names = {'p01': '1 %', 'p95': '95 %', 'p99': '99 %'}
    keys = [key for key in (keys or values) if values.get(key) is not None]
    return ', '.join(f'{names.get(key, key)} {number(values[key])}' for key in keys)


def _folds(jacobian: Mapping[str, Any]) -> str:
    if jacobian.get('folds') is None:
        return ''
    percent = jacobian.get('folds_percent')
    return number(jacobian['folds']) + (f' ({number(percent)} %)' if percent is not None else '')


# ------------------------------------------------------------------------------------------------------- the rest
def error(record: PairRecord, settings: Settings) -> str:
    """What is known of a failure."""
    if not record.failed and not record.crash:
        return ''
    parts = []
    if record.outcome:
        rows = [
            ('Step', f'<code>{escape(record.outcome.step or "?")}</code>'),
            ('Cause', escape(record.outcome.message or '?')),
        ]
        if record.outcome.crash_file:
            path, out = record.outcome.crash_file, settings.output_dir
            shown = path.relative_to(out) if path.is_relative_to(out) else path
            rows.append(('Crash file', f'<code>{escape(shown)}</code>'))
        parts.append(table(rows))
    if record.crash:
        shown = record.crash if len(record.crash) < 40000 else record.crash[:8000] + '\n[...]\n' + record.crash[-30000:]
        parts.append(f'<details><summary>The whole message</summary><pre>{escape(shown)}</pre></details>')
    return '\n'.join(parts)


def errors(records: Sequence[PairRecord]) -> str:
    """The last section: links to what failed, or that nothing did."""
    failed = [record for record in records if record.failed or (record.crash and not record.complete)]
    if not failed:
        return box('good', 'No errors.')
    rows = [
        (
            f'<a href="#{anchor(record)}">{escape(record.title)}</a>',
            escape(record.outcome.step if record.outcome else '?'),
            escape(record.outcome.message if record.outcome else 'see the message in its section'),
        )
        for record in failed
    ]
    return table(rows, ('Pair', 'Step', 'Cause'))


def methods(markdown: str) -> str:
    """The little Markdown of ``logs/CITATION.md`` as HTML, with a button that copies it.

    Headings, paragraphs, bullets, links of DOIs as text.
    """
    parts = []
    for block in re.split(r'\n\s*\n', markdown.strip()):
        lines = block.strip().splitlines()
        if not lines:
            continue
        if lines[0].startswith('#'):
            parts.append(f'<h2>{escape(lines[0].lstrip("# "))}</h2>')
        elif lines[0].startswith('- '):
            items = re.split(r'^- ', block.strip(), flags=re.MULTILINE)[1:]
            parts.append('<ul>' + ''.join(f'<li>{escape(" ".join(item.split()))}</li>' for item in items) + '</ul>')
        else:
            parts.append(f'<p>{escape(" ".join(block.split()))}</p>')
    copy = '<button type="button" data-copy="methods-text">Copy the text</button>'
    return '\n'.join([copy, '<div id="methods-text">', *parts, '</div>'])
