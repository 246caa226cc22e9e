"""A lesion in one scan alone: it is where it is said to be, and the table tells three cases apart."""

from __future__ import annotations

import lesions
import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage as ndi

from bidsreg.registration import PRESETS, Deformation

from .test_hard_pairs import label_map

ML = 6.0


@pytest.fixture(scope='module')
def labels(tmp_path_factory):
    folder = tmp_path_factory.mktemp('labels')
    large = ndi.zoom(label_map(), 2, order=0)
    nib.save(nib.Nifti1Image(large, np.eye(4)), folder / 'anat-02_dseg.nii.gz')
    return folder


@pytest.fixture(scope='module')
def pair(labels):
    return lesions.simulate(labels / 'anat-02_dseg.nii.gz', 2, ML, 2)


def test_scans_differ_in_the_lesion_alone(pair):
    for end, sign in (('fixed', -1), ('moving', 1)):
        where = pair.lesion[end].data > 0
        difference = sign * (pair.ill[end].data - pair.clean[end].data)
        assert difference[where].mean() > 0.3
        assert (
            np.abs(difference[ndi.binary_dilation(where, iterations=3) == 0]).max() < 0.01
        )  # specks that a majority of 8 voxels drops
        assert where.sum() * 8 / 1000 == pytest.approx(ML, rel=0.1)


def test_points_lie_around_the_lesion(pair):
    here = pair.lesion['fixed']
    away = ndi.distance_transform_edt(here.data == 0) * 2
    at = np.rint(here.grid.to_voxels(pair.points[:, :3])).astype(int)
    assert 0 < away[tuple(at.T)].max() < lesions.SHELL_MM + 3
    moved = np.linalg.norm(pair.points[:, 3:] - pair.points[:, :3], axis=1)
    assert 0.5 < moved.mean() < 5


def test_the_true_warp_keeps_the_volume_and_none_does_not(pair):
    grid = pair.mask.grid
    inverse = -pair.field
    for _ in range(5):
        places = grid.to_world(np.moveaxis(np.indices(grid.shape), 0, -1)) + inverse
        at = np.moveaxis(grid.to_voxels(places), -1, 0)
        inverse = -np.stack(
            [ndi.map_coordinates(pair.field[..., k], at, order=1, mode='nearest') for k in range(3)], -1
        )
    true = Deformation(np.eye(4), pair.field, inverse.astype(np.float32), grid)
    for end in lesions.ENDS:
        assert lesions.volume_kept(pair, true, end) == pytest.approx(0, abs=0.01)
    double = np.diag([1.0, 1.0, 2.0, 1.0])
    assert lesions.volume_kept(pair, Deformation(double, 0 * pair.field, 0 * pair.field, grid), 'fixed') < 0.2


def test_a_table_is_printed(labels, monkeypatch, capsys):
    monkeypatch.setitem(PRESETS, 'quick', PRESETS['node-mind'].at_resolution(8.0))
    monkeypatch.setattr(lesions, 'POINTS', 200)
    lesions.main([str(labels), '--people', '02', '--ml', '6', '--method', 'quick', '--ends', 'moving'])
    rows = [[cell.strip() for cell in line.split('|')] for line in capsys.readouterr().out.splitlines()[2:]]
    assert [(row[1], row[2], row[3]) for row in rows] == [
        ('02', 'moving scan', case) for case in ('no lesion', 'lesion', 'lesion, masked')
    ]
    assert rows[1][4:] != rows[2][4:]
