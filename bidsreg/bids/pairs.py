"""The pairs of a dataset: which scan is registered to which, and why; and why any other file is left out."""

from __future__ import annotations

import hashlib
import re
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bidsreg.bids.choice import choose, same_place
from bidsreg.bids.filters import apply_filters
from bidsreg.bids.lesions import Lesion, find_lesions, idle_lesions
from bidsreg.bids.masks import find_mask
from bidsreg.bids.misnamed import find_misnamed
from bidsreg.bids.names import T2W_TO_T1W, Contrasts, pair_name
from bidsreg.bids.scans import Left, Scan, contrast_of, has_modality, index, list_scans
from bidsreg.bids.sessions import Times, nearest_session, read_times
from bidsreg.errors import InputError
from bidsreg.settings import CHOICES, MODALITIES, Settings
from bidsreg.validation import suggestion

if typing.TYPE_CHECKING:
    import pandas as pd
    from bids.layout import BIDSLayout


@dataclass(frozen=True)
class Pair:
    """A scan and the one of another contrast that it is registered to.

    Parameters
    ----------
    fixed, moving
        The two files.
    subject, session
        Labels (of the moving scan) without ``sub-`` and ``ses-``.
    reason
        The reason for this fixed scan.
    entities, fixed_entities
        Entities of the moving and of the fixed scan: pybids' names, values as they are written.
    contrasts
        Suffixes of the two; a ``UNIT1`` counts as a T1w.
    fixed_mask, fixed_mask_reason
        The user's own brain mask of the fixed scan, and where it comes from or that there is none.
    moving_mask, moving_mask_reason
        The same of the moving scan.
    fixed_lesions, moving_lesions
        The user's files that say where lesions are, of either scan.
    lesion_reasons, lesion_problems
        What was taken for a lesion and what was left, and why a file of a lesion cannot be used.
    is_uni, inversions
        Whether the fixed scan is a ``UNIT1`` of MP2RAGE, and the magnitude images of its two inversions, where both are
        there.
    """

    fixed: Path
    moving: Path
    subject: str
    session: str | None
    reason: str
    entities: Mapping[str, str]
    fixed_entities: Mapping[str, str]
    contrasts: Contrasts = T2W_TO_T1W
    fixed_mask: Path | None = None
    fixed_mask_reason: str = 'no mask given'
    moving_mask: Path | None = None
    moving_mask_reason: str = 'no mask given'
    fixed_lesions: tuple[Lesion, ...] = ()
    moving_lesions: tuple[Lesion, ...] = ()
    lesion_reasons: tuple[str, ...] = ()
    lesion_problems: tuple[str, ...] = ()
    is_uni: bool = False
    inversions: tuple[Path, ...] = ()

    @property
    def fixed_contrast(self) -> str:
        """The contrast of the fixed scan, for example ``T1w``."""
        return self.contrasts.fixed

    @property
    def moving_contrast(self) -> str:
        """The contrast of the moving scan, for example ``FLAIR``."""
        return self.contrasts.moving

    @property
    def has_ratio(self) -> bool:
        """Whether it has a ratio: a T1w and a T2w do; a ``UNIT1`` has no field of a coil that could cancel."""
        uni = self.is_uni or '_UNIT1.' in self.moving.name
        return {self.fixed_contrast, self.moving_contrast} == {'T1w', 'T2w'} and not uni

    @property
    def name(self) -> str:
        """The pair's name, for example ``sub-01_ses-1_run-2``: :func:`bidsreg.bids.names.pair_name`."""
        return pair_name(self.entities, self.contrasts)

    @property
    def node_name(self) -> str:
        """The pair's name as Nipype accepts it for a node."""
        return node_name(self.name)


def node_name(pair_name: str) -> str:
    """Return the name of a pair as Nipype accepts it for a node; names that differ stay different."""
    plain = 'pair_' + re.sub(r'\W', '_', pair_name)
    # a + in a label would become the _ between two entities
    return f'{plain}_{hashlib.sha256(pair_name.encode()).hexdigest()[:8]}' if '+' in pair_name else plain


