"""The work of a run: graphs of some pairs each, and a second chance for what was lost with a killed process."""

from __future__ import annotations

import logging
import shutil
import sys
import tempfile
import typing
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from bidsreg.app.summary import OutcomeTable
from bidsreg.bids.names import Work
from bidsreg.bids.nifti import one_line
from bidsreg.bids.pairs import Pair
from bidsreg.bids.publish import is_complete
from bidsreg.execution.checks import is_full
from bidsreg.outcome import ENDED_WITH_THE_RUN, RETRIED, SENTENCES, Cause, Failure
from bidsreg.programs import PROGRAMS
from bidsreg.settings import Settings

if typing.TYPE_CHECKING:
    from nipype.pipeline import engine as pe

    from bidsreg.execution.local import GraphEnd

LOGGER = logging.getLogger('bidsreg')

#: Name of the graph, and so of its folder in the work folder.
WORKFLOW = 'bidsreg_wf'
#: The least number of pairs in a graph: Nipype's time to schedule grows with the square of its steps.
PAIRS_OF_A_GRAPH = 40
#: The same where another machine does the work, which may do many pairs at once.
PAIRS_OF_A_CLUSTER = 200


def graph_size(settings: Settings) -> int:
    """Return how many pairs make one graph: enough to keep all CPUs, or a cluster's queue, busy."""
    if settings.resource_monitor:  # Nipype's samples are those of one graph
        return sys.maxsize
    return PAIRS_OF_A_CLUSTER if settings.use_plugin else max(PAIRS_OF_A_GRAPH, 4 * settings.nprocs)


def sharing_threads(settings: Settings, work: Sequence[tuple[Path, Path]]) -> Settings:
    """Return the settings with the threads that a step gets beside so many others; other programs keep theirs.

    What those find may depend on their threads, and would then on how many pairs are left to do.

    Parameters
    ----------
    settings
        Those of the run.
    work
        The fixed and the moving image of each piece of work.
    """
    from bidsreg.workflows.resources import solver_gigabytes, threads_of_a_step, voxel_shape

    if settings.method in PROGRAMS:
        return settings
    needs = [solver_gigabytes(*map(voxel_shape, pair), settings.working_resolution) for pair in work]
    return replace(settings, omp_nthreads=threads_of_a_step(settings, needs))


@dataclass(frozen=True)
class RunStage:
    """One kind of work: pairs, or what comes after them.

    Attributes
    ----------
    workflow
        Name of its graph, and so of its folder in the work folder.
    build
        Takes some of the work and builds the graph.
    is_complete
        Tells whether a piece of work is done.
    keep_partial
        Keeps what a piece that failed has done for its report.
    """

    workflow: str
    build: Callable[[Sequence[typing.Any]], pe.Workflow]
    is_complete: Callable[[typing.Any], bool]
    keep_partial: Callable[[typing.Any], None] = lambda work: None


def stage_of_pairs(settings: Settings) -> RunStage:
    """Return the first stage of a run: pairs."""

    def build(pairs: Sequence[Pair]) -> pe.Workflow:
        from bidsreg.workflows.app import init_bidsreg_wf

        shared = sharing_threads(settings, [(pair.fixed, pair.moving) for pair in pairs])
        return init_bidsreg_wf(settings=shared, pairs=tuple(pairs), name=WORKFLOW)

    return RunStage(
        WORKFLOW, build, lambda pair: is_complete(pair, settings), lambda pair: _keep_partial(pair, settings)
    )


def compute(pairs: Sequence[Work], settings: Settings, outcomes: OutcomeTable, stage: RunStage | None = None) -> None:
    """Do the work of a stage, by default that of pairs, and note what becomes of each piece.

    What a killed process took with it gets a second chance, one piece at a time.
    """
    stage = stage_of_pairs(settings) if stage is None else stage
    if settings.clean_workdir:
        for pair in pairs:
            shutil.rmtree(settings.work_dir / stage.workflow / pair.node_name, ignore_errors=True)
    size = graph_size(settings)
    for start in range(0, len(pairs), size):
        some = pairs[start : start + size]
        _run_graph(some, settings, outcomes, stage)
        if settings.stop_on_first_crash and not all(outcomes.is_ok(pair) for pair in some):
            words = 'not begun, because another step crashed (--stop-on-first-crash)'
            for pair in pairs[start + size :]:
                outcomes.set_failure(pair, Failure(Cause.STOPPED, words, 'run'))
            return
    for pair in pairs:
        outcome = outcomes.of(pair)
        if outcome is not None and outcome.cause in RETRIED:
            LOGGER.warning('%s: once more, alone (%s)', pair.name, outcome.message)
            _run_graph([pair], settings, outcomes, stage)


