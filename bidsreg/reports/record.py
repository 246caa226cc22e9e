"""The record of one pair: what is known of it from the plan, from this run, and from the output folder."""

from __future__ import annotations

import json
import re
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from bidsreg.bids.names import PRODUCTS, RATIO_FAILURE, T2W_TO_T1W, Contrasts, pair_name, parse_pair_name, partial_path
from bidsreg.bids.sidecars import bids_uri, parse_json, read_json
from bidsreg.execution.crashes import last_crash
from bidsreg.outcome import Failure, Outcome
from bidsreg.qc.verdict import Threshold, Verdict, judge, read_thresholds
from bidsreg.registration.atomic import write_text

if typing.TYPE_CHECKING:
    from bidsreg.bids.pairs import Pair, Plan
    from bidsreg.settings import Settings

#: The end of the name of every QC file.
QC_ENDING = f'_desc-{PRODUCTS["qc"].entities["desc"]}_qc.json'
#: What reading values of other types than expected may raise: a damaged QC file costs what it is about, not the page.
UNUSABLE = (TypeError, ValueError, AttributeError, LookupError, ArithmeticError, RecursionError)

#: What may follow the subject in the name of a pair; a file may hold any other text in its place.
_LABELS = re.compile(r'(_[a-z]+-(?:[^\W_]|[+.-])+)*')


@dataclass(frozen=True)
class PairRecord:
    """The record of one pair, as its report tells it.

    Parameters
    ----------
    name : str
        As :attr:`bidsreg.bids.pairs.Pair.name`.
    entities : mapping
        Entities of the moving scan, pybids' names.
    contrasts : Contrasts
        Of its two scans.
    pair : Pair or None
        None for a pair of an earlier run that is not in today's plan.
    qc : mapping
        Its QC file; empty when there is none. Of a pair that failed: its partial results.
    complete : bool
        True when `qc` is the QC file of a finished pair.
    outcome : Outcome or None
        Its outcome.
    crash : str
        The text of its crash file.
    current : bool
        True when the QC file is of the settings of today.
    verdict : Verdict or None
        By the thresholds of today; None where there are no numbers.
    unusable : str
        Why nothing of its QC file can be told; empty for all but damaged files.
    among_others : bool
        True when the subject has pairs of other contrasts, so that this one's are to be said.
    """

    name: str
    entities: Mapping[str, str]
    contrasts: Contrasts = T2W_TO_T1W
    pair: Pair | None = None
    qc: Mapping[str, Any] = field(default_factory=dict)
    outcome: Outcome | None = None
    crash: str = ''
    complete: bool = False
    current: bool = True
    verdict: Verdict | None = None
    unusable: str = ''
    among_others: bool = False

    def without_numbers(self, reason: str) -> PairRecord:
        """Return the same record of a pair whose QC file holds what no QC file holds, and say so."""
        return replace(self, qc={}, verdict=None, unusable=f'its QC file holds what no QC file holds: {reason}')

    @property
    def session(self) -> str:
        """The session label, empty where there is none."""
        return self.entities.get('session', '')

    @property
    def title(self) -> str:
        """The heading of its section: its name without the subject, and the contrasts in words."""
        entities, contrasts = parse_pair_name(self.name)
        labels = pair_name(entities).split('_')[1:]
        told = [f'{contrasts.moving} to {contrasts.fixed}'] if contrasts.told or self.among_others else []
        return ' '.join([*labels, *told]) or 'Registration'

    @property
    def failed(self) -> bool:
        """True when its work failed, so that there is nothing valid to show."""
        return self.outcome is not None and self.outcome.status == 'failed'

    @property
    def ratio_failure(self) -> Failure | None:
        """Why the ratio that was asked for could not be made; None where none failed."""
        noted = self.qc.get(RATIO_FAILURE)
        return Failure.of_note(noted) if isinstance(noted, Mapping) else None

    @property
    def result(self) -> Mapping[str, Any]:
        """The content of ``result.json`` of ``bidsreg-pair``."""
        inner = self.qc.get('result')
        return inner if isinstance(inner, dict) else self.qc

    @property
    def linear(self) -> str:
        """The linear alignment that was kept: ``rigid`` or ``affine``, as in all files that do not say it."""
        return (self.qc.get('linear') or {}).get('kept', 'affine')

    @property
    def kept(self) -> str:
        """The transform that was kept: ``diffeo``, ``affine``, or empty where that is not known."""
        return (self.result.get('decision') or {}).get('kept', '')


