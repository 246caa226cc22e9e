"""One benchmark: check, plan, work, and lay out what came of it."""

from __future__ import annotations

import dataclasses
import logging
import platform
import typing
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from bidsreg import __version__
from bidsreg.benchmark.case import Case
from bidsreg.benchmark.case_bids import label_cases
from bidsreg.benchmark.cases import check_cases, find_cases
from bidsreg.benchmark.files import write_json
from bidsreg.benchmark.folds import check_folds, deal, describe
from bidsreg.benchmark.labelling import FOLDER
from bidsreg.benchmark.methods import Method, note_on_forms, resolve, resolve_all, usable
from bidsreg.benchmark.results import (
    LABEL_COLUMNS,
    dictionary,
    labels_table,
    read_cell,
    read_cells,
    results_table,
    write_tsv,
)
from bidsreg.benchmark.settings import BenchmarkSettings, digest
from bidsreg.benchmark.tasks import TASKS
from bidsreg.bids.locks import PairLock
from bidsreg.bids.names import PRIVATE, T2W_TO_T1W
from bidsreg.errors import InputError
from bidsreg.execution.checks import check_device, check_writable
from bidsreg.execution.command import interrupted_code
from bidsreg.execution.logs import new_run_uuid, to_console, to_file
from bidsreg.execution.machine import processor
from bidsreg.execution.plugins import read_plugin
from bidsreg.execution.private import prepare_work_folder
from bidsreg.execution.signals import signals_raise
from bidsreg.outcome import RETRIED, Cause, Failure
from bidsreg.registration.atomic import write_atomic, write_text
from bidsreg.translation.recipes import RECIPES

if typing.TYPE_CHECKING:
    import pandas as pd

LOGGER = logging.getLogger('bidsreg')

#: Says which benchmark a folder belongs to.
MARKER = 'benchmark.json'
UNKNOWN = 'it ended without a result'

#: One method on one pair.
Cell = tuple[Case, Method]


def run(settings: BenchmarkSettings) -> int:
    """Do what the settings ask for.

    Returns
    -------
    int
        0 when every method is done on every pair, 1 when one failed, 128 + signal when interrupted.

    Raises
    ------
    InputError
        When the input cannot be used; nothing was done then.
    """
    with to_console(settings.verbose):
        labels = settings.label_names()
        methods = resolve_all(settings.methods, settings.task)
        resolve(settings.reference, settings.task, option='--reference')
        read_plugin(settings.use_plugin)
        check_device(settings)
        check_folders(settings)
        methods, notes = usable(methods, skip_missing=settings.skip_missing)
        for note in notes:
            LOGGER.warning('%s', note)
        cases = find_cases(settings)
        identity = settings.identity(case.identity() for case in cases)
        check_output(settings.output_dir, identity)
        check_known(settings, cases, None if settings.makes_labels else labels, methods)
        prepare_work_folder(settings.work_dir, settings.shared_work_dir)
        check_writable({'output': settings.output_dir, 'work': settings.work_dir})
        logs = settings.output_dir / 'logs' / new_run_uuid()
        with to_file(logs / 'benchmark.log'), _lock(settings), signals_raise():
            if settings.makes_labels:
                cases, notes = label_cases(settings, cases, notes)
                check_known(settings, cases, labels, methods)
            return BenchmarkRun(settings, cases, methods, notes, labels, identity, logs).go()


def check_known(
    settings: BenchmarkSettings, cases: Sequence[Case], labels: Mapping[int, str] | None, methods: Sequence[Method]
) -> None:
    """Check every file of the pairs (not yet, without labels), and that translations have subjects to be trained on.

    Raises
    ------
    InputError
        See :func:`check_cases` and :func:`check_folds`.
    """
    if labels is not None:
        check_cases(cases, labels, need_moving_mask=settings.task != 'intra' or settings.prealign != 'affine')
    if any(method.translation for method in methods):
        check_folds(deal(cases, settings.folds, settings.seed), cases)


def check_folders(settings: BenchmarkSettings) -> None:
    """Refuse to write into the input.

    Raises
    ------
    InputError
        If the output or the work folder lies in the raw dataset.
    """
    if settings.is_table:
        return
    source = settings.input.resolve()
    for name, folder in (('output', settings.output_dir), ('work', settings.work_dir)):
        place = folder.resolve()
        if place.is_relative_to(source) and not (
            name == 'output' and place.is_relative_to(source / 'derivatives') and place != source / 'derivatives'
        ):
            raise InputError(f'The {name} folder {folder} lies in the dataset {source}: give another.')


