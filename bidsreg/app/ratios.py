"""The ratios of a run: made once the pairs are done, which nothing here can undo."""

from __future__ import annotations

import logging
import typing
from collections.abc import Sequence
from dataclasses import replace

from bidsreg.app.summary import OutcomeTable
from bidsreg.app.work import RunStage, compute
from bidsreg.bids.pairs import Pair, Plan
from bidsreg.bids.publish import is_complete
from bidsreg.bids.ratios import RatioWork, find_ratios, note_failed_ratio, noted_failure, why_without_ratio
from bidsreg.execution.crashes import last_crash
from bidsreg.outcome import Cause, Failure, Outcome
from bidsreg.settings import Settings

if typing.TYPE_CHECKING:
    from nipype.pipeline import engine as pe

LOGGER = logging.getLogger('bidsreg')

#: Name of the graph, and so of its folder in the work folder.
WORKFLOW = 'bidsreg_ratios_wf'


class RatioStage:
    """The ratios of the pairs of one run. Who calls it holds the locks of these pairs.

    Parameters
    ----------
    settings, plan
        What was asked for, and which pairs there are.

    Attributes
    ----------
    outcomes
        What became of each.
    """

    def __init__(self, settings: Settings, plan: Plan) -> None:
        self.settings = settings
        self.outcomes = OutcomeTable()
        self._units = find_ratios(plan, settings)

    def is_wanted(self, pair: Pair) -> bool:
        """Tell whether the ratio of a finished pair is to be made."""
        wanted = RatioWork(pair) in self._units
        return wanted and why_without_ratio(pair, self.settings) is not None

    def leave(self, pair: Pair) -> None:
        """Leave the ratio of a pair to the run that has the pair."""
        if RatioWork(pair) in self._units:
            self.outcomes.set_failure(RatioWork(pair), Failure(Cause.LOCKED, step='start'), 'locked')

    def work(self, pairs: OutcomeTable) -> None:
        """Make the ratios that are not there yet, of the pairs that are finished."""
        finished = [unit for unit in self._units if pairs.is_ok(unit.pair)]
        if self.settings.reports_only:
            self._take_as_it_is(finished)
            return
        todo = []
        for unit in finished:
            reason = why_without_ratio(unit.pair, self.settings)
            if reason is None:
                self.outcomes.set_status(unit, 'already done')
            else:
                LOGGER.info('%s: to do (%s)', unit.name, reason)
                todo.append(unit)
        if todo:
            compute(todo, self.settings, self.outcomes, self._stage())
        for unit in todo:
            outcome = self.outcomes.of(unit)
            if outcome is not None and not outcome.ok:
                self._note(unit.pair, outcome)

    def _stage(self) -> RunStage:
        def build(units: Sequence[RatioWork]) -> pe.Workflow:
            from bidsreg.workflows.pair_ratio import init_ratios_wf

            return init_ratios_wf(settings=self.settings, units=units, name=WORKFLOW)

        return RunStage(WORKFLOW, build, lambda unit: why_without_ratio(unit.pair, self.settings) is None)

    def _note(self, pair: Pair, outcome: Outcome) -> None:
        """Note a failure for the pages; where that fails, too, the summary still has it."""
        try:
            note_failed_ratio(pair, self.settings, Failure(outcome.cause or Cause.FAILED, outcome.detail, outcome.step))
        except OSError as error:
            LOGGER.warning('%s: that its ratio failed could not be noted for the report: %s', pair.name, error)

    def _take_as_it_is(self, finished: Sequence[RatioWork]) -> None:
        logs = self.settings.output_dir / 'logs'
        for unit in finished:
            if why_without_ratio(unit.pair, self.settings) is None:
                self.outcomes.set_status(unit, 'already done')
            else:
                noted = noted_failure(unit.pair, self.settings) or last_crash(logs, unit.node_name)
                self.outcomes.set_failure(unit, noted or Failure(Cause.NOT_DONE, step='run'))

    def settle(self, failure: Failure) -> None:
        """Give the ratio of every finished pair an outcome, this failure where there is none."""
        for unit in self._units:
            outcome = self.outcomes.of(unit)
            if (outcome is not None and outcome.status != 'locked') or not is_complete(unit.pair, self.settings):
                continue
            if why_without_ratio(unit.pair, self.settings) is None:
                self.outcomes.set_status(unit, 'done' if outcome is None else 'already done')
            elif outcome is None:
                self.outcomes.set_failure(unit, replace(failure, step='run'))
