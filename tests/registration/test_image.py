"""Images: loaded, smoothed and sampled."""

import nibabel as nib
import numpy as np
import pytest

from bidsreg.registration import Grid, Image
from tests import data


@pytest.mark.parametrize(
    ('shape', 'fill', 'words'),
    [((6, 6, 6, 3), 1.0, 'three-dimensional'), ((6, 6), 1.0, 'three-dimensional'), ((6, 6, 6), np.nan, 'NaN')],
)
def test_images_that_cannot_be_registered_name_their_file(tmp_path, shape, fill, words):
    path = tmp_path / 'bad.nii.gz'
    nib.save(nib.Nifti1Image(np.full(shape, fill, np.float32), np.eye(4)), path)
    with pytest.raises(ValueError, match=rf'bad\.nii\.gz.*{words}'):
        Image.load(path)


@pytest.mark.parametrize('more', [(1,), (1, 1), (1, 1, 1)])
def test_axes_of_length_one_at_the_end_are_dropped(tmp_path, more):
    values = np.random.default_rng(0).normal(size=(6, 7, 8)).astype(np.float32)
    nib.save(nib.Nifti1Image(values.reshape(*values.shape, *more), np.eye(4)), tmp_path / 'long.nii')
    np.testing.assert_array_equal(Image.load(tmp_path / 'long.nii').data, values)


@pytest.mark.parametrize(
    ('dtype', 'words'),
    [(np.complex64, 'complex64'), (np.dtype([('R', 'u1'), ('G', 'u1'), ('B', 'u1')]), '.*one number a voxel')],
)
def test_voxels_that_are_no_real_numbers_are_refused_not_cut(tmp_path, dtype, words):
    path = tmp_path / 'kind.nii'
    nib.save(nib.Nifti1Image(np.ones((6, 6, 6), dtype), np.eye(4)), path)
    with pytest.raises(ValueError, match=rf'kind\.nii: holds {words}'):
        Image.load(path)


def test_a_header_that_places_no_voxels_names_its_file(tmp_path):
    path = tmp_path / 'flat.nii'
    image = nib.Nifti1Image(np.ones((6, 6, 6), np.float32), np.eye(4))
    image.set_sform(np.diag([0.0, 1, 1, 1]), 1)
    nib.save(image, path)
    with pytest.raises(ValueError, match=r'flat\.nii: its header places no voxels.*invertible'):
        Image.load(path)


def test_truncated_and_missing_files_name_themselves(tmp_path):
    path = tmp_path / 'cut.nii.gz'
    nib.save(nib.Nifti1Image(np.random.default_rng(0).normal(size=(20, 20, 20)).astype(np.float32), np.eye(4)), path)
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(ValueError, match=r'cut\.nii\.gz.*truncated'):
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


@pytest.mark.parametrize('name', ['left-handed', 'sagittal', 'oblique', 'oblique-left-handed', 'sheared'])
def test_one_order_of_the_voxels_without_a_loss(name):
    shape, affine = data.GRIDS[name]
    image = Image(np.random.default_rng(0).normal(size=shape).astype(np.float32), Grid(shape, affine))
    other = image.canonical()
    assert ''.join(nib.aff2axcodes(other.grid.affine)) == 'RAS'
    where = np.round(other.grid.to_voxels(image.grid.to_world(np.argwhere(np.ones(shape))))).astype(int)
    np.testing.assert_array_equal(other.data[tuple(where.T)], image.data.ravel())
    np.testing.assert_allclose(other.grid.corners().mean(0), image.grid.corners().mean(0), atol=1e-3)
    again = Image(other.data, Grid(other.grid.shape, other.grid.affine.astype(np.float32))).canonical()
    np.testing.assert_array_equal(again.grid.affine[:3, 3], other.grid.affine[:3, 3])
