"""The numbers of a pair on the page of its subject: evidence, verdict, deformation, matrices, solver and time."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from markupsafe import Markup

from bidsreg.messages import describe
from bidsreg.reports.elements import badge, fill, join, note, number, table
from bidsreg.reports.record import PairRecord

#: Measures of the evidence: what to call them, which way is better, what they are.
EVIDENCE = {
    'mind_heldout': ('MIND distance', -1, 'at a scale that was not optimised'),
    'mi': ('mutual information', 1, 'inside the brain mask'),
    'nmi': ('normalised mutual information', 1, 'inside the brain mask'),
    'edge_correlation': ('edge correlation', 1, 'of the gradient magnitudes, inside the brain mask'),
}
#: Stages of the evidence, and what to call them.
STAGES = {'before': 'before', 'affine': 'affine', 'diffeo': 'deformable'}


def numbers_section(record: PairRecord) -> Markup:
    """Return the tables: evidence, verdict, deformation, ratio, matrices, solver and steps."""
    parts = [
        *_evidence(record),
        *_checks(record),
        *_deformation(record),
        *_ratio(record),
        *_matrices(record),
        *_solver(record),
        *_times(record),
    ]
    return join('\n', parts)


def _evidence(record: PairRecord) -> list[Markup]:
    """Tell whether the scans agree, stage by stage."""
    evidence = record.result.get('evidence') or {}
    parts: list[Markup] = []
    stages = [stage for stage in STAGES if evidence.get(stage)]
    if stages:
        rows = []
        for key, (label, sign, what) in EVIDENCE.items():
            values = [evidence[stage].get(key) for stage in stages]
            if any(value is not None for value in values):
                way = f'{"higher" if sign > 0 else "lower"} is better; {what}'
                rows.append([label, *(number(value, 4) for value in values), fill('<span class="note">{}</span>', way)])
        rows += _edge_row(record, stages)
        header = ('Measure', *(STAGES[stage] for stage in stages), '')
        parts.append(table(rows, header, 'Do the scans agree?', range(1, len(stages) + 1)))
    if 'before' in evidence and not evidence['before']:
        parts.append(note('Nothing was measured before the alignment: the headers place the two brains apart.'))
    return parts


def _edge_row(record: PairRecord, stages: Sequence[str]) -> list[list[str]]:
    """Return the row of the local correlation of edges; of a deformation that was not kept there is none."""
    found = record.qc.get('edge_lncc')
    if not isinstance(found, Mapping):
        return []
    kept = (record.result.get('decision') or {}).get('kept')
    known = {**found, 'diffeo': None if kept == 'affine' else found.get('registered')}
    what = Markup('<span class="note">higher is better; in cubes of 9 mm, inside the brain mask</span>')
    return [['local edge correlation', *(number(known.get(stage), 4) for stage in stages), what]]


def _checks(record: PairRecord) -> list[Markup]:
    """Return the table of what the verdict looked at."""
    if record.verdict is None:
        return []
    rows = []
    for check in record.verdict.checks.values():
        unit = f' {check.unit}' if check.unit else ''
        rows.append((check.title, f'{number(check.value)}{unit}', badge(check.status), _limits(check.threshold)))
    return [table(rows, ('Number', 'value', 'verdict', 'thresholds'), 'What the verdict looks at', (1,))]


def _limits(threshold: str) -> str:
    """Return thresholds in words; one that can never be reached is called that."""
    return re.sub(r'(above|below) -?inf', 'never', threshold)


def _deformation(record: PairRecord) -> list[Markup]:
    """Tell how large and how smooth the deformation is."""
    result = record.result
    jacobian = result.get('jacobian') or {}
    known = [
        (
            'Displacement, mm',
            _named(result.get('displacement_mm') or {}),
            'of the deformation alone, in the brain',
        ),
        (
            'Jacobian determinant',
            _named(jacobian, ('min', 'p01', 'median', 'p99', 'max')),
            '1: volume kept; 0 or less: folded',
        ),
        ('Folded voxels', _folds(jacobian), ''),
        ('SD of log Jacobian', number(jacobian.get('sdlogj')), 'smaller is smoother'),
        (
            'Inverse consistency, mm',
            _named(result.get('inverse_consistency_mm') or {}),
            'forth and back should end where it began',
        ),
    ]
    rows = [
        (label, value, fill('<span class="note">{}</span>', what))
        for label, value, what in known
        if value not in ('', '–')
    ]
    return [table(rows, caption='The deformation')] if rows else []


def _named(values: Mapping[str, Any], keys: Sequence[str] = ()) -> str:
    """Return the numbers of a mapping with their names, those that are known."""
    names = {'p01': '1 %', 'p95': '95 %', 'p99': '99 %'}
    keys = [key for key in (keys or values) if values.get(key) is not None]
    return ', '.join(f'{names.get(key, key)} {number(values[key])}' for key in keys)


def _folds(jacobian: Mapping[str, Any]) -> str:
    """Return how many voxels are folded, and which part of all that is."""
    if jacobian.get('folds') is None:
        return ''
    percent = jacobian.get('folds_percent')
    return number(jacobian['folds']) + (f' ({number(percent)} %)' if percent is not None else '')


#: What the points of a calibrated ratio are called, by its calibration.
_CALIBRATIONS = {
    'eyes-muscle': 'eyes and temporal muscles',
    'csf-grey': 'cerebrospinal fluid and grey matter',
}


def _ratio(record: PairRecord) -> list[Markup]:
    """Tell the ratio of the T1w and the T2w, where one was made: its medians, and how it was calibrated."""
    made = record.qc.get('ratio')
    if not isinstance(made, Mapping):
        return []
    medians = made.get('median') or {}
    rows = [
        ('Kind', str(made.get('kind', '–')), ''),
        ('Median in white matter', number(medians.get('white')), 'tissue classes of the T1w'),
        ('Median in grey matter', number(medians.get('grey')), 'tissue classes of the T1w'),
        ('Share of the brain without a ratio', number(made.get('without')), 'a scan is not above zero there'),
        ('Share set to the ceiling', number(made.get('clamped')), f'of {number(made.get("ceiling"))}'),
    ]
    if 'calibration' in made:
        name = str(made['calibration'])
        passed = ', '.join(f'{_CALIBRATIONS.get(key, key)} {why}' for key, why in made.get('passed_over', {}).items())
        rows.append(('Calibrated by', _CALIBRATIONS.get(name, name), passed))
    noted = [(label, value, fill('<span class="note">{}</span>', what)) for label, value, what in rows]
    return [table(noted, caption='The ratio T1w/T2w')]


def _matrices(record: PairRecord) -> list[Markup]:
    """Return a table for each matrix that is known: the rigid, and the affine where that was kept."""
    captions = {'rigid': 'The rigid alignment', 'affine': 'The affine alignment'}
    if record.linear == 'rigid':
        captions = {'rigid': 'The rigid alignment, which was kept'}
    return [
        _matrix(record.qc[key], record.contrasts.fill(f'{caption}, from {{fixed}} to {{moving}}'))
        for key, caption in captions.items()
        if isinstance(record.qc.get(key), Mapping)
    ]


def _matrix(parameters: Mapping[str, Any], caption: str) -> Markup:
    """Return the table of a decomposed matrix: one column per kind of parameter, one row per axis or plane."""
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


def _solver(record: PairRecord) -> list[Markup]:
    """Tell what the solver says of its work."""
    result, rows = record.result, []
    if result.get('method'):
        rows.append(('Method', str(result['method'])))
    for key, label in (('device', 'Device'), ('threads', 'Threads'), ('seed', 'Seed')):
        if result.get(key) not in (None, ''):
            rows.append((label, _in_words(result[key])))
    if result.get('iterations'):
        rows.append(('Iterations', _in_words(result['iterations'])))
    if events := _events(result.get('events')):
        rows.append(('What happened', join('<br>', events)))
    seconds = result.get('seconds')
    if isinstance(seconds, dict):
        rows.append(('Seconds of the solver', _in_words(seconds)))
    if result.get('peak_memory_mb'):
        rows.append(('Peak memory of the solver', f'{number(float(result["peak_memory_mb"]), 4)} MB'))
    return [table(rows, caption='The solver')] if rows else []


def _events(events: Any) -> list[str]:
    """Return a sentence for each event; one that we have no sentence for is shown as it is."""
    found = []
    for event in events if isinstance(events, list) else ():
        try:
            found.append(describe(event))
        except (KeyError, TypeError, ValueError):
            found.append(_in_words(event))
    return found


def _in_words(value: Any) -> str:
    """Return a value of the QC file as text; a mapping inside a mapping goes into brackets."""
    if isinstance(value, Mapping):
        return ', '.join(
            f'{key} ({_in_words(item)})' if isinstance(item, Mapping) else f'{key}: {_in_words(item)}'
            for key, item in value.items()
        )
    if isinstance(value, list | tuple):
        return ', '.join(_in_words(item) for item in value)
    return number(value) if isinstance(value, int | float) and not isinstance(value, bool) else str(value)


def _times(record: PairRecord) -> list[Markup]:
    """Return the table of how long the steps took."""
    steps = list(_steps(record.qc.get('seconds_per_step')))
    if not steps:
        return []
    rows = [(' '.join(path), f'{value:.1f}') for path, value in steps]
    rows.append((Markup('<b>together</b>'), fill('<b>{}</b>', f'{sum(value for _, value in steps):.1f}')))
    return [table(rows, ('Step', 'seconds'), 'How long the steps took', (1,))]


def _steps(seconds: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], float]]:
    """Yield the seconds of every step, with the rooms it lies in."""
    if isinstance(seconds, Mapping):
        for key, value in seconds.items():
            yield from _steps(value, (*path, str(key)))
    elif isinstance(seconds, int | float):
        yield path, float(seconds)
