"""Slurm."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from typing import ClassVar

from bidsreg.execution.batch.base import BatchPlugin
from bidsreg.execution.batch.jobs import Job, JobEnd, read_text
from bidsreg.execution.batch.programs import BatchSystemError, ask
from bidsreg.outcome import Cause


class SlurmPlugin(BatchPlugin):
    """Send steps as jobs to Slurm."""

    title = 'Slurm'
    programs = ('sbatch', 'squeue', 'scontrol', 'scancel')
    arguments_key = 'sbatch_args'
    time_option = '-t'
    resources = '--cpus-per-task={cpus} --mem={mem_mb}M'
    gpu_resources = resources + ' --gres=gpu:1'

    #: What a final state means.
    ENDS: ClassVar[Mapping[str, JobEnd]] = {
        end.state: end
        for end in (
            JobEnd('OUT_OF_MEMORY', Cause.OUT_OF_MEMORY),
            JobEnd('CANCELLED', Cause.CANCELLED),
            JobEnd('TIMEOUT', Cause.TIME_LIMIT),
            JobEnd('DEADLINE', Cause.TIME_LIMIT, 'was ended at its deadline'),
            JobEnd('NODE_FAIL', Cause.MACHINE_LOST),
            JobEnd('BOOT_FAIL', Cause.MACHINE_LOST),
            JobEnd('PREEMPTED', Cause.CANCELLED, 'had to make room for others: the same command does it again'),
        )
    }
    #: Reasons to wait that time alone need not end.
    STUCK = ('BadConstraints', 'PartitionConfig', 'PartitionNodeLimit', 'PartitionTimeLimit', 'JobHeldAdmin')
    #: What the log of a job says, where nobody else knows (any more).
    IN_LOG: ClassVar[Mapping[str, str]] = {
        'DUE TO TIME LIMIT': 'TIMEOUT',
        'DUE TO NODE FAILURE': 'NODE_FAIL',
        'DUE TO PREEMPTION': 'PREEMPTED',
        'oom-kill event': 'OUT_OF_MEMORY',
        'oom_kill event': 'OUT_OF_MEMORY',
        'exceeded memory limit': 'OUT_OF_MEMORY',
        'CANCELLED AT': 'CANCELLED',
    }

    def command(self, job: Job, options: Sequence[str]) -> list[str]:
        """See :class:`BatchPlugin`; of an option that is given twice, Slurm takes the last."""
        log = str(job.log).replace('%', '%%')
        return ['sbatch', '--parsable', f'--job-name={job.name}', '-o', log, *options, str(job.script)]

    def number_in(self, answer: str) -> str | None:
        """See :class:`BatchPlugin`."""
        found = re.search(r'^(\d+)(;|$)', answer, re.MULTILINE)
        return found[1] if found else None

    def queue(self) -> dict[str, tuple[str, str]]:
        """See :class:`BatchPlugin`."""
        lines = ask(['squeue', '-h', '-u', str(os.getuid()), '-o', '%A|%r|%j']).splitlines()
        fields = [line.split('|', 2) for line in lines if line.count('|') >= 2]
        return {number: (name, reason) for number, reason, name in fields}

    def stuck(self, state: str) -> bool:
        """See :class:`BatchPlugin`."""
        return state in self.STUCK

    def end_of(self, job: Job) -> JobEnd:
        """Ask the controller, then the accounting, then the log.

        Where Slurm itself ends jobs that take too much memory (OverMemoryKill), only the log says so.
        """
        state = self._state(job.number)
        if state in ('', 'FAILED', 'CANCELLED'):
            said = read_text(job.log)
            state = next((word for text, word in self.IN_LOG.items() if text in said), state)
        return self.ENDS.get(state, JobEnd(state))

    def _state(self, number: str) -> str:
        for command, pattern in (
            (['scontrol', '-o', 'show', 'job', number], r'\bJobState=(\w+)'),
            (['sacct', '-n', '-X', '-P', '-j', number, '-o', 'State'], r'^(\w+)'),
        ):
            try:
                found = re.search(pattern, ask(command))
            except BatchSystemError:
                continue
            if found:
                return found[1]
        return ''

    def cancel(self, numbers: Sequence[str]) -> None:
        """See :class:`BatchPlugin`."""
        ask(['scancel', '-Q', *numbers])
