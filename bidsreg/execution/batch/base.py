"""Batch systems: every step is a job that asks for what the step declares, and whose end is said in one line.

Nipype's own plugins for them ask for nothing, break off the whole run when a job is refused or killed, and lose what
the batch system said about it. These keep Nipype's loop and replace what lies between it and the batch system.
"""

from __future__ import annotations

import logging
import math
import re
import shlex
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

from nipype.pipeline.plugins.base import SGELikeBatchManagerBase

from bidsreg.execution.batch.jobs import MEMORY_FACTOR, Job, JobEnd, Request, failed_result, read_record, read_text
from bidsreg.execution.batch.programs import TRIES, BatchSystemError, ask
from bidsreg.execution.crashes import NO_MEMORY, FailureRecorder, read_traceback
from bidsreg.outcome import Cause, Failure

LOGGER = logging.getLogger('bidsreg')

#: What a step whose job has a limit of memory says when it gets no more; a class may be part of another's message.
_NO_MEMORY = re.compile(f'MemoryError|{NO_MEMORY.pattern}')

#: Seconds between two looks at the queue, and until a job that left it without a result counts as lost (a shared file
#: system may show files late).
POLL_SECONDS, GRACE_SECONDS = 2.0, 60.0
#: A job that ran over its memory is sent once more with this many times as much.
MORE_MEMORY = 2

_AGAIN = 'the same command does it again'
#: What a person reads where the batch system does not tell the two apart.
CANCELLED_OR_KILLED = f'was cancelled or killed: {_AGAIN}'
#: What a person reads about the end of a job where the cause says it; see :attr:`BatchPlugin.time_option`.
END_WORDS: Mapping[Cause, str] = {
    Cause.CANCELLED: f'was cancelled: {_AGAIN}',
    Cause.MACHINE_LOST: f'was lost with its machine: {_AGAIN}',
    Cause.TIME_LIMIT: 'ran into its time limit: give more, {time_option} in {arguments_key} of the plugin file',
}


