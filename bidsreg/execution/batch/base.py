"""Batch systems: every step is a job that asks for what the step declares, and whose end is told in one line.

Nipype's own plugins for them ask for nothing, break off the whole run when a job is refused or killed, and lose what
the batch system said about it. These keep Nipype's loop and replace what lies between it and the batch system.
"""

from __future__ import annotations

import getpass
import json
import logging
import math
import os
import re
import shlex
import shutil
import subprocess
import time
import xml.etree.ElementTree as ElementTree
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

from nipype.pipeline.engine.utils import load_resultfile
from nipype.pipeline.plugins.base import SGELikeBatchManagerBase

from bidsreg.execution.crashes import CausesTold

LOGGER = logging.getLogger('bidsreg')

#: Seconds between two looks at the queue, and until a job that left it without a result counts as lost (a shared file
#: system may show files late).
POLL_SECONDS, GRACE_SECONDS = 2.0, 60.0
#: What is asked for in place of what a step declares: declared memory is right to a quarter.
MEMORY_FACTOR = 1.3
#: No job gets less: Python and the libraries have to be loaded.
LEAST_MEMORY_MB = 400
#: A job that ran over its memory is sent once more with this many times as much.
MORE_MEMORY = 2
#: Python, PyTorch and ITK take that much more address space than memory (measured after their imports: .2 to .6 GB).
ADDRESS_SPACE_MB = 1000

TRIES, RETRY_SECONDS = 3, 2.0


class Refused(Exception):
    """The batch system did not take a job, or could not be asked; the message is its own."""


@dataclass(frozen=True)
class Need:
    """What a job asks for: CPUs, memory in MB (2**20 bytes), and whether a GPU."""

    cpus: int
    memory_mb: int
    gpu: bool = False

    @classmethod
    def of(cls, node: Any, factor: float = MEMORY_FACTOR) -> Need:
        """Return what a node of Nipype declares, the memory times ``factor``."""
        memory = math.ceil(node.mem_gb * 1e9 / 2**20 * factor)
        return cls(max(1, int(node.n_procs)), max(LEAST_MEMORY_MB, memory), bool(node.is_gpu_node()))

    def fill(self, text: str) -> list[str]:
        """Return a text as words of a command line.

        In it ``{cpus}``, ``{mem_mb}``, ``{mem_mb_per_cpu}`` and ``{vmem_mb_per_cpu}``, of address space, are filled in.
        """
        values = {
            'mem_mb_per_cpu': math.ceil(self.memory_mb / self.cpus),
            'vmem_mb_per_cpu': math.ceil((self.memory_mb + ADDRESS_SPACE_MB) / self.cpus),
        }
        return shlex.split(text.format(cpus=self.cpus, mem_mb=self.memory_mb, **values))


@dataclass(frozen=True)
class End:
    """How a job ended, as the batch system tells: its word for it (empty when it does not know), and what it means."""

    state: str
    cause: str = ''
    over_memory: bool = False


@dataclass
class Job:
    """One job: a step, what it asked for, and under which number the batch system has it."""

    node: Any
    need: Need
    script: Path
    name: str
    number: str = ''
    submitted: float = 0.0
    gone: float | None = None
    refused: str = ''

    @property
    def log(self) -> Path:
        """Where its output goes."""
        return self.script.with_suffix('.out')

    @property
    def record(self) -> Path:
        """Says, as long as it lives, that it does."""
        return self.script.with_suffix('.job')


