"""One run of the app: the order of things, from the checks to the summary."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable
from pathlib import Path

from bidsreg import __version__
from bidsreg.app.checks import (
    check_folders_writable,
    check_settings,
    check_study,
    validate_bids,
    why_not_left_out,
)
from bidsreg.app.normalising import Normalising
from bidsreg.app.plan import describe_empty_plan, describe_without_ratio, show_plan, write_plan_table
from bidsreg.app.ratios import RatioStage
from bidsreg.app.summary import OutcomeTable, print_verdicts
from bidsreg.app.work import compute
from bidsreg.bids.dataset import write_dataset_files
from bidsreg.bids.earlier import describe_earlier, earlier_files
from bidsreg.bids.headers import HeaderReport, check_header
from bidsreg.bids.lesions import MASKS
from bidsreg.bids.locks import PairLock, lock_pair
from bidsreg.bids.pairs import Pair, Plan, find_pairs, plan_table
from bidsreg.bids.publish import is_complete, read_qc, why_incomplete
from bidsreg.errors import InputError
from bidsreg.execution.checks import check_monitor
from bidsreg.execution.command import interrupted_code
from bidsreg.execution.crashes import failure_of, last_crash
from bidsreg.execution.devices import resolve
from bidsreg.execution.logs import to_console, to_file
from bidsreg.execution.machine import SHARE, allowed_threads, usable_memory
from bidsreg.execution.signals import signals_raise
from bidsreg.outcome import Cause, Failure
from bidsreg.qc.dictionary import dictionary_text
from bidsreg.reports.citation import methods_text
from bidsreg.settings import Settings

LOGGER = logging.getLogger('bidsreg')


def run(settings: Settings) -> int:
    """Do what the settings ask for.

    Returns
    -------
    int
        0 when every pair is done, 1 when one failed or another run still has it, 128 + signal when interrupted;
        of the group level alone 0.

    Raises
    ------
    InputError
        When the input cannot be used; nothing was done then.
    """
    with to_console(settings.verbose):
        if 'participant' not in settings.analysis_level:
            return _run_group(settings)
        check_settings(settings)
        plan = find_pairs(settings)
        normalising = Normalising(settings, plan)
        if settings.dry_run:
            show_plan(plan)
            normalising.show()
        if not plan.pairs and not normalising.references:
            raise InputError(describe_empty_plan(plan, settings))
        if settings.dry_run:
            return 0
        check_folders_writable(settings)
        check_monitor(settings)
        with _log_file(settings), signals_raise():
            return AppRun(settings, plan, normalising).go()


def _run_group(settings: Settings) -> int:
    """Write the page of the study from what earlier runs left."""
    from bidsreg.reports.study import read_study
    from bidsreg.reports.study_page import write_study

    check_study(settings)
    if settings.participant_label or settings.session_label:
        LOGGER.warning('The study is all of %s: the labels given do not narrow it.', settings.output_dir)
    study = read_study(settings)
    counts = study.summary()
    if not settings.dry_run:
        with _log_file(settings), signals_raise():
            page = write_study(study, settings)
            LOGGER.info('%s: %s', page, counts)
    print(counts, flush=True)
    return 0


def _log_file(settings: Settings) -> contextlib.AbstractContextManager[None]:
    """Write what happens into the folder of the run's logs; a place that cannot be one is an error before any work."""
    try:
        settings.log_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f'The folder for logs, {settings.log_dir.parent}, cannot be written: {error}') from error
    return to_file(settings.log_dir / 'bidsreg.log')


