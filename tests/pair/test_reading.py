"""The images of bidsreg-pair are read as the app reads scans: headers that say nothing of a place are refused."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest

from bidsreg.errors import InputError
from bidsreg.pair.reading import read_image, read_mask
from tests import data

SHAPE = (9, 10, 11)
AFFINE = data.grid(SHAPE, turn=(10, -5, 20))
VOXELS = np.random.default_rng(0).integers(0, 900, SHAPE).astype(np.int16)


def save(path, voxels=VOXELS, affine=AFFINE, **fields):
    """Write a file whose header has these fields, whatever nibabel thinks of them."""
    header = nib.Nifti1Header()
    header.set_data_dtype(voxels.dtype)
    header.set_data_shape(voxels.shape)
    header.set_qform(affine, 1)
    header.set_sform(affine, 1)
    header['xyzt_units'], header['vox_offset'], header['magic'], header['scl_slope'] = 2, 352, b'n+1', 1
    for name, value in fields.items():
        header[name] = value
    path.write_bytes(header.binaryblock + bytes(4) + voxels.tobytes('F'))
    return path


@pytest.mark.parametrize(
    ('unit', 'size', 'words'), [(2, 1.0, ''), (1, 1e-3, 'in metres'), (3, 1e3, 'in micrometres'), (0, 1.0, '')]
)
def test_places_are_in_mm_whatever_the_unit_of_the_header(tmp_path, caplog, unit, size, words):
    path = save(tmp_path / 'a.nii', affine=np.diag([size] * 3 + [1.0]) @ AFFINE, xyzt_units=unit)
    image = read_image(path)
    np.testing.assert_allclose(image.grid.affine, AFFINE, atol=1e-4)
    np.testing.assert_array_equal(image.data, VOXELS)
    assert words in caplog.text
    assert bool(caplog.text) == bool(words)


def test_a_qform_without_handedness_and_a_scale_without_a_number_are_read_as_the_app_reads_them(tmp_path, caplog):
    zooms = nib.affines.voxel_sizes(AFFINE)
    path = save(tmp_path / 'a.nii', sform_code=0, pixdim=[0, *zooms, 0, 0, 0, 0], scl_slope=np.nan)
    image = read_image(path)
    np.testing.assert_allclose(image.grid.affine, AFFINE, atol=1e-4)
    np.testing.assert_array_equal(image.data, VOXELS)
    assert 'a.nii: the scale of its voxels' in caplog.text


def _pointer(path):
    path.write_text('version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n')
    return path


def _broken_link(path):
    path.symlink_to('../.git/annex/objects/none.nii')
    return path


@pytest.mark.parametrize(
    ('make', 'words'),
    [
        (lambda path: save(path, sform_code=0, qform_code=0), 'neither a qform nor a sform'),
        (lambda path: save(path, VOXELS.astype(np.complex64)), 'complex numbers'),
        (lambda path: save(path, np.zeros(SHAPE, [(c, 'u1') for c in 'RGB'])), 'colours'),
        (lambda path: save(path, srow_z=[0, 0, 0, 0]), 'singular'),
        (_pointer, 'Git LFS'),
        (lambda path: path, 'there is no such file'),
        (_broken_link, 'datalad get'),
    ],
)
def test_what_is_no_scan_in_a_place_is_refused(tmp_path, make, words):
    path = make(tmp_path / 'a.nii')
    with pytest.raises(InputError, match=words) as caught:
        read_image(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ('voxels', 'words'),
    [
        (np.stack([VOXELS, VOXELS], -1), 'three-dimensional'),
        (np.where(VOXELS > 800, np.float32(np.nan), VOXELS), 'NaN or infinite'),
        (np.full(SHAPE, 1e300), 'NaN or infinite'),
    ],
)
def test_what_is_no_volume_of_numbers_is_refused(tmp_path, voxels, words):
    with pytest.raises(ValueError, match=words):
        read_image(save(tmp_path / 'a.nii', voxels))


def test_a_mask_is_whole_numbers_however_they_are_stored(tmp_path):
    header = nib.Nifti1Header()
    header.set_data_dtype(np.uint8)
    nib.save(nib.Nifti1Image((VOXELS > 400) * 0.5 + (VOXELS > 800) * 1.5, AFFINE, header), tmp_path / 'a.nii.gz')
    with pytest.raises(InputError, match=r'a\.nii\.gz: has values between whole numbers'):
        read_mask(tmp_path / 'a.nii.gz')
    nib.save(nib.Nifti1Image((VOXELS > 400) * 3.0, AFFINE, header), tmp_path / 'a.nii.gz')
    np.testing.assert_array_equal(read_mask(tmp_path / 'a.nii.gz').data, (VOXELS > 400) * 3)
    np.testing.assert_array_equal(
        read_mask(save(tmp_path / 'b.nii', (VOXELS > 400).astype(np.uint8))).data, VOXELS > 400
    )