class BatchPlugin(CausesTold, SGELikeBatchManagerBase, ABC):
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
        constants of this module.

    """

    #: Name of the batch system, and the programs it takes.
    title: ClassVar[str]
    programs: ClassVar[tuple[str, ...]]
    #: Key of the plugin file with the user's own arguments.
    arguments_key: ClassVar[str] = 'qsub_args'
    #: First lines of every script.
    template: ClassVar[str] = '#!/bin/bash'
    #: How a job asks for what it needs, without and with a GPU; see :meth:`Need.fill`.
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
    def number_in(self, answer: str) -> str:
        """Find the number of a job in what the command answered; raises ``ValueError`` where there is none."""

    @abstractmethod
    def queue(self) -> dict[str, tuple[str, str]]:
        """Return name and state of every job of the user that has not ended, by number; raises :class:`Refused`."""

    @abstractmethod
    def end_of(self, job: Job) -> End:
        """Ask how a job ended."""

    @abstractmethod
    def cancel(self, numbers: Sequence[str]) -> None:
        """Take jobs out of the queue."""

    def stuck(self, state: str) -> bool:
        """Tell whether a job in this state may wait for ever."""
        return False

    # ----------------------------------------------------------------------------------------------- Nipype's loop
    def run(self, graph, config, updatehash=False):
        """Run a graph to its end; see Nipype."""
        config['execution']['poll_sleep_duration'] = self._poll
        try:
            super().run(graph, config, updatehash=updatehash)
        finally:
            self.cancel_all()

    def _prerun_check(self, graph):
        self._cancel_left_behind(graph)

    def _submit_batchtask(self, scriptfile, node):
        pair = next((part for part in node.fullname.split('.') if part.startswith('pair_')), '').removeprefix('pair_')
        name = re.sub(r'[^\w.-]', '_', '.'.join(filter(None, ('bidsreg', pair, node.name))))[
            : self.longest_name
        ].rstrip('.')
        job = Job(node, Need.of(node, self._factor), Path(scriptfile), name)
        for old in Path(node.output_dir()).glob('result_*.pklz'):
            old.unlink(missing_ok=True)  # of an earlier run: must not be taken for that of this job
        self._last += 1
        self._jobs[self._last] = job
        self._send(job)
        return self._last

    def _send(self, job: Job) -> None:
        options = job.need.fill(self._asks[job.need.gpu]) + self._arguments
        own = job.node.plugin_args or {}
        options += shlex.split(own.get(self.arguments_key, ''))
        try:
            answer = ask(self.command(job, options), TRIES)
            job.number = self.number_in(answer)
        except (Refused, ValueError) as error:
            job.refused = f'{self.title} did not take the job ({" ".join(options)}): {error}'
            return
        job.submitted, job.gone = time.time(), None
        job.record.write_text(json.dumps({'number': job.number, 'name': job.name, 'node': job.node.fullname}))
        LOGGER.debug('%s job %s: %s', self.title, job.number, job.node.fullname)

    def _get_result(self, taskid):
        job = self._jobs[taskid]
        if job.refused:
            return _failure(job.refused)
        if self._is_alive(job):
            return None
        result = _read_result(job)
        if result is not None and not result['traceback']:
            return result
        end = self.end_of(job)
        if result is not None and _NO_MEMORY.search(''.join(result['traceback'])):  # a limit that programs run into
            end = replace(end, over_memory=True)
        if end.over_memory and self._send_with_more(job):
            return None
        if result is not None and not end.over_memory:
            return result
        job.gone = job.gone or time.time()
        if not end.cause and not end.over_memory and time.time() - job.gone < self._grace:
            return None
        return _failure(self._explain(job, end), *(result or {}).get('traceback', ()))

    def _send_with_more(self, job: Job) -> bool:
        """Send a job that ran over its memory once more."""
        if job.need.memory_mb > Need.of(job.node, self._factor).memory_mb:
            return False
        more = replace(job.need, memory_mb=job.need.memory_mb * MORE_MEMORY)
        LOGGER.warning(
            '%s: %s job %s ran over its %d MB of memory; once more with %d MB',
            job.name, self.title, job.number, job.need.memory_mb, more.memory_mb,
        )  # fmt: skip
        job.need = more
        for old in Path(job.node.output_dir()).glob('result_*.pklz'):
            old.unlink(missing_ok=True)
        self._send(job)
        return True

    def _explain(self, job: Job, end: End) -> str:
        which = f'{self.title} job {job.number}'
        if end.over_memory:
            return (
                f'{which} ran over its {job.need.memory_mb} MB of memory: raise memory_factor in the plugin file, or '
                'use --working-resolution 1.5'
            )
        if end.cause:
            return f'{which} {end.cause}'
        said = _last_line(job.log)
        return f'{which} ended{f" ({end.state})" if end.state else ""} without a result' + (f': {said}' if said else '')

    def _is_alive(self, job: Job) -> bool:
        """Look for a job in the queue; one that cannot be looked for lives."""
        if time.time() - self._queue_time > self._poll / 2:
            try:
                self._queue = self.queue()
            except Refused as error:
                LOGGER.warning('%s does not tell of its jobs (%s); waiting', self.title, error)
                self._queue = None
            self._queue_time = time.time()
        if self._queue is None or job.submitted > self._queue_time - self._poll / 2:
            return True
        if job.number not in self._queue:
            return False
        state = self._queue[job.number][1]
        if self.stuck(state) and job.number not in self._stuck:
            self._stuck.add(job.number)
            LOGGER.warning(
                '%s: %s job %s waits and may never start (%s); it asked for %d CPU(s) and %d MB%s. Cancel it, and the '
                'others go on', job.name, self.title, job.number, state, job.need.cpus, job.need.memory_mb,
                ' and a GPU' if job.need.gpu else '',
            )  # fmt: skip
        return True

    def _clear_task(self, taskid):
        self._jobs.pop(taskid).record.unlink(missing_ok=True)

    def cancel_all(self) -> None:
        """Cancel what is still there."""
        numbers = [job.number for job in self._jobs.values() if job.number]
        if numbers:
            LOGGER.info('%d %s job(s) are cancelled', len(numbers), self.title)
            self._cancel_and_wait(set(numbers))
        for taskid in list(self._jobs):
            self._clear_task(taskid)

    def _cancel_left_behind(self, graph) -> None:
        """Cancel jobs of these steps that a killed run left in the queue: two must not work in one folder."""
        ours = {node.fullname for node in graph.nodes()}
        folders = {Path(node.base_dir, node.fullname.split('.')[0], 'batch') for node in graph.nodes()}
        found = {path: _read_record(path) for folder in folders for path in folder.glob('*.job')}
        found = {path: record for path, record in found.items() if record.get('node') in ours}
        if not found:
            return
        try:
            queue = self.queue()
        except Refused as error:
            raise RuntimeError(f'{self.title} does not tell of its jobs: {error}') from error
        mine = {r['number'] for r in found.values() if _same(queue.get(r['number'], ('',))[0], r['name'])}
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
        except Refused as error:
            LOGGER.warning('Jobs may still be there: %s', error)


class SlurmPlugin(BatchPlugin):
    """Slurm."""

    title = 'Slurm'
    programs = ('sbatch', 'squeue', 'scontrol', 'scancel')
    arguments_key = 'sbatch_args'
    resources = '--cpus-per-task={cpus} --mem={mem_mb}M'
    gpu_resources = resources + ' --gres=gpu:1'

    #: What a final state means.
    ENDS: ClassVar[dict[str, str]] = {
        'CANCELLED': 'was cancelled: the same command does it again',
        'TIMEOUT': 'ran into its time limit: give more, -t in sbatch_args of the plugin file',
        'DEADLINE': 'was ended at its deadline',
        'NODE_FAIL': 'was lost with its machine: the same command does it again',
        'BOOT_FAIL': 'was lost with its machine: the same command does it again',
        'PREEMPTED': 'had to make room for others: the same command does it again',
    }
    #: Reasons to wait that time alone need not end.
    STUCK = ('BadConstraints', 'PartitionConfig', 'PartitionNodeLimit', 'PartitionTimeLimit', 'JobHeldAdmin')
    #: What the log of a job says, where nobody else knows (any more).
    IN_LOG: ClassVar[dict[str, str]] = {
        'DUE TO TIME LIMIT': 'TIMEOUT',
        'DUE TO NODE FAILURE': 'NODE_FAIL',
        'DUE TO PREEMPTION': 'PREEMPTED',
        'oom-kill event': 'OUT_OF_MEMORY',
        'oom_kill event': 'OUT_OF_MEMORY',
        'exceeded memory limit': 'OUT_OF_MEMORY',
        'CANCELLED AT': 'CANCELLED',
    }

    def command(self, job, options):
        """See :class:`BatchPlugin`; of an option that is given twice, Slurm takes the last."""
        log = str(job.log).replace('%', '%%')
        return ['sbatch', '--parsable', f'--job-name={job.name}', '-o', log, *options, str(job.script)]

    def number_in(self, answer):
        """See :class:`BatchPlugin`."""
        return re.search(r'^(\d+)(;|$)', answer, re.MULTILINE)[1] if re.search(r'^\d', answer, re.M) else _no(answer)

    def queue(self):
        """See :class:`BatchPlugin`."""
        lines = ask(['squeue', '-h', '-u', str(os.getuid()), '-o', '%A|%r|%j']).splitlines()
        fields = [line.split('|', 2) for line in lines if line.count('|') >= 2]
        return {number: (name, reason) for number, reason, name in fields}

    def stuck(self, state):
        """See :class:`BatchPlugin`."""
        return state in self.STUCK

    def end_of(self, job):
        """Ask the controller, then the accounting, then the log.

        Where Slurm itself ends jobs that take too much memory (OverMemoryKill), only the log says so.
        """
        state = self._state(job.number)
        if state in ('', 'FAILED', 'CANCELLED'):
            said = _text(job.log)
            state = next((word for text, word in self.IN_LOG.items() if text in said), state)
        return End(state, self.ENDS.get(state, ''), over_memory=state == 'OUT_OF_MEMORY')

    def _state(self, number: str) -> str:
        for command, pattern in (
            (['scontrol', '-o', 'show', 'job', number], r'\bJobState=(\w+)'),
            (['sacct', '-n', '-X', '-P', '-j', number, '-o', 'State'], r'^(\w+)'),
        ):
            try:
                found = re.search(pattern, ask(command))
            except Refused:
                continue
            if found:
                return found[1]
        return ''

    def cancel(self, numbers):
        """See :class:`BatchPlugin`."""
        ask(['scancel', '-Q', *numbers])


class GridEnginePlugin(BatchPlugin):
    """Sun Grid Engine and its descendants."""

    title = 'Grid Engine'
    programs = ('qsub', 'qstat', 'qdel')
    template = '#!/bin/bash\n#$ -V\n#$ -S /bin/bash'
    resources = '-pe smp {cpus} -l h_vmem={vmem_mb_per_cpu}M'
    gpu_resources = resources + ' -l gpu=1'

    def command(self, job, options):
        """See :class:`BatchPlugin`."""
        # -w e: what no machine has is refused, and does not wait for ever
        ours = ['-terse', '-w', 'e', '-N', job.name, '-j', 'y', '-o', str(job.log)]
        return ['qsub', *ours, *options, str(job.script)]

    def number_in(self, answer):
        """See :class:`BatchPlugin`."""
        lines = answer.split()
        return lines[-1] if lines and lines[-1].isdigit() else _no(answer)

    def queue(self):
        """See :class:`BatchPlugin`."""
        answer = ask(['qstat', '-u', getpass.getuser(), '-xml'])
        try:
            jobs = ElementTree.fromstring(answer).iter('job_list')
        except ElementTree.ParseError as error:
            raise Refused(f'qstat -xml cannot be read: {error}') from error
        return {
            job.findtext('JB_job_number', ''): (job.findtext('JB_name', ''), job.findtext('state', '')) for job in jobs
        }

    def stuck(self, state):
        """See :class:`BatchPlugin`."""
        return 'E' in state

    def end_of(self, job):
        """Ask the accounting, which may come late."""
        try:
            facts = dict(re.findall(r'^(\w+) +(\S.*?) *$', ask(['qacct', '-j', job.number]), re.MULTILINE))
        except Refused:
            return End('')
        failed, status = facts.get('failed', ''), facts.get('exit_status', '')
        if self._over(facts, job):
            return End(f'exit status {status}', over_memory=True)
        if failed.startswith('37'):
            return End('limit', 'ran into its time limit: give more, -l h_rt in qsub_args of the plugin file')
        if failed.startswith('100') or status in ('137', '9'):
            return End('killed', 'was cancelled or killed: the same command does it again')
        return End(f'exit status {status}')

    def _over(self, facts: Mapping[str, str], job: Job) -> bool:
        """Tell whether a job used about all of the memory it had."""
        found = re.match(r'([\d.]+)([KMGT]?)', facts.get('maxvmem', ''))
        if not found:
            return False
        used = float(found[1]) * {'': 2**-20, 'K': 2**-10, 'M': 1, 'G': 2**10, 'T': 2**20}[found[2]]
        return used > 0.95 * job.need.memory_mb

    def cancel(self, numbers):
        """See :class:`BatchPlugin`."""
        ask(['qdel', *numbers])


class PbsPlugin(BatchPlugin):
    """PBS: OpenPBS and PBS Pro; Torque with ``resources`` of its own."""

    title = 'PBS'
    programs = ('qsub', 'qstat', 'qdel')
    template = '#!/bin/bash\n#PBS -V\n#PBS -S /bin/bash'
    resources = '-l select=1:ncpus={cpus}:mem={mem_mb}mb'
    gpu_resources = resources + ':ngpus=1'
    longest_name = 15

    def command(self, job, options):
        """See :class:`BatchPlugin`."""
        return ['qsub', '-N', job.name, '-j', 'oe', '-o', str(job.log), *options, str(job.script)]

    def number_in(self, answer):
        """See :class:`BatchPlugin`; without the server's name."""
        found = re.match(r'\d+', answer.strip())
        return found[0] if found else _no(answer)

    def queue(self):
        """See :class:`BatchPlugin`; a job that is complete or finished may still be listed."""
        found = {}
        for line in ask(['qstat', '-u', getpass.getuser()]).splitlines():
            words = line.split()
            if len(words) >= 10 and words[0][0].isdigit() and words[-2] not in ('C', 'F', 'E'):
                found[words[0].partition('.')[0]] = (words[3], words[-2])
        return found

    def end_of(self, job):
        """Ask for the job's history, where the server keeps it."""
        try:
            text = ask(['qstat', '-x', '-f', job.number])
        except Refused:
            return End('')
        facts = dict(re.findall(r'^\s*([\w.]+) = (.*)$', text, re.MULTILINE))
        status, comment = facts.get('Exit_status', ''), facts.get('comment', '')
        if status == '-29' or 'walltime' in comment:
            return End('walltime', 'ran into its time limit: give more, -l walltime in qsub_args of the plugin file')
        if status in ('271', '265', '-5', '-4'):  # 256 + signal, or deleted
            return End('killed', 'was cancelled or killed: the same command does it again')
        return End(
            f'exit status {status}' if status else '', over_memory=status in ('-26', '-27') or 'mem' in comment.split()
        )

    def cancel(self, numbers):
        """See :class:`BatchPlugin`."""
        ask(['qdel', *numbers])


