"""Which pairs are drawn, and what is found in their files before any work."""

from __future__ import annotations

import nibabel as nb
import numpy as np
import pytest

from bidsreg.benchmark.case_table import read_table
from bidsreg.benchmark.cases import check_cases, find_cases
from bidsreg.errors import InputError

from .conftest import lines_of, settings, write_tsv

NAMES = {1: 'white', 2: 'grey', 4: 'deep'}


# ---------------------------------------------------------------------------------------------------- the draw
def test_the_draw_is_fixed_and_grows(tmp_path):
    rows = [(f'{n}-t1.nii', f'{n}-t2.nii') for n in range(6)]
    for name in np.ravel(rows):
        (tmp_path / name).touch()
    write_tsv(tmp_path / 'pairs.tsv', ['fixed', 'moving'], rows)

    def draw(count, seed=1):
        return [case.name for case in find_cases(settings(tmp_path / 'pairs.tsv', tmp_path, pairs=count, seed=seed))]

    assert draw(3) == draw(3)
    assert draw(2) == draw(3)[:2]
    assert len(set(draw(5))) == 5
    assert len({tuple(draw(3, seed)) for seed in range(6)}) > 1
    assert draw(None) == [f'pair-{n:03d}' for n in range(1, 7)]
    with pytest.raises(InputError, match='--pairs 9: there are only 6'):
        draw(9)


def test_no_file_at_all(tmp_path):
    with pytest.raises(InputError, match='is not there'):
        find_cases(settings(tmp_path / 'pairs.tsv', tmp_path))


# ---------------------------------------------------------------------------------------------------- checks
def test_good_files_pass(table):
    check_cases(read_table(table), NAMES)


def test_labels_on_another_grid(table):
    path = table.parent / '1' / 'moving_labels.nii.gz'
    labels = nb.load(path)
    affine = labels.affine.copy()
    affine[0, 3] += 5
    nb.save(nb.Nifti1Image(np.asanyarray(labels.dataobj), affine), path)
    with pytest.raises(InputError, match=r'labels image .*1/moving_labels.nii.gz lies elsewhere than moving.nii.gz'):
        check_cases(read_table(table), NAMES)
    nb.save(nb.Nifti1Image(np.asanyarray(labels.dataobj)[:-1], labels.affine), path)
    with pytest.raises(InputError, match='voxels, but'):
        check_cases(read_table(table), NAMES)


def test_mask_on_another_grid(table):
    path = table.parent / '0' / 'fixed_mask.nii.gz'
    mask = nb.load(path)
    nb.save(nb.Nifti1Image(np.asanyarray(mask.dataobj)[..., 1:], mask.affine), path)
    with pytest.raises(InputError, match=r'fixed_mask.nii.gz has 36x42x35 voxels'):
        check_cases(read_table(table), NAMES)


def test_labels_of_another_list(table):
    with pytest.raises(InputError, match='none of the 1 labels that count'):
        check_cases(read_table(table), {999: 'nothing'})


def test_interpolated_labels(table):
    path = table.parent / '0' / 'fixed_labels.nii.gz'
    labels = nb.load(path)
    nb.save(nb.Nifti1Image(labels.get_fdata(dtype=np.float32) * 0.7, labels.affine), path)
    with pytest.raises(InputError, match='fractions'):
        check_cases(read_table(table), NAMES)


def test_broken_image(table):
    (table.parent / '0' / 'fixed.nii.gz').write_bytes(b'')
    with pytest.raises(InputError, match='is empty'):
        check_cases(read_table(table), NAMES)


def empty(table, *names):
    """Leave some columns of a table without values."""
    columns, *rows = lines_of(table)
    for row in rows:
        for name in names:
            row[columns.index(name)] = ''
    write_tsv(table, columns, rows)


def test_nothing_to_judge_by(table):
    empty(table, 'points', 'fixed_labels')
    with pytest.raises(InputError, match='nothing can be measured'):
        check_cases(read_table(table), NAMES)


def test_but_within_a_head_the_moving_brain_must_be_known(table):
    empty(table, 'moving_mask', 'moving_labels')
    check_cases(read_table(table), NAMES)
    with pytest.raises(InputError, match='give a mask or labels of the moving image'):
        check_cases(read_table(table), NAMES, need_moving_mask=True)


def test_labels_of_two_lists_have_nothing_in_common(table):
    """Every number would be n/a, after hours."""
    path = table.parent / '1' / 'moving_labels.nii.gz'
    labels = nb.load(path)
    nb.save(nb.Nifti1Image(np.asanyarray(labels.dataobj).astype(np.uint8) * 10, labels.affine), path)
    with pytest.raises(InputError, match=r'pair-002: .*fixed_labels.* and .*moving_labels.* have none of .* in common'):
        check_cases(read_table(table), {1: 'white', 10: 'white of others'})


def test_points_in_voxels_lie_in_no_scan(table):
    path = table.parent / '1' / 'points.tsv'
    rows = [[f'{float(cell) + 300}' for cell in row] for row in lines_of(path)[1:]]
    write_tsv(path, ['a', 'b', 'c', 'd', 'e', 'f'], rows)
    count = len(rows)
    with pytest.raises(InputError, match=rf'1/points.tsv: {count} of {count} points lie outside of .*1/fixed.nii.gz'):
        check_cases(read_table(table), NAMES)
