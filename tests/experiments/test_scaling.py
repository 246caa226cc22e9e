"""How a registration grows: a row for each run, and a plot."""

from __future__ import annotations

import pytest
import scaling
from matplotlib.figure import Figure

RUNS = [
    scaling.MeasuredRun(method, size, round(2e6 / size**3), 0.5, 10.0 / size, 20.0 / size, 800.0 / size)
    for method in ('node-mind', 'node-mind-inter')
    for size in (3, 2, 1)
]


def test_a_row_has_a_cell_for_each_heading():
    assert RUNS[1].row() == '| node-mind | 2 | 0.25 | 0.50 | 5 | 10 | 400 |'


def test_each_method_is_a_line_in_both_plots(tmp_path, monkeypatch):
    drawn = []
    save = Figure.savefig
    monkeypatch.setattr(Figure, 'savefig', lambda self, *args, **more: drawn.append(self) or save(self, *args, **more))
    scaling.plot(RUNS, tmp_path / 'plot.png')
    left, right = drawn[0].axes
    assert [line.get_ydata().tolist() for line in left.lines] == [pytest.approx([20 / 3, 10, 20])] * 2
    assert [line.get_ydata().tolist() for line in right.lines] == [pytest.approx([800 / 3, 400, 800])] * 2
    assert left.get_xscale() == right.get_yscale() == 'log'


@pytest.mark.slow
def test_the_script_runs_for_real_on_a_coarse_head(tmp_path, capsys):
    plot = tmp_path / 'plot.png'
    words = ['5', '--method', 'node-mind-fast', '--threads', '1', '--plot', str(plot)]
    scaling.main(words)
    lines = capsys.readouterr().out.splitlines()
    rows = [line.strip('| ').split(' | ') for line in lines if line.startswith('| node')]
    assert [row[:2] for row in rows] == [['node-mind-fast', '5']]
    for _, _, voxels, error, seconds, cpu_seconds, megabytes in rows:
        assert 0 < float(voxels) < 0.1
        assert 0 < float(error) < 2
        assert float(seconds) > 0
        assert float(cpu_seconds) > 0
        assert 100 < float(megabytes) < 3000
    assert plot.read_bytes().startswith(b'\x89PNG')
