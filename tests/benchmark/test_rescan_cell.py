"""Scan-rescan consistency: maps through four scans are compared in one world."""

from __future__ import annotations

import json

import numpy as np
import pytest

from bidsreg.benchmark.judge import consistency, field_measures
from bidsreg.benchmark.measures import FOLDS, MAPS, RESCAN, RESCAN_PARTS
from bidsreg.benchmark.rescan_cell import brain_points, find_ends, judge_rescan
from bidsreg.preparation.affine import rigid_matrix
from bidsreg.registration import Deformation, Grid, Image
from bidsreg.registration.grid import apply_affine
from bidsreg.registration.itk import write_affine

GRID = Grid((20, 20, 20), np.diag([4.0, 4, 4, 1]))
BETWEEN = rigid_matrix((1, 2, 3), (4, 5, 6))
TO_T2W = (rigid_matrix((5, -3, 2), (3, 1, 2)), rigid_matrix((-4, 2, 6), (1, 5, -2)))
#: The affine of each map, by hand.
STARTS = {
    'T1w-T1w': BETWEEN,
    'T2w-T2w': TO_T2W[1] @ BETWEEN @ np.linalg.inv(TO_T2W[0]),
    'T1w-T2w': TO_T2W[1] @ BETWEEN,
}
MASK = Image(np.ones(GRID.shape, np.float32), GRID)


def test_affines_of_one_chain_agree():
    points = brain_points(MASK, 50)
    assert points.shape == (50, 3)
    ends = find_ends([Deformation.from_affine(STARTS[name], GRID) for name in MAPS], TO_T2W, points)
    for end in ends.values():
        np.testing.assert_allclose(end, apply_affine(BETWEEN, points), atol=1e-9)
    assert consistency(ends)['mean'] < 1e-9


def shifted(mm):
    matrix = np.eye(4)
    matrix[0, 3] = mm
    return matrix


def test_a_method_that_is_off_in_one_contrast_is_off_by_that_in_millimetres():
    """From T2w to T2w it goes 3 mm astray along its own axis: two of the three twos are 3 mm apart."""
    found = [Deformation.from_affine(shifted(3.0 * (name == 'T2w-T2w')) @ STARTS[name], GRID) for name in MAPS]
    apart = consistency(find_ends(found, TO_T2W, brain_points(MASK, 50)))
    assert apart['T1w-T1w | T2w-T2w'] == pytest.approx(3)
    assert apart['T2w-T2w | T1w-T2w'] == pytest.approx(3)
    assert apart['T1w-T1w | T1w-T2w'] < 1e-9
    assert apart['mean'] == pytest.approx(2)


@pytest.fixture
def files(tmp_path):
    """Images, masks and affines of three maps, and the matrices to both T2w."""
    MASK.save(tmp_path / 'image.nii.gz')
    for name, matrix in {**STARTS, 'first': TO_T2W[0], 'second': TO_T2W[1]}.items():
        write_affine(tmp_path / f'{name}.txt', matrix)
    same = [tmp_path / 'image.nii.gz'] * 3
    return {
        'cell': tmp_path / 'cell.json',
        **dict.fromkeys(('fixed', 'fixed_mask', 'moving'), same),
        'affine': [tmp_path / f'{name}.txt' for name in MAPS],
        'fixed_to_t2w': tmp_path / 'first.txt',
        'moving_to_t2w': tmp_path / 'second.txt',
    }


def test_the_affine_alone_agrees_with_itself(files):
    judge_rescan(method='affine', facts={'pair': 'p'}, **files)
    cell = json.loads(files['cell'].read_text())
    assert (cell['pair'], cell['status'], cell['folds']) == ('p', 'done', 0)
    assert all(cell[measure.key] < 1e-6 for measure in (RESCAN, *RESCAN_PARTS))
    assert 'seconds' not in cell


def test_numbers_of_three_maps_are_put_together(files, tmp_path):
    forward, inverse, result = [], [], []
    fields = []
    for number, name in enumerate(MAPS):
        bend = np.zeros((*GRID.shape, 3), np.float32)
        bend[..., 0] = 8.0 * number * np.sin(np.arange(20) / 2)[:, None, None]  # the last one folds
        one = Deformation(STARTS[name], bend, np.zeros_like(bend), GRID)
        fields.append(field_measures(one, MASK))
        folder = tmp_path / name
        folder.mkdir()
        one.save(folder / 'forward.h5')
        one.inverted().save(folder / 'inverse.h5')
        (folder / 'result.json').write_text(
            json.dumps({'seconds': {'solve': number, 'finish': 1}, 'peak_memory_mb': 100 * number, 'device': 'cpu'})
        )
        forward.append(folder / 'forward.h5')
        inverse.append(folder / 'inverse.h5')
        result.append(folder / 'result.json')
    judge_rescan(
        method='node-mind',
        forward=forward,
        inverse=inverse,
        result=result,
        method_seconds=[1.0, 2.0, 6.0],
        method_cpu_seconds=[2.0, 4.0, 9.0],
        example=tmp_path / 'example' / 'node-mind_T2w.nii.gz',
        **files,
    )
    cell = json.loads(files['cell'].read_text())
    assert (cell['seconds'], cell['seconds_total'], cell['cpu_seconds']) == (2, 3, 5)
    assert (cell['peak_memory_mb'], cell['device']) == (200, 'cpu')
    assert cell[FOLDS.key] == sum(field['folds'] for field in fields) > 0
    assert cell['sdlogj'] == pytest.approx(np.mean([field['sdlogj'] for field in fields]), rel=1e-4)
    assert cell[RESCAN.key] > 0.5
    assert (tmp_path / 'example' / 'node-mind_T2w.nii.gz').is_file()
