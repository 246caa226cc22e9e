"""The pairs of a dataset: which T1w goes with which T2w, and why; and why any other file is left out."""

from __future__ import annotations

import re
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bidsreg.bids.names import ENTITIES, output_name
from bidsreg.errors import InputError
from bidsreg.settings import ANY, NONE, Settings
from bidsreg.validation import suggestion

if typing.TYPE_CHECKING:
    import pandas as pd
    from bids.layout import BIDSLayout

EXTENSIONS = ('.nii.gz', '.nii')
#: Entities in which a T1w should agree with the T2w, when there is a choice.
AGREE = {'acquisition': 'acq', 'reconstruction': 'rec', 'run': 'run'}
_NOT_SCANS = {'desc': 'desc-', 'space': 'space-', 'label': 'label-', 'segmentation': 'seg-'}


@dataclass(frozen=True)
class Pair:
    """A T2w and the T1w it is registered to.

    Parameters
    ----------
    t1w, t2w
        The fixed and the moving image.
    subject, session
        Labels (of the T2w) without ``sub-`` and ``ses-``.
    reason
        The reason for this T1w.
    entities, fixed_entities
        Entities of the T2w and of the T1w: pybids' names, values as they are written.
    fixed_mask, fixed_mask_reason
        The user's own brain mask of the T1w, and where it comes from or that there is none.

    """

    t1w: Path
    t2w: Path
    subject: str
    session: str | None
    reason: str
    entities: Mapping[str, str]
    fixed_entities: Mapping[str, str]
    fixed_mask: Path | None = None
    fixed_mask_reason: str = 'no mask given'

    @property
    def name(self) -> str:
        """The pair's name, for example ``sub-01_ses-1_run-2``: the entities of the T2w, unlike any other pair's."""
        return '_'.join(f'{ENTITIES[key]}-{self.entities[key]}' for key in ENTITIES if key in self.entities)

    @property
    def node_name(self) -> str:
        """The pair's name as Nipype accepts it for a node."""
        return node_name(self.name)


def node_name(pair_name: str) -> str:
    """Return the name of a pair as Nipype accepts it for a node."""
    return 'pair_' + re.sub(r'\W', '_', pair_name)


@dataclass(frozen=True)
class Left:
    """A T1w or T2w file that is not used, with the labels of its subject and session, and the reason.

    `filtered` tells that a filter of the user is the reason.
    """

    path: Path
    subject: str
    session: str | None
    reason: str
    filtered: bool = False


@dataclass(frozen=True)
class Plan:
    """The plan of a run: what will be registered to what, and what will not.

    Parameters
    ----------
    pairs
        The pairs to register, subject by subject.
    left_out
        Every other T1w and T2w of the wanted subjects and sessions.
    subjects_without_pair
        The reason for each subject (label) that has none.

    """

    pairs: tuple[Pair, ...]
    left_out: tuple[Left, ...]
    subjects_without_pair: Mapping[str, str]


@dataclass(frozen=True)
class _Scan:
    path: Path
    suffix: str
    entities: Mapping[str, str]

    @property
    def subject(self) -> str:
        return self.entities['subject']

    @property
    def session(self) -> str | None:
        return self.entities.get('session')

    def left(self, reason: str, filtered: bool = False) -> Left:
        return Left(self.path, self.subject, self.session, reason, filtered)


def index(settings: Settings) -> BIDSLayout:
    """Index the anatomical folders of the dataset, once, with pybids.

    With ``--bids-database-dir`` the whole dataset is indexed and kept there; without it only the wanted subjects are.
    """
    from bids.layout import BIDSLayout, BIDSLayoutIndexer

    keep = settings.bids_database_dir
    wanted = '|'.join(re.escape(label) for label in settings.participant_label if not keep) or '[^/]+'
    ignore = [
        re.compile(rf'^/(?!sub-({wanted})(/|$))'),
        re.compile(r'^/sub-[^/]+/(ses-[^/]+/)?(?!ses-[^/]*$|anat$)[^/]+$'),  # all folders but ses-* and anat
    ]
    indexer = BIDSLayoutIndexer(validate=False, ignore=ignore, index_metadata=False)
    try:
        return BIDSLayout(
            settings.bids_dir,
            validate=False,
            config=['bids', 'derivatives'],
            database_path=keep,
            indexer=indexer,
        )
    except Exception as error:
        where = f' (or its database in {keep})' if keep else ''
        raise InputError(f'pybids cannot index {settings.bids_dir}{where}: {error}') from error