@dataclass(frozen=True)
class Plan:
    """The plan of a run: what will be registered to what, and what will not.

    Parameters
    ----------
    pairs
        The pairs to register, subject by subject.
    left_out
        Every other scan of these contrasts of the wanted subjects and sessions.
    subjects_without_pair
        The reason for each subject (label) that has none.
    notes
        Tables and sidecars of the dataset that cannot be used, and subjects that lack a modality, and why.
    contrasts
        That of the fixed scans, and those that were asked for.
    scans
        Every scan that the pairs were chosen from.
    """

    pairs: tuple[Pair, ...]
    left_out: tuple[Left, ...]
    subjects_without_pair: Mapping[str, str]
    notes: tuple[Left, ...] = ()
    contrasts: tuple[str, ...] = ('T1w', 'T2w')
    scans: tuple[Scan, ...] = ()

    @property
    def has_lesions(self) -> bool:
        """Whether lesions of a scan that is registered were drawn."""
        return any(pair.fixed_lesions or pair.moving_lesions for pair in self.pairs)


def find_pairs(settings: Settings, layout: BIDSLayout | None = None) -> Plan:
    """Find every scan of the wanted modalities in the dataset, and the one it is registered to.

    Parameters
    ----------
    settings
        They name the dataset, subjects, sessions, modalities and filters, the rule of pairing, and folders of masks.
    layout
        An index to use; by default the dataset is indexed (:func:`index`).

    Returns
    -------
    Plan
        Every scan of the reference and of the modalities, of the wanted subjects and sessions is in it, with a reason.

    Raises
    ------
    InputError
        When a participant, a session, a modality, or a filter's key, entity or value does not exist.

    """
    layout = index(settings) if layout is None else layout
    subjects = _wanted_subjects(settings)
    contrasts = settings.contrasts
    files = list_scans(layout, subjects, contrasts)
    _check_modalities(settings, files.scans)
    _check_sessions(settings, files.scans)
    scans, dropped = apply_filters(files.scans, settings.bids_filters, layout.get_entities(), contrasts)
    left = [*files.left, *dropped]
    pairs, without, notes = [], {}, []
    for subject in subjects:
        mine = [scan for scan in scans if scan.subject == subject]
        times = read_times(settings.bids_dir, mine, contrasts)
        strangers = [scan for scan in files.strangers if scan.subject == subject]
        found, unused = _pair_subject(mine, times, settings, strangers)
        pairs += found
        left += unused
        notes += times.notes
        theirs = [item for item in left if item.subject == subject]
        lacking = _lacking(mine, theirs, settings)
        misnamed = find_misnamed(settings.bids_dir, subject, lacking)
        notes += misnamed
        if found:
            folder = settings.bids_dir / f'sub-{subject}'
            notes += [Left(folder, subject, None, f'sub-{subject} has no {contrast}') for contrast in lacking]
            notes += _idle_lesions(found, [*mine, *strangers], settings)
        else:
            without[subject] = _why_no_pair(mine, theirs, files.others[subject], settings)
            without[subject] += ''.join(f'; {note.reason}' for note in misnamed[:2])
    if settings.session_label:
        left = [item for item in left if item.session in (None, *settings.session_label)]
    left.sort(key=lambda item: str(item.path))
    return Plan(tuple(pairs), tuple(left), without, tuple(notes), contrasts, tuple(scans))


def plan_table(plan: Plan) -> pd.DataFrame:
    """Lay the plan out as a table: one row per pair, per file left out and per subject without a pair.

    Returns
    -------
    pandas.DataFrame
        Columns ``subject``, ``session``, one for each of the plan's contrasts (``t1w``, ``t2w``, ...), ``reference``
        where that is no T1w, ``decision``
        (``register``, ``left out``, ``filtered``, ``note`` or ``no pair``) and ``reason``.

    """
    import pandas as pd

    rows = [
        _row(
            p.subject, p.session, 'register', '; '.join(_reasons(p)), **_cells(p.contrasts, p.fixed.name, p.moving.name)
        )
        for p in plan.pairs
    ]
    for item in plan.left_out:
        decision = 'filtered' if item.filtered else 'left out'
        rows.append(
            _row(item.subject, item.session, decision, item.reason, **{contrast_of(item.path).lower(): item.path.name})
        )
    rows += [_row(item.subject, item.session, 'note', item.reason) for item in plan.notes]
    rows += [_row(subject, None, 'no pair', reason) for subject, reason in plan.subjects_without_pair.items()]
    files = [contrast.lower() for contrast in plan.contrasts]
    if plan.contrasts[0] != 'T1w':
        files.append('reference')
        rows = [{**row, 'reference': plan.contrasts[0]} for row in rows]
    table = pd.DataFrame(rows, columns=['subject', 'session', *files, 'decision', 'reason']).fillna('')
    return table.sort_values(['subject', 'session', 'decision'], kind='stable', ignore_index=True)


