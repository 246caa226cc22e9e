"""Scan-rescan consistency: maps through four scans are compared in one world."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import real_pairs
import rescan

from bidsreg.benchmark.judge import consistency
from bidsreg.preparation.affine import rigid_matrix
from bidsreg.registration import Deformation, Grid, Image
from bidsreg.registration.grid import apply_affine
from bidsreg.registration.itk import read_affine, write_affine

GRID = Grid((20, 20, 20), np.diag([4.0, 4, 4, 1]))


@pytest.fixture
def sessions(tmp_path):
    """Two sessions of one person, the T2w of each elsewhere."""
    made = []
    for name, rigid in (
        ('sub-1_ses-1', rigid_matrix((5, -3, 2), (3, 1, 2))),
        ('sub-1_ses-2', rigid_matrix((-4, 2, 6), (1, 5, -2))),
    ):
        folder = tmp_path / name
        folder.mkdir()
        for what in ('T1w', 'T2w', 'mask'):
            Image(np.ones(GRID.shape, np.float32), GRID).save(folder / f'{what}.nii.gz')
        write_affine(folder / 'rigid.txt', rigid)
        made.append(real_pairs.Session(name, 'sub-1', tmp_path, tmp_path, folder))
    return made


def test_the_affine_agrees_with_itself(sessions, tmp_path):
    between, points = rigid_matrix((1, 2, 3), (4, 5, 6)), rescan.brain_points(sessions[0].image('mask'), 50)
    ends = rescan.find_ends(*sessions, between, points, 'affine', tmp_path / 'out', threads=1)
    for end in ends.values():
        np.testing.assert_allclose(end, apply_affine(between, points), atol=1e-9)
    assert consistency(ends)['mean'] < 1e-9


def test_a_method_that_is_off_in_one_contrast_is_off_by_that_in_millimetres(sessions, tmp_path, monkeypatch):
    """From T2w to T2w it goes 3 mm astray along its own axis: two of the three twos are 3 mm apart."""
    between, points = rigid_matrix((1, 2, 3), (4, 5, 6)), rescan.brain_points(sessions[0].image('mask'), 50)
    asked = []

    def run(command, folder, *, threads):
        given = dict(itertools.pairwise(command))
        asked.append((folder.name, given['--moving-mask'].rsplit('/', 1)[1]))
        matrix = read_affine(folder / 'affine.txt')
        shift = np.eye(4)
        shift[0, 3] = 3.0 * (folder.name == 'T2w-T2w')
        (folder / 'result').mkdir()
        Deformation.from_affine(shift @ matrix, GRID).save(folder / 'result' / 'forward.h5')
        Deformation.from_affine(shift @ matrix, GRID).inverted().save(folder / 'result' / 'inverse.h5')
        (folder / 'result' / 'result.json').write_text('{}')

    monkeypatch.setattr(rescan, 'run_measured', run)
    ends = rescan.find_ends(*sessions, between, points, 'greedy', tmp_path / 'out', threads=1)
    numbers = consistency(ends)
    assert asked == [('T1w-T1w', 'mask.nii.gz'), ('T2w-T2w', 'T2w_mask.nii.gz'), ('T1w-T2w', 'T2w_mask.nii.gz')]
    assert numbers['T1w-T1w | T1w-T2w'] == pytest.approx(0, abs=1e-4)
    assert numbers['T1w-T1w | T2w-T2w'] == pytest.approx(3, abs=1e-4)
    assert numbers['mean'] == pytest.approx(2, abs=1e-4)


def test_only_two_sessions_of_one_person_count(tmp_path):
    def session(name):
        return real_pairs.Session(name, name.split('_')[0], tmp_path, tmp_path, tmp_path)

    found = rescan.find_people([session(name) for name in ('sub-1_ses-1', 'sub-1_ses-2', 'sub-1_ses-3', 'sub-2_ses-1')])
    assert [(one.name, other.name) for one, other in found] == [('sub-1_ses-1', 'sub-1_ses-2')]


def test_the_t2w_has_the_mask_of_the_t1w(sessions):
    rescan.write_t2w_mask(sessions[0])
    mask = sessions[0].image('T2w_mask')
    assert mask.grid.same_as(sessions[0].image('T2w').grid)
    assert 0.5 < mask.data.mean() < 1