def check_output(folder: Path, identity: Mapping[str, Any]) -> None:
    """Refuse a folder that holds another benchmark, or something else.

    Raises
    ------
    InputError
        It says in what the two differ.
    """
    if not folder.exists():
        return
    if not folder.is_dir():
        raise InputError(f'{folder} is a file; give a folder for the results.')
    marker = read_cell(folder / MARKER)
    if marker is None:
        if {path.name for path in folder.iterdir()} - {PRIVATE, 'logs', FOLDER}:
            raise InputError(f'{folder} is not empty, and no folder of a benchmark: give another.')
        return
    before = marker.get('identity', {})
    for key in {**identity, **before}:  # either may lack the contrasts
        if before.get(key) != identity.get(key):
            raise InputError(
                f'{folder} belongs to another benchmark: {_difference(key, before.get(key), identity.get(key))}. '
                'Give another folder.'
            )


def _difference(key: str, before: Any, now: Any) -> str:
    if key == 'pairs' and isinstance(before, list):
        return f'its pairs are others ({len(before)} there, {len(now)} now)'
    if key == 'labels':
        return 'its labels are others'
    if key == 'contrasts':
        was, are = (' '.join(value or dataclasses.astuple(T2W_TO_T1W)) for value in (before, now))
        return f'its contrasts were {was}, not {are}'
    return f'its {key.replace("_", " ")} was {before!r}, not {now!r}'


def _lock(settings: BenchmarkSettings) -> PairLock:
    """Keep other runs out of the results and the intermediate files."""
    lock = PairLock()
    for folder in (settings.output_dir, settings.work_dir):
        if not lock.take(folder / PRIVATE / 'locks' / 'benchmark.lock'):
            lock.release()
            raise InputError(f'Another benchmark is at work in {folder}; wait for it, or give other folders.')
    return lock


