"""How much memory and how many CPUs may be used: the machine's, a container's, a job's."""

from __future__ import annotations

import os

import pytest

from bidsreg.execution import machine
from bidsreg.execution.machine import SHARE, allowed_threads, cpu_count, usable_memory


def here(tmp_path, groups: str, limits: dict[str, str], total_kb: int = 16_000_000):
    """The memory that is found in pretended files of the kernel."""
    (tmp_path / 'meminfo').write_text(f'MemFree: 1 kB\nMemTotal:   {total_kb} kB\n')
    (tmp_path / 'groups').write_text(groups)
    for name, text in limits.items():
        path = tmp_path / 'sys' / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return usable_memory(tmp_path / 'meminfo', groups=tmp_path / 'groups', root=tmp_path / 'sys')


def test_the_machine(tmp_path):
    memory = here(tmp_path, '0::/\n', {'memory.max': 'max\n'})
    assert abs(memory.gb - SHARE * 16.384) < 1e-6
    assert memory.source == 'the machine has'


def test_a_job_in_the_second_version(tmp_path):
    """The limit of the job counts, though the step within it has none of its own."""
    limits = {'slurm/job_7/memory.max': '4000000000\n', 'slurm/job_7/step_0/memory.max': 'max', 'memory.max': 'max'}
    memory = here(tmp_path, '0::/slurm/job_7/step_0\n', limits)
    assert (memory.gb, memory.source) == (SHARE * 4, 'its control group allows')


def test_a_container_in_the_first_version(tmp_path):
    """The kernel names the host's group, which is not there in the container: its top is the container's."""
    groups = '5:cpu:/docker/ab\n4:memory:/docker/ab\n0::/docker/ab\n'
    memory = here(tmp_path, groups, {'memory/memory.limit_in_bytes': '2000000000', 'cpu/memory.max': '1'})
    assert memory.gb == SHARE * 2


def test_no_limit_in_the_first_version(tmp_path):
    memory = here(tmp_path, '4:memory:/\n', {'memory/memory.limit_in_bytes': '9223372036854771712'})
    assert memory.source == 'the machine has'


def test_where_there_is_no_such_thing(tmp_path):
    nothing = {name: tmp_path / name for name in ('groups', 'root')}
    assert usable_memory(tmp_path / 'meminfo', **nothing).gb == 4


@pytest.fixture
def cpus(tmp_path, monkeypatch):
    """The CPUs that are found with an affinity of eight, and in pretended files of the kernel."""
    monkeypatch.setattr(machine.os, 'sched_getaffinity', lambda pid: set(range(8)), raising=False)
    monkeypatch.delenv('OMP_NUM_THREADS', raising=False)

    def count(groups: str, limits: dict[str, str], of=cpu_count) -> int:
        (tmp_path / 'groups').write_text(groups)
        for name, text in limits.items():
            path = tmp_path / 'sys' / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return of(groups=tmp_path / 'groups', root=tmp_path / 'sys')

    return count


@pytest.mark.parametrize(
    ('text', 'expected'),
    [
        ('max 100000\n', 8),
        ('400000 100000\n', 4),
        ('150000 100000\n', 2),
        ('100000 100000\n', 1),
        ('5000 100000\n', 1),
        ('90000 30000\n', 3),
        ('6400000 100000\n', 8),
        ('', 8),
        ('100000\n', 8),
        ('nonsense 100000\n', 8),
    ],
)
def test_cpu_time_in_the_second_version(cpus, text, expected):
    """A part of a CPU counts whole; what is more than the affinity, or cannot be read, counts nothing."""
    assert cpus('0::/job\n', {'job/cpu.max': text}) == expected


def test_the_tightest_of_nested_groups_counts(cpus):
    limits = {'cpu.max': 'max 100000', 'slurm/cpu.max': '300000 100000', 'slurm/job/cpu.max': '500000 100000'}
    assert cpus('0::/slurm/job/step\n', limits) == 3
    assert cpus('0::/slurm/job/step\n', {'slurm/job/step/cpu.max': '200000 100000'}) == 2


def test_a_group_beside_ours_does_not_count(cpus):
    assert cpus('0::/mine\n', {'other/cpu.max': '100000 100000', 'mine/cpu.max': 'max 100000'}) == 8


@pytest.mark.parametrize(('quota', 'expected'), [('-1', 8), ('250000', 3), ('0', 8)])
def test_cpu_time_in_the_first_version(cpus, quota, expected):
    """In a container the kernel names the host's group: its top is the container's."""
    limits = {'cpu/cpu.cfs_quota_us': f'{quota}\n', 'cpu/cpu.cfs_period_us': '100000\n'}
    assert cpus('3:cpu,cpuacct:/docker/ab\n2:cpuset:/docker/ab\n', limits) == expected


def test_a_quota_without_its_period_counts_nothing(cpus):
    assert cpus('3:cpu:/\n', {'cpu/cpu.cfs_quota_us': '100000'}) == 8


def test_without_groups_or_affinity_the_cpus_of_the_machine_count(tmp_path, monkeypatch):
    nothing = {name: tmp_path / name for name in ('groups', 'root')}
    monkeypatch.delattr(machine.os, 'sched_getaffinity', raising=False)
    monkeypatch.setattr(machine.os, 'cpu_count', lambda: 5)
    assert cpu_count(**nothing) == 5


@pytest.mark.parametrize(
    ('asked', 'variable', 'expected'),
    [
        *((None, None, 4), (0, None, 4), (3, None, 3), (64, None, 4)),
        *((None, '2', 2), (None, '6,2', 4), (3, '1', 3), (None, 'many', 4), (None, '', 4)),
    ],
)
def test_threads_are_what_all_allow_together(cpus, monkeypatch, asked, variable, expected):
    """What is asked for wins over the environment, and neither gets more than there is."""
    if variable is not None:
        monkeypatch.setenv('OMP_NUM_THREADS', variable)
    found = cpus('0::/\n', {'cpu.max': '400000 100000'}, lambda **places: allowed_threads(asked, **places))
    assert found == expected


def test_the_processor_is_named_with_how_many_there_are():
    assert machine.processor().endswith(f', {os.cpu_count()} cores')
    assert not machine.processor().startswith(',')