def find_pairs(settings: Settings, layout: BIDSLayout | None = None) -> Plan:
    """Find every T2w of the dataset and the T1w it is registered to.

    Parameters
    ----------
    settings
        They name the dataset, subjects, sessions and filters, the rule of pairing, and the folders of masks.
    layout
        An index to use; by default the dataset is indexed (:func:`index`).

    Returns
    -------
    Plan
        Every T1w and T2w of the wanted subjects and sessions is in it, with a reason.

    Raises
    ------
    InputError
        When a participant, a session, or a filter's key, entity or value does not exist.

    """
    layout = index(settings) if layout is None else layout
    subjects = _wanted_subjects(settings)
    scans, left = _scans(layout, subjects)
    _check_sessions(settings, scans)
    scans, dropped = _filter(scans, settings.bids_filters, [*layout.get_entities()])
    left += dropped
    pairs, without = [], {}
    for subject in subjects:
        mine = [scan for scan in scans if scan.subject == subject]
        found, unused = _pair_subject(mine, settings)
        pairs += found
        left += unused
        if not found:
            without[subject] = _why_no_pair(mine, [item for item in left if item.subject == subject])
    if settings.session_label:
        left = [item for item in left if item.session in (None, *settings.session_label)]
    left.sort(key=lambda item: str(item.path))
    return Plan(tuple(pairs), tuple(left), without)


def plan_table(plan: Plan) -> pd.DataFrame:
    """Lay the plan out as a table: one row per pair, per file left out and per subject without a pair.

    Returns
    -------
    pandas.DataFrame
        Columns ``subject``, ``session``, ``t1w``, ``t2w``, ``decision`` (``register``, ``left out``, ``filtered`` or
        ``no pair``) and ``reason``.

    """
    import pandas as pd

    rows = [
        (p.subject, p.session or '', p.t1w.name, p.t2w.name, 'register', f'{p.reason}; {p.fixed_mask_reason}')
        for p in plan.pairs
    ]
    for item in plan.left_out:
        names = ('', item.path.name) if _suffix(item.path) == 'T2w' else (item.path.name, '')
        decision = 'filtered' if item.filtered else 'left out'
        rows.append((item.subject, item.session or '', *names, decision, item.reason))
    rows += [(subject, '', '', '', 'no pair', reason) for subject, reason in plan.subjects_without_pair.items()]
    table = pd.DataFrame(rows, columns=['subject', 'session', 't1w', 't2w', 'decision', 'reason'])
    return table.sort_values(['subject', 'session', 'decision'], kind='stable', ignore_index=True)


def _suffix(path: Path) -> str:
    return path.name.partition('.')[0].rpartition('_')[2]


def _wanted_subjects(settings: Settings) -> list[str]:
    there = sorted(path.name[4:] for path in settings.bids_dir.glob('sub-*') if path.is_dir())
    if not there:
        raise InputError(f'{settings.bids_dir} has no subject (no folder sub-*).')
    for label in settings.participant_label:
        if label not in there:
            raise InputError(
                f'--participant-label {label}: there is no sub-{label} in {settings.bids_dir}.'
                + suggestion(label, there)
            )
    return sorted(set(settings.participant_label)) or there


def _check_sessions(settings: Settings, scans: list[_Scan]) -> None:
    there = sorted({scan.session for scan in scans if scan.session})
    for label in settings.session_label:
        if label not in there:
            raise InputError(
                f'--session-label {label}: no wanted subject has a T1w or T2w in a ses-{label}.'
                + (suggestion(label, there) if there else ' There are no sessions.')
            )


def _scans(layout: BIDSLayout, subjects: list[str]) -> tuple[list[_Scan], list[Left]]:
    """List the T1w and T2w images of the subjects, and set those apart that are no scans of their own."""
    files = layout.get(subject=subjects, datatype='anat', suffix=['T1w', 'T2w'], extension=list(EXTENSIONS))
    scans, left = [], []
    names: dict[tuple, _Scan] = {}
    for file in sorted(files, key=lambda file: (str(file.path).replace('.nii.gz', '.nii'), -len(str(file.path)))):
        entities = {key: str(value) for key, value in file.get_entities(metadata=False).items()}
        scan = _Scan(Path(file.path), entities['suffix'], {key: entities[key] for key in ENTITIES if key in entities})
        reason = _no_scan(entities)
        if not reason:
            twin = names.setdefault((scan.suffix, *scan.entities.items()), scan)
            reason = '' if twin is scan else f'no BIDS entity in its name tells it from {twin.path.name}'
        if reason:
            left.append(scan.left(reason))
        else:
            scans.append(scan)
    return scans, left


