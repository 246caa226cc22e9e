"""What is drawn for good pairs stays good: the brain is whole, and its points stay where they are."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
import verdict_cases as cases
import verdict_draws as draws
from nibabel.affines import apply_affine


def inside(mask):
    return np.asanyarray(mask.dataobj) > 0


def values_at(image, points):
    at = apply_affine(np.linalg.inv(image.affine), points).round().astype(int)
    return image.get_fdata()[tuple(at.T)]


def test_looks_differ_and_stay_within_what_scanners_do():
    looks = [draws.drawn_look('FLAIR', np.random.default_rng(seed)) for seed in range(60)]
    assert len({look.noise for look in looks}) == 60
    assert {look.contrasts for look in looks} == {('T1w', 'FLAIR')}
    sizes = np.array([look.voxel for look in looks])
    thick = sizes.max(1) > 1.5 * sizes.min(1)
    assert 20 < thick.sum() < 50
    assert (sizes[~thick] >= 1.5).all()
    assert (sizes[~thick] <= 2.5).all()
    assert (sizes.max(1)[thick] >= 4).all()
    assert (sizes.max(1)[thick] <= 5).all()
    assert set(sizes[thick].argmax(1)) == {0, 1, 2}  # across any axis
    assert draws.drawn_look('FLAIR', np.random.default_rng(3)) == looks[3]


@pytest.mark.parametrize('change', [draws.face_cut, draws.tight_view, draws.other_axes, draws.drawn_change])
def test_a_brain_stays_whole_and_where_it_is(scans, change):
    changed = change(scans, np.random.default_rng(1))
    assert changed.points is scans.points
    for one, column in (('fixed', slice(0, 3)), ('moving', slice(3, 6))):
        there, before = (values_at(getattr(each, one), scans.points[:, column]) for each in (changed, scans))
        np.testing.assert_allclose(there, before)
    for one in ('mask', 'second', 'moving_brain'):
        there, before = (inside(getattr(each, one)) for each in (changed, scans))
        assert there.sum() == before.sum()
    assert changed.fixed.shape == changed.mask.shape == changed.second.shape
    assert changed.moving.shape == changed.moving_brain.shape


def test_each_does_what_it_says(scans):
    cut = draws.face_cut(scans, np.random.default_rng(0))
    gone = (cut.fixed.get_fdata() == 0) & (scans.fixed.get_fdata() > 0)
    assert gone.sum() > 500
    assert (apply_affine(scans.fixed.affine, np.argwhere(gone))[:, 1] > 0).all()  # in front
    tight = draws.tight_view(scans, np.random.default_rng(0))
    assert tight.moving.get_fdata().size < 0.8 * scans.moving.get_fdata().size
    turned = draws.other_axes(scans, np.random.default_rng(1))
    assert nib.aff2axcodes(turned.moving.affine) != nib.aff2axcodes(scans.moving.affine)
    assert nib.aff2axcodes(turned.mask.affine) == nib.aff2axcodes(turned.fixed.affine)


def test_grids_are_turned_and_fluid_grows(anatomy, scans):
    still = cases.Look(noise=0.0, bias=0.0)
    turned = cases.scan(anatomy, cases.Look(noise=0.0, bias=0.0, oblique=20.0), (3, 0))
    for one in (turned.fixed, turned.moving):
        assert 10 < np.degrees(nib.affines.obliquity(one.affine)).max() <= 20.01
    depths = anatomy.sampled(anatomy.depth, turned.points[:, :3])
    assert depths.min() >= cases.DEPTH_MM  # the points are still those of the brain
    older = anatomy.atrophied(1)
    fluid = [np.isin(one.labels, cases.TISSUES['fluid'][1]) for one in (anatomy, older)]
    assert fluid[0].sum() < fluid[1].sum()
    assert (fluid[1] | ~fluid[0]).all()
    outside = anatomy.labels >= cases.OUTSIDE
    np.testing.assert_array_equal(older.labels[outside], anatomy.labels[outside])
    assert anatomy.atrophied(0) is anatomy
    np.testing.assert_array_equal(inside(cases.scan(older, still, (3, 0)).mask), inside(scans.mask))
