"""GPUs: which are meant, and how pairs share them. The GPUs are pretended."""

from __future__ import annotations

import itertools
import time
from pathlib import Path

import pytest
from nipype.interfaces.base import CommandLine, CommandLineInputSpec, TraitedSpec, traits
from nipype.pipeline import engine as pe

from bidsreg.execution import devices
from bidsreg.execution import local as engine
from bidsreg.settings import Settings


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
        monkeypatch.setattr(engine, 'count_gpus', lambda: count)
        monkeypatch.delenv('CUDA_VISIBLE_DEVICES', raising=False)
        if visible is not None:
            monkeypatch.setenv('CUDA_VISIBLE_DEVICES', visible)

    return there_are


def run(tmp_path: Path, pairs: int, device: str = 'cuda', wanted: str = 'cuda') -> dict[str, list[tuple[float, float]]]:
    """Run some steps on GPUs; when each GPU was used."""
    settings = Settings(bids_dir=tmp_path, output_dir=tmp_path / 'out', device=wanted, nprocs=4)
    workflow = pe.Workflow('wf', base_dir=str(tmp_path / 'work'))
    nodes = [OnGpu(folder=str(tmp_path), device=device) for _ in range(pairs)]
    workflow.add_nodes([pe.Node(node, name=f'step{number}') for number, node in enumerate(nodes)])
    engine.configure(settings, tmp_path)
    end = engine.run_graph(workflow, settings, {}, tmp_path)
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


def test_auto_is_settled_before_work(gpus):
    gpus(0)
    assert [devices.resolve(device) for device in ('auto', 'cpu', 'cuda:1')] == ['cpu', 'cpu', 'cuda:1']
    gpus(2)
    assert devices.resolve('auto') == 'cuda'
    assert devices.visible_gpus() == ['0', '1']


def test_counting_takes_no_time_where_there_is_none(monkeypatch):
    monkeypatch.setattr(devices, 'SIGNS', ())
    monkeypatch.setattr(devices.shutil, 'which', lambda _: None)
    devices.count_gpus.cache_clear()
    begin = time.perf_counter()
    assert devices.count_gpus() == 0
    assert time.perf_counter() - begin < 0.1
    devices.count_gpus.cache_clear()
