"""The plane between the halves of a head is found wherever the head lies, and mirrors what it should."""

from __future__ import annotations

import nibabel as nb
import numpy as np
import pytest

from bidsreg.qc.symmetry import CoarseHead, Midplane, thinned
from tests import data


def test_a_mirror_keeps_its_plane_and_is_its_own_inverse():
    normal = np.array([0.8, -0.6, 0.0])
    plane = Midplane(np.array([3.0, -4.0, 5.0]), normal)
    way = plane.mirror()
    np.testing.assert_allclose(way @ way, np.eye(4), atol=1e-12)
    assert np.linalg.det(way[:3, :3]) == pytest.approx(-1)
    across = plane.nearest(np.array([10.0, 20.0, 30.0]))
    np.testing.assert_allclose(nb.affines.apply_affine(way, across), across, atol=1e-9)
    np.testing.assert_allclose(
        nb.affines.apply_affine(way, across + 7 * normal), across - 7 * normal, atol=1e-9
    )  # as far away on the other side


@pytest.mark.parametrize(('grid', 'degrees'), [('ras', 3), ('oblique-left-handed', 3), ('thick', 8), ('far', 3)])
def test_the_plane_of_a_head_that_is_tilted_and_moved(grid, degrees):
    """A head is symmetric about x = 0 in a world of its own; the truth takes that plane with it."""
    shape, affine = data.GRIDS[grid]
    centre = np.array([120.0, -340, 260]) if grid == 'far' else np.zeros(3)
    moved = data.truth(0, turn=(10, 8, -12), shift=(9, -5, 4), amplitude=0)
    scan = data.t1w(shape, 3, affine=affine, moved=moved if grid != 'far' else None, centre=centre, noise=0.03)
    plane = CoarseHead(scan).midplane()
    matrix = np.eye(4) if grid == 'far' else moved.matrix
    normal = matrix[:3, :3] @ [1, 0, 0]
    assert np.degrees(np.arccos(abs(plane.normal @ normal))) < degrees
    point = nb.affines.apply_affine(matrix, np.zeros(3)) + centre
    assert abs((point - plane.point) @ plane.normal) < 3


def test_blocks_are_averaged_where_they_lie():
    affine = data.grid((8, 9, 4), 'LPS', (5, 0, 9), (1.0, 1.5, 6.0))
    values = np.random.default_rng(0).normal(size=(8, 9, 4)).astype(np.float32)
    thin = thinned(nb.Nifti1Image(values, affine), 3.0)
    assert thin.shape == (2, 4, 4)
    assert thin.get_fdata()[1, 2, 3] == pytest.approx(values[3:6, 4:6, 3].mean(), rel=1e-5)
    middle = nb.affines.apply_affine(affine, np.argwhere(np.ones((3, 2, 1))) + np.array([3, 4, 3])).mean(0)
    np.testing.assert_allclose(nb.affines.apply_affine(thin.affine, (1, 2, 3)), middle, atol=1e-5)


def test_the_rounding_of_headers_changes_no_block():
    """3 mm are one and a half voxels of 2 mm: rounded up, also of 2.0000001 mm."""
    values = np.random.default_rng(0).normal(size=(32, 32, 32)).astype(np.float32)
    for turn in np.random.default_rng(0).uniform(-30, 30, (10, 3)):
        affine = data.grid(values.shape, turn=turn, voxel=2.0).astype(np.float32).astype(float)
        assert thinned(nb.Nifti1Image(values, affine), 3.0).shape == (16, 16, 16)


def test_noise_in_the_air_is_no_head():
    quiet, noisy = (CoarseHead(data.t1w((60, 72, 60), 3, noise=noise)) for noise in (0.01, 0.1))
    assert (quiet.inside & noisy.inside).sum() > 0.93 * (quiet.inside | noisy.inside).sum()


def test_an_offset_of_all_voxels_is_no_head():
    scan = data.t1w((60, 72, 60), 3, noise=0.01)
    shifted = CoarseHead(nb.Nifti1Image(scan.get_fdata() + 2000, scan.affine))
    plain = CoarseHead(scan)
    assert (plain.inside & shifted.inside).sum() > 0.95 * (plain.inside | shifted.inside).sum()


def test_an_image_without_a_head():
    with pytest.raises(ValueError, match='nothing in the T1w'):
        CoarseHead(nb.Nifti1Image(np.zeros((20, 20, 20), np.float32), np.diag([4, 4, 4, 1])))
