"""The outcomes of a run, as far as they are known, and its last words: what is not done in one line each."""

from __future__ import annotations

import logging
import typing
from collections import Counter
from collections.abc import Iterable, Iterator

from bidsreg.bids.names import Work
from bidsreg.bids.pairs import Pair
from bidsreg.bids.publish import read_qc
from bidsreg.outcome import Cause, Failure, Outcome, Status
from bidsreg.settings import Settings

if typing.TYPE_CHECKING:
    from bidsreg.qc.verdict import Verdict

LOGGER = logging.getLogger('bidsreg')

_STATUSES: tuple[Status, ...] = typing.get_args(Status)


class OutcomeTable:
    """What became of the pairs of a run, by the names of the pairs; the last word on a pair counts."""

    def __init__(self) -> None:
        self._outcomes: dict[str, Outcome] = {}

    def __iter__(self) -> Iterator[Outcome]:
        return iter(self._outcomes.values())

    def of(self, pair: Work) -> Outcome | None:
        """Return the outcome of a pair; None as long as there is none."""
        return self._outcomes.get(pair.name)

    def is_ok(self, pair: Work) -> bool:
        """Tell whether a pair has an outcome that allows exit code 0."""
        outcome = self.of(pair)
        return outcome is not None and outcome.ok

    @property
    def all_ok(self) -> bool:
        """Tell whether all outcomes allow exit code 0."""
        return all(outcome.ok for outcome in self)

    def set_status(self, pair: Work, status: Status) -> None:
        """Note the status of a pair that is done, in this run or by an earlier one."""
        self._outcomes[pair.name] = Outcome(pair.name, pair.subject, pair.session, status)

    def set_failure(self, pair: Work, failure: Failure, status: Status = 'failed') -> None:
        """Note why a pair is not done."""
        self._outcomes[pair.name] = Outcome(
            pair.name,
            pair.subject,
            pair.session,
            status,
            failure.step,
            failure.detail,
            failure.crash_file,
            failure.cause,
        )

    def set_without_pair(self, subject: str, reason: str) -> None:
        """Note that a subject has no pair, and why."""
        self._outcomes[f'sub-{subject}'] = Outcome(
            '', subject, None, 'no pair', step='pairing', detail=reason, cause=Cause.NO_PAIR
        )

    def print_summary(self, **beside: OutcomeTable) -> None:
        """Print what is not done in one line each, then how many there are of each status.

        Parameters
        ----------
        beside
            What came after the pairs, by its name (``ratios``, ``normalisations``): told beside them, and counted in a
            line of its own where there is some.
        """
        tables = {'': self, **{f'{name}: ': table for name, table in beside.items()}}
        outcomes = [outcome for table in tables.values() for outcome in table]
        lines = [_line(outcome) for outcome in outcomes if outcome.status not in ('done', 'already done')]
        for words, table in tables.items():
            counts = {status: sum(outcome.status == status for outcome in table) for status in _STATUSES}
            told = ', '.join(f'{count} {status}' for status, count in counts.items() if count)
            if told or not words:
                lines.append(words + told)
        print('\n'.join(['', *lines]), flush=True)
        for line in lines:
            LOGGER.debug('summary: %s', line)


def print_verdicts(
    pairs: Iterable[Pair], outcomes: OutcomeTable, settings: Settings, normalisations: OutcomeTable | None = None
) -> None:
    """Print what the checks say of what is done: which ones are a FAIL, why, and how many of each there are.

    What is done has results; whether they are good, its verdict says, as in the reports.

    Parameters
    ----------
    pairs, outcomes
        The pairs, and what became of them.
    settings
        ``output_dir`` and ``qc_thresholds`` are read.
    normalisations
        What became of the normalisations, which are counted in a line of their own.
    """
    from bidsreg.qc.verdict import STATUSES

    judged = {'verdicts': list(_of_pairs(pairs, outcomes, settings))}
    judged['verdicts of normalisations'] = list(_of_normalisations(normalisations or OutcomeTable(), settings))
    lines = [
        f'FAIL: {name}: {" ".join(verdict.reasons)}'
        for verdicts in judged.values()
        for name, verdict in verdicts
        if verdict.status == 'FAIL'
    ]
    for words, verdicts in judged.items():
        counts = Counter(verdict.status for _, verdict in verdicts)
        if counts:
            told = ', '.join(f'{counts[status]} {status}' for status in STATUSES if counts[status])
            lines.append(f'{words}: {told}; look at {settings.output_dir}/sub-*.html')
    if lines:
        print('\n'.join(['', *lines]), flush=True)


def _is_done(outcome: Outcome | None) -> bool:
    return outcome is not None and outcome.status in ('done', 'already done')


def _of_pairs(pairs: Iterable[Pair], outcomes: OutcomeTable, settings: Settings) -> Iterator[tuple[str, Verdict]]:
    """Yield the names of the pairs that are done, and their verdicts."""
    from bidsreg.qc.verdict import read_thresholds
    from bidsreg.reports.record import UNUSABLE, judge_qc

    thresholds = read_thresholds(settings.qc_thresholds)
    for pair in pairs:
        if not _is_done(outcomes.of(pair)):
            continue
        try:
            verdict = judge_qc(read_qc(pair, settings) or {}, thresholds)
        except UNUSABLE:  # its page says so
            continue
        if verdict is not None:
            yield pair.name, verdict


def _of_normalisations(outcomes: OutcomeTable, settings: Settings) -> Iterator[tuple[str, Verdict]]:
    """Yield the names of the normalisations that are done, and their verdicts."""
    from bidsreg.reports.space_record import collect_spaces

    told = list(outcomes)
    for record in collect_spaces(settings, told) if told else ():
        if _is_done(record.outcome) and record.verdict is not None:
            yield record.name, record.verdict


def _line(outcome: Outcome) -> str:
    """Return one outcome as a line of the summary."""
    name = outcome.pair_name or f'sub-{outcome.subject}'
    crash = f' (crash file: {outcome.crash_file})' if outcome.crash_file else ''
    return f'{outcome.status}: {name}, step {outcome.step}: {outcome.message}{crash}'