class AppRun:
    """The state of one run of the participant level.

    Parameters
    ----------
    settings, plan
        What was asked for, and which pairs there are.
    normalising
        The work that comes after the pairs.
    """

    def __init__(self, settings: Settings, plan: Plan, normalising: Normalising | None = None) -> None:
        self.settings = settings
        self.plan = plan
        self.normalising = normalising or Normalising(settings, plan)
        self.ratios = RatioStage(settings, plan)
        self.outcomes = OutcomeTable()
        self._locks: list[PairLock] = []
        self._headers: dict[Path, HeaderReport] = {}

    def go(self) -> int:
        """Run from the logs to the summary, and return the exit code."""
        try:
            self._begin()
        except OSError as error:
            raise InputError(f'The output folder {self.settings.output_dir} cannot be written: {error}') from error
        interrupted, failure = None, Failure(Cause.NOT_DONE)
        try:
            self._work()
        except KeyboardInterrupt as error:
            interrupted, failure = error, Failure(Cause.INTERRUPTED)
        except Exception as error:
            failure = failure_of(error)
            LOGGER.error('The run broke off: %s', failure.message)
            LOGGER.debug('The whole story:', exc_info=True)
        self._settle(failure)
        reported = interrupted is not None or self._report()
        told = self.plan.pairs, self.outcomes, self.settings, self.normalising.outcomes
        report_or_warn(lambda: print_verdicts(*told))
        self.outcomes.print_summary(ratios=self.ratios.outcomes, normalisations=self.normalising.outcomes)
        if interrupted is not None:
            LOGGER.error('Interrupted (%s). What is done is kept: the same command goes on from here.', interrupted)
            return interrupted_code(interrupted)
        return 0 if reported and all(table.all_ok for table in self._tables) else 1

    @property
    def _tables(self) -> tuple[OutcomeTable, ...]:
        return self.outcomes, self.ratios.outcomes, self.normalising.outcomes

    @property
    def _has_lesions(self) -> bool:
        return self.plan.has_lesions or any(reference.lesions for reference in self.normalising.references)

    def _begin(self) -> None:
        settings = self.settings
        LOGGER.info('bidsreg %s, run %s', __version__, settings.run_uuid)
        LOGGER.info('%s', describe_resources(settings))
        if settings.sloppy:
            LOGGER.warning('--sloppy is fast and bad: to try a set-up, never for results')
        logs = {
            'CITATION.md': methods_text(settings, lesions=self._has_lesions),
            'qc_dictionary.json': dictionary_text(),
        }
        write_dataset_files(settings, logs)
        settings.to_toml(settings.log_dir / 'config.toml')
        table = plan_table(self.plan)
        write_plan_table(table, settings)
        for row in table.itertuples(index=False):
            files = ' '.join(getattr(row, contrast.lower()) for contrast in self.plan.contrasts)
            LOGGER.debug('sub-%s %s: %s (%s)', row.subject, row.decision, files, row.reason)
        for note in self.plan.notes:
            LOGGER.warning('%s', note.reason)
        if words := describe_without_ratio(self.plan, settings):
            LOGGER.warning('%s', words)
        if words := describe_earlier(earlier_files(settings.output_dir), [pair.name for pair in self.plan.pairs]):
            LOGGER.warning('%s', words)
        for subject, reason in self.plan.subjects_without_pair.items():
            self.outcomes.set_without_pair(subject, reason)

    def _work(self) -> None:
        if self.settings.reports_only:
            self._take_as_it_is()
            self.ratios.work(self.outcomes)
            self.normalising.work()
            return
        validate_bids(self.settings)
        todo = [pair for pair in self.plan.pairs if self._claim(pair) and self._headers_are_sane(pair)]
        if todo:
            compute(todo, self.settings, self.outcomes)
        for stage in (lambda: self.ratios.work(self.outcomes), self.normalising.work):
            if self.settings.stop_on_first_crash and not all(table.all_ok for table in self._tables):
                return
            stage()

    def _take_as_it_is(self) -> None:
        """Take what earlier runs left, and what they said of the pairs that are not done."""
        logs = self.settings.output_dir / 'logs'
        for pair in self.plan.pairs:
            if read_qc(pair, self.settings) is not None:
                self.outcomes.set_status(pair, 'already done')
            elif self._headers_are_sane(pair):
                failure = last_crash(logs, pair.node_name) or Failure(Cause.NOT_DONE, step='run')
                self.outcomes.set_failure(pair, failure)

    def _claim(self, pair: Pair) -> bool:
        """Take a pair that is to be done; False when it is done already or another run has it."""
        lock = lock_pair(pair, self.settings)
        if lock is None:
            self.outcomes.set_failure(pair, Failure(Cause.LOCKED, step='start'), 'locked')
            self.ratios.leave(pair)
            return False
        reason = why_incomplete(pair, self.settings)
        if reason is not None:
            LOGGER.info('%s: to do (%s)', pair.name, reason)
        else:
            self.outcomes.set_status(pair, 'already done')
        if reason is None and not self.ratios.is_wanted(pair):
            lock.release()
        else:
            self._locks.append(lock)
        return reason is not None

    def _headers_are_sane(self, pair: Pair) -> bool:
        errors: list[str] = []
        lesions = (lesion.path for lesion in (*pair.fixed_lesions, *pair.moving_lesions))
        for path in filter(None, (pair.fixed, pair.moving, pair.fixed_mask, pair.moving_mask, *lesions)):
            errors += [f'{path.name}: {error}' for error in self._header(path).errors]
        errors += [*pair.lesion_problems, *why_not_left_out(pair, self.settings)]
        if errors:
            self.outcomes.set_failure(pair, Failure(Cause.BAD_INPUT, '; '.join(errors), 'check'))
        return not errors

    def _header(self, path: Path) -> HeaderReport:
        """Check each file once, though several pairs may share it."""
        if path not in self._headers:
            self._headers[path] = check_header(path)
            # a mask is to fit, that is all
            drawn = path.name.partition('.')[0].rpartition('_')[2] in (*MASKS, 'dseg')
            findings = () if drawn else self._headers[path].findings
            for finding in findings:
                LOGGER.warning('%s: %s', path.name, finding)
        return self._headers[path]

    def _settle(self, failure: Failure) -> None:
        """Give every pair an outcome, this failure where there is none, and let others have them."""
        for pair in self.plan.pairs:
            outcome = self.outcomes.of(pair)
            if outcome is None and is_complete(pair, self.settings):
                self.outcomes.set_status(pair, 'done')
            elif outcome is None:
                self.outcomes.set_failure(pair, Failure(failure.cause, failure.detail, 'run'))
            elif outcome.status == 'locked' and is_complete(pair, self.settings):
                self.outcomes.set_status(pair, 'already done')  # the other run has finished it meanwhile
        self.ratios.settle(failure)
        for lock in self._locks:
            lock.release()
        self.normalising.settle(failure)

    def _report(self) -> bool:
        """Write the reports; tell whether all could be written. Where one fails, nothing else is lost."""
        writers: list[Callable[[], object]] = [self._write_pages]
        if 'group' in self.settings.analysis_level:
            writers.append(self._write_study)
        written = [report_or_warn(write) for write in writers]  # all of them: the study even where a page fails
        return all(written)

    def _write_pages(self) -> None:
        from bidsreg.reports import write_reports

        write_reports(self.settings, self.plan, list(self.outcomes), list(self.normalising.outcomes))

    def _write_study(self) -> None:
        from bidsreg.reports.study import read_study
        from bidsreg.reports.study_page import write_study

        write_study(read_study(self.settings), self.settings)


def describe_resources(settings: Settings) -> str:
    """Say with how much the run goes to work."""
    device = settings.device if settings.device != 'auto' else f'{resolve(settings.device)} (of auto)'
    if settings.use_plugin is not None:
        return (
            f'Work goes where {settings.use_plugin} says; {settings.omp_nthreads} CPU(s) for one step, device {device}'
        )
    cpus, threads = allowed_threads(settings.nprocs), allowed_threads(settings.omp_nthreads)
    most = '' if settings.threads_given else 'at most '
    found = usable_memory()
    memory = f'{found.gb:.1f} GB ({SHARE:.0%} of what {found.source})'
    memory = memory if settings.mem_gb is None else f'{settings.mem_gb:g} GB'
    return f'{cpus} CPU(s), {most}{threads} for one step; memory {memory}; device {device}'


def report_or_warn(write: Callable[[], object]) -> bool:
    """Write a report; when that fails, log why, go on, and return False."""
    try:
        write()
    except Exception as error:
        LOGGER.error('The reports could not be written (%s); the derivatives are not touched by it.', error)
        LOGGER.debug('The whole story:', exc_info=True)
        return False
    return True
