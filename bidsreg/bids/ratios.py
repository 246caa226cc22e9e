"""The ratio of a pair's T1w and T2w: whether it is there, how it is published, and how a failed one is noted.

It stands beside the pair: it takes what the finished pair has left, and whatever becomes of it, that stays as it is.
"""

from __future__ import annotations

import typing
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bidsreg.bids.names import RATIO_FAILURE, pair_outputs, ratio_path, sidecar
from bidsreg.bids.publish import put_in_place, read_qc
from bidsreg.bids.sidecars import ratio_sidecar, read_json
from bidsreg.outcome import Failure

if typing.TYPE_CHECKING:
    from bidsreg.bids.pairs import Pair, Plan
    from bidsreg.settings import Settings


@dataclass(frozen=True)
class RatioWork:
    """The ratio of one pair, as a piece of work of its own.

    Attributes
    ----------
    pair
        The pair.
    """

    pair: Pair

    @property
    def name(self) -> str:
        """Its name, for example ``sub-01_ses-1_ratio``, unlike that of any pair."""
        return f'{self.pair.name}_ratio'

    @property
    def node_name(self) -> str:
        """Its name as Nipype accepts it for a node."""
        return f'ratio_of_{self.pair.node_name}'

    @property
    def subject(self) -> str:
        """The label of the subject."""
        return self.pair.subject

    @property
    def session(self) -> str | None:
        """The label of the session, if there are any."""
        return self.pair.session


def find_ratios(plan: Plan, settings: Settings) -> list[RatioWork]:
    """Return the ratios that were asked for: one of each pair of a T1w and a T2w."""
    return [RatioWork(pair) for pair in plan.pairs if pair.has_ratio] if settings.ratio != 'none' else []


def why_without_ratio(pair: Pair, settings: Settings) -> str | None:
    """Say why the ratio of a finished pair is to be made, for a person to read; ``None`` when it is there."""
    path = ratio_path(pair.entities, settings.output_dir, settings.ratio, pair.contrasts)
    for file in (path, sidecar(path)):
        if not file.is_file() or file.stat().st_size == 0:
            return f'{file.name} is missing'
    if (read_json(sidecar(path)) or {}).get('Fingerprint') != settings.fingerprint():
        return f'{path.name} was made with other settings'
    if not (read_qc(pair, settings) or {}).get('ratio'):
        return 'the QC file does not tell of it'
    return None


def publish_ratio(
    image: Path,
    pair: Pair,
    settings: Settings,
    made: Mapping[str, Any],
    seconds: Mapping[str, Any],
    figures: Mapping[Path, Path],
) -> Path:
    """Put the ratio of a finished pair into the derivatives, each file by an atomic write, the map last.

    Parameters
    ----------
    image
        The map.
    pair, settings
        The pair, and the settings it was made with.
    made
        How the ratio was made; it goes into the pair's QC file, under ``ratio``.
    seconds
        How long the steps took; they go there as well.
    figures
        ``{where it is to be: where it is now}``.

    Returns
    -------
    Path
        The map in the derivatives.

    Raises
    ------
    FileNotFoundError
        When the pair has no QC file: another run has begun it anew.
    OSError
        When the disk is full or the folder cannot be written.
    """
    facts = read_qc(pair, settings)
    qc = pair_outputs(pair, settings.output_dir)['qc']
    if facts is None:
        raise FileNotFoundError(f'{qc} is not there any more: the pair of this ratio is not finished')
    goal = ratio_path(pair.entities, settings.output_dir, settings.ratio, pair.contrasts)
    text = ratio_sidecar(pair, settings, facts, made)
    facts = {key: value for key, value in facts.items() if key != RATIO_FAILURE} | {'ratio': dict(made)}
    facts['seconds_per_step'] = {**(facts.get('seconds_per_step') or {}), 'ratio': dict(seconds)}
    goal.unlink(missing_ok=True)  # until the new one is there, the ratio is not complete
    put_in_place(pair.name, settings.output_dir, {sidecar(goal): text, **figures, qc: facts, goal: image})
    return goal


def note_failed_ratio(pair: Pair, settings: Settings, failure: Failure) -> None:
    """Note in the QC file of a finished pair that its ratio could not be made, for the pages; nothing else changes."""
    facts = read_qc(pair, settings)
    if facts is None:
        return
    facts[RATIO_FAILURE] = {'kind': settings.ratio, **failure.as_note()}
    put_in_place(pair.name, settings.output_dir, {pair_outputs(pair, settings.output_dir)['qc']: facts})


def noted_failure(pair: Pair, settings: Settings) -> Failure | None:
    """Return why the ratio that is asked for could not be made in an earlier run, where that is noted."""
    noted = (read_qc(pair, settings) or {}).get(RATIO_FAILURE)
    if not isinstance(noted, dict) or noted.get('kind') != settings.ratio:
        return None
    return Failure.of_note(noted)
