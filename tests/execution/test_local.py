"""Nipype's engine on this machine: memory that is short, plugins, and how pairs share pretended GPUs."""

from __future__ import annotations

import itertools
import threading
from pathlib import Path

import pytest
from nipype.interfaces.base import CommandLine, CommandLineInputSpec, TraitedSpec, traits
from nipype.interfaces.utility import Merge
from nipype.pipeline import engine as pe

from bidsreg.execution import devices, local
from bidsreg.execution.settings import ExecutionSettings
from bidsreg.outcome import Cause, Failure


def test_too_little_memory_is_said_at_the_start(app, capsys):
    """The pretended step declares 0.25 GB; it runs nevertheless, alone."""
    assert app('--mem', '100MB') == 0
    said = capsys.readouterr().err
    assert 'memory 0.1 GB; device cpu (of auto)' in said
    assert said.index('these steps need more: work 0.2 GB') < said.index('work done')
    assert said.count('Memory is short') == 1
    assert app('--mem', '1GB', out=Path.cwd() / 'out2') == 0
    assert 'Memory is short' not in capsys.readouterr().err


def test_write_graph(app, tmp_path):
    assert app('--write-graph', '--participant-label', '01') == 0
    (graph,) = (tmp_path / 'out' / 'logs').glob('*/graph.dot')
    assert 'digraph' in graph.read_text()


def test_plugin_file(app, capsys, tmp_path):
    (tmp_path / 'p.yml').write_text('plugin: Linear\n')
    assert app('--use-plugin', tmp_path / 'p.yml', fake={'sub-02': 'raise'}) == 1
    assert 'failed: sub-02, step work: ValueError' in capsys.readouterr().out
    (tmp_path / 'p.yml').write_text('plugin: MultiProc\nplugin_args: {n_procs: 1, raise_insufficient: false}\n')
    assert app('--use-plugin', tmp_path / 'p.yml') == 0


class _In(CommandLineInputSpec):
    use_gpu = traits.Bool(True, usedefault=True)
    device = traits.Str('cuda', usedefault=True)
    folder = traits.Str(argstr='%s', mandatory=True)


class _Out(TraitedSpec):
    done = traits.Bool()


class OnGpu(CommandLine):
    """Leaves a file named by the GPU it sees, with the times of its begin and end."""

    _cmd = 'sh -c \'a=$(date +%s.%N); sleep 0.7; echo $a $(date +%s.%N) >> "$0/gpu-$CUDA_VISIBLE_DEVICES"\''
    input_spec, output_spec = _In, _Out

    def _list_outputs(self):
        return {'done': True}


@pytest.fixture
def gpus(monkeypatch):
    def there_are(count: int, visible: str | None = None) -> None:
        monkeypatch.setattr(devices, 'count_gpus', lambda: count)
        monkeypatch.delenv('CUDA_VISIBLE_DEVICES', raising=False)
        if visible is not None:
            monkeypatch.setenv('CUDA_VISIBLE_DEVICES', visible)

    return there_are


def run(tmp_path: Path, pairs: int, device: str = 'cuda', wanted: str = 'cuda') -> dict[str, list[tuple[float, float]]]:
    """Run some steps on GPUs; when each GPU was used."""
    settings = ExecutionSettings(work_dir=tmp_path / 'work', device=wanted, nprocs=4)
    workflow = pe.Workflow('wf', base_dir=str(tmp_path / 'work'))
    nodes = [OnGpu(folder=str(tmp_path), device=device) for _ in range(pairs)]
    workflow.add_nodes([pe.Node(node, name=f'step{number}') for number, node in enumerate(nodes)])
    local.configure(settings, tmp_path)
    end = local.run_graph(workflow, settings, {}, tmp_path)
    assert end.error is None
    times = {path.name: path.read_text().splitlines() for path in tmp_path.glob('gpu-*')}
    return {name: sorted(tuple(map(float, line.split())) for line in lines) for name, lines in times.items()}


def overlap(times: list[tuple[float, float]]) -> bool:
    return any(end > begin for (_, end), (begin, _) in itertools.pairwise(times))