class BatchPlugin(FailureRecorder, SGELikeBatchManagerBase, ABC):
    """Nipype's loop over a batch system.

    A job that is refused, cancelled, killed or lost fails its own step, and the user reads why; all others go on. One
    that ran over its memory is sent once more with twice as much. Jobs that are still there when the run ends are
    cancelled, and those that a killed run left behind are cancelled before the next begins.

    Parameters
    ----------
    plugin_args
        Of the plugin file, beside Nipype's own (``template``, ``max_jobs`` and the arguments of the command,
        ``sbatch_args`` or ``qsub_args``, which win over ours): ``resources`` and ``gpu_resources`` replace
        :attr:`resources` and :attr:`gpu_resources`; ``memory_factor``, ``poll_seconds`` and ``grace_seconds`` the
        constants of this package.
    """

    #: Name of the batch system, and the programs it takes.
    title: ClassVar[str]
    programs: ClassVar[tuple[str, ...]]
    #: Key of the plugin file with the user's own arguments, and the one among these that sets the time.
    arguments_key: ClassVar[str] = 'qsub_args'
    time_option: ClassVar[str]
    #: First lines of every script.
    template: ClassVar[str] = '#!/bin/bash'
    #: How a job asks for what it needs, without and with a GPU; see :meth:`Request.fill`.
    resources: ClassVar[str]
    gpu_resources: ClassVar[str]
    longest_name: ClassVar[int] = 60

    def __init__(self, plugin_args: Mapping[str, Any] | None = None) -> None:
        given = dict(plugin_args or {})
        super().__init__(plugin_args=given, template=self.template)
        self._arguments = shlex.split(given.get(self.arguments_key) or '')
        self._asks = {
            False: given.get('resources', self.resources),
            True: given.get('gpu_resources', self.gpu_resources),
        }
        self._factor = float(given.get('memory_factor', MEMORY_FACTOR))
        self._poll = float(given.get('poll_seconds', POLL_SECONDS))
        self._grace = float(given.get('grace_seconds', GRACE_SECONDS))
        self._jobs: dict[int, Job] = {}
        self._last = 0
        self._queue: dict[str, tuple[str, str]] | None = {}
        self._queue_time = -math.inf
        self._stuck: set[str] = set()

    # ------------------------------------------------------------------------------- what the batch systems differ in
    @abstractmethod
    def command(self, job: Job, options: Sequence[str]) -> list[str]:
        """Return the command that submits a job with options of ours and of the user."""

    @abstractmethod
    def number_in(self, answer: str) -> str | None:
        """Find the number of a job in what the command answered; None where there is none."""

    @abstractmethod
    def queue(self) -> dict[str, tuple[str, str]]:
        """Return name and state of every job of the user that has not ended, by number.

        Raises
        ------
        BatchSystemError
            When it cannot be asked.
        """

    @abstractmethod
    def end_of(self, job: Job) -> JobEnd:
        """Ask how a job ended."""

    @abstractmethod
    def cancel(self, numbers: Sequence[str]) -> None:
        """Take jobs out of the queue.

        Raises
        ------
        BatchSystemError
            When that fails.
        """

    def stuck(self, state: str) -> bool:
        """Tell whether a job in this state may wait for ever."""
        return False

    # ----------------------------------------------------------------------------------------------- Nipype's loop
    def run(self, graph: Any, config: Any, updatehash: bool = False) -> None:
        """Run a graph to its end; see Nipype."""
        config['execution']['poll_sleep_duration'] = self._poll
        try:
            super().run(graph, config, updatehash=updatehash)
        finally:
            self.cancel_all()

    def _prerun_check(self, graph: Any) -> None:
        self._cancel_left_behind(graph)

    def _submit_batchtask(self, scriptfile: str, node: Any) -> int:
        pair = next((part for part in node.fullname.split('.') if part.startswith('pair_')), '').removeprefix('pair_')
        name = re.sub(r'[^\w.-]', '_', '.'.join(filter(None, ('bidsreg', pair, node.name))))
        job = Job(node, Request.of(node, self._factor), Path(scriptfile), name[: self.longest_name].rstrip('.'))
        job.remove_results()
        self._last += 1
        self._jobs[self._last] = job
        self._send(job)
        return self._last

    def _send(self, job: Job) -> None:
        options = job.request.fill(self._asks[job.request.gpu]) + self._arguments
        own = job.node.plugin_args or {}
        options += shlex.split(own.get(self.arguments_key, ''))
        try:
            answer = ask(self.command(job, options), TRIES)
            number = self.number_in(answer)
            if number is None:
                raise BatchSystemError(f'no job number in {answer.strip()!r}')
        except BatchSystemError as error:
            job.refused = f'{self.title} did not take the job ({" ".join(options)}): {error}'
            return
        job.number, job.submitted, job.gone = number, time.time(), None
        job.write_record()
        LOGGER.debug('%s job %s: %s', self.title, job.number, job.node.fullname)

    def _get_result(self, taskid: int) -> dict[str, Any] | None:
        job = self._jobs[taskid]
        if job.refused:
            return failed_result(Failure(Cause.REFUSED, job.refused))
        if self._is_alive(job):
            return None
        result = job.read_result()
        if result is not None and not result['traceback']:
            return result
        end = self.end_of(job)
        if result is not None and _NO_MEMORY.search(''.join(result['traceback'])):  # a limit that programs run into
            end = replace(end, cause=Cause.OUT_OF_MEMORY)
        over_memory = end.cause is Cause.OUT_OF_MEMORY
        if over_memory and self._send_with_more(job):
            return None
        if result is not None and not over_memory:
            return result
        job.gone = job.gone or time.time()
        if end.cause is None and time.time() - job.gone < self._grace:
            return None
        return failed_result(self._failure_of(job, end), *(result or {}).get('traceback', ()))

    def _send_with_more(self, job: Job) -> bool:
        """Send a job that ran over its memory once more; tell whether that was done."""
        if job.request.memory_mb > Request.of(job.node, self._factor).memory_mb:
            return False
        more = replace(job.request, memory_mb=job.request.memory_mb * MORE_MEMORY)
        LOGGER.warning(
            '%s: %s job %s ran over its %d MB of memory; once more with %d MB',
            job.name, self.title, job.number, job.request.memory_mb, more.memory_mb,
        )  # fmt: skip
        job.request = more
        job.remove_results()
        self._send(job)
        return True

    def _failure_of(self, job: Job, end: JobEnd) -> Failure:
        """Say what the end of a job means for its step."""
        which = f'{self.title} job {job.number}'
        if end.cause is None:
            said = read_traceback(read_text(job.log).splitlines())
            state = f' ({end.state})' if end.state else ''
            cause = Cause.INCOMPLETE if said.cause is Cause.FAILED else said.cause
            words = f': {said.message}' if job.last_line() else ''
            return Failure(cause, f'{which} ended{state} without a result{words}')
        if end.cause is Cause.OUT_OF_MEMORY:
            words = (
                f'ran over its {job.request.memory_mb} MB of memory: raise memory_factor in the plugin file, or use '
                '--working-resolution 1.5'
            )
        else:
            names = {'time_option': self.time_option, 'arguments_key': self.arguments_key}
            words = end.words or END_WORDS[end.cause].format(**names)
        return Failure(end.cause, f'{which} {words}')

    def _is_alive(self, job: Job) -> bool:
        """Look for a job in the queue; one that cannot be looked for lives."""
        if time.time() - self._queue_time > self._poll / 2:
            try:
                self._queue = self.queue()
            except BatchSystemError as error:
                LOGGER.warning('%s does not tell of its jobs (%s); waiting', self.title, error)
                self._queue = None
            self._queue_time = time.time()
        if self._queue is None or job.submitted > self._queue_time - self._poll / 2:
            return True
        if job.number not in self._queue:
            return False
        self._warn_of_stuck(job, self._queue[job.number][1])
        return True

    def _warn_of_stuck(self, job: Job, state: str) -> None:
        """Warn once of a job that may wait for ever."""
        if job.number in self._stuck or not self.stuck(state):
            return
        self._stuck.add(job.number)
        LOGGER.warning(
            '%s: %s job %s waits and may never start (%s); it asked for %d CPU(s) and %d MB%s. Cancel it, and the '
            'others go on', job.name, self.title, job.number, state, job.request.cpus, job.request.memory_mb,
            ' and a GPU' if job.request.gpu else '',
        )  # fmt: skip

    def _clear_task(self, taskid: int) -> None:
        self._jobs.pop(taskid).record.unlink(missing_ok=True)

    # ------------------------------------------------------------------------------------------------- cancelling
    def cancel_all(self) -> None:
        """Cancel what is still there."""
        numbers = [job.number for job in self._jobs.values() if job.number]
        if numbers:
            LOGGER.info('%d %s job(s) are cancelled', len(numbers), self.title)
            self._cancel_and_wait(set(numbers))
        for taskid in list(self._jobs):
            self._clear_task(taskid)

    def _cancel_left_behind(self, graph: Any) -> None:
        """Cancel jobs of these steps that a killed run left in the queue: two must not work in one folder."""
        ours = {node.fullname for node in graph.nodes()}
        folders = {Path(node.base_dir, node.fullname.split('.')[0], 'batch') for node in graph.nodes()}
        found = {path: read_record(path) for folder in folders for path in folder.glob('*.job')}
        found = {path: record for path, record in found.items() if record.get('node') in ours}
        if not found:
            return
        try:
            queue = self.queue()
        except BatchSystemError as error:
            raise RuntimeError(f'{self.title} does not tell of its jobs: {error}') from error
        mine = {r['number'] for r in found.values() if _is_named(queue.get(r['number'], ('', ''))[0], r['name'])}
        if mine:
            LOGGER.warning('%d %s job(s) of an earlier run are cancelled first', len(mine), self.title)
            self._cancel_and_wait(mine)
        for path in found:
            path.unlink(missing_ok=True)

    def _cancel_and_wait(self, numbers: set[str]) -> None:
        try:
            self.cancel(sorted(numbers))
            end = time.time() + self._grace
            while numbers & set(self.queue()) and time.time() < end:
                time.sleep(min(self._poll, 1.0))
        except BatchSystemError as error:
            LOGGER.warning('Jobs may still be there: %s', error)


def _is_named(listed: str, name: str) -> bool:
    """Tell whether a job in the queue may be the one of this name; PBS lists its first letters only."""
    return bool(listed) and name.startswith(listed.rstrip('*'))
