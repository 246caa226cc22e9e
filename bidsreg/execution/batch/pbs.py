"""PBS: OpenPBS and PBS Pro; Torque with ``resources`` of its own in the plugin file."""

from __future__ import annotations

import getpass
import re
from collections.abc import Sequence

from bidsreg.execution.batch.base import CANCELLED_OR_KILLED, BatchPlugin
from bidsreg.execution.batch.jobs import Job, JobEnd
from bidsreg.execution.batch.programs import BatchSystemError, ask
from bidsreg.outcome import Cause


class PbsPlugin(BatchPlugin):
    """Send steps as jobs to PBS."""

    title = 'PBS'
    programs = ('qsub', 'qstat', 'qdel')
    time_option = '-l walltime'
    template = '#!/bin/bash\n#PBS -V\n#PBS -S /bin/bash'
    resources = '-l select=1:ncpus={cpus}:mem={mem_mb}mb'
    gpu_resources = resources + ':ngpus=1'
    longest_name = 15

    def command(self, job: Job, options: Sequence[str]) -> list[str]:
        """See :class:`BatchPlugin`."""
        return ['qsub', '-N', job.name, '-j', 'oe', '-o', str(job.log), *options, str(job.script)]

    def number_in(self, answer: str) -> str | None:
        """See :class:`BatchPlugin`; the server's name behind the number is left out."""
        found = re.match(r'\d+', answer.strip())
        return found[0] if found else None

    def queue(self) -> dict[str, tuple[str, str]]:
        """See :class:`BatchPlugin`; a job that is complete or finished may still be listed."""
        found = {}
        for line in ask(['qstat', '-u', getpass.getuser()]).splitlines():
            words = line.split()
            if len(words) >= 10 and words[0][0].isdigit() and words[-2] not in ('C', 'F', 'E'):
                found[words[0].partition('.')[0]] = (words[3], words[-2])
        return found

    def end_of(self, job: Job) -> JobEnd:
        """Ask for the job's history, where the server keeps it."""
        try:
            text = ask(['qstat', '-x', '-f', job.number])
        except BatchSystemError:
            return JobEnd()
        facts = dict(re.findall(r'^\s*([\w.]+) = (.*)$', text, re.MULTILINE))
        status, comment = facts.get('Exit_status', ''), facts.get('comment', '')
        if status == '-29' or 'walltime' in comment:
            return JobEnd('walltime', Cause.TIME_LIMIT)
        if status in ('271', '265', '-5', '-4'):  # 256 + signal, or deleted
            return JobEnd('killed', Cause.CANCELLED, CANCELLED_OR_KILLED)
        over = status in ('-26', '-27') or 'mem' in comment.split()
        return JobEnd(f'exit status {status}' if status else '', Cause.OUT_OF_MEMORY if over else None)

    def cancel(self, numbers: Sequence[str]) -> None:
        """See :class:`BatchPlugin`."""
        ask(['qdel', *numbers])
