"""A matrix taken apart into the numbers it was made of."""

import nibabel as nb
import numpy as np
import pytest
from scipy import ndimage as ndi

from bidsreg.preparation.affine import rigid_matrix
from bidsreg.qc.decomposition import closest_affine, decompose, linear_part
from bidsreg.registration.deformation import Deformation
from bidsreg.registration.grid import Grid
from tests import data


def test_decompose_gives_back_what_went_in():
    centre = np.array([10.0, -20.0, 40.0])
    matrix = rigid_matrix((4, -5, 6), (1, 2, 3), centre)
    parts = decompose(matrix, centre)
    np.testing.assert_allclose(parts['rotation_deg'], (4, -5, 6), atol=1e-3)
    np.testing.assert_allclose(parts['translation_mm'], (1, 2, 3), atol=1e-3)
    np.testing.assert_allclose(parts['scales'], 1, atol=1e-6)
    np.testing.assert_allclose(parts['shears'], 0, atol=1e-6)
    stretch = np.eye(4)
    stretch[:3, :3] = [[1.1, 0.02, 0], [0.02, 0.9, 0.01], [0, 0.01, 1.0]]
    parts = decompose(matrix @ stretch, centre)
    np.testing.assert_allclose(parts['scales'], (1.1, 0.9, 1.0), atol=1e-3)
    np.testing.assert_allclose(parts['stretches'], np.linalg.svd(stretch[:3, :3])[1][::-1], atol=1e-4)
    np.testing.assert_allclose(parts['shears'], (0.02, 0, 0.01), atol=1e-3)
    assert parts['determinant'] == pytest.approx(np.linalg.det(stretch[:3, :3]), abs=1e-4)


def test_a_scale_is_seen_whatever_way_its_axis_lies():
    """A T2w with slices 5 % too thick that was scanned obliquely: along no axis of the T1w the scale is 5 %."""
    scale = np.diag([1.0, 1.0, 1.05, 1.0])
    turned = rigid_matrix((30, 20, 10))
    parts = decompose(turned @ scale @ np.linalg.inv(turned))
    assert max(parts['scales']) < 1.04
    assert parts['stretches'] == pytest.approx([1, 1, 1.05], abs=1e-4)


def test_the_closest_affine_is_the_one_that_moved_the_points():
    matrix = rigid_matrix((5, -3, 8), (4, -7, 2)) @ np.diag([1.05, 0.97, 1.02, 1])
    points = np.random.default_rng(3).normal(0, 50, (40, 3)) + np.array([1000, -2000, 500])
    moved = nb.affines.apply_affine(matrix, points)
    np.testing.assert_allclose(closest_affine(points, moved), matrix, atol=1e-9)
    # what no affine can do is shared out: the rest has no mean
    moved[0] += 1
    away = nb.affines.apply_affine(closest_affine(points, moved), points) - moved
    np.testing.assert_allclose(away.mean(0), 0, atol=1e-9)


GRIDS = {
    'plain': {'axes': 'RAS'},
    'turned, left-handed, far away': {
        'axes': 'PIR',
        'turn': (10, -20, 15),
        'voxel': (3, 4, 5),
        'centre': (300, -200, 500),
    },
}


@pytest.mark.parametrize('kind', GRIDS)
def test_the_linear_part_of_a_deformation_is_what_a_matrix_can_do_of_it(kind, tmp_path):
    """A field that finishes in the brain what its matrix began, and a wave on top of it that no matrix can do."""
    shape = np.array((30, 34, 28))
    affine = data.grid(shape, **GRIDS[kind])
    at, middle = data.world(shape, affine), nb.affines.apply_affine(affine, (shape - 1) / 2)
    steps = np.moveaxis(np.indices(shape), 0, -1) - (shape - 1) / 2
    inside = (np.abs(steps) < shape / 2 - 6).all(-1)
    more = rigid_matrix((2, -3, 1), (3, 1, -2), middle) @ _scaled(1.03, middle)
    wave = np.cos(steps[..., ::-1])  # the same on both sides of the middle
    field = nb.affines.apply_affine(more, at) - at + 2 * (wave - wave[inside].mean(0))
    matrix, grid = rigid_matrix((-4, 2, 5), (10, 20, -5)), Grid(tuple(shape), affine)
    field = np.where(ndi.binary_dilation(inside, iterations=2)[..., None], field, 0).astype(np.float32)
    Deformation(matrix, field, np.zeros_like(field), grid).save(tmp_path / 'forward.h5')
    found = linear_part(tmp_path / 'forward.h5', data.image(inside.astype(np.uint8), affine))
    away = nb.affines.apply_affine(found, at[inside]) - nb.affines.apply_affine(matrix @ more, at[inside])
    assert np.abs(away).max() < 1e-3
    # without a displacement it is the matrix, wherever the mask's voxels lie
    Deformation.from_affine(matrix, grid).save(tmp_path / 'still.h5')
    sheared = data.image(inside.astype(np.uint8), data.grid(shape, centre=middle, shear=0.2))
    np.testing.assert_allclose(linear_part(tmp_path / 'still.h5', sheared), matrix, atol=1e-9)


def test_a_transform_without_a_brain_or_the_wrong_way_round_has_no_linear_part(tmp_path):
    grid = Grid((6, 6, 6), np.diag([3.0, 3, 3, 1]))
    there = Deformation.identity(grid)
    there.save(tmp_path / 'forward.h5')
    there.inverted().save(tmp_path / 'inverse.h5')
    empty, full = (data.image(np.full(grid.shape, value, np.uint8), grid.affine) for value in (0, 1))
    with pytest.raises(ValueError, match='mask is empty'):
        linear_part(tmp_path / 'forward.h5', empty)
    with pytest.raises(ValueError, match=r'inverse\.h5: the displacement has to come before'):
        linear_part(tmp_path / 'inverse.h5', full)


def _scaled(by, centre):
    matrix = np.diag([by, by, by, 1.0])
    matrix[:3, 3] = np.asarray(centre) * (1 - by)
    return matrix
