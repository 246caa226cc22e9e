"""The record of one normalisation: what is known of it from its QC file and from this run."""

from __future__ import annotations

import re
import typing
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bidsreg.bids.names import ENTITIES
from bidsreg.bids.sidecars import read_json
from bidsreg.outcome import Outcome
from bidsreg.qc.normalisation import judge_normalisation
from bidsreg.qc.verdict import Threshold, Verdict, read_thresholds
from bidsreg.reports.record import UNUSABLE, natural

if typing.TYPE_CHECKING:
    from bidsreg.settings import Settings

#: The end of the name of every QC file of a normalisation.
SPACE_QC_ENDING = '_desc-normalisation_qc.json'
#: The name of a normalisation: the entities of its scan, the contrast of that, and the space.
_NAME = re.compile(
    r'(?P<scan>sub-[^_]+(?:_[a-z]+-[^_]+)*)_(?P<contrast>[A-Za-z0-9]+)_to-(?P<space>[A-Za-z0-9]+(?:\+\d+)?)'
)
_KEYS = {label: key for key, label in ENTITIES.items()}


@dataclass(frozen=True)
class SpaceRecord:
    """The record of one normalisation.

    Attributes
    ----------
    name
        As :attr:`bidsreg.bids.normalisations.Normalisation.name`.
    entities
        Of the reference scan (pybids' names).
    contrast, space
        Of that scan, and the space as it stands behind ``to-``.
    qc
        The QC file; empty where there is none.
    verdict
        By the thresholds of today; None where there are no numbers.
    outcome
        What became of it in this run, where it was in it.
    """

    name: str
    entities: Mapping[str, str]
    contrast: str
    space: str
    qc: Mapping[str, Any] = field(default_factory=dict)
    verdict: Verdict | None = None
    outcome: Outcome | None = None

    @property
    def failed(self) -> bool:
        """True when there is nothing of it to show."""
        return not self.qc

    @property
    def reason(self) -> str:
        """What there is to say beside the verdict: why it failed, or a sentence for each number beyond its limit."""
        if self.failed:
            told = f'{self.outcome.step}: {self.outcome.message}'.strip(': ') if self.outcome else ''
            return told or 'not done'
        return ' '.join(self.verdict.reasons) if self.verdict else 'its QC file has no number to judge by'

    @property
    def judgement(self) -> str:
        """PASS, CHECK or FAIL."""
        if self.failed:
            return 'FAIL'
        return self.verdict.status if self.verdict else 'CHECK'

    @property
    def title(self) -> str:
        """What it is called in the page of its subject."""
        *labels, contrast, _ = self.name.split('_')
        return ' '.join([*labels[1:], f'{contrast} to {self.space}'])

    @property
    def anchor(self) -> str:
        """Its address in the page of its subject."""
        return re.sub(r'\W', '-', self.name)

    @property
    def figure_entities(self) -> dict[str, str]:
        """The entities that its figures have."""
        name, _, cohort = self.space.partition('+')
        return {**self.entities, 'space': name, **({'cohort': cohort} if cohort else {})}


def collect_spaces(
    settings: Settings, outcomes: Sequence[Outcome] = (), subject: str | None = None
) -> list[SpaceRecord]:
    """Collect the normalisations of a subject, or of all: those of the derivatives, and those that failed in this run.

    Parameters
    ----------
    settings
        ``output_dir`` and ``qc_thresholds`` are read.
    outcomes
        What became of the normalisations of this run.
    subject
        Label without ``sub-``.
    """
    thresholds = read_thresholds(settings.qc_thresholds, family='normalisation')
    now = {outcome.pair_name: outcome for outcome in outcomes if subject in (None, outcome.subject)}
    records = {}
    for path in _qc_files(settings.output_dir, subject):
        qc = read_json(path) or {}
        record = _record(str(qc.get('normalisation')), qc, thresholds, now)
        if record is not None and path.name.startswith('_'.join(record.name.split('_')[:-2])):
            records[record.name] = record
    for name in now:
        if name not in records and (record := _record(name, {}, thresholds, now)) is not None:
            records[name] = record
    return sorted(records.values(), key=lambda record: (record.space, natural(record.name)))


def _qc_files(out: Path, subject: str | None) -> Iterator[Path]:
    for folder in (f'sub-{subject or "*"}/anat', f'sub-{subject or "*"}/ses-*/anat'):
        yield from sorted(out.glob(f'{folder}/*{SPACE_QC_ENDING}'))


def _record(
    name: str, qc: Mapping[str, Any], thresholds: Mapping[str, Threshold], now: Mapping[str, Outcome]
) -> SpaceRecord | None:
    """Make a record; None where the name is none of a normalisation, as that in a damaged file may be."""
    parts = _NAME.fullmatch(name)
    if parts is None:
        return None
    pairs = (part.partition('-') for part in parts['scan'].split('_'))
    entities = {_KEYS[label]: value for label, _, value in pairs if label in _KEYS}
    try:
        verdict = judge_normalisation(qc, thresholds) if qc else None
    except UNUSABLE:
        verdict = None
    return SpaceRecord(name, entities, parts['contrast'], parts['space'], qc, verdict, now.get(name))
