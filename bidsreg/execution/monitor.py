"""What Nipype's resource monitor saw, in one table."""

from __future__ import annotations

import contextlib
import logging
import tempfile
from collections.abc import Iterator
from pathlib import Path

from bidsreg.execution.settings import ExecutionSettings

LOGGER = logging.getLogger('bidsreg')

#: Name of the table, in the folder of the run's logs.
TABLE = 'resource_monitor.tsv'
_HEADER = 'time\tprocess\tcpu_percent\trss_mb\tvms_mb\n'


@contextlib.contextmanager
def gather_samples(settings: ExecutionSettings, logs: Path) -> Iterator[None]:
    """Catch the files that Nipype's resource monitor drops into the current folder, and leave one table.

    Nipype sums up only graphs without a failure (by step), and never removes its files; so every sample of every
    process goes to :data:`TABLE` here.
    """
    if not settings.resource_monitor:
        yield
        return
    with tempfile.TemporaryDirectory(prefix='monitor-', dir=settings.work_dir) as folder, contextlib.chdir(folder):
        try:
            yield
        finally:
            _append_samples(Path(folder), logs / TABLE)


def _append_samples(folder: Path, goal: Path) -> None:
    samples = []
    for path in folder.glob('.proc-*'):
        process = path.name.split('_')[0].removeprefix('.proc-')
        lines = path.read_text(encoding='utf-8', errors='replace').splitlines()
        samples += [[*fields[:1], process, *fields[1:]] for line in lines if len(fields := line.split(',')) == 4]
    try:
        new = not goal.exists()
        with goal.open('a', encoding='utf-8') as stream:
            stream.writelines([_HEADER] if new else [])
            stream.writelines('\t'.join(sample) + '\n' for sample in sorted(samples))
    except OSError as error:
        LOGGER.warning('%s could not be written: %s', goal, error)
