"""One run of the app: check, plan, lock, work, report, sum up."""

from __future__ import annotations

import contextlib
import logging
import shutil
import signal
import sys
import typing
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from bidsreg import __version__
from bidsreg.app.checks import check_monitor, check_settings, check_study, check_writable, validate_bids
from bidsreg.bids.dataset import write_dataset_files
from bidsreg.bids.headers import HeaderReport, check_header
from bidsreg.bids.locks import PairLock, lock_dataset, lock_pair
from bidsreg.bids.pairs import Pair, Plan, find_pairs, plan_table
from bidsreg.bids.publish import is_complete, read_qc, scratch_folder, why_incomplete
from bidsreg.errors import InputError
from bidsreg.execution.devices import resolve
from bidsreg.execution.logs import to_console, to_file
from bidsreg.execution.machine import SHARE, usable_memory
from bidsreg.outcome import Outcome
from bidsreg.qc.dictionary import dictionary_text
from bidsreg.registration.atomic import write_text
from bidsreg.reports.citation import methods_text
from bidsreg.settings import Settings

if typing.TYPE_CHECKING:
    import pandas as pd

LOGGER = logging.getLogger('bidsreg')

#: Name of the graph, and so of its folder in the work folder.
WORKFLOW = 'bidsreg_wf'
#: The least number of pairs in a graph: Nipype's time to schedule grows with the square of its steps.
PAIRS_OF_A_GRAPH = 40
#: The same where another machine does the work, which may do many pairs at once.
PAIRS_OF_A_CLUSTER = 200