def _row(subject: str, session: str | None, decision: str, reason: str, **files: str) -> dict[str, str]:
    return {'subject': subject, 'session': session or '', **files, 'decision': decision, 'reason': reason}


def _cells(contrasts: Contrasts, fixed: str, moving: str) -> dict[str, str]:
    return {contrasts.fixed.lower(): fixed, contrasts.moving.lower(): moving}


def _reasons(pair: Pair) -> list[str]:
    """Return the reasons of a pair: for its fixed scan, and for the masks."""
    moving = [pair.moving_mask_reason] if pair.moving_mask else []
    uni = ['its air is cleaned by both inversions' if pair.inversions else 'its air is masked'] if pair.is_uni else []
    return [pair.reason, *uni, pair.fixed_mask_reason, *moving, *pair.lesion_reasons, *pair.lesion_problems]


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


def _check_modalities(settings: Settings, scans: Sequence[Scan]) -> None:
    """Raise for a modality that was asked for and that nobody in the dataset has."""
    if settings.modalities == MODALITIES[settings.reference]:  # nobody asked: each subject's reason says it
        return
    for contrast in settings.modalities:
        if not any(scan.contrast == contrast for scan in scans) and not has_modality(settings.bids_dir, contrast):
            raise InputError(f'--modalities {contrast}: nobody in {settings.bids_dir} has a {contrast}.')


def _check_sessions(settings: Settings, scans: Sequence[Scan]) -> None:
    there = sorted({scan.session for scan in scans if scan.session})
    for label in settings.session_label:
        if label not in there:
            raise InputError(
                f'--session-label {label}: no wanted subject has a {" or ".join(settings.contrasts)} in a ses-{label}.'
                + (suggestion(label, there) if there else ' There are no sessions.')
            )


def _pair_subject(
    scans: Sequence[Scan], times: Times, settings: Settings, strangers: Sequence[Scan]
) -> tuple[list[Pair], list[Left]]:
    """Pair the scans of one subject; `strangers` are T1w of no pair, whose masks are theirs."""
    reference = settings.reference
    fixed = _fixed(scans, reference)
    moving = [scan for scan in scans if scan.contrast in settings.modalities and scan.suffix != 'UNIT1']
    if settings.session_label:
        moving = [scan for scan in moving if scan.session in settings.session_label]
    pairs, left = [], []
    for scan in moving:
        near, where = _near(scan, fixed, scans, times, settings)
        if not near:
            left.append(scan.left(where))
            continue
        chosen, reason = (near[0], f'the only {reference} {where}') if len(near) == 1 else choose(scan, near)
        reason = reason if len(near) == 1 else f'of {len(near)} {reference} {where}, {reason}'
        pairs.append(_make_pair(chosen, scan, reason, [*scans, *strangers], settings))
    used = {pair.fixed for pair in pairs}
    for scan in scans:
        if scan.contrast == reference and scan.path not in used:
            left.append(scan.left(_why_unused(scan, scan in fixed, pairs, settings)))
        elif scan.contrast != reference and scan.suffix == 'UNIT1':
            left.append(scan.left('a UNIT1 is registered to nothing: other scans are registered to it'))
    return pairs, left


def _fixed(scans: Sequence[Scan], reference: str) -> list[Scan]:
    """Return the scans of a subject that may be fixed; a UNIT1 is a T1w where its session has no other."""
    mine = [scan for scan in scans if scan.contrast == reference]
    with_one = {scan.session for scan in mine if scan.suffix == reference}
    return [scan for scan in mine if scan.suffix == reference or scan.session not in with_one]