def _no_scan(entities: Mapping[str, str]) -> str:
    """Say why a file with these entities is no scan of its own; empty when it is one."""
    derived = [label for key, label in _NOT_SCANS.items() if key in entities]
    if derived:
        return f'has {derived[0]} in its name: made from a scan, not a scan'
    part = entities.get('part', 'mag')
    return '' if part == 'mag' else f'part-{part} is not a magnitude image'


def _filter(
    scans: list[_Scan], filters: Mapping[str, Mapping[str, Any]], entities: list[str]
) -> tuple[list[_Scan], list[Left]]:
    """Keep what the filter file asks for; whatever in it matches nothing is an error."""
    left: list[Left] = []
    for key, wanted in filters.items():
        suffix = {'t1w': 'T1w', 't2w': 'T2w'}.get(key.lower())
        if suffix is None:
            raise InputError(f'--bids-filter-file: the key {key!r} is not used here; t1w and t2w are.')
        candidates = [scan for scan in scans if scan.suffix == suffix]
        for entity, value in wanted.items():
            _check_filter(key, entity, value, candidates, entities)
        chosen = [scan for scan in candidates if all(_matches(scan, e, v) for e, v in wanted.items())]
        if not chosen:
            raise InputError(f'--bids-filter-file: no {suffix} matches all of {key!r} together.')
        dropped = [scan for scan in candidates if scan not in chosen]
        reason = f'--bids-filter-file: does not match {key} {_show(wanted)}'
        left += [scan.left(reason, filtered=True) for scan in dropped]
        scans = [scan for scan in scans if scan not in dropped]
    return scans, left


def _show(wanted: Mapping[str, Any]) -> str:
    return ', '.join(f'{entity}={value}' for entity, value in wanted.items())


def _check_filter(key: str, entity: str, value: Any, candidates: list[_Scan], known: list[str]) -> None:
    short = {label: name for name, label in ENTITIES.items()}
    if entity in short and short[entity] != entity:
        raise InputError(f'--bids-filter-file: {key}: write {short[entity]!r} for {entity!r}, as pybids does.')
    if entity not in known:
        raise InputError(f'--bids-filter-file: {key}: there is no entity {entity!r}.{suggestion(entity, known)}')
    for single in value if isinstance(value, list | tuple) else [value]:
        if not any(_matches(scan, entity, single) for scan in candidates):
            what = {NONE: 'null', ANY: '"*"'}.get(single, single) if isinstance(single, str) else single
            raise InputError(f'--bids-filter-file: {key}: {entity} = {what} matches no file.')


def _matches(scan: _Scan, entity: str, value: Any) -> bool:
    if isinstance(value, list | tuple):
        return any(_matches(scan, entity, single) for single in value)
    fixed = {'suffix': scan.suffix, 'datatype': 'anat', 'extension': _extension(scan.path)}
    mine = fixed.get(entity, scan.entities.get(entity))
    if value in (NONE, None):
        return mine is None
    if value == ANY:
        return mine is not None
    value = str(value)
    same_number = mine is not None and mine.isdigit() and value.isdigit() and int(mine) == int(value)
    return mine == value or (entity == 'run' and same_number)


def _extension(path: Path) -> str:
    return '.nii.gz' if path.name.endswith('.nii.gz') else '.nii'


def _pair_subject(scans: list[_Scan], settings: Settings) -> tuple[list[Pair], list[Left]]:
    """Pair the scans of one subject."""
    fixed = [scan for scan in scans if scan.suffix == 'T1w']
    moving = [scan for scan in scans if scan.suffix == 'T2w']
    if settings.session_label:
        moving = [scan for scan in moving if scan.session in settings.session_label]
    pairs, left = [], []
    for scan in moving:
        chosen, reason = _choose(scan, fixed, settings.pairing)
        if chosen is None:
            left.append(scan.left(reason))
        else:
            pairs.append(_make_pair(chosen, scan, reason, settings))
    used = {pair.t1w for pair in pairs}
    left += [scan.left(_why_unused(scan, pairs)) for scan in fixed if scan.path not in used]
    return pairs, left


