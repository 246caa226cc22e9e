"""One job of a batch system: what it asks for, how it ended, and the files that it and Nipype leave."""

from __future__ import annotations

import json
import logging
import math
import os
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nipype.pipeline.engine.utils import load_resultfile

from bidsreg.outcome import Cause, Failure

LOGGER = logging.getLogger('bidsreg')

#: What a step declares is asked for times this: it is a model, and ``docs/clusters.md`` says how near it comes.
MEMORY_FACTOR = 1.3
#: No job gets less: Python and the libraries have to be loaded.
LEAST_MEMORY_MB = 400
#: Address space is asked for in excess of memory by this: libraries that are loaded take more of it than of memory.
ADDRESS_SPACE_MB = 1000


@dataclass(frozen=True)
class Request:
    """What a job asks for: CPUs, memory in MB (2**20 bytes), and whether a GPU."""

    cpus: int
    memory_mb: int
    gpu: bool = False

    @classmethod
    def of(cls, node: Any, factor: float = MEMORY_FACTOR) -> Request:
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
class JobEnd:
    """How a job ended, as far as the batch system knows.

    Parameters
    ----------
    state
        The batch system's own word for it; empty when it does not know.
    cause
        What the state means; None where it says nothing beyond that the job ended.
    words
        What a person reads, where the sentence for the cause would not be right.
    """

    state: str = ''
    cause: Cause | None = None
    words: str = ''


@dataclass
class Job:
    """One job: a step, what it asked for, and under which number the batch system has it."""

    node: Any
    request: Request
    script: Path
    name: str
    number: str = ''
    submitted: float = 0.0
    gone: float | None = None
    refused: str = ''

    @property
    def log(self) -> Path:
        """Return the file of its output."""
        return self.script.with_suffix('.out')

    @property
    def record(self) -> Path:
        """Return the file that says, as long as the job lives, that it does."""
        return self.script.with_suffix('.job')

    def write_record(self) -> None:
        """Note that the job lives, for a run that finds it after this one was killed."""
        self.record.write_text(json.dumps({'number': self.number, 'name': self.name, 'node': self.node.fullname}))

    def remove_results(self) -> None:
        """Remove results of an earlier job of the step, which must not be taken for those of this one."""
        for old in Path(self.node.output_dir()).glob('result_*.pklz'):
            old.unlink(missing_ok=True)

    def read_result(self) -> dict[str, Any] | None:
        """Read what the job left, as Nipype wants it: result and traceback; None when nothing can be read."""
        crash = self.script.with_name(self.script.stem.replace('batchscript_pyscript_', 'crashdump_') + '.pklz')
        files = [*Path(self.node.output_dir()).glob('result_*.pklz'), *([crash] if crash.exists() else [])]
        if not files:
            return None
        try:
            found = load_resultfile(files[0])
        except Exception as error:  # half of it: the job was killed, or the file system shows the rest later
            LOGGER.debug('%s cannot be read: %s', files[0], error)
            return None
        if not isinstance(found, dict):
            return {'result': found, 'traceback': None}
        os.replace(files[0], files[0].with_name('crashstore.pklz'))  # must not be taken for that of the next job
        return {key: found[key] for key in ('result', 'traceback', 'hostname')}

    def last_line(self) -> str:
        """Return the last line of its output that is not blank; empty where there is none."""
        lines = [line.strip() for line in read_text(self.log).splitlines() if line.strip()]
        return lines[-1] if lines else ''


def failed_result(failure: Failure, *before: str) -> dict[str, Any]:
    """Return what Nipype takes for the result of a step that failed, with the failure for whoever records it.

    Parameters
    ----------
    failure
        Why it failed; its message becomes the last line of the traceback.
    *before
        Lines of a traceback that come before it.
    """
    traceback = [*before, f'{failure.message}\n']
    return {'result': None, 'traceback': traceback, 'hostname': 'unknown', 'failure': failure}


def read_record(path: Path) -> dict[str, str]:
    """Read what :meth:`Job.write_record` wrote; empty where it cannot be read."""
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def read_text(path: Path) -> str:
    """Read a text file; empty where it cannot be read."""
    try:
        return path.read_text(errors='replace')
    except OSError:
        return ''
