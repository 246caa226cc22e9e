"""What is asked of the execution of a graph, whoever asks: the app and the benchmark alike."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from bidsreg.errors import InputError
from bidsreg.execution.devices import check_name
from bidsreg.execution.machine import cpu_count
from bidsreg.validation import check_positive, coerce_fields

#: A step gets no more threads than this unless told otherwise.
MOST_THREADS = 8
#: GB. Half of what Nipype plans for its least step; of less than 0.01 its scheduler gives out nothing, for ever.
LEAST_GB = 0.1


@dataclass(frozen=True, kw_only=True)
class ExecutionSettings:
    """With what, and how, a graph is run.

    The settings of the app and of the benchmark inherit from this class rather than hold one: so their TOML files and
    command lines stay flat, with one key and one option for each field, and whatever runs graphs takes either.

    Paths are made absolute, and every value is checked, when the object is made.

    Parameters
    ----------
    device
        ``auto``, ``cpu``, ``cuda`` or ``cuda:N``, for the steps that can use a GPU.
    work_dir
        Where intermediate files live.
    shared_work_dir
        Take a work folder that others may write to.
    nprocs, omp_nthreads, mem_gb
        CPUs at once, threads of one step (0: all CPUs, at most :data:`MOST_THREADS`), GB for everything that runs at
        once (``None``: what the machine has).
    use_plugin
        YAML file with a Nipype plugin.
    stop_on_first_crash
        Stop everything when one step fails.
    resource_monitor
        Record memory and CPU over time.
    verbose
        How often ``-v`` was given.

    Raises
    ------
    InputError
        If a value is not of its type or out of its range.
    """

    device: str = 'auto'
    work_dir: Path = field(default_factory=lambda: Path('work'))
    shared_work_dir: bool = False
    nprocs: int = field(default_factory=cpu_count)
    omp_nthreads: int = 0
    mem_gb: float | None = None
    use_plugin: Path | None = None
    stop_on_first_crash: bool = False
    resource_monitor: bool = False
    verbose: int = 0

    def __post_init__(self) -> None:
        coerce_fields(self)
        object.__setattr__(self, '_threads_given', self.omp_nthreads != 0)
        if self.omp_nthreads == 0:
            object.__setattr__(self, 'omp_nthreads', min(self.nprocs, MOST_THREADS))
        self._check_values()

    @property
    def threads_given(self) -> bool:
        """Whether `omp_nthreads` was asked for; otherwise a graph of many pairs may give fewer to a step."""
        return bool(vars(self)['_threads_given'])

    def _check_values(self) -> None:
        """Check ranges; a subclass checks its own fields, too."""
        check_name(self.device)
        check_positive(self, ('nprocs', 'omp_nthreads', 'mem_gb'))
        if self.mem_gb is not None and self.mem_gb < LEAST_GB:
            megabytes = f'{self.mem_gb * 1000:g}'
            raise InputError(
                f'--mem is {megabytes} MB, in which no step can run: a number without a unit is MB. Write for example '
                f'{megabytes}GB.'
            )