class Interrupted(KeyboardInterrupt):
    """The run was asked to end by a signal."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


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
        if settings.dry_run:
            show_plan(plan)
        if not plan.pairs:
            raise InputError(_nothing_to_do(plan))
        if settings.dry_run:
            return 0
        check_writable(settings)
        if settings.resource_monitor:
            check_monitor()
        with _log_file(settings), signals_raise():
            return _Run(settings, plan).go()


def _run_group(settings: Settings) -> int:
    """Write the page of the study from what earlier runs left."""
    from bidsreg.reports.study import read_study, write_group

    check_study(settings)
    if settings.participant_label or settings.session_label:
        LOGGER.warning('The study is all of %s: the labels given do not narrow it.', settings.output_dir)
    study = read_study(settings)
    counts = study.summary()
    if not settings.dry_run:
        with _log_file(settings), signals_raise():
            page = write_group(study, settings)
            LOGGER.info('%s: %s', page, counts)
    print(counts, flush=True)
    return 0


def _log_file(settings: Settings) -> contextlib.AbstractContextManager[None]:
    return to_file(log_dir(settings) / 'bidsreg.log')


def log_dir(settings: Settings) -> Path:
    """Return the folder with everything about one run."""
    return settings.output_dir / 'logs' / settings.run_uuid


def show_plan(plan: Plan) -> None:
    """Print the plan as a table: which files are registered to which, which not, and why."""
    from rich.console import Console
    from rich.table import Table

    frame = plan_table(plan)
    table = Table(*frame.columns, title=f'{len(plan.pairs)} pair(s) to register')
    for row in frame.itertuples(index=False):
        table.add_row(*row)
    console = Console()
    Console(width=None if console.is_terminal else 200).print(table)


def _nothing_to_do(plan: Plan) -> str:
    reasons = [f'sub-{subject}: {reason}' for subject, reason in plan.subjects_without_pair.items()]
    more = f' (and {len(reasons) - 5} subjects more)' if len(reasons) > 5 else ''
    return 'There is no pair of a T1w and a T2w to register. ' + '; '.join(reasons[:5]) + more


class _Run:
    """The state of one run: the outcome of every pair, as far as it is known."""

    def __init__(self, settings: Settings, plan: Plan) -> None:
        self.settings = settings
        self.plan = plan
        self.outcomes: dict[str, Outcome] = {}
        self.locks: dict[str, PairLock] = {}
        self.headers: dict[Path, HeaderReport] = {}

    def go(self) -> int:
        """Run from the logs to the summary."""
        try:
            self._begin()
        except OSError as error:
            raise InputError(f'The output folder {self.settings.output_dir} cannot be written: {error}') from error
        interrupted, cause = None, ''
        try:
            self._work()
        except KeyboardInterrupt as error:
            interrupted, cause = error, 'interrupted'
        except Exception as error:
            cause = f'{type(error).__name__}: {error}'
            LOGGER.error('The run broke off: %s', cause)
            LOGGER.debug('The whole story:', exc_info=True)
        self._settle(cause)
        reported = interrupted is not None or self._report()
        self._end()
        if interrupted is not None:
            LOGGER.error('Interrupted (%s). What is done is kept: the same command goes on from here.', interrupted)
            return 128 + getattr(interrupted, 'number', signal.SIGINT)
        return 0 if reported and all(outcome.ok for outcome in self.outcomes.values()) else 1

    def _begin(self) -> None:
        settings = self.settings
        LOGGER.info('bidsreg %s, run %s', __version__, settings.run_uuid)
        LOGGER.info('%s', _means(settings))
        logs = {'CITATION.md': methods_text(settings), 'qc_dictionary.json': dictionary_text()}
        write_dataset_files(settings, logs)
        settings.to_toml(log_dir(settings) / 'config.toml')
        table = plan_table(self.plan)
        _write_table(table, settings)
        for row in table.itertuples(index=False):
            LOGGER.debug('sub-%s %s: %s %s (%s)', row.subject, row.decision, row.t1w, row.t2w, row.reason)
        for subject, reason in self.plan.subjects_without_pair.items():
            self.outcomes[f'sub-{subject}'] = Outcome('', subject, None, 'no pair', step='pairing', cause=reason)

    def _work(self) -> None:
        if self.settings.reports_only:
            self._look_only()
            return
        validate_bids(self.settings)
        todo = [pair for pair in self.plan.pairs if self._claim(pair) and self._headers_are_sane(pair)]
        if not todo:
            return
        if self.settings.clean_workdir:
            for pair in todo:
                shutil.rmtree(self.settings.work_dir / WORKFLOW / pair.node_name, ignore_errors=True)
        self._compute(todo)

    def _look_only(self) -> None:
        """Take what earlier runs left as it is."""
        for pair in self.plan.pairs:
            if read_qc(pair, self.settings) is not None:
                self._set(pair, 'already done')
            elif self._headers_are_sane(pair):
                self._fail(pair, 'run', 'not done yet', folders=_log_folders(self.settings))

    def _claim(self, pair: Pair) -> bool:
        """Take a pair that is to be done; tell when it is done already or another run has it."""
        lock = lock_pair(pair, self.settings)
        if lock is None:
            self._set(pair, 'locked', 'start', 'another run is working on it')
            return False
        reason = why_incomplete(pair, self.settings)
        if reason is None:
            lock.release()
            self._set(pair, 'already done')
            return False
        LOGGER.info('%s: to do (%s)', pair.name, reason)
        self.locks[pair.name] = lock
        return True

    def _headers_are_sane(self, pair: Pair) -> bool:
        errors = []
        for path in filter(None, (pair.t1w, pair.t2w, pair.fixed_mask)):
            errors += [f'{path.name}: {error}' for error in self._header(path).errors]
        if errors:
            self._fail(pair, 'check', '; '.join(errors))
        return not errors

    def _header(self, path: Path) -> HeaderReport:
        """Check each file once, though several pairs may share it."""
        if path not in self.headers:
            self.headers[path] = check_header(path)
            findings = () if '_mask.' in path.name else self.headers[path].findings  # a mask is to fit, that is all
            for finding in findings:
                LOGGER.warning('%s: %s', path.name, finding)
        return self.headers[path]

    def _compute(self, todo: list[Pair]) -> None:
        """Run the graphs; what a killed process took with it gets a second chance, one pair at a time."""
        from bidsreg.execution.crashes import KILLED

        size = graph_size(self.settings)
        for start in range(0, len(todo), size):
            some = todo[start : start + size]
            self._run_graph(some)
            if self.settings.stop_on_first_crash and not all(self.outcomes[pair.name].ok for pair in some):
                for pair in todo[start + size :]:
                    self._fail(pair, 'run', 'not begun, because another step crashed (--stop-on-first-crash)')
                return
        lost = [pair for pair in todo if self.outcomes[pair.name].cause in (KILLED, _ABORTED)]
        for pair in lost:
            LOGGER.warning('%s: once more, alone (%s)', pair.name, self.outcomes[pair.name].cause)
            self._run_graph([pair])

    def _run_graph(self, pairs: Sequence[Pair]) -> None:
        from bidsreg.execution.crashes import crashes
        from bidsreg.execution.local import configure, run_graph, write_graph
        from bidsreg.workflows.app import init_bidsreg_wf

        logs = log_dir(self.settings)
        configure(self.settings, logs)
        workflow = init_bidsreg_wf(settings=self.settings, pairs=tuple(pairs), name=WORKFLOW)
        workflow.base_dir = str(self.settings.work_dir)
        if self.settings.write_graph:
            write_graph(workflow, logs)
        old = {path for pair in pairs for path, _, _ in crashes(logs, pair.node_name)}
        end = run_graph(workflow, self.settings, {pair.node_name: pair.name for pair in pairs}, logs)
        _keep_resources(self.settings)
        for pair in pairs:
            if is_complete(pair, self.settings):
                self._set(pair, 'done')
                continue
            new = [item for item in crashes(logs, pair.node_name) if item[0] not in old]
            path, *told = new[0] if new else (None, 'run', self._why_unfinished(end.error))
            self._set(pair, 'failed', *(end.failure_of(pair.node_name) or told), path)
            self._keep_partial(pair)

    def _keep_partial(self, pair: Pair) -> None:
        """Keep what a failed pair has done for its report; where that fails too, the report has less."""
        from bidsreg.app.partial import keep_partial

        try:
            keep_partial(pair, self.settings, self.settings.work_dir / WORKFLOW / pair.node_name)
        except Exception as error:
            LOGGER.warning('%s: not all that was done could be kept for the report: %s', pair.name, error)
            LOGGER.debug('The whole story:', exc_info=True)

    def _why_unfinished(self, error: Exception | None) -> str:
        if error is None:
            return 'it ended without all of its outputs'
        if self.settings.stop_on_first_crash:
            return 'not finished, because another step crashed (--stop-on-first-crash)'
        return _ABORTED

    def _settle(self, cause: str) -> None:
        """Give every pair an outcome, and let others have them."""
        for pair in self.plan.pairs:
            outcome = self.outcomes.get(pair.name)
            if outcome is None and is_complete(pair, self.settings):
                self._set(pair, 'done')
            elif outcome is None:
                self._fail(pair, 'run', cause or 'not reached')
            elif outcome.status == 'locked' and is_complete(pair, self.settings):
                self._set(pair, 'already done')  # the other run has finished it meanwhile
        for lock in self.locks.values():
            lock.release()

    def _report(self) -> bool:
        """Write the reports; a failure of theirs is told, and loses nothing else."""
        writers: list[Callable[[], object]] = [self._write_pages]
        if 'group' in self.settings.analysis_level:
            writers.append(self._write_study)
        written = [_told(write) for write in writers]  # all of them: the study even where a page could not be
        return all(written)

    def _write_pages(self) -> None:
        from bidsreg.reports import write_reports

        write_reports(self.settings, self.plan, list(self.outcomes.values()))

    def _write_study(self) -> None:
        from bidsreg.reports.study import read_study, write_group

        write_group(read_study(self.settings), self.settings)

    def _end(self) -> None:
        """Say what became of every pair: what is not done in one line each, at the very end."""
        outcomes = list(self.outcomes.values())
        counts = {status: sum(item.status == status for item in outcomes) for status in _STATUSES}
        lines = [_line(item) for item in outcomes if item.status not in ('done', 'already done')]
        lines.append(', '.join(f'{n} {status}' for status, n in counts.items() if n))
        print('\n'.join(['', *lines]), flush=True)
        for line in lines:
            LOGGER.debug('summary: %s', line)

    def _set(self, pair: Pair, status, step: str = '', cause: str = '', crash_file: Path | None = None) -> None:
        self.outcomes[pair.name] = Outcome(pair.name, pair.subject, pair.session, status, step, cause, crash_file)

    def _fail(self, pair: Pair, step: str, cause: str, folders: Sequence[Path] = ()) -> None:
        """Note a failure, with the crash that an earlier run may have left."""
        self._set(pair, 'failed', step, cause)
        if folders:
            from bidsreg.execution.crashes import any_crash

            crash = any_crash(folders, pair.node_name)
            if crash is not None:
                self._set(pair, 'failed', crash[1], crash[2], crash[0])


def graph_size(settings: Settings) -> int:
    """How many pairs make one graph: enough to keep all CPUs, or a cluster's queue, busy."""
    if settings.resource_monitor:  # Nipype's samples are those of one graph
        return sys.maxsize
    return PAIRS_OF_A_CLUSTER if settings.use_plugin else max(PAIRS_OF_A_GRAPH, 4 * settings.nprocs)