def _near(
    moving: Scan, fixed: Sequence[Scan], scans: Sequence[Scan], times: Times, settings: Settings
) -> tuple[list[Scan], str]:
    """Return the fixed scans among which is chosen, and where they are; none, and why."""
    reference = settings.reference
    if not fixed:
        return [], f'the subject has no {reference} to register it to'
    near = [scan for scan in fixed if scan.session == moving.session]
    where = 'of the session' if moving.session else 'of the subject'
    if not near and settings.pairing == 'session':
        return [], f'no {reference} in its session; --pairing subject would take one of another session'
    if not near:
        session, why = nearest_session(moving, fixed, scans, times)
        near = [scan for scan in fixed if (scan.session or '') == session]
        nearest = f'the nearest with a {reference}, {why} (--pairing subject)'
        where = f'of ses-{session}, {nearest}' if session else 'outside sessions'
    here = same_place(moving, near)
    return here, where if here else f'every {reference} shows another part of the body (another chunk)'


def _idle_lesions(pairs: Sequence[Pair], scans: Sequence[Scan], settings: Settings) -> list[Left]:
    """Return what a subject has of lesions that no pair leaves out."""
    paths = {path for pair in pairs for path in (pair.fixed, pair.moving)}
    used = [scan for scan in scans if scan.path in paths]
    idle = idle_lesions(used, scans, settings.derivatives, settings.bids_dir)
    return [Left(path, pairs[0].subject, None, reason) for path, reason in idle.items()]


def _make_pair(fixed: Scan, moving: Scan, reason: str, scans: Sequence[Scan], settings: Settings) -> Pair:
    masks = [find_mask(scan, scans, settings.derivatives, settings.bids_dir) for scan in (fixed, moving)]
    here, there = (find_lesions(scan, scans, settings.derivatives, settings.bids_dir) for scan in (fixed, moving))
    return Pair(
        fixed=fixed.path,
        moving=moving.path,
        subject=moving.subject,
        session=moving.session,
        reason=f'{reason} (a UNIT1: there is no T1w)' if fixed.suffix == 'UNIT1' else reason,
        entities=dict(moving.entities),
        fixed_entities=dict(fixed.entities),
        contrasts=Contrasts(fixed.contrast, moving.contrast),
        fixed_mask=masks[0].path,
        fixed_mask_reason=masks[0].reason,
        moving_mask=masks[1].path,
        moving_mask_reason=masks[1].reason,
        fixed_lesions=here.files,
        moving_lesions=there.files,
        # a file of another subject is said to be none of either
        lesion_reasons=tuple(dict.fromkeys((*here.reasons, *there.reasons))),
        lesion_problems=tuple(dict.fromkeys((*here.problems, *there.problems))),
        is_uni=fixed.suffix == 'UNIT1',
        inversions=fixed.inversions,
    )


def _why_unused(scan: Scan, candidate: bool, pairs: Sequence[Pair], settings: Settings) -> str:
    if not candidate:
        return 'a UNIT1 is taken only where there is no T1w'
    rivals = [pair.fixed.name for pair in pairs if pair.session == scan.session]
    if rivals:
        return f'another {settings.reference} was chosen: {", ".join(sorted(set(rivals)))}'
    moving = ' and no '.join(settings.modalities)
    return f'no {moving} in its session to register to it' if scan.session else f'no {moving} to register to it'


def _why_no_pair(scans: Sequence[Scan], left: Sequence[Left], others: Sequence[str], settings: Settings) -> str:
    have = {scan.contrast for scan in scans}
    fixed, *moving = settings.contrasts
    if fixed in have and have & set(moving):
        nothing = f'no {" and no ".join(moving)} in the wanted sessions'
        return next((item.reason for item in left if contrast_of(item.path) in moving), nothing)
    missing = [fixed] if fixed not in have else []
    missing += [] if have & set(moving) else moving
    text = f'only {" and ".join(sorted(have))}, no ' if have else 'no '
    text += ' and no '.join(missing)
    if any(contrast_of(item.path) in missing for item in left):
        text += ' (see the files left out)'
    if not others:
        return text
    there = sorted(set(others))
    asked = [suffix for suffix in there if suffix in CHOICES['modalities'] and suffix != fixed]
    how = f' unless asked for (-m {" ".join(asked)})' if asked and fixed in have else ''
    return f'{text}; {", ".join(there)} {"are" if len(there) > 1 else "is"} not registered{how}'


def _lacking(scans: Sequence[Scan], left: Sequence[Left], settings: Settings) -> list[str]:
    """Return the contrasts that a subject lacks, where not even a file that is left out is of them."""
    have = {scan.contrast for scan in scans} | {contrast_of(item.path) for item in left}
    return [contrast for contrast in settings.contrasts if contrast not in have]