@pytest.mark.parametrize(('visible', 'names'), [(None, {'gpu-0', 'gpu-1'}), ('3,GPU-ab', {'gpu-3', 'gpu-GPU-ab'})])
def test_pairs_share_the_gpus(gpus, tmp_path, visible, names):
    gpus(2, visible)
    times = run(tmp_path, 4)
    assert set(times) == names
    assert [len(each) for each in times.values()] == [2, 2]
    assert not any(overlap(each) for each in times.values())  # one at a time on a card
    assert overlap(sorted(itertools.chain(*times.values())))  # but both cards at once


def test_one_gpu_by_number_takes_all(gpus, tmp_path):
    gpus(2)
    times = run(tmp_path, 2, device='cuda:1', wanted='cuda:1')
    (only,) = times.values()  # what the step sees is left as it is: torch counts to 1
    assert len(only) == 2
    assert not overlap(only)


class _Breaks(CommandLine):
    _cmd = 'false'
    input_spec, output_spec = CommandLineInputSpec, TraitedSpec


@pytest.mark.parametrize('breaks', [False, True])
def test_the_end_of_a_step_ends_the_pause_so_that_the_next_begins_at_once(tmp_path, monkeypatch, breaks):
    """No pause lasts until it is over, although steps of this process and one that fails are among them."""
    monkeypatch.setattr(local, 'POLL_SECONDS', 60)
    ended = []

    class Recorded(threading.Event):
        def wait(self, timeout=None):
            ended.append(super().wait(timeout))
            return ended[-1]

    settings = ExecutionSettings(work_dir=tmp_path / 'work')
    workflow = pe.Workflow('wf', base_dir=str(tmp_path / 'work'))
    steps = [pe.Node(Merge(1), name=f'step{n}', run_without_submitting=n == 1) for n in range(3)]
    workflow.connect([(a, b, [('out', 'in1')]) for a, b in itertools.pairwise(steps)])
    if breaks:
        workflow.add_nodes([pe.Node(_Breaks(), name='broken')])
    local.configure(settings, tmp_path)
    plugin = local.PairsMultiProcPlugin({**local.plugin_arguments(settings), 'n_procs': 1})
    plugin._ended = Recorded()
    error = local._attempt(lambda: workflow.run(plugin=plugin))
    plugin.kill_workers()
    assert (error is not None) == breaks
    assert len(ended) >= 3
    assert all(ended)


def test_the_first_failure_of_a_pair():
    masking, solving = Failure(Cause.BAD_INPUT, 'no', 'n4'), Failure(Cause.FAILED, 'odd', 'register')
    failures = {'wf.pair_1.register': solving, 'wf.pair_10.masking.n4': masking, 'wf.pair_10.register': solving}
    end = local.GraphEnd(None, failures)
    assert end.failure_of('pair_10') == masking
    assert end.failure_of('pair_1') == solving
    assert end.failure_of('pair_2') is None


def procs(*steps: tuple[str, int, float, bool]) -> local.PairsMultiProcPlugin:
    """A plugin with steps: path in the graph, threads, memory (GB), and whether they run in this process."""
    plugin = object.__new__(local.PairsMultiProcPlugin)
    plugin.procs = []
    for path, threads, memory, here in steps:
        *parts, name = path.split('.')
        node = pe.Node(OnGpu(), name=name, n_procs=threads, mem_gb=memory, run_without_submitting=here)
        node._hierarchy = '.'.join(parts) or None
        plugin.procs.append(node)
    return plugin


def test_steps_of_this_process_go_first_and_the_others_keep_their_order():
    plugin = procs(*((f'step{number}', 1, 0.2, number in (2, 4)) for number in range(6)))
    assert plugin._sort_jobs([0, 1, 2, 4, 5]) == [2, 4, 0, 1, 5]


def test_pairs_have_their_turns_and_the_largest_steps_of_each_begin_first():
    plugin = procs(
        ('wf.b.quality.draw', 1, 0.3, False),
        ('wf.b.quality.measure', 1, 0.9, False),
        ('wf.a.register', 2, 2.0, False),
        ('wf.b.apply', 2, 0.5, False),
        ('wf.b.quality.figures', 1, 0.2, True),
    )
    assert plugin._sort_jobs([0, 1, 2, 3, 4]) == [4, 3, 1, 0, 2]
