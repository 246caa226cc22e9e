"""What there is to use here: CPUs, and memory of the machine or what a container or a batch system allows of it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

#: The part of the memory that may be used; the rest is for the system and for this process.
SHARE = 0.9
#: A limit of a control group from here on (bytes) means that there is none.
_NO_LIMIT = 1 << 60


def cpu_count() -> int:
    """Count the CPUs this process may use (not those of the whole machine)."""
    return len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1


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
        ``groups`` and ``root`` of :func:`group_limits`.

    """
    found = [Memory(limit / 1e9 * SHARE, 'its control group allows') for limit in group_limits(**places)]
    try:
        total = next(line for line in meminfo.read_text().splitlines() if line.startswith('MemTotal:'))
        found.append(Memory(int(total.split()[1]) * 1024 / 1e9 * SHARE, 'the machine has'))
    except (OSError, StopIteration):
        found.append(Memory(4.0, 'is assumed'))
    return min(found, key=lambda memory: memory.gb)


def group_limits(groups: Path = Path('/proc/self/cgroup'), root: Path = Path('/sys/fs/cgroup')) -> Iterator[int]:
    """Yield the limits (bytes) that the control groups of this process set, of either version and of all levels."""
    try:
        lines = [line.split(':', 2) for line in groups.read_text().splitlines()]
    except OSError:
        return
    for _, controllers, path in lines:
        if controllers not in ('', 'memory'):
            continue
        top, name = (root / 'memory', 'memory.limit_in_bytes') if controllers else (root, 'memory.max')
        inner = top / path.lstrip('/')  # in a container, that of the host: only the top is there then
        for folder in (inner, *inner.parents):
            if folder.is_relative_to(top):
                yield from _limit_in(folder / name)


def _limit_in(path: Path) -> Iterator[int]:
    try:
        limit = int(path.read_text())
    except (OSError, ValueError):  # "max"
        return
    if limit < _NO_LIMIT:
        yield limit
