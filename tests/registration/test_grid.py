"""Grids, against closed forms and nibabel."""

import nibabel as nib
import numpy as np
import pytest

from bidsreg.registration import Grid
from tests import data


@pytest.mark.parametrize('name', list(data.GRIDS))
def test_voxels_and_world_as_nibabel(name):
    shape, affine = data.GRIDS[name]
    grid = Grid(shape, affine)
    voxels = np.random.default_rng(0).uniform(0, 40, (20, 3))
    np.testing.assert_allclose(grid.to_world(voxels), nib.affines.apply_affine(affine, voxels), atol=1e-9)
    np.testing.assert_allclose(grid.to_voxels(grid.to_world(voxels)), voxels, atol=1e-9)
    np.testing.assert_allclose(grid.spacing, nib.affines.voxel_sizes(affine))
    assert grid.is_orthogonal() == (name != 'sheared')


@pytest.mark.parametrize('name', list(data.GRIDS))
def test_coarser_and_orthogonal_grids_cover_the_same_place(name):
    shape, affine = data.GRIDS[name]
    grid = Grid(shape, affine)
    square = grid.orthogonalised()
    middle = (np.array(shape) - 1) / 2
    np.testing.assert_allclose(square.to_world(middle), grid.to_world(middle))
    assert square.is_orthogonal()
    assert np.linalg.det(square.directions) * np.linalg.det(grid.directions) > 0
    coarse = square.coarsened(6.0)
    assert (coarse.spacing >= 6 - 1e-6).all()
    at = coarse.to_voxels(square.corners())
    assert (at > -1e-6).all()
    assert (at < np.array(coarse.shape) - 1 + 1e-6).all()


def test_cropping_keeps_voxels_where_they_are():
    shape, affine = data.GRIDS['oblique']
    grid = Grid(shape, affine)
    part = grid.cropped(np.array([3, -2, 5]), np.array([9, 8, 30]))
    assert part.shape == (6, 10, 25)
    np.testing.assert_allclose(part.to_world([0, 0, 0]), grid.to_world([3, -2, 5]))


@pytest.mark.parametrize('affine', [np.zeros((4, 4)), np.full((4, 4), np.nan), np.eye(3)])
def test_bad_affines_are_refused(affine):
    with pytest.raises(ValueError, match='affine'):
        Grid((4, 4, 4), affine)
