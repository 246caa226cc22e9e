"""What there is to use here: CPUs, and memory of the machine or what a container or a batch system allows of it."""

from __future__ import annotations

import functools
import math
import os
import platform
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

#: The part of the memory that may be used; the rest is for the system and for this process.
SHARE = 0.9
#: A limit of a control group from here on (bytes) means that there is none.
_NO_LIMIT = 1 << 60


@dataclass(frozen=True)
class Memory:
    """Memory to use, GB (1000 MB), and where the number is from, in words."""

    gb: float
    source: str


def usable_memory(meminfo: Path = Path('/proc/meminfo'), **places: Path) -> Memory:
    """Return :data:`SHARE` of the memory of the machine, or of what the control group of this process may use.

    Parameters
    ----------
    meminfo
        The kernel's file about memory; where there is none, 4 GB are assumed.
    **places
        ``groups`` and ``root`` of :func:`group_folders`.

    """
    found = [Memory(limit / 1e9 * SHARE, 'its control group allows') for limit in group_limits(**places)]
    try:
        total = next(line for line in meminfo.read_text().splitlines() if line.startswith('MemTotal:'))
        found.append(Memory(int(total.split()[1]) * 1024 / 1e9 * SHARE, 'the machine has'))
    except (OSError, StopIteration):
        found.append(Memory(4.0, 'is assumed'))
    return min(found, key=lambda memory: memory.gb)


def cpu_count(**places: Path) -> int:
    """Count the CPUs this process may use: those of its affinity, or fewer where a control group allows less time.

    A part of a CPU counts as a whole one, since it would lie idle otherwise.

    Parameters
    ----------
    **places
        ``groups`` and ``root`` of :func:`group_folders`.

    """
    seen = len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1
    return min([seen, *(max(1, math.ceil(share)) for share in group_cpus(**places))])


def allowed_threads(asked: int | None = None, **places: Path) -> int:
    """Return how many threads to use: what was asked for, or else the user's ``OMP_NUM_THREADS``, of what there is.

    Parameters
    ----------
    asked
        The most to use; None or 0 where nothing was asked for.
    **places
        As for :func:`cpu_count`.

    """
    first = os.environ.get('OMP_NUM_THREADS', '').partition(',')[0].strip()
    most = asked or (int(first) if first.isdecimal() else 0)
    there = cpu_count(**places)
    return min(most, there) if most else there


def group_limits(**places: Path) -> Iterator[int]:
    """Yield the limits (bytes) that the control groups of this process set, of either version and of all levels."""
    for folder, second in group_folders('memory', **places):
        for (limit,) in _numbers(folder, ['memory.max' if second else 'memory.limit_in_bytes'], 1):
            if limit < _NO_LIMIT:
                yield limit


def group_cpus(**places: Path) -> Iterator[float]:
    """Yield how many CPUs' time the control groups of this process allow, of either version and of all levels."""
    for folder, second in group_folders('cpu', **places):
        names = ['cpu.max'] if second else ['cpu.cfs_quota_us', 'cpu.cfs_period_us']
        for quota, period in _numbers(folder, names, 2):
            # the first version says -1 where there is no limit
            if quota > 0 and period > 0:
                yield quota / period


def group_folders(
    controller: str, groups: Path = Path('/proc/self/cgroup'), root: Path = Path('/sys/fs/cgroup')
) -> Iterator[tuple[Path, bool]]:
    """Yield the folders of this process's control groups of all levels; True with those of the second version.

    Parameters
    ----------
    controller
        What the groups of the first version control: ``cpu`` or ``memory``.
    groups
        The kernel's file about the groups of this process; where there is none, there are no folders.
    root
        Where the groups are mounted.

    """
    try:
        lines = [line.split(':', 2) for line in groups.read_text().splitlines()]
    except OSError:
        return
    for _, controllers, path in lines:
        if controllers and controller not in controllers.split(','):
            continue
        # systems link the single name to the folder of several controllers
        top = root / controller if controllers else root
        inner = top / path.lstrip('/')  # in a container, that of the host: only the top is there then
        for folder in (inner, *inner.parents):
            if folder.is_relative_to(top):
                yield folder, not controllers


def _numbers(folder: Path, names: list[str], count: int) -> Iterator[list[int]]:
    """Yield the numbers in files of a folder, if there are so many; "max" is none."""
    try:
        numbers = [int(word) for name in names for word in (folder / name).read_text().split()]
    except (OSError, ValueError):
        return
    if len(numbers) == count:
        yield numbers


@functools.cache
def processor() -> str:
    """Return the model of the processor and how many of them the machine has, in words."""
    try:
        lines = Path('/proc/cpuinfo').read_text().splitlines()
    except OSError:
        lines = []
    models = [line.partition(':')[2].strip() for line in lines if line.startswith('model name')]
    return f'{models[0] if models else platform.processor() or platform.machine()}, {os.cpu_count()} cores'