def _means(settings: Settings) -> str:
    """Say with how much the run goes to work."""
    device = settings.device if settings.device != 'auto' else f'{resolve(settings.device)} (of auto)'
    if settings.use_plugin is not None:
        return (
            f'Work goes where {settings.use_plugin} says; {settings.omp_nthreads} CPU(s) for one step, device {device}'
        )
    found = usable_memory()
    memory = f'{found.gb:.1f} GB ({SHARE:.0%} of what {found.source})'
    memory = memory if settings.mem_gb is None else f'{settings.mem_gb:g} GB'
    return f'{settings.nprocs} CPU(s), {settings.omp_nthreads} for one step; memory {memory}; device {device}'


def _told(write: Callable[[], object]) -> bool:
    """Write a report; when that fails, say so and go on."""
    try:
        write()
    except Exception as error:
        LOGGER.error('The reports could not be written (%s); the derivatives are not touched by it.', error)
        LOGGER.debug('The whole story:', exc_info=True)
        return False
    return True


_ABORTED = 'the run was broken off before it was done'
_STATUSES = ('done', 'already done', 'failed', 'locked', 'no pair')


def _line(outcome: Outcome) -> str:
    """Tell one outcome in one line."""
    name = outcome.pair_name or f'sub-{outcome.subject}'
    crash = f' (crash file: {outcome.crash_file})' if outcome.crash_file else ''
    return f'{outcome.status}: {name}, step {outcome.step}: {outcome.cause}{crash}'


