"""Running the graph with Nipype: one broken pair, or one killed process, never takes the others with it."""

from __future__ import annotations

import contextlib
import functools
import gc
import logging
import os
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nipype import config
from nipype.pipeline.engine import Workflow
from nipype.pipeline.plugins.multiproc import MultiProcPlugin

from bidsreg import lifeline
from bidsreg.checks import read_plugin
from bidsreg.settings import Settings

LOGGER = logging.getLogger('bidsreg')

POLL_SECONDS = 0.5

KILLED = 'a process was killed, most often because memory ran out: give more memory, or run fewer at once (--mem)'


class PairsMultiProcPlugin(MultiProcPlugin):
    """Nipype's MultiProc, which does not wait for ever for a worker that died.

    The plain one hangs when the system kills a worker, and gives up when a crash file cannot be written.

    Attributes
    ----------
    failures
        Full names of the nodes that failed, in order, and in one line why.

    """

    def __init__(self, plugin_args=None):
        super().__init__(plugin_args=plugin_args)
        self.failures: dict[str, str] = {}

    def _get_result(self, taskid):
        future = self._task_obj[taskid]
        error = future.exception() if future.done() else None
        if isinstance(error, BrokenProcessPool):
            raise RuntimeError(KILLED) from error
        if error is not None:
            raise error
        return super()._get_result(taskid)

    def _async_callback(self, args):
        if not args.cancelled() and args.exception() is None:
            super()._async_callback(args)

    def _submit_job(self, node, updatehash=False):
        try:
            return super()._submit_job(node, updatehash)
        except BrokenProcessPool:  # a worker of the old pool died; its own tasks are told in _get_result
            self.__renew_pool()
            return super()._submit_job(node, updatehash)

    def __renew_pool(self):
        fresh = MultiProcPlugin(self.plugin_args)
        self.pool = fresh.pool

    def _report_crash(self, node, result=None):
        if result is not None and isinstance(result['traceback'], str):  # Nipype itself stumbles over a text
            result = {**result, 'traceback': result['traceback'].splitlines(keepends=True)}
        if result is not None:
            self.failures[node.fullname] = _cause(''.join(result['traceback']).splitlines())
        try:
            return super()._report_crash(node, result=result)
        except Exception as error:  # a full disk, say: losing the crash file must not end the run
            LOGGER.error('The crash file of %s could not be written: %s', node.fullname, error)
            return None

    def kill_workers(self) -> None:
        """End all workers at once and leave nothing to wait for."""
        for process in list((self.pool._processes or {}).values()):
            process.kill()
        self.pool.shutdown(wait=False, cancel_futures=True)


def configure(settings: Settings, crash_dir: Path) -> None:
    """Set Nipype up for one run."""
    config.update_config(
        {
            'execution': {
                'crashdump_dir': str(crash_dir),
                'crashfile_format': 'txt',
                'stop_on_first_crash': settings.stop_on_first_crash,
                'check_version': False,
                'create_report': False,
                'poll_sleep_duration': POLL_SECONDS,
                'remove_unnecessary_outputs': False,
                # By content: copying or touching a dataset changes times and paths, but not the result.
                'hash_method': 'content',
            },
            'monitoring': {'enabled': settings.resource_monitor, 'summary_append': True},
        }
    )
    config.resource_monitor = settings.resource_monitor


def plugin_arguments(settings: Settings, names: Mapping[str, str]) -> dict[str, Any]:
    """Return what MultiProc is told: how many processes, how much memory, and the pairs' names by node."""
    arguments: dict[str, Any] = {
        'n_procs': settings.nprocs,
        'raise_insufficient': False,
        # fork: workers start at once, and end with us (bidsreg.lifeline); torch and ITK never live in this process
        'mp_context': 'fork',
        'status_callback': functools.partial(_say_progress, dict(names)),
    }
    if settings.mem_gb is not None:
        arguments['memory_gb'] = settings.mem_gb
    if settings.device.startswith('cuda'):
        arguments['n_gpu_procs'] = 1  # all pairs would use the same card
    return arguments


@dataclass(frozen=True)
class GraphEnd:
    """How a graph ended: what Nipype raised, and the failed nodes with their causes, as far as the plugin tells."""

    error: Exception | None
    failures: Mapping[str, str] = field(default_factory=dict)

    def failure_of(self, node_name: str) -> tuple[str, str] | None:
        """Return the first failed node of a pair, and why it failed."""
        for node, cause in self.failures.items():
            if node_name in node.split('.'):
                return node.rpartition('.')[2], cause
        return None


def run_graph(workflow: Workflow, settings: Settings, names: Mapping[str, str], logs: Path) -> GraphEnd:
    """Run a graph to its end.

    Parameters
    ----------
    workflow, settings
        What to run and how.
    names
        Names of the pairs by the names of their nodes, to tell of progress.
    logs
        Where the resource monitor leaves what it saw.

    Raises
    ------
    KeyboardInterrupt
        When interrupted; the workers are ended first.

    """
    with _monitor(settings, logs):
        return _run_graph(workflow, settings, names)


