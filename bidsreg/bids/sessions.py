"""When the scans of a subject were made, as far as its tables know; and which session is the nearest to another."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from bidsreg.bids.scans import Left, Scan
from bidsreg.tables import read_table


@dataclass
class Times:
    """The times at which a subject's scans were made.

    Attributes
    ----------
    scans, sessions
        Times by path and by label of the session.
    notes
        The tables and sidecars of the subject that cannot be used, and why.
    """

    scans: dict[Path, datetime] = field(default_factory=dict)
    sessions: dict[str, datetime] = field(default_factory=dict)
    notes: list[Left] = field(default_factory=list)

    def of(self, scan: Scan) -> datetime | None:
        """Return when a scan was made, or else its session, where one of them is known."""
        return self.scans.get(scan.path) or self.sessions.get(scan.session or '')


def read_times(root: Path, scans: Sequence[Scan], contrasts: Sequence[str] = ('T1w', 'T2w')) -> Times:
    """Read ``sessions.tsv`` and ``scans.tsv`` of one subject; what is broken is noted.

    Parameters
    ----------
    root
        The dataset.
    scans
        All scans of the subject.
    contrasts
        Those of the run: other files that a table lists are nobody's business.
    """
    times = Times()
    wanted = re.compile(rf'_({"|".join(contrasts)}|UNIT1)\.nii(\.gz)?$')
    for subject in {scan.subject for scan in scans}:
        folder = root / f'sub-{subject}'
        _read_sessions(folder / f'sub-{subject}_sessions.tsv', subject, times)
        for session in sorted({scan.session or '' for scan in scans}):
            place = folder / f'ses-{session}' if session else folder
            _read_scans(
                place / f'{"_".join(place.parts[len(root.parts) :])}_scans.tsv', subject, session or None, times, wanted
            )
    for scan in scans:
        _check_sidecar(scan, times)
    return times


def _read_sessions(path: Path, subject: str, times: Times) -> None:
    note = Left(path, subject, None, '')
    rows = _rows(path, 'session_id', note, times.notes)
    if rows is None:
        return
    listed = [row['session_id'].removeprefix('ses-') for row in rows]
    for label, row in zip(listed, rows, strict=True):
        if (time := _time(row.get('acq_time'))) is not None:
            times.sessions[label] = time
    there = [folder.name.removeprefix('ses-') for folder in path.parent.glob('ses-*') if folder.is_dir()]
    for words, labels in (
        ('lists sessions without a folder', set(listed) - set(there)),
        ('does not list', set(there) - set(listed)),
    ):
        if labels:
            names = ', '.join(f'ses-{label}' for label in sorted(labels, key=natural))
            times.notes.append(Left(path, subject, None, f'{path.name} {words}: {names}'))


def _read_scans(path: Path, subject: str, session: str | None, times: Times, wanted: re.Pattern[str]) -> None:
    missing = []
    for row in _rows(path, 'filename', Left(path, subject, session, ''), times.notes) or ():
        scan = path.parent / row['filename']
        if (time := _time(row.get('acq_time'))) is not None:
            times.scans[scan] = time
        if wanted.search(scan.name) and not scan.exists() and not scan.is_symlink():
            missing.append(row['filename'])
    if missing:
        times.notes.append(Left(path, subject, session, f'{path.name} lists what is not there: {", ".join(missing)}'))


def _rows(path: Path, key: str, note: Left, notes: list[Left]) -> Sequence[Mapping[str, str]] | None:
    """Read the rows of a table that has this column; ``None`` if there is none, or it is broken, which is noted."""
    if not path.is_file():
        return None
    try:
        table = read_table(path)
        if key not in table:
            raise ValueError(f'it has no column {key}')
    except (OSError, ValueError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        notes.append(Left(path, note.subject, note.session, f'{path.name} is not used: {reason}'))
        return None
    return table.to_dict('records')


def _time(text: str | None) -> datetime | None:
    """Read a time of BIDS (ISO 8601, date first); the zone, which BIDS forbids, is dropped."""
    try:
        return datetime.fromisoformat(text or '').replace(tzinfo=None)
    except ValueError:  # n/a, or no time
        return None


def _check_sidecar(scan: Scan, times: Times) -> None:
    path = scan.path.with_name(scan.path.name.removesuffix(scan.extension) + '.json')
    if not path.is_file():
        return
    try:
        content = json.loads(path.read_text(encoding='utf-8-sig'))
        reason = '' if isinstance(content, dict) else 'it holds no JSON object'
    except (OSError, ValueError) as error:
        reason = str(error)
    if reason:
        times.notes.append(scan.note(path, f'{path.name} is not used: {reason}'))


def natural(label: str) -> list[tuple[bool, int, str]]:
    """Return a key that sorts labels with their numbers as numbers: 2 before 10."""
    parts = [part for part in re.split(r'(\d+)', label) if part]
    return [(False, int(part), '') if part.isdigit() else (True, 0, part) for part in parts]


def nearest_session(moving: Scan, fixed: Sequence[Scan], all_scans: Sequence[Scan], times: Times) -> tuple[str, str]:
    """Choose the session whose T1w a scan is registered to, when its own has none.

    Parameters
    ----------
    moving
        The scan of another contrast.
    fixed
        The subject's T1w scans, at least one.
    all_scans
        All scans of the subject, which give the order of the sessions.
    times
        When they were made.

    Returns
    -------
    session, words
        The label (empty: outside sessions), and why: the time between, or the order where a time is not known.
    """
    sessions = sorted({scan.session or '' for scan in all_scans}, key=natural)
    place = {session: number for number, session in enumerate(sessions)}
    mine = times.of(moving)
    apart: dict[str, timedelta] = {}
    for scan in fixed:
        time = times.of(scan)
        if mine is not None and time is not None:
            session = scan.session or ''
            apart[session] = min(abs(time - mine), apart.get(session, timedelta.max))
    theirs = sorted({scan.session or '' for scan in fixed}, key=natural)
    if len(apart) == len(theirs):
        nearest = min(theirs, key=lambda session: apart[session])
        return nearest, f'{_words(apart[nearest])} apart'
    here = place[moving.session or '']
    return min(theirs, key=lambda session: abs(place[session] - here)), 'by the order of the sessions'


def _words(apart: timedelta) -> str:
    days = apart.days
    if days:
        return f'{days} day{"s" if days > 1 else ""}'
    return f'{apart.seconds / 3600:.1f} hours'
