"""Grids, images and the numbers about deformations, against closed forms and other implementations."""

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import entropy

from bidsreg.registration import Deformation, Grid, Image, metrics
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
    at = coarse.to_voxels(square.to_world(metrics.corners(shape)))
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


def linear_field(matrix, grid):
    return grid.to_world(np.stack(np.meshgrid(*map(np.arange, grid.shape), indexing='ij'), -1)) @ (matrix - np.eye(3)).T


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([n for n in data.GRIDS if n != 'sheared']))
def test_jacobian_of_a_linear_map_is_its_determinant_on_any_grid(seed, name):
    matrix = np.eye(3) + np.random.default_rng(seed).uniform(-0.3, 0.3, (3, 3))
    grid = Grid((5, 6, 4), data.GRIDS[name][1])
    for scheme in ('central', 'forward', 'backward'):
        ours = metrics.jacobian_determinant(linear_field(matrix, grid), grid, scheme)
        np.testing.assert_allclose(ours, np.linalg.det(matrix), rtol=1e-3, atol=1e-4)


def test_folds_are_counted_by_any_scheme():
    grid = Grid((12, 5, 5), np.eye(4))
    u = np.zeros((12, 5, 5, 3))
    assert metrics.count_folds(u, grid) == 0
    u[6, :, :, 0] = 1.5  # point 6 overtakes point 7: forward differences see it, central ones do not
    assert (metrics.jacobian_determinant(u, grid) > 0).all()
    assert metrics.count_folds(u, grid) == 50


def test_inverse_consistency_of_a_known_error():
    grid = Grid((20, 20, 20), np.diag([1.0, 2.0, 1.5, 1.0]))
    forward = np.broadcast_to([0.5, 0.0, 0.0], (20, 20, 20, 3)).copy()
    mask = np.zeros(grid.shape, bool)
    mask[5:15, 5:15, 5:15] = True
    good = metrics.inverse_consistency(forward, -forward, grid, mask)
    assert good['max'] < 1e-9
    off = metrics.inverse_consistency(forward, -forward + [0, 0.3, 0.4], grid, mask)
    assert off['mean'] == pytest.approx(0.5)
    assert off['p99'] == pytest.approx(0.5)


def test_mutual_information_of_known_tables():
    rng = np.random.default_rng(0)
    a = rng.integers(0, 4, 40_000).astype(float)
    mi, nmi = metrics.mutual_information(a, -3 * a)
    assert mi == pytest.approx(entropy(np.bincount(a.astype(int)) / a.size), rel=1e-6)
    assert nmi == pytest.approx(2)
    mi, nmi = metrics.mutual_information(a, rng.integers(0, 4, a.size).astype(float))
    assert mi == pytest.approx(0, abs=1e-3)
    assert nmi == pytest.approx(1, abs=1e-3)


def test_identity_deformation_changes_nothing_and_inverse_of_inverse_is_the_same():
    shape, affine = data.GRIDS['oblique-left-handed']
    grid = Grid(shape, affine)
    still = np.zeros((*shape, 3), np.float32)
    image = Image(np.random.default_rng(0).normal(size=shape).astype(np.float32), grid)
    deformation = Deformation(np.eye(4), still, still, grid)
    np.testing.assert_allclose(deformation.apply(image, grid).data, image.data, atol=1e-4)
    np.testing.assert_allclose(deformation.jacobian(grid).data, 1)
    points = grid.to_world(np.random.default_rng(1).uniform(0, 30, (50, 3)))
    np.testing.assert_allclose(deformation.inverted().inverted().points(points), points)


@pytest.mark.parametrize(
    ('shape', 'fill', 'words'),
    [((6, 6, 6, 3), 1.0, 'three-dimensional'), ((6, 6), 1.0, 'three-dimensional'), ((6, 6, 6), np.nan, 'NaN')],
)
def test_images_that_cannot_be_registered_name_their_file(tmp_path, shape, fill, words):
    path = tmp_path / 'bad.nii.gz'
    nib.save(nib.Nifti1Image(np.full(shape, fill, np.float32), np.eye(4)), path)
    with pytest.raises(ValueError, match=rf'bad\.nii\.gz.*{words}'):
        Image.load(path)


def test_truncated_and_missing_files_name_themselves(tmp_path):
    path = tmp_path / 'cut.nii.gz'
    nib.save(nib.Nifti1Image(np.random.default_rng(0).normal(size=(20, 20, 20)).astype(np.float32), np.eye(4)), path)
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(ValueError, match=r'cut\.nii\.gz.*whole'):
        Image.load(path)
    with pytest.raises(ValueError, match='no such file'):
        Image.load(tmp_path / 'none.nii.gz')


def test_smoothing_widens_to_the_wanted_width_in_mm_whatever_the_voxels():
    for spacing in ((1.0, 1.0, 1.0), (0.5, 0.5, 2.0)):
        shape = tuple(int(48 / h) + 1 for h in spacing)
        point = np.zeros(shape, np.float32)
        point[tuple(n // 2 for n in shape)] = 1
        blurred = Image(point, Grid(shape, np.diag([*spacing, 1.0]))).smoothed_for(np.full(3, 4.0)).data
        for axis, h in enumerate(spacing):
            profile = blurred.sum(tuple(a for a in range(3) if a != axis))
            mm = (np.arange(len(profile)) - len(profile) // 2) * h
            variance = (profile * mm**2).sum() / profile.sum()
            assert variance == pytest.approx((4.0**2 - h**2) / (8 * np.log(2)), rel=0.05)
