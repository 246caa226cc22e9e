"""Run a graph with Nipype, here or by a batch system or plugin: one broken pair never takes the others with it."""

from __future__ import annotations

import functools
import gc
import logging
import signal
import threading
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nipype import config
from nipype.pipeline.engine import Workflow
from nipype.pipeline.plugins.multiproc import MultiProcPlugin

from bidsreg.errors import ProcessKilledError
from bidsreg.execution import devices, lifeline
from bidsreg.execution.batch import BATCH_PLUGINS
from bidsreg.execution.cache import forget_damaged
from bidsreg.execution.crashes import FailureRecorder
from bidsreg.execution.hashing import remember_hashes
from bidsreg.execution.machine import allowed_threads, usable_memory
from bidsreg.execution.monitor import gather_samples
from bidsreg.execution.plugins import DEFAULT, read_plugin
from bidsreg.execution.settings import ExecutionSettings
from bidsreg.outcome import SENTENCES, Cause, Failure, describe_signal

LOGGER = logging.getLogger('bidsreg')

POLL_SECONDS = 0.5
"""How long nothing is looked at while no step ends: of a graph of 3000 steps a look takes 5 ms of a CPU."""


class PairsMultiProcPlugin(FailureRecorder, MultiProcPlugin):
    """Nipype's MultiProc, which does not wait for ever for a worker that died.

    The plain one hangs when the system kills a worker, and gives up when a crash file cannot be written. It counts the
    GPUs, but lets all steps use the first: here each step gets the one that has the fewest.
    """

    pool: Any

    def __init__(self, plugin_args: Mapping[str, Any] | None = None) -> None:
        super().__init__(plugin_args=plugin_args)
        self._gpus = dict.fromkeys(devices.visible_gpus() if self.n_gpu_procs else (), 0)
        self._gpu_of: dict[int, str] = {}
        self._workers: Mapping[int, Any] = self.pool._processes
        self._killed_by = 0
        self._ended = threading.Event()

    def run(self, graph: Any, config: Any, updatehash: bool = False) -> Any:
        """Run a graph; the pause between two looks is in `_send_procs_to_workers`, where the end of a step ends it."""
        execution = {**config['execution'], 'poll_sleep_duration': 0}
        return super().run(graph, {**config, 'execution': execution}, updatehash)

    def _send_procs_to_workers(self, updatehash: bool = False, graph: Any = None) -> None:
        super()._send_procs_to_workers(updatehash=updatehash, graph=graph)
        self._ended.wait(POLL_SECONDS)
        # steps that end from here on end the next pause
        self._ended.clear()

    def _task_finished_cb(self, jobid: int, cached: bool = False) -> None:
        """Look again at once: what waited for this step may begin."""
        super()._task_finished_cb(jobid, cached)
        self._ended.set()

    def _prerun_check(self, graph: Any) -> None:
        """Warn of steps that need more than there is: they run alone, and may be killed."""
        gc.freeze()  # the graph stays: Nipype's collections, one for every step, need not go through it
        needs: dict[str, float] = {}
        for node in graph.nodes():
            needs[node.name] = max(node.mem_gb, needs.get(node.name, 0))
        needs = {name: need for name, need in needs.items() if need > self.memory_gb}
        if needs:
            steps = ', '.join(
                f'{name} {need:.1f} GB' for name, need in sorted(needs.items(), key=lambda item: -item[1])
            )
            LOGGER.warning(
                'Memory is short: %.1f GB may be used, but these steps need more: %s. They will run alone and may be '
                'killed; more --mem helps, or a coarser --working-resolution for the step register',
                self.memory_gb,
                steps,
            )

    def _sort_jobs(self, jobids: Iterable[int], scheduler: str = 'tsort') -> list[int]:
        """Put steps in the order in which they begin: those of this process, which take no time, then pair by pair.

        Of a pair those with most threads and memory, which tend to take longest, go first: small ones fill what is
        left beside them, while they themselves would wait until the last small one has ended.
        """
        return sorted(jobids, key=self._turn)

    def _turn(self, job: int) -> tuple[bool, int, int, float]:
        step = self.procs[job]
        return not step.run_without_submitting, self._first_steps.get(_pair_of(step), job), -step.n_procs, -step.mem_gb

    @functools.cached_property
    def _first_steps(self) -> Mapping[str, int]:
        """The number of the first step of each pair, by which pairs have their turns."""
        first: dict[str, int] = {}
        for number, step in enumerate(self.procs):
            first.setdefault(_pair_of(step), number)
        return first

    def _get_result(self, taskid: int) -> Any:
        try:
            result = self._poll_result(taskid)
        except Exception:
            self._free_gpu(taskid)
            raise
        if result is not None:
            self._free_gpu(taskid)
        return result

    def _poll_result(self, taskid: int) -> Any:
        future = self._task_obj[taskid]
        error = future.exception() if future.done() else None
        if isinstance(error, BrokenProcessPool):
            raise ProcessKilledError(self._how_killed()) from error
        if error is not None:
            raise error
        return super()._get_result(taskid)

    def _how_killed(self) -> str:
        """Say by which signal a worker was killed."""
        number = self._killer() or self._killed_by
        return SENTENCES[Cause.KILLED] if number in (0, signal.SIGKILL) else f'a process {describe_signal(number)}'

    def _killer(self) -> int:
        """Return the signal that killed a worker, 0 where none did; the pool has then ended the others by SIGTERM."""
        for process in self._workers.values():
            if process.exitcode is None and self.pool._broken:
                process.join(timeout=1)  # it is dead, or about to be
        codes = {process.exitcode or 0 for process in self._workers.values()}
        return next((-code for code in codes if code < 0 and -code != signal.SIGTERM), 0)

    def _async_callback(self, args: Any) -> None:
        if not args.cancelled() and args.exception() is None:
            super()._async_callback(args)
        self._ended.set()

    def _submit_job(self, node: Any, updatehash: bool = False) -> int:
        gpu = self._choose_gpu(node)
        try:
            taskid: int = super()._submit_job(node, updatehash)
        except BrokenProcessPool:  # a worker of the old pool died; its own tasks fail in _get_result
            self._renew_pool()
            taskid = super()._submit_job(node, updatehash)
        if gpu is not None:
            self._gpu_of[taskid] = gpu
            self._gpus[gpu] += 1
        return taskid

    def _choose_gpu(self, node: Any) -> str | None:
        """Give a step that may use any GPU the one with the fewest; it sees no other."""
        if not self._gpus or not node.is_gpu_node() or node.inputs.device != 'cuda':
            return None
        gpu: str = min(self._gpus, key=self._gpus.__getitem__)
        node.inputs.environ = {**node.inputs.environ, 'CUDA_VISIBLE_DEVICES': gpu}
        return gpu

    def _free_gpu(self, taskid: int) -> None:
        gpu = self._gpu_of.pop(taskid, None)
        if gpu is not None:
            self._gpus[gpu] -= 1

    def _renew_pool(self) -> None:
        self._killed_by = self._killer()  # the steps that were lost with it are asked about later
        fresh = MultiProcPlugin(self.plugin_args)
        self.pool = fresh.pool
        self._workers = self.pool._processes

    def kill_workers(self) -> None:
        """End all workers at once and leave nothing to wait for."""
        for process in list((self.pool._processes or {}).values()):
            process.kill()
        self.pool.shutdown(wait=False, cancel_futures=True)


