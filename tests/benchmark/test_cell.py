"""A cell: what a method found is read, judged and written."""

from __future__ import annotations

import json

import nibabel as nb
import numpy as np
import pytest

from bidsreg.benchmark.cell import judge_cell, read_deformation, read_own_facts
from bidsreg.registration.deformation import Deformation
from bidsreg.registration.grid import Grid
from tests import data


@pytest.fixture
def pair(tmp_path):
    """A small head, moved by an affine alone, saved with all that is known of it."""
    head = data.pair((28, 32, 28), 3, known=data.truth(3, (2, -1, 2), (2, -1, 1), amplitude=0.0))
    head.save(tmp_path)
    np.savetxt(tmp_path / 'points.tsv', head.points, delimiter='\t', header='\t'.join('abcdef'), comments='')
    data.write_itk_affine(head.truth.matrix, tmp_path / 'affine.txt')
    return head


def judged(folder, **more):
    given = {name: folder / f'{name}.nii.gz' for name in ('fixed', 'fixed_mask', 'moving')}
    judge_cell(cell=folder / 'cell.json', **given, **more)
    return json.loads((folder / 'cell.json').read_text())


def test_the_affine_alone_is_judged_on_the_fixed_grid(pair, tmp_path):
    labels = {name: tmp_path / f'{name}.nii.gz' for name in ('fixed_labels', 'moving_labels')}
    known = {**labels, 'labels': {'1': 'a', '2': 'b', '999': 'none'}, 'points': tmp_path / 'points.tsv'}
    cell = judged(tmp_path, method='affine', affine=tmp_path / 'affine.txt', facts={'pair': 'p'}, **known)
    assert cell['status'] == 'done'
    assert cell['pair'] == 'p'
    assert cell['tre_mean'] == pytest.approx(0, abs=1e-3)
    assert cell['folds'] == cell['ndv_percent'] == cell['inverse_consistency_mm'] == 0
    assert cell['labels']['999'] == {'dice': None, 'hd95': None}
    assert cell['dice_mean'] == pytest.approx((cell['labels']['1']['dice'] + cell['labels']['2']['dice']) / 2)
    still = judged(tmp_path, method='affine', **known)
    assert still['tre_mean'] > 1
    assert still['dice_mean'] < cell['dice_mean']


def test_the_program_s_own_facts_and_the_example_are_kept(pair, tmp_path):
    result = {'seconds': {'solve': 5, 'finish': 2}, 'threads': 3, 'device': 'cpu', 'settings': {'a': 1}}
    (tmp_path / 'result.json').write_text(json.dumps(result))
    times = {'method_seconds': 9.5, 'method_cpu_seconds': 12.0}
    cell = judged(
        tmp_path,
        method='node-mind',
        result=tmp_path / 'result.json',
        example=tmp_path / 'example/node-mind_T2w.nii.gz',
        **times,
    )
    assert (cell['seconds'], cell['seconds_total'], cell['cpu_seconds']) == (7, 9.5, 12)
    assert (cell['threads'], cell['device']) == (3, 'cpu')
    assert not {'settings', 'dice_mean', 'tre_mean'} & set(cell)
    warped = nb.load(tmp_path / 'example/node-mind_T2w.nii.gz')
    assert warped.shape == pair.fixed.shape
    assert not (tmp_path / 'example/node-mind_dseg.nii.gz').exists()  # there are no labels
    assert read_own_facts(tmp_path / 'result.json', 'ants-syn')['seconds'] == 5


def test_a_field_is_read_from_its_two_files(tmp_path):
    grid = Grid((9, 9, 9), np.diag([2.0, 2, 2, 1]))
    field = np.zeros((9, 9, 9, 3), np.float32)
    field[4, 4, 4] = 0.5, -0.25, 0.125
    there = Deformation(np.eye(4), field, -field, grid)
    there.save(tmp_path / 'forward.h5')
    there.inverted().save(tmp_path / 'inverse.h5')
    found = read_deformation(None, tmp_path / 'forward.h5', tmp_path / 'inverse.h5', Grid((3, 3, 3), np.eye(4)))
    np.testing.assert_allclose(found.forward, field)
    assert found.grid.same_as(grid)
    alone = read_deformation(None, tmp_path / 'forward.h5', None, grid)
    assert not alone.forward.any()
