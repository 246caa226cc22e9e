"""The script that compares speeds: its transform, its clock, what it counts, and a whole table on a small head."""

from __future__ import annotations

import apply
import nibabel as nib
import numpy as np

from bidsreg.apply.base import Errand, Route
from bidsreg.apply.chain import Leg
from bidsreg.registration import Grid
from bidsreg.registration.itk import read_transform, write_affine
from tests import data

SHAPE = (30, 34, 28)


def test_the_transform_moves_as_far_as_it_says_and_rests_at_its_border(tmp_path):
    grid = Grid(SHAPE, data.grid(SHAPE))
    field, matrix = read_transform(apply.write_transform(tmp_path / 'x.h5', grid))
    assert np.abs(field.displacement).max() == np.float32(apply.AMPLITUDE_MM)
    assert not field.displacement[0].any()
    assert not field.displacement[..., -1, :].any()
    assert 0.99 < np.linalg.det(matrix) < 1.01


def test_the_least_of_the_repeats_counts(monkeypatch):
    clock = iter([0, 5, 10, 12, 20, 29])
    monkeypatch.setattr(apply.time, 'process_time', lambda: next(clock))
    monkeypatch.setattr(apply.time, 'perf_counter', lambda: 0)
    assert apply.timed(lambda: None, 3) == (2, 0)


def test_voxels_that_differ_are_counted_where_all_is_known(tmp_path):
    affine = data.grid(SHAPE, voxel=2.0)
    one = np.random.default_rng(0).integers(1, 9, SHAPE).astype(np.int16)
    other = one.copy()
    other[:3] += 1
    for name, values in (('one', one), ('other', other)):
        nib.save(data.image(values, affine), tmp_path / f'{name}.nii.gz')
    shift = np.eye(4)
    # the first voxels lead out of the moving image
    shift[0, 3] = -2.0
    write_affine(tmp_path / 'm.txt', shift)
    paths = [tmp_path / 'one.nii.gz', tmp_path / 'other.nii.gz']
    errand = Errand(paths[0], paths[0], Route((Leg(tmp_path / 'm.txt'),), ()), paths[0])
    assert apply.differing(*paths, errand, labels=True) == 2 / (SHAPE[0] - 1)


def test_a_table_on_a_small_head(tmp_path, capsys):
    pair = data.pair(SHAPE, 1, noise=0)
    for name in ('fixed', 'moving'):
        nib.save(getattr(pair, name), tmp_path / f'{name}_{"T1w" if name == "fixed" else "T2w"}.nii.gz')
    nib.save(pair.moving_labels, tmp_path / 'moving_dseg.nii.gz')
    apply.main([str(tmp_path), '--repeats', '1'])
    _, _, *lines = capsys.readouterr().out.splitlines()
    cells = {words[0]: words[1:] for line in lines if (words := [word.strip() for word in line.strip('|').split('|')])}
    assert list(cells) == list(apply.INTERPOLATIONS)
    for name in ('linear', 'labels'):
        assert float(cells[name][4].rstrip(' %')) < 0.05