def _pair_of(step: Any) -> str:
    """Return the name of the workflow in the graph that a step belongs to, its own where it is in none."""
    parts: list[str] = step.fullname.split('.')
    return parts[min(1, len(parts) - 1)]


def configure(settings: ExecutionSettings, crash_dir: Path) -> None:
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
    remember_hashes()


def plugin_arguments(settings: ExecutionSettings) -> dict[str, Any]:
    """Return the arguments of MultiProc: how many processes, how much memory, how many GPUs."""
    arguments: dict[str, Any] = {
        'n_procs': allowed_threads(settings.nprocs),
        'raise_insufficient': False,
        # fork: workers start at once, and end with us (see lifeline); torch and ITK never live in this process
        'mp_context': 'fork',
        'memory_gb': settings.mem_gb or usable_memory().gb,
    }
    # one pair at a time on a card
    arguments['n_gpu_procs'] = 1 if ':' in settings.device else 0 if settings.device == 'cpu' else devices.count_gpus()
    return arguments


@dataclass(frozen=True)
class GraphEnd:
    """How a graph ended.

    Parameters
    ----------
    error
        What Nipype raised; a KeyboardInterrupt is for the caller to raise again, once it has noted what failed before.
    failures
        Why nodes failed, by their full names, as far as the plugin knows.
    """

    error: Exception | KeyboardInterrupt | None
    failures: Mapping[str, Failure] = field(default_factory=dict)

    def failure_of(self, node_name: str) -> Failure | None:
        """Return the first failure of a pair, by the name of its workflow."""
        return next((failure for node, failure in self.failures.items() if node_name in node.split('.')), None)

    def raise_interrupt(self) -> None:
        """Raise the interrupt that ended the graph, if one did."""
        if isinstance(self.error, KeyboardInterrupt):
            raise self.error


