"""Sun Grid Engine and its descendants."""

from __future__ import annotations

import getpass
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping, Sequence

from bidsreg.execution.batch.base import CANCELLED_OR_KILLED, BatchPlugin
from bidsreg.execution.batch.jobs import Job, JobEnd
from bidsreg.execution.batch.programs import BatchSystemError, ask
from bidsreg.outcome import Cause


class GridEnginePlugin(BatchPlugin):
    """Send steps as jobs to Grid Engine."""

    title = 'Grid Engine'
    programs = ('qsub', 'qstat', 'qdel')
    time_option = '-l h_rt'
    template = '#!/bin/bash\n#$ -V\n#$ -S /bin/bash'
    resources = '-pe smp {cpus} -l h_vmem={vmem_mb_per_cpu}M'
    gpu_resources = resources + ' -l gpu=1'

    def command(self, job: Job, options: Sequence[str]) -> list[str]:
        """See :class:`BatchPlugin`."""
        # -w e: what no machine has is refused, and does not wait for ever
        ours = ['-terse', '-w', 'e', '-N', job.name, '-j', 'y', '-o', str(job.log)]
        return ['qsub', *ours, *options, str(job.script)]

    def number_in(self, answer: str) -> str | None:
        """See :class:`BatchPlugin`."""
        words = answer.split()
        return words[-1] if words and words[-1].isdigit() else None

    def queue(self) -> dict[str, tuple[str, str]]:
        """See :class:`BatchPlugin`."""
        answer = ask(['qstat', '-u', getpass.getuser(), '-xml'])
        try:
            jobs = ElementTree.fromstring(answer).iter('job_list')
        except ElementTree.ParseError as error:
            raise BatchSystemError(f'qstat -xml cannot be read: {error}') from error
        return {
            job.findtext('JB_job_number', ''): (job.findtext('JB_name', ''), job.findtext('state', '')) for job in jobs
        }

    def stuck(self, state: str) -> bool:
        """See :class:`BatchPlugin`."""
        return 'E' in state

    def end_of(self, job: Job) -> JobEnd:
        """Ask the accounting, which may come late."""
        try:
            facts = dict(re.findall(r'^(\w+) +(\S.*?) *$', ask(['qacct', '-j', job.number]), re.MULTILINE))
        except BatchSystemError:
            return JobEnd()
        failed, status = facts.get('failed', ''), facts.get('exit_status', '')
        if _used_all(facts, job):
            return JobEnd(f'exit status {status}', Cause.OUT_OF_MEMORY)
        if failed.startswith('37'):
            return JobEnd('limit', Cause.TIME_LIMIT)
        if failed.startswith('100') or status in ('137', '9'):
            return JobEnd('killed', Cause.CANCELLED, CANCELLED_OR_KILLED)
        return JobEnd(f'exit status {status}')

    def cancel(self, numbers: Sequence[str]) -> None:
        """See :class:`BatchPlugin`."""
        ask(['qdel', *numbers])


def _used_all(facts: Mapping[str, str], job: Job) -> bool:
    """Tell whether a job used about all of the memory it had."""
    found = re.match(r'([\d.]+)([KMGT]?)', facts.get('maxvmem', ''))
    if not found:
        return False
    used = float(found[1]) * {'': 2**-20, 'K': 2**-10, 'M': 1, 'G': 2**10, 'T': 2**20}[found[2]]
    return used > 0.95 * job.request.memory_mb
