"""Each change does one thing, and the kinds are what they say."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
import verdict_cases as cases
import verdict_kinds as kinds
from nibabel.affines import apply_affine


def inside(mask):
    return np.asanyarray(mask.dataobj) > 0


@pytest.mark.parametrize(
    ('kind', 'low', 'high'),
    [
        ('mask of a half', 0.45, 0.55),
        ('mask shrunk to 44 %', 0.40, 0.46),
        ('mask shifted by 12 mm', 0.95, 1.0),
        ('mask grown by 12 mm', 1.5, 6.0),
        ('mask without its front', 0.6, 0.9),
        ('mask without its top', 0.6, 0.9),
        ('wider mask', 1.1, 1.6),
        ('tighter mask', 0.5, 0.95),
        ('rough mask', 0.85, 1.15),
    ],
)
def test_masks_have_the_size_that_their_kind_says(scans, kind, low, high):
    changed = kinds.KINDS[kind].change(scans, np.random.default_rng(0))
    assert low <= inside(changed.mask).sum() / inside(scans.mask).sum() <= high
    assert changed.moving is scans.moving
    assert not np.array_equal(inside(changed.mask), inside(scans.mask))


def test_what_is_done_to_the_t2w(scans):
    rng = np.random.default_rng(0)
    mirrored = kinds.KINDS['mirrored'].change(scans, rng).moving
    np.testing.assert_array_equal(mirrored.get_fdata()[::-1], scans.moving.get_fdata())
    slab = kinds.KINDS['slab of 60 mm'].change(scans, rng).moving
    assert slab.shape[2] * cases.MOVING_MM[2] == pytest.approx(60, abs=2)
    longer = kinds.KINDS['z longer by 5 %'].change(scans, rng).moving
    np.testing.assert_allclose(nib.affines.voxel_sizes(longer.affine), np.multiply(cases.MOVING_MM, (1, 1, 1.05)))
    copy = kinds.KINDS['a copy'].change(scans, rng)
    assert copy.moving is copy.fixed
    other = kinds.REAL['real, contrasts exchanged'].change(scans, rng)
    assert (other.fixed, other.moving, other.mask) == (scans.moving, scans.fixed, scans.moving_brain)
    bare = kinds.KINDS['stripped'].change(scans, rng)
    assert not bare.fixed.get_fdata()[~inside(scans.mask)].any()
    assert not bare.moving.get_fdata()[~inside(scans.moving_brain)].any()


def test_matrices_are_spoilt_by_what_they_say():
    rng = np.random.default_rng(0)
    shift = kinds.KINDS['shift of 10 mm'].spoil(np.eye(4), rng)
    assert np.linalg.norm(shift[:3, 3]) == pytest.approx(10)
    turn = kinds.KINDS['turn by 12°'].spoil(np.eye(4), rng)
    assert np.degrees(np.arccos((np.trace(turn[:3, :3]) - 1) / 2)) == pytest.approx(12)


@pytest.mark.parametrize('name', ['FLAIR', 'PDw', 'T2starw'])
def test_another_contrast_has_good_and_wrong_pairs(name):
    of_it = {key: kind for key, kind in kinds.KINDS.items() if kind.contrast == name}
    good = [key for key, kind in of_it.items() if kind.wrong is None and kind.good]
    assert good == [name, f'{name}, drawn']
    assert sum(kind.wrong is True for kind in of_it.values()) == 4
    assert of_it[f'{name}, T1w twice'].look.contrasts == ('T1w', 'T1w')
    assert all(kind.base in of_it for kind in of_it.values())


@pytest.mark.parametrize('kind', [kinds.KINDS['x longer by 3 %'], kinds.REAL['real, moved head']])
def test_points_go_with_the_voxels_that_they_lie_in(scans, kind):
    changed = kind.change(scans, np.random.default_rng(0))
    there, before = (apply_affine(np.linalg.inv(one.moving.affine), one.points[:, 3:]) for one in (changed, scans))
    np.testing.assert_allclose(there, before, atol=1e-6)
    assert np.abs(changed.points - scans.points).max() > 1


@pytest.mark.parametrize('name', ['noisy', 'bias', 'ghosts'])
def test_real_scans_get_worse_on_the_scale_of_the_simulated_ones(scans, name):
    changed = kinds.REAL[f'real, {name}'].change(scans, np.random.default_rng(0))
    for name, brain in (('fixed', scans.mask), ('moving', scans.moving_brain)):
        values = [getattr(one, name).get_fdata()[inside(brain)] for one in (scans, changed)]
        assert np.median(values[1]) == pytest.approx(600, rel=0.7)
        assert 0.5 < np.corrcoef(*values)[0, 1] < 0.9999
