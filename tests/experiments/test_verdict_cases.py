"""The cases are what their kinds say: points lie where they are said to lie, and each change does one thing."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import verdict_cases as cases
from nibabel.affines import apply_affine
from scipy import ndimage as ndi


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


def test_another_visit_is_another_place(anatomy, scans):
    again = cases.scan(anatomy, cases.Look(noise=0.0, bias=0.0), (3, 0), visit=1)
    away = again.points[:, 3:].mean(0) - scans.points[:, 3:].mean(0)
    assert np.linalg.norm(away) > 0.5
