"""Batch systems as plugins of Nipype: :class:`~bidsreg.execution.batch.base.BatchPlugin` and one small class for each.

One that is missing is added by a class that says how a job is submitted, looked for, asked about and cancelled, and
by a line in :data:`BATCH_PLUGINS`.
"""

from __future__ import annotations

import shutil

from bidsreg.execution.batch.base import BatchPlugin
from bidsreg.execution.batch.pbs import PbsPlugin
from bidsreg.execution.batch.sge import GridEnginePlugin
from bidsreg.execution.batch.slurm import SlurmPlugin

__all__ = ['BATCH_PLUGINS', 'BatchPlugin', 'GridEnginePlugin', 'PbsPlugin', 'SlurmPlugin', 'missing_programs']

#: Nipype's names of the batch systems that are done here.
BATCH_PLUGINS: dict[str, type[BatchPlugin]] = {'SLURM': SlurmPlugin, 'SGE': GridEnginePlugin, 'PBS': PbsPlugin}


def missing_programs(plugin: str) -> list[str]:
    """List the programs of a batch system that are not on the PATH; nothing for other plugins."""
    known = BATCH_PLUGINS.get(plugin)
    return [name for name in known.programs if shutil.which(name) is None] if known else []
