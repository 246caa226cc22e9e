"""Steps of a graph run one by one, each watched."""

from __future__ import annotations

import memory
import pytest
from nipype.interfaces.utility import Function, IdentityInterface
from nipype.pipeline import engine as pe

from tests import data


def hold(megabytes):
    """Take memory for a moment."""
    import time

    held = bytearray(megabytes * 1_000_000)
    time.sleep(0.3)
    return len(held)


def graph(folder, megabytes):
    workflow = pe.Workflow(name='wf', base_dir=str(folder))
    start = pe.Node(IdentityInterface(fields=['megabytes']), name='start')
    start.inputs.megabytes = megabytes
    step = pe.Node(Function(function=hold, output_names=['size']), name='step', mem_gb=0.5)
    workflow.connect(start, 'megabytes', step, 'megabytes')
    return workflow


def test_a_step_is_measured_in_a_process_of_its_own(tmp_path):
    here = bytearray(400_000_000)  # must not count
    workflow = graph(tmp_path, 200)
    workflow.run(plugin=(watched := memory.WatchedPlugin()))
    assert len(here) == 400_000_000
    [(name, (declared, observed))] = watched.seen.items()
    assert name.endswith('wf.step')
    assert declared == 0.5
    assert 0.2 < observed < 0.6


@pytest.mark.slow  # every step in a process of its own
def test_each_step_of_each_pair_is_measured(tmp_path, monkeypatch):
    """Pairs of a tiny dataset, in a graph whose pairs have one step."""
    raw = data.write_dataset(tmp_path / 'raw', {'01': {None: ['T1w', 'T2w']}, '02': {None: ['T1w', 'T2w']}})

    def one_step_each(settings, pairs=(), units=()):
        whole = pe.Workflow(name='ratios' if units else 'bidsreg_wf')
        for work in (*pairs, *units):
            step = pe.Node(Function(function=hold, output_names=['size']), name='step', mem_gb=0.5)
            step.inputs.megabytes = 100
            part = pe.Workflow(name=work.node_name)
            part.add_nodes([step])
            whole.add_nodes([part])
        return whole

    monkeypatch.setattr(memory, 'init_bidsreg_wf', one_step_each)
    monkeypatch.setattr(memory, 'init_ratios_wf', one_step_each)
    for options, expected in (([], ['step']), (['--ratio', 'calibrated'], ['step', 'of the ratio: step'])):
        folder = tmp_path / f'scratch{len(expected)}'
        folder.mkdir()
        found = memory.measure(raw, folder, ['--skip-bids-validation', '--device', 'cpu', *options])
        assert [name.partition(':')[0] for name in found] == ['sub-01', 'sub-02']
        for steps in found.values():
            assert list(steps) == expected
            for declared, observed in steps.values():
                assert declared == 0.5
                assert 0.1 < observed < 0.5


def test_a_step_that_fails_ends_the_measurement(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, 'run_watched', lambda *_, **__: (1, 0.0, 0))
    with pytest.raises(SystemExit, match='step failed'):
        graph(tmp_path, 1).run(plugin=memory.WatchedPlugin())


def test_rows_are_steps_and_columns_are_pairs():
    found = {'a: 1x1x1': {'n4': (0.5, 0.25), 'draw': (0.1, 0.1)}, 'b: 2x2x2': {'n4': (1.0, 0.8)}}
    lines = memory.report(found).splitlines()
    assert lines[:2] == ['A: a: 1x1x1', 'B: b: 2x2x2']
    assert '| step | A | B |' in lines
    assert '| n4 | 0.50 / 0.25 (2.00) | 1.00 / 0.80 (1.25) |' in lines
