"""The script that measures how a registration grows, run for real on a coarse head."""

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / 'experiments/scaling.py'


@pytest.mark.slow
def test_a_row_and_a_plot(tmp_path):
    plot = tmp_path / 'plot.png'
    words = ['5', '--method', 'node-mind-fast', '--threads', '1', '--plot', str(plot)]
    done = subprocess.run([sys.executable, str(SCRIPT), *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    rows = [line.strip('| ').split(' | ') for line in done.stdout.splitlines() if line.startswith('| node')]
    assert [row[:2] for row in rows] == [['node-mind-fast', '5']]
    for _, _, voxels, error, seconds, cpu_seconds, megabytes in rows:
        assert 0 < float(voxels) < 0.1
        assert 0 < float(error) < 2
        assert float(seconds) > 0
        assert float(cpu_seconds) > 0
        assert 100 < float(megabytes) < 3000
    assert plot.read_bytes().startswith(b'\x89PNG')