def _choose(moving: _Scan, fixed: list[_Scan], pairing: str) -> tuple[_Scan | None, str]:
    """Choose the T1w for a T2w: same session, then agreement in acq/rec/run, then lowest run, then the name."""
    near = [scan for scan in fixed if scan.session == moving.session]
    where = 'of the session' if moving.session else 'of the subject'
    if not near:
        if not fixed:
            return None, 'the subject has no T1w to register it to'
        if pairing == 'session':
            return None, 'no T1w in its session; --pairing subject would take one of another session'
        first = min(scan.session or '' for scan in fixed)
        near = [scan for scan in fixed if (scan.session or '') == first]
        where = f'of ses-{first}, the first with a T1w (--pairing subject)' if first else 'outside sessions'
    if len(near) == 1:
        return near[0], f'the only T1w {where}'
    best = sorted(near, key=lambda scan: (-len(_agreement(scan, moving)), _run(scan), scan.path.name))
    agree = [len(_agreement(scan, moving)) for scan in best]
    count = f'of {len(near)} T1w {where}'
    if agree[0] > agree[1]:
        return best[0], f'{count}, agrees best in {", ".join(_agreement(best[0], moving))}'
    ties = [scan for scan, n in zip(best, agree, strict=True) if n == agree[0]]
    if _run(ties[0]) < _run(ties[1]):
        return best[0], f'{count}, the lowest run among those that fit equally well'
    return best[0], f'{count}, the first by name among those that fit equally well'


def _agreement(fixed: _Scan, moving: _Scan) -> list[str]:
    """Name the entities that both have with the same value, or that neither has."""
    return [label for key, label in AGREE.items() if fixed.entities.get(key) == moving.entities.get(key)]


def _run(scan: _Scan) -> int:
    return int(scan.entities.get('run', 0))


def _make_pair(fixed: _Scan, moving: _Scan, reason: str, settings: Settings) -> Pair:
    mask, mask_reason = _find_mask(fixed, settings)
    return Pair(
        t1w=fixed.path,
        t2w=moving.path,
        subject=moving.subject,
        session=moving.session,
        reason=reason,
        entities=dict(moving.entities),
        fixed_entities=dict(fixed.entities),
        fixed_mask=mask,
        fixed_mask_reason=mask_reason,
    )


def _find_mask(fixed: _Scan, settings: Settings) -> tuple[Path | None, str]:
    """Find the user's own brain mask of a T1w: in the derivatives given, then beside the image."""
    own = output_name('t1w_mask', fixed.entities)
    places = [(folder / own, f'in {folder}') for folder in settings.derivatives]
    beside = [own.name, own.name.replace('_desc-brain_', '_label-brain_')]
    places += [(fixed.path.parent / name, 'beside the T1w') for name in beside]
    for path, where in places:
        for candidate in (path, path.with_name(path.name.removesuffix('.gz'))):
            if candidate.exists():
                return candidate, f'brain mask of the user {where}: {candidate.name}'
    if settings.derivatives:
        return None, f'no brain mask of the user ({own.name} is in none of --derivatives)'
    return None, 'no brain mask of the user'


def _why_unused(scan: _Scan, pairs: list[Pair]) -> str:
    rivals = [pair.t1w.name for pair in pairs if pair.session == scan.session]
    if rivals:
        return f'another T1w was chosen: {", ".join(sorted(set(rivals)))}'
    return 'no T2w in its session to register to it' if scan.session else 'no T2w to register to it'


def _why_no_pair(scans: Iterable[_Scan], left: list[Left]) -> str:
    have = {scan.suffix for scan in scans}
    if have == {'T1w', 'T2w'}:
        return next((item.reason for item in left if _suffix(item.path) == 'T2w'), 'no T2w in the wanted sessions')
    if have:
        missing = 'T2w' if have == {'T1w'} else 'T1w'
        return f'only {have.pop()}, no {missing}' + (' (see the files left out)' if _any(left, missing) else '')
    return 'no T1w and no T2w' + (' (see the files left out)' if left else '')


def _any(left: list[Left], suffix: str) -> bool:
    return any(_suffix(item.path) == suffix for item in left)