def _keep_resources(settings: Settings) -> None:
    """Keep what the resource monitor saw of each step with the logs (Nipype writes it when no step failed)."""
    seen = settings.work_dir / WORKFLOW / 'resource_monitor.json'
    if settings.resource_monitor and seen.is_file():
        shutil.copy(seen, log_dir(settings))


def _log_folders(settings: Settings) -> list[Path]:
    """List the logs of all runs, the newest first."""
    return sorted((path for path in (settings.output_dir / 'logs').glob('*') if path.is_dir()), reverse=True)


def _write_table(table: pd.DataFrame, settings: Settings) -> None:
    """Write the plan to ``logs/pairs.tsv``; rows of subjects that are not in this run stay."""
    import pandas as pd

    path = settings.output_dir / 'logs' / 'pairs.tsv'
    with lock_dataset(settings.output_dir), scratch_folder(settings.output_dir, path.name) as scratch:
        with contextlib.suppress(OSError, ValueError, KeyError):
            old = pd.read_csv(path, sep='\t', dtype=str, keep_default_na=False)[list(table.columns)]
            table = pd.concat([old[~old['subject'].isin(table['subject'])], table])
            table = table.sort_values(['subject', 'session'], kind='stable')
        write_text(path, table.to_csv(sep='\t', index=False), scratch=scratch, durable=True)


@contextlib.contextmanager
def signals_raise() -> Iterator[None]:
    """Turn SIGTERM and SIGINT into :class:`Interrupted`."""

    def handle(number: int, _: object) -> typing.NoReturn:
        raise Interrupted(number)

    numbers = (signal.SIGTERM, signal.SIGINT)
    before: dict[int, Callable | int | None] = {}
    with contextlib.suppress(ValueError):  # not in the main thread: signals are somebody else's business
        before = {number: signal.signal(number, handle) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