def run_graph(workflow: Workflow, settings: ExecutionSettings, names: Mapping[str, str], logs: Path) -> GraphEnd:
    """Run a graph to its end, or until it is interrupted; the workers are ended then.

    What earlier runs left of its steps and is damaged is done again.

    Parameters
    ----------
    workflow, settings
        What to run and how.
    names
        Names of the pairs by the names of their workflows, to log progress.
    logs
        Where the resource monitor leaves what it saw.

    """
    for node_name, pair_name in names.items():
        # other machines' work lies on a shared disk, which keeps what it has taken, and may be too much to read here
        forget_damaged(Path(workflow.base_dir, workflow.name, node_name), pair_name, settings.use_plugin is None)
    with gather_samples(settings, logs):
        return _run_graph(workflow, settings, names)


def _run_graph(workflow: Workflow, settings: ExecutionSettings, names: Mapping[str, str]) -> GraphEnd:
    name, arguments = read_plugin(settings.use_plugin)
    callback = {'status_callback': functools.partial(_log_progress, dict(names))}
    if name in BATCH_PLUGINS:
        batch = BATCH_PLUGINS[name]({**callback, **arguments})
        return GraphEnd(_attempt(lambda: workflow.run(plugin=batch)), batch.failures)
    if name != DEFAULT:
        return GraphEnd(_attempt(lambda: workflow.run(plugin=name, plugin_args={**callback, **arguments})))
    return _run_here(workflow, {**plugin_arguments(settings), **callback, **arguments})


def _run_here(workflow: Workflow, arguments: Mapping[str, Any]) -> GraphEnd:
    """Run a graph in processes of this machine, which end with this one."""
    lifeline.hold()
    gc.freeze()  # what was there before is shared with the workers: no collection may touch it
    plugin = PairsMultiProcPlugin(dict(arguments))
    try:
        return GraphEnd(_attempt(lambda: workflow.run(plugin=plugin)), plugin.failures)
    finally:
        plugin.kill_workers()
        gc.unfreeze()
        lifeline.release()


def _attempt(work: Callable[[], object]) -> Exception | KeyboardInterrupt | None:
    try:
        work()
    except KeyboardInterrupt as error:
        return error
    except Exception as error:  # Nipype raises whatever a node raised; the crash files say which
        LOGGER.debug('Nipype ended with %s: %s', type(error).__name__, error)
        return error
    return None


def _log_progress(names: Mapping[str, str], node: Any, status: str) -> None:
    """Log every finished step in one line."""
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