#: Nipype's names of the batch systems that are done here.
BATCH_PLUGINS: dict[str, type[BatchPlugin]] = {'SLURM': SlurmPlugin, 'SGE': GridEnginePlugin, 'PBS': PbsPlugin}


def missing_programs(plugin: str) -> list[str]:
    """List the programs of a batch system that are not on the PATH; nothing for other plugins."""
    known = BATCH_PLUGINS.get(plugin)
    return [name for name in known.programs if shutil.which(name) is None] if known else []


def ask(command: Sequence[str], tries: int = 1) -> str:
    """Run a program of the batch system.

    Returns
    -------
    str
        What it wrote to the standard output.

    Raises
    ------
    Refused
        With its own last words, when it failed ``tries`` times; only what may be better a moment later is tried again.

    """
    for left in range(tries - 1, -1, -1):
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False, errors='replace', timeout=120)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise Refused(f'{command[0]}: {error}') from error
        if done.returncode == 0:
            return done.stdout
        lines = (done.stderr.strip() or done.stdout.strip()).removesuffix('Exiting.').split('\n')  # so ends Grid Engine
        said = next((line for line in reversed(lines) if line.strip()), f'exit code {done.returncode}')
        if not left or not _PASSING.search(said):
            raise Refused(said)
        time.sleep(RETRY_SECONDS)
    raise AssertionError('tries must be above 0')