def collect(subject: str, settings: Settings, plan: Plan, outcomes: Sequence[Outcome]) -> list[PairRecord]:
    """Collect all pairs of a subject, sessions in order: those of the plan, of this run, and of the derivatives.

    Parameters
    ----------
    subject : str
        Label without ``sub-``.
    settings, plan, outcomes
        As for :func:`bidsreg.reports.write_reports`.

    Returns
    -------
    list of PairRecord
        The outcomes are kept for the reports of later runs as well.
    """
    now = {outcome.pair_name: outcome for outcome in outcomes if outcome.subject == subject and outcome.pair_name}
    before = recall(subject, settings.output_dir)
    known = {**before, **{name: _fuller(outcome, before.get(name), settings) for name, outcome in now.items()}}
    qcs = _find_qcs(subject, settings.output_dir)
    thresholds = read_thresholds(settings.qc_thresholds)
    records = []
    pairs = {pair.name: pair for pair in plan.pairs if pair.subject == subject}
    unmended = [name for name, outcome in before.items() if outcome.status == 'failed']
    for name in {**pairs, **qcs, **dict.fromkeys(now), **dict.fromkeys(unmended)}:
        pair, qc = pairs.get(name), qcs.get(name, {})
        outcome = known.get(name)
        if name not in now and qc and outcome is not None and not outcome.ok:
            outcome = None  # an earlier failure that has been mended since
        crash_file = outcome.crash_file if outcome else None
        if pair is not None and not qc and crash_file is None and name not in now:
            found = last_crash(settings.output_dir / 'logs', pair.node_name)
            crash_file = found.crash_file if found else None
        entities, contrasts = (dict(pair.entities), pair.contrasts) if pair else parse_pair_name(name)
        record = PairRecord(
            name=name,
            entities=entities,
            contrasts=contrasts,
            pair=pair,
            qc=qc or read_partial(name, settings.output_dir),
            outcome=outcome,
            crash=_read_crash(crash_file, settings.output_dir),
            complete=bool(qc),
            current=not qc or qc.get('fingerprint') in (None, settings.fingerprint()),
        )
        try:
            records.append(replace(record, verdict=judge_qc(qc, thresholds)))
        except UNUSABLE as error:
            records.append(record.without_numbers(str(error)))
    _remember(
        subject,
        settings.output_dir,
        {name: outcome for name, outcome in known.items() if name in now or name in before},
    )
    several = len({record.contrasts for record in records}) > 1
    records = [replace(record, among_others=several) for record in records]
    return sorted(records, key=lambda record: (natural(record.session), natural(record.name)))


def judge_qc(qc: Mapping[str, Any], thresholds: Mapping[str, Threshold]) -> Verdict | None:
    """Judge the content of a QC file; None where it has no number to judge by."""
    try:
        return judge(qc, thresholds)
    except ValueError:  # nothing to judge by
        return None


def _fuller(now: Outcome, before: Outcome | None, settings: Settings) -> Outcome:
    """Choose the outcome that says more: a run that only writes reports knows less than the run that failed."""
    if before is None or before.status != 'failed' or now.status != 'failed':
        return now
    return before if settings.reports_only and now.crash_file is None else now


def natural(text: str) -> list[Any]:
    """Return a sort key that puts 2 before 10."""
    return [(0, int(part), '') if part.isdigit() else (1, 0, part) for part in re.split(r'(\d+)', text) if part]


def read_partial(name: str, output_dir: Path) -> dict[str, Any]:
    """Read the partial results of a pair that failed, in the form of a QC file; empty where there are none."""
    content = read_json(partial_path(name, output_dir)) or {}
    return content if content.get('pair') == name else {}


def _find_qcs(subject: str, output_dir: Path) -> dict[str, dict[str, Any]]:
    found = {}
    root = output_dir / f'sub-{subject}'
    for path in sorted([*root.glob('anat/*_qc.json'), *root.glob('ses-*/anat/*_qc.json')]):
        name = path.name.removesuffix(QC_ENDING)  # what is in the file may be any text
        content = read_json(path) or {}
        if content.get('pair') == name:
            found[name] = content
    return found


# ---------------------------------------------------------------------------------------------- what became of it
def _record(subject: str, output_dir: Path) -> Path:
    return output_dir / 'logs' / f'sub-{subject}_outcomes.json'


def _remember(subject: str, output_dir: Path, outcomes: Mapping[str, Outcome]) -> None:
    """Keep the outcomes, so that a page that is built again still says why a pair failed."""
    plain = {
        name: {**outcome.as_dict(), 'crash_file': _inside(outcome.crash_file, output_dir)}
        for name, outcome in outcomes.items()
    }
    path = _record(subject, output_dir)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, json.dumps(plain, indent=2) + '\n')


def _inside(path: Path | None, folder: Path) -> str | None:
    if path is None:
        return None
    path = Path(path)
    return path.relative_to(folder).as_posix() if path.is_relative_to(folder) else str(path)


def recall(subject: str, output_dir: Path) -> dict[str, Outcome]:
    """Return the outcomes of the pairs of a subject, by their names, as earlier runs have noted them."""
    try:
        plain = parse_json(_record(subject, output_dir).read_text(encoding='utf-8'))
        return {
            name: Outcome.from_dict(
                {**values, 'crash_file': output_dir / values['crash_file'] if values['crash_file'] else None}
            )
            for name, values in plain.items()
            if _LABELS.fullmatch(name.removeprefix(f'sub-{subject}'))
        }
    except (OSError, *UNUSABLE):
        return {}


def _read_crash(path: Path | None, output_dir: Path) -> str:
    """Return the text of a crash file; nothing of a file elsewhere, which a record may name and a page would show."""
    try:
        inside = path is not None and path.resolve().is_relative_to(output_dir.resolve())
        return path.read_text(encoding='utf-8', errors='replace') if path is not None and inside else ''
    except (OSError, ValueError):
        return ''


def sources(record: PairRecord, settings: Settings) -> list[str]:
    """Return the BIDS URIs of the scans: from the plan, else from the QC file."""
    if record.pair is not None:
        return [bids_uri(record.pair.fixed, settings), bids_uri(record.pair.moving, settings)]
    return list(record.qc.get('sources', {}))