def _run_graph(pairs: Sequence[Work], settings: Settings, outcomes: OutcomeTable, stage: RunStage) -> None:
    from bidsreg.execution.crashes import crashes
    from bidsreg.execution.local import configure, run_graph, write_graph

    logs = settings.log_dir
    configure(settings, logs)
    workflow = stage.build(pairs)
    workflow.base_dir = str(settings.work_dir)
    if settings.write_graph:
        write_graph(workflow, logs)
    old = {failure.crash_file for pair in pairs for failure in crashes(logs, pair.node_name)}
    end = run_graph(workflow, settings, {pair.node_name: pair.name for pair in pairs}, logs)
    _keep_resources(settings, stage)
    # where a step failed Nipype raises what that said; else nobody has told what ended the graph
    new = {
        pair.node_name: [failure for failure in crashes(logs, pair.node_name) if failure.crash_file not in old]
        for pair in pairs
    }
    told = bool(end.failures) or any(new.values())
    for pair in pairs:
        if stage.is_complete(pair):
            outcomes.set_status(pair, 'done')
            continue
        failure = end.failure_of(pair.node_name) or next(iter(new[pair.node_name]), None)
        if isinstance(end.error, KeyboardInterrupt) and (failure is None or failure.cause in ENDED_WITH_THE_RUN):
            continue  # what asked the run to end may have reached its steps first
        outcomes.set_failure(pair, _explain(failure or _unfinished(settings, end, told), settings))
        stage.keep_partial(pair)
    end.raise_interrupt()


def _explain(failure: Failure, settings: Settings) -> Failure:
    """Say which of the folders is full, where that may be why a step failed: not every program says so."""
    if failure.cause not in (Cause.NO_SPACE, Cause.FAILED, Cause.INCOMPLETE):
        return failure
    folders = {'output': settings.output_dir, 'work': settings.work_dir, 'temporary': Path(tempfile.gettempdir())}
    full = [f'the {name} folder {folder} is full' for name, folder in folders.items() if is_full(folder)]
    if not full:
        return failure
    return replace(failure, cause=Cause.NO_SPACE, detail=f'{"; ".join(full)} ({failure.message})')


def _unfinished(settings: Settings, end: GraphEnd, told: bool) -> Failure:
    """Return why a pair is not complete of which no step has failed; unless one `told`, with what ended the graph."""
    if end.error is None:
        return Failure(Cause.INCOMPLETE, step='run')
    cause = Cause.STOPPED if settings.stop_on_first_crash else Cause.BROKEN_OFF
    if cause is not Cause.BROKEN_OFF or told:
        return Failure(cause, step='run')
    words = f'{SENTENCES[cause]} ({type(end.error).__name__}: {one_line(end.error)})'
    return Failure(cause, words, step='run')


def _keep_partial(pair: Pair, settings: Settings) -> None:
    """Keep what a failed pair has done for its report; where that fails too, the report has less."""
    from bidsreg.app.partial import keep_partial

    try:
        keep_partial(pair, settings, settings.work_dir / WORKFLOW / pair.node_name)
    except Exception as error:
        LOGGER.warning('%s: not all that was done could be kept for the report: %s', pair.name, error)
        LOGGER.debug('The whole story:', exc_info=True)


def _keep_resources(settings: Settings, stage: RunStage) -> None:
    """Keep what the resource monitor saw of each step with the logs (Nipype writes it when no step failed)."""
    seen = settings.work_dir / stage.workflow / 'resource_monitor.json'
    if settings.resource_monitor and seen.is_file():
        shutil.copy(seen, settings.log_dir)