def _run_graph(workflow: Workflow, settings: Settings, names: Mapping[str, str]) -> GraphEnd:
    name, arguments = read_plugin(settings.use_plugin)
    if name != 'MultiProc':
        return GraphEnd(_attempt(lambda: workflow.run(plugin=name, plugin_args=arguments)))
    lifeline.hold()
    gc.freeze()  # Nipype collects garbage at every poll: not in what was there before, which workers share
    plugin = PairsMultiProcPlugin({**plugin_arguments(settings, names), **arguments})
    try:
        return GraphEnd(_attempt(lambda: workflow.run(plugin=plugin)), plugin.failures)
    finally:
        plugin.kill_workers()
        gc.unfreeze()
        lifeline.release()


@contextlib.contextmanager
def _monitor(settings: Settings, logs: Path) -> Iterator[None]:
    """Catch the files that Nipype's resource monitor drops into the current folder, and leave one table.

    Nipype sums up only graphs without a failure (by step), and never removes its files; so every sample of every
    process goes to ``resource_monitor.tsv`` here.
    """
    if not settings.resource_monitor:
        yield
        return
    with tempfile.TemporaryDirectory(prefix='monitor-', dir=settings.work_dir) as folder, contextlib.chdir(folder):
        try:
            yield
        finally:
            _gather_samples(Path(folder), logs / 'resource_monitor.tsv')


def _gather_samples(folder: Path, goal: Path) -> None:
    samples = []
    for path in folder.glob('.proc-*'):
        process = path.name.split('_')[0].removeprefix('.proc-')
        lines = path.read_text(encoding='utf-8', errors='replace').splitlines()
        samples += [[*fields[:1], process, *fields[1:]] for line in lines if len(fields := line.split(',')) == 4]
    try:
        new = not goal.exists()
        with goal.open('a', encoding='utf-8') as stream:
            stream.writelines(['time\tprocess\tcpu_percent\trss_mb\tvms_mb\n'] if new else [])
            stream.writelines('\t'.join(sample) + '\n' for sample in sorted(samples))
    except OSError as error:
        LOGGER.warning('%s could not be written: %s', goal, error)


def _attempt(work: Callable[[], object]) -> Exception | None:
    try:
        work()
    except Exception as error:  # Nipype raises whatever a node raised; the crash files say which
        LOGGER.debug('Nipype ended with %s: %s', type(error).__name__, error)
        return error
    return None


def _say_progress(names: Mapping[str, str], node: Any, status: str) -> None:
    """Tell of every finished step in one line."""
    parts = node.fullname.split('.')
    place = next((n for n, part in enumerate(parts) if part in names), -1)
    pair = names[parts[place]] if place >= 0 else ''
    text = {'start': 'started', 'end': 'done', 'exception': 'FAILED'}.get(status, status)
    LOGGER.log(
        logging.DEBUG if status == 'start' else logging.INFO, '%s: %s %s', pair, '.'.join(parts[place + 1 :]), text
    )


def write_graph(workflow: Workflow, folder: Path) -> None:
    """Draw the graph into a folder: ``graph.dot``, and ``graph.svg`` where graphviz is installed."""
    goal = folder / 'graph.dot'
    try:
        workflow.write_graph(dotfilename=str(goal), graph2use='colored', format='svg', simple_form=True)
    except Exception as error:
        LOGGER.warning('The graph was not drawn (%s); %s is there for graphviz.', str(error).splitlines()[0], goal)


def read_crash(path: Path) -> tuple[str, str]:
    """Read a crash file of Nipype.

    Returns
    -------
    node, cause
        Full name of the node, and in one line what went wrong.

    """
    lines = path.read_text(encoding='utf-8', errors='replace').splitlines()
    node = next((line.removeprefix('Node: ') for line in lines if line.startswith('Node: ')), '')
    return node, _cause(lines)


def _cause(lines: list[str]) -> str:
    """Find the line that says most: what the program wrote last, or the message of the exception."""
    text = [line.strip() for line in lines if line.strip()]
    for marker in _AFTERTHOUGHTS:
        text = text[: text.index(marker)] if marker in text else text
    last = text[-1] if text else 'unknown'
    code = re.search(r'exited with code (-?\d+)', last)
    if code is None:
        return _message(last)
    if code[1] in ('-9', '137'):
        return KILLED
    starts = [n for n, line in enumerate(text) if line == 'Stderr:']
    said = text[starts[-1] + 1 : text.index('Traceback:', starts[-1])] if starts and 'Traceback:' in text else []
    return _message(said[-1]) if said else last


#: What Nipype may write below the traceback.
_AFTERTHOUGHTS = (
    'When creating this crashfile, the results file corresponding',
    'During the creation of this crashfile triggered by the above exception,',
)


def _message(line: str) -> str:
    """Drop the name of an error class that says nothing to a user."""
    return re.sub(r'^(?:[\w.]*\.)?(?:InputError|RuntimeError|NodeExecutionError): ', '', line)


def crashes(folder: Path, node_name: str) -> list[tuple[Path, str, str]]:
    """List the crash files of a pair in a folder: file, node and cause, the oldest first."""
    found = []
    for path in sorted(folder.glob('crash-*.txt'), key=os.path.getmtime):
        node, cause = read_crash(path)
        if node_name in node.split('.'):
            found.append((path, node.rpartition('.')[2], cause))
    return found


def any_crash(folders: Iterable[Path], node_name: str) -> tuple[Path, str, str] | None:
    """Return the first crash of a pair in the first folder that has one."""
    return next((items[0] for folder in folders if (items := crashes(folder, node_name))), None)