#: What programs say when they get no more memory of this machine.
_NO_MEMORY = re.compile(r'MemoryError|not enough memory|[Cc]annot allocate memory|bad_alloc|bad allocation')

#: Troubles that pass.
_PASSING = re.compile(
    r'timed? ?out|unable to contact|temporarily|not responding|connection refused|cannot connect', re.I
)


def _no(answer: str) -> str:
    raise ValueError(f'no job number in {answer.strip()!r}')


def _same(listed: str, name: str) -> bool:
    """Tell whether a job in the queue may be the one of this name; PBS lists its first letters only."""
    return bool(listed) and name.startswith(listed.rstrip('*'))


def _failure(cause: str, *before: str) -> dict[str, Any]:
    """What Nipype takes for the result of a step that failed."""
    return {'result': None, 'traceback': [*before, f'{cause}\n'], 'hostname': 'unknown'}


def _read_result(job: Job) -> dict[str, Any] | None:
    """Read what a job left, as Nipype wants it: result and traceback; None when there is nothing."""
    crash = job.script.with_name(job.script.stem.replace('batchscript_pyscript_', 'crashdump_') + '.pklz')
    files = [*Path(job.node.output_dir()).glob('result_*.pklz'), *([crash] if crash.exists() else [])]
    if not files:
        return None
    try:
        found = load_resultfile(files[0])
    except Exception as error:  # a killed job may have left half of it
        return _failure(f'its result cannot be read: {error}')
    if not isinstance(found, dict):
        return {'result': found, 'traceback': None}
    os.replace(files[0], files[0].with_name('crashstore.pklz'))  # must not be taken for that of the next job
    return {key: found[key] for key in ('result', 'traceback', 'hostname')}


def _read_record(path: Path) -> dict[str, str]:
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _text(path: Path) -> str:
    try:
        return path.read_text(errors='replace')
    except OSError:
        return ''


def _last_line(path: Path) -> str:
    lines = [line.strip() for line in _text(path).splitlines() if line.strip()]
    return lines[-1] if lines else ''
