"""The cases are what their kinds say: points lie where they are said to lie, and each change does one thing."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
import verdict_cases as cases
from nibabel.affines import apply_affine
from scipy import ndimage as ndi

from .test_hard_pairs import label_map


@pytest.fixture(scope='module')
def anatomy(tmp_path_factory):
    """A small head, blown up threefold."""
    path = tmp_path_factory.mktemp('labels') / 'anat-03_dseg.nii.gz'
    nib.save(nib.Nifti1Image(label_map().repeat(3, 0).repeat(3, 1).repeat(3, 2), np.eye(4)), path)
    return cases.Anatomy(path)


@pytest.fixture(scope='module')
def scans(anatomy):
    return cases.scan(anatomy, cases.Look(noise=0.0, bias=0.0), (3, 0))


def inside(mask):
    return np.asanyarray(mask.dataobj) > 0


def test_points_of_one_place_have_one_depth_in_both_scans(anatomy, scans):
    depths = anatomy.sampled(anatomy.depth, scans.points[:, :3])
    brain = inside(scans.moving_brain)
    there = ndi.distance_transform_edt(brain, nib.affines.voxel_sizes(scans.moving.affine))
    at = apply_affine(np.linalg.inv(scans.moving.affine), scans.points[:, 3:]).round().astype(int)
    assert depths.min() >= cases.DEPTH_MM
    assert np.median(np.abs(there[tuple(at.T)] - depths)) < 2.5  # mm, of voxels of 3.5
    assert np.linalg.norm(scans.points[:, :3] - scans.points[:, 3:], axis=1).mean() > 1


def test_the_same_seed_gives_the_same_scans_and_another_one_the_same_place(anatomy, scans):
    again, other = (cases.scan(anatomy, cases.Look(noise=0.0, bias=0.0), seed) for seed in ((3, 0), (3, 1)))
    np.testing.assert_array_equal(again.moving.get_fdata(), scans.moving.get_fdata())
    assert not np.array_equal(other.moving.get_fdata(), scans.moving.get_fdata())
    np.testing.assert_array_equal(inside(other.moving_brain), inside(scans.moving_brain))


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
    ],
)
def test_masks_have_the_size_that_their_kind_says(scans, kind, low, high):
    changed = cases.KINDS[kind].change(scans, np.random.default_rng(0))
    assert low <= inside(changed.mask).sum() / inside(scans.mask).sum() <= high
    assert changed.moving is scans.moving
    assert not np.array_equal(inside(changed.mask), inside(scans.mask))


def test_what_is_done_to_the_t2w(scans):
    rng = np.random.default_rng(0)
    mirrored = cases.KINDS['mirrored'].change(scans, rng).moving
    np.testing.assert_array_equal(mirrored.get_fdata()[::-1], scans.moving.get_fdata())
    slab = cases.KINDS['slab of 60 mm'].change(scans, rng).moving
    assert slab.shape[2] * cases.MOVING_MM[2] == pytest.approx(60, abs=2)
    longer = cases.KINDS['z longer by 5 %'].change(scans, rng).moving
    np.testing.assert_allclose(nib.affines.voxel_sizes(longer.affine), np.multiply(cases.MOVING_MM, (1, 1, 1.05)))
    copy = cases.KINDS['a copy'].change(scans, rng)
    assert copy.moving is copy.fixed
    other = cases.REAL['real, contrasts exchanged'].change(scans, rng)
    assert (other.fixed, other.moving, other.mask) == (scans.moving, scans.fixed, scans.moving_brain)
    bare = cases.KINDS['stripped'].change(scans, rng)
    assert not bare.fixed.get_fdata()[~inside(scans.mask)].any()
    assert not bare.moving.get_fdata()[~inside(scans.moving_brain)].any()


def test_matrices_are_spoilt_by_what_they_say():
    rng = np.random.default_rng(0)
    shift = cases.KINDS['shift of 10 mm'].spoil(np.eye(4), rng)
    assert np.linalg.norm(shift[:3, 3]) == pytest.approx(10)
    turn = cases.KINDS['turn by 12°'].spoil(np.eye(4), rng)
    assert np.degrees(np.arccos((np.trace(turn[:3, :3]) - 1) / 2)) == pytest.approx(12)


@pytest.mark.parametrize('kind', [cases.KINDS['x longer by 3 %'], cases.REAL['real, moved head']])
def test_points_go_with_the_voxels_that_they_lie_in(scans, kind):
    changed = kind.change(scans, np.random.default_rng(0))
    there, before = (apply_affine(np.linalg.inv(one.moving.affine), one.points[:, 3:]) for one in (changed, scans))
    np.testing.assert_allclose(there, before, atol=1e-6)
    assert np.abs(changed.points - scans.points).max() > 1


@pytest.mark.parametrize('name', ['noisy', 'bias', 'ghosts'])
def test_real_scans_get_worse_on_the_scale_of_the_simulated_ones(scans, name):
    changed = cases.REAL[f'real, {name}'].change(scans, np.random.default_rng(0))
    for name, brain in (('fixed', scans.mask), ('moving', scans.moving_brain)):
        values = [getattr(one, name).get_fdata()[inside(brain)] for one in (scans, changed)]
        assert np.median(values[1]) == pytest.approx(600, rel=0.7)
        assert 0.5 < np.corrcoef(*values)[0, 1] < 0.9999


def test_another_visit_is_another_place(anatomy, scans):
    again = cases.scan(anatomy, cases.Look(noise=0.0, bias=0.0), (3, 0), visit=1)
    away = again.points[:, 3:].mean(0) - scans.points[:, 3:].mean(0)
    assert np.linalg.norm(away) > 0.5
