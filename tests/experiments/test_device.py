"""The solver on a device, beside itself on the CPU."""

from __future__ import annotations

import device
import numpy as np
import prepared
import pytest

from bidsreg.registration import Deformation, Grid


def deformation(shift: float) -> Deformation:
    grid = Grid((4, 5, 6), np.diag([2.0, 2.0, 2.0, 1.0]))
    field = np.zeros((*grid.shape, 3), np.float32)
    field[..., 1] = shift
    return Deformation(np.eye(4), field, -field, grid)


def test_fields_are_apart_by_the_distance_of_their_points():
    assert device.apart(deformation(1.5), deformation(-0.5)) == '2.000 (2.00)'


@pytest.fixture
def ready(datasets, tmp_path):
    """A pair that is made ready, without a correction of its bias fields."""
    pair, prepare = next(prepared.find_pairs(datasets / 'people', tmp_path, 'none'))
    prepared.make_ready(pair, prepare)
    return pair


def test_an_overlap_is_counted_where_there_are_labels(ready, tmp_path):
    found = Deformation.from_affine(np.eye(4), device.Image.load(ready.path('fixed')).grid)
    assert 0.3 < float(device.overlap(ready, found)) < 1
    without = prepared.PreparedPair('none', 'inter', tmp_path)
    assert device.overlap(without, found) == '-'


@pytest.mark.slow
def test_a_row_for_each_way_to_run_it(ready, capsys):
    words = ['--device', 'cpu', '--method', 'node-mind-fast-inter', '--threads', '1', '--repeats', '1']
    device.main([str(ready.folder), *words])
    lines = capsys.readouterr().out.splitlines()
    rows = [[cell.strip() for cell in line.strip('|').split('|')] for line in lines[2:6]]
    assert [cells[0] for cells in rows] == [
        'register, the first in a process',
        'register, again',
        'bidsreg-pair, cpu',
        'bidsreg-pair, cpu, 1 threads',
    ]
    assert all(float(cells[1].split()[0]) > 0 for cells in rows)
    assert rows[2][3] == rows[3][3] != '-'  # the same bits every time
    assert lines[-1].endswith('two runs on cpu 0.000 (0.00), cpu and cpu 0.000 (0.00).')
