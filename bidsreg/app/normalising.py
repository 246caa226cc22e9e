"""The second stage of a run: people to templates, once the pairs are done, which nothing here can undo."""

from __future__ import annotations

import logging
import typing
from collections.abc import Sequence
from dataclasses import replace

from bidsreg.app.summary import OutcomeTable
from bidsreg.app.work import RunStage, compute, sharing_threads
from bidsreg.bids.headers import check_header
from bidsreg.bids.locks import PairLock, lock_pair
from bidsreg.bids.normalisations import (
    Normalisation,
    Reference,
    find_references,
    finished_pairs,
    pairs_with_ratio,
    why_not_normalised,
)
from bidsreg.bids.pairs import Plan
from bidsreg.bids.publish_normalisation import read_normalisation_qc
from bidsreg.bids.spaces import parse_spaces
from bidsreg.execution.crashes import last_crash
from bidsreg.outcome import Cause, Failure
from bidsreg.settings import Settings
from bidsreg.templates.prepare import Template, make_template
from bidsreg.templates.sources import templateflow_home

if typing.TYPE_CHECKING:
    from nipype.pipeline import engine as pe

LOGGER = logging.getLogger('bidsreg')

#: Name of the graph, and so of its folder in the work folder.
WORKFLOW = 'bidsreg_spaces_wf'
#: Folder of the work folder in which templates lie that are made ready.
TEMPLATES = 'templates'


class Normalising:
    """The normalisations of one run.

    Parameters
    ----------
    settings, plan
        What was asked for, and which scans there are.

    Attributes
    ----------
    outcomes
        What became of each.
    references
        The scans by which people are normalised; empty where no space is asked for.
    """

    def __init__(self, settings: Settings, plan: Plan) -> None:
        self.settings = settings
        self.plan = plan
        self.outcomes = OutcomeTable()
        self.references: list[Reference] = find_references(plan, settings) if settings.output_spaces else []
        self._templates: dict[str, Template] = {}
        self._units: list[Normalisation] = []
        self._locks: list[PairLock] = []

    def show(self) -> None:
        """Print who would be normalised to what, and by which scan."""
        for space in parse_spaces(self.settings.output_spaces):
            for reference in self.references:
                ill = ''.join(f'; lesion: {lesion.path.name}' for lesion in reference.lesions)
                print(f'to {space.label}: {reference.scan.path.name} ({reference.reason}{ill})')

    def work(self) -> None:
        """Normalise everybody who is not done yet."""
        if not self.references:
            return
        self._units = self._plan()
        if self.settings.reports_only:
            self._take_as_it_is()
            return
        todo = [unit for unit in self._units if self._claim(unit) and self._header_is_sane(unit)]
        if todo:
            compute(todo, self.settings, self.outcomes, self._stage())

    def _plan(self) -> list[Normalisation]:
        home = templateflow_home(self.settings.templateflow_home)
        folder = self.settings.work_dir / TEMPLATES
        for space in parse_spaces(self.settings.output_spaces):
            self._templates[space.label] = make_template(space, home, folder)
        return [
            self._unit(reference, template) for template in self._templates.values() for reference in self.references
        ]

    def _unit(self, reference: Reference, template: Template) -> Normalisation:
        pairs = finished_pairs(reference, self.plan, self.settings)
        return Normalisation(
            reference,
            template.space,
            template.stamp,
            template.origin,
            template.sources,
            pairs,
            self.settings.ratio,
            pairs_with_ratio(pairs, self.settings),
        )

    def _stage(self) -> RunStage:
        def build(units: Sequence[typing.Any]) -> pe.Workflow:
            from bidsreg.workflows.space import init_spaces_wf

            found = [(unit, self._templates[unit.space.label]) for unit in units]
            shared = sharing_threads(
                self.settings, [(template.image, unit.reference.scan.path) for unit, template in found]
            )
            return init_spaces_wf(settings=shared, units=found, name=WORKFLOW)

        return RunStage(WORKFLOW, build, lambda unit: why_not_normalised(unit, self.settings) is None)

    def _claim(self, unit: Normalisation) -> bool:
        """Take one that is to be done; False when it is done already or another run has it."""
        lock = lock_pair(unit, self.settings)
        if lock is None:
            self.outcomes.set_failure(unit, Failure(Cause.LOCKED, step='start'), 'locked')
            return False
        reason = why_not_normalised(unit, self.settings)
        if reason is None:
            lock.release()
            self.outcomes.set_status(unit, 'already done')
            return False
        LOGGER.info('%s: to do (%s)', unit.name, reason)
        self._locks.append(lock)
        return True

    def _header_is_sane(self, unit: Normalisation) -> bool:
        reference = unit.reference
        paths = [reference.scan.path, reference.mask, *(lesion.path for lesion in reference.lesions)]
        errors = [f'{path.name}: {error}' for path in paths if path for error in check_header(path).errors]
        errors += reference.lesion_problems
        if errors:
            self.outcomes.set_failure(unit, Failure(Cause.BAD_INPUT, '; '.join(errors), 'check'))
        return not errors

    def _take_as_it_is(self) -> None:
        logs = self.settings.output_dir / 'logs'
        for unit in self._units:
            if read_normalisation_qc(unit, self.settings) is not None:
                self.outcomes.set_status(unit, 'already done')
            else:
                self.outcomes.set_failure(unit, last_crash(logs, unit.node_name) or Failure(Cause.NOT_DONE, step='run'))

    def _not_reached(self) -> list[Normalisation]:
        """Return what was to be done, though its templates were not made ready, and so nothing of it is complete."""
        spaces = parse_spaces(self.settings.output_spaces) if self.references else ()
        return [Normalisation(reference, space, '', '', ()) for space in spaces for reference in self.references]

    def settle(self, failure: Failure) -> None:
        """Give every normalisation an outcome, this failure where there is none, and let others have them."""
        for unit in self._units or self._not_reached():
            outcome = self.outcomes.of(unit)
            done = why_not_normalised(unit, self.settings) is None
            if done and (outcome is None or outcome.status == 'locked'):
                self.outcomes.set_status(unit, 'done' if outcome is None else 'already done')
            elif outcome is None:
                self.outcomes.set_failure(unit, replace(failure, step='run'))
        for lock in self._locks:
            lock.release()
