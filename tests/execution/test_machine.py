"""How much memory may be used: the machine's, a container's, a job's."""

from __future__ import annotations

from bidsreg.execution.machine import SHARE, usable_memory


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