class BenchmarkRun:
    """The state of one run.

    Parameters
    ----------
    settings
        What was asked for.
    cases, methods
        The pairs, and the methods that can be run here.
    notes
        What is said below the table.
    labels
        Names by label.
    identity
        See :meth:`BenchmarkSettings.identity`.
    logs
        Folder for the logs of this run.
    """

    def __init__(
        self,
        settings: BenchmarkSettings,
        cases: Sequence[Case],
        methods: Sequence[Method],
        notes: Sequence[str],
        labels: Mapping[int, str],
        identity: Mapping[str, Any],
        logs: Path,
    ) -> None:
        self.settings, self.cases, self.labels, self.logs = settings, cases, labels, logs
        self.methods, self.notes, self.identity = methods, list(notes), identity
        self.out, self.contrasts = settings.output_dir, settings.pair_contrasts
        self.folds = deal(cases, settings.folds, settings.seed)

    def go(self) -> int:
        """Run from the plan to the tables, and return the exit code."""
        cells = [(case, method) for case in self.cases for method in self.methods]
        LOGGER.info('bidsreg-benchmark %s: %d pairs, %d methods', __version__, len(self.cases), len(self.methods))
        self._write_marker()
        todo = [cell for cell in cells if not self._is_done(*cell)]
        LOGGER.info('%d of %d cells are to do', len(todo), len(cells))
        try:
            self._compute(todo)
        except KeyboardInterrupt as error:
            LOGGER.error('Interrupted (%s). What is done is kept: the same command goes on from here.', error)
            return interrupted_code(error)
        shown = self._lay_out()
        failed = [cell for cell in cells if not self._is_done(*cell)]
        print(
            f'\n{len(cells) - len(failed)} done, {len(failed)} failed; the table: {self.out / "table.md"}', flush=True
        )
        for case, method in failed:
            print(f'failed: {method.name} on {case.name}: {self._reason(case, method)}', flush=True)
        return 1 if failed or not shown else 0

    # ------------------------------------------------------------------------------------------------ cells
    def _cell_path(self, case: Case, method: Method) -> Path:
        return self.out / 'cells' / case.name / f'{method.name}.json'

    def _state(self, case: Case, method: Method) -> str:
        own: list[Any] = [self.identity, case.fingerprint(), method.name]
        if method.translation:  # what it is trained on, and how
            recipe = dataclasses.asdict(RECIPES[method.translation])
            own += [recipe, self.settings.translating, [other.fingerprint() for other in self.cases]]
        return digest(own)

    def _is_done(self, case: Case, method: Method) -> bool:
        cell = read_cell(self._cell_path(case, method))
        if cell is None or cell['status'] != 'done' or cell['state'] != self._state(case, method):
            return False
        return case is not self.cases[0] or self._example(method).is_file()

    def _reason(self, case: Case, method: Method) -> str:
        return (read_cell(self._cell_path(case, method)) or {}).get('reason', UNKNOWN)

    def _example(self, method: Method) -> Path:
        return self.out / 'example' / f'{method.name}_{self.contrasts.moving}.nii.gz'

    def _facts(self, case: Case, method: Method) -> dict[str, Any]:
        return {
            'pair': case.name,
            'fixed': str(case.fixed),
            'moving': str(case.moving),
            'method': method.name,
            'machine': processor(),
            'state': self._state(case, method),
        }

    # ------------------------------------------------------------------------------------------------ work
    def _write_marker(self) -> None:
        """Say whose folder this is, and remember the methods of earlier runs: they stay in the table."""
        before = (read_cell(self.out / MARKER) or {}).get('methods', [])
        asked = dict.fromkeys([*before, *(method.asked for method in self.methods)])
        write_json(self.out / MARKER, {'identity': dict(self.identity), 'methods': list(asked)})
        self.all_methods = {(found := resolve(name, self.settings.task)).name: found for name in asked}

    def _compute(self, todo: Sequence[Cell]) -> None:
        """Run the graph; what was lost with a killed process gets a second chance."""
        if not todo:
            return
        for case, method in todo:
            self._cell_path(case, method).unlink(missing_ok=True)
        failed = self._run_graph(todo)
        lost = [cell for cell, failure in failed if failure.cause in RETRIED]
        failed = [(cell, failure) for cell, failure in failed if failure.cause not in RETRIED]
        if lost:
            LOGGER.warning('%d cells were lost with a process that was killed: once more', len(lost))
            failed += self._run_graph(lost)
        for (case, method), failure in failed:
            self._fail(case, method, failure.message)

    def _run_graph(self, todo: Sequence[Cell]) -> list[tuple[Cell, Failure]]:
        """Run some cells, and return why those failed that are not done."""
        from bidsreg.benchmark.translation_nodes import fit_name
        from bidsreg.benchmark.workflow import cell_nodes, image_name, init_benchmark_wf
        from bidsreg.execution.crashes import read_crash
        from bidsreg.execution.local import configure, run_graph

        configure(self.settings, self.logs)
        work = [(case, [(m, self._cell_inputs(case, m)) for c, m in todo if c is case]) for case in self.cases]
        name = f'benchmark_{digest(self.identity)}'
        workflow = init_benchmark_wf(
            settings=self.settings,
            work=[item for item in work if item[1]],
            labels=self.labels,
            folds=self.folds,
            cases=self.cases,
            name=name,
        )
        workflow.base_dir = str(self.settings.work_dir)
        old = set(self.logs.glob('crash-*.txt'))
        names = {image_name(case, end): getattr(case, end).name for case in self.cases for end in ('fixed', 'moving')}
        names |= {case.node_name: case.name for case in self.cases}
        names |= {
            fit_name(m.translation, self.folds.left_out(c)): f'training of {m.translation}'
            for c, m in todo
            if m.translation
        }
        end = run_graph(workflow, self.settings, names, self.logs)
        end.raise_interrupt()
        if end.error is not None:
            LOGGER.debug('The graph ended with %s: %s', type(end.error).__name__, end.error)
        crashes = [read_crash(path) for path in sorted(set(self.logs.glob('crash-*.txt')) - old)]
        failures = {**dict(crashes), **end.failures}
        return [
            (
                (case, method),
                why_failed(failures, cell_nodes(case, method, self.folds, self.cases)) or Failure(Cause.BROKEN_OFF),
            )
            for case, method in todo
            if not self._is_done(case, method)
        ]

    def _cell_inputs(self, case: Case, method: Method) -> dict[str, Any]:
        """Return the inputs of the judge of a cell that are its own."""
        inputs = {'cell': str(self._cell_path(case, method)), 'facts': self._facts(case, method)}
        return inputs | ({'example': str(self._example(method))} if case is self.cases[0] else {})

    def _fail(self, case: Case, method: Method, reason: str) -> None:
        failed = {**self._facts(case, method), 'status': 'failed', 'reason': reason}
        write_json(self._cell_path(case, method), failed)

    # ------------------------------------------------------------------------------------------------ results
    def _lay_out(self) -> bool:
        """Write every table and figure of what is in the folder, results of earlier runs included."""
        from bidsreg.benchmark.formats import FORMATS
        from bidsreg.benchmark.tables import paper_table

        methods = list(self.all_methods.values())
        cells = read_cells(self._cell_path(case, method) for case in self.cases for method in methods)
        results, labels = results_table(cells), labels_table(cells, self.labels)
        write_tsv(results, dictionary(self.contrasts), self.out / 'results.tsv')
        if len(labels):
            write_tsv(labels, LABEL_COLUMNS, self.out / 'labels.tsv')
        present = [method for method in methods if method.name in set(results['method'])]
        reference = resolve(self.settings.reference, self.settings.task).name
        notes = [*self.notes, *note_on_forms(present), *self._on_translations(present), *self._conditions(cells)]
        table = paper_table(results, present, reference, title=self._title(), notes=notes)
        for form in FORMATS:
            write_text(self.out / f'table{form.extension}', form(table))
        return self._draw(results, labels, [method.name for method in present])

    def _on_translations(self, present: Iterable[Method]) -> list[str]:
        """Say how translations were trained, and what registers what they make."""
        translated = [method for method in present if method.translation]
        if not translated:
            return []
        steps = {
            name: self.settings.translation_steps or RECIPES[name].steps
            for name in dict.fromkeys(m.translation for m in translated)
        }
        pairs = ', '.join(f'{method.name}: {method.registers}' for method in translated)
        counts = 'few' if self.settings.sloppy else ', '.join(f'{name} {count}' for name, count in steps.items())
        return [
            f'{describe(self.folds, self.cases)}. Steps of the training: {counts}.',
            f'The moving image is translated, then registered by: {pairs}.',
        ]

    def _draw(self, results: pd.DataFrame, labels: pd.DataFrame, methods: Sequence[str]) -> bool:
        """Draw the figures; tell whether that was done. Where it fails, no number is lost."""
        from bidsreg.benchmark.figures import write_figures

        try:
            self._copy_fixed_example()
            folders = self.out / 'figures', self.out / 'example'
            write_figures(folders[0], results, labels, self.labels, methods, folders[1], self.contrasts)
        except Exception as error:
            LOGGER.error('The figures could not be drawn (%s); the tables are not touched by it.', error)
            LOGGER.debug('The whole story:', exc_info=True)
            return False
        return True

    def _title(self) -> str:
        count = f'{len(self.cases)} pair{"s" if len(self.cases) > 1 else ""}'
        title = self.contrasts.fill(TASKS[self.settings.task].title)
        return f'{title}: {count} of {self.settings.input.name}{self.settings.label_warning()}'

    def _copy_fixed_example(self) -> None:
        """Put the images that the panels are compared with beside them."""
        from bidsreg.bids.headers import load_sane

        case, folder = self.cases[0], self.out / 'example'
        if not folder.is_dir():  # no method has done that pair
            return
        for path, name in ((case.fixed, f'fixed_{self.contrasts.fixed}'), (case.fixed_labels, 'fixed_dseg')):
            if path is not None and not (folder / f'{name}.nii.gz').exists():
                write_atomic(folder / f'{name}.nii.gz', load_sane(path).to_filename)

    def _conditions(self, cells: Iterable[Mapping[str, Any]]) -> list[str]:
        """Say under which conditions the numbers came about."""
        done = [cell for cell in cells if cell['status'] == 'done']
        versions = {f'{name} {text}' for cell in done for name, text in (cell.get('versions') or {}).items()}
        known = {
            'Machine': {cell['machine'] for cell in done},
            'Threads of a method': {str(cell['threads']) for cell in done if 'threads' in cell},
            'Processes at once': {str(self.settings.nprocs // self.settings.omp_nthreads or 1)},
            'Bias correction': {self.settings.bias_correction},
            'Prealignment': {self.settings.prealign},
            'Labels': {f'{len(self.labels)} {self.settings.label_caption()}' for case in self.cases if case.has_labels},
            'Versions': versions | {f'Python {platform.python_version()}'},
        }
        if self.settings.sloppy:
            known['Sloppy'] = {'few iterations, for trying things out: not the methods as they are meant'}
        return [f'{title}: {", ".join(sorted(values))}' for title, values in known.items() if values]


def why_failed(failures: Mapping[str, Failure], nodes: Sequence[str]) -> Failure | None:
    """Find why a cell was not reached.

    Parameters
    ----------
    failures
        Why nodes failed, by their full names.
    nodes
        See :func:`bidsreg.benchmark.workflow.cell_nodes`: the cell's own, those of its images, and its pair's.

    Returns
    -------
    Failure or None
        None when nothing that it needs has failed.
    """
    *needed, pair = nodes
    for node in needed:
        for name, failure in failures.items():
            if f'.{node}.' in f'{name}.':
                return failure
    return next((failure for name, failure in failures.items() if _is_prealignment(name.split('.'), pair)), None)


def _is_prealignment(parts: Sequence[str], pair: str) -> bool:
    """Tell a node that all methods of a pair need from one of a method."""
    return pair in parts and not parts[-1].startswith(('register_', 'evaluate_'))
