"""Conform: one header for everybody, no voxel touched."""

import nibabel as nb
import numpy as np
import pytest

from bidsreg.errors import InputError
from bidsreg.interfaces.conform import Conform
from tests import data


@pytest.mark.parametrize('name', sorted(set(data.GRIDS) - {'sheared'}))
def test_every_grid_keeps_its_voxels_and_place(name, tmp_path, here):
    shape, affine = data.GRIDS[name]
    scan = data.t1w(shape, affine=affine)
    nb.save(scan, tmp_path / 'scan.nii.gz')
    out = Conform(in_file=str(tmp_path / 'scan.nii.gz')).run().outputs
    image = nb.load(out.out_file)
    np.testing.assert_array_equal(np.asanyarray(image.dataobj), np.asanyarray(scan.dataobj))
    np.testing.assert_allclose(image.affine, affine, atol=1e-3)
    np.testing.assert_allclose(image.get_qform(), image.get_sform(), atol=1e-4)
    assert out.seconds >= 0
    assert out.skull_stripped is False


def test_disagreeing_forms_are_said(tmp_path, here):
    scan = data.t1w((20, 24, 20))
    scan.set_qform(data.grid((20, 24, 20), centre=(15, 0, 0)), 1)
    nb.save(scan, tmp_path / 'scan.nii.gz')
    out = Conform(in_file=str(tmp_path / 'scan.nii.gz')).run().outputs
    assert any('qform' in finding for finding in out.findings)
    np.testing.assert_allclose(nb.load(out.out_file).affine, scan.get_sform(), atol=1e-4)


@pytest.mark.parametrize('dtype', [np.uint8, np.float32])
def test_a_mask_under_the_name_of_a_scan_is_refused(tmp_path, here, dtype):
    brain = np.asarray(data.head((20, 24, 20)).mask.dataobj).astype(dtype)
    nb.save(data.image(brain, data.grid((20, 24, 20))), tmp_path / 'scan.nii.gz')
    with pytest.raises(InputError, match=r'scan\.nii\.gz: every voxel is .* it is a mask, not a scan'):
        Conform(in_file=str(tmp_path / 'scan.nii.gz')).run()


def test_a_bad_image_is_refused(tmp_path, here):
    nb.save(nb.Nifti1Image(np.ones((20, 20, 20, 3), np.float32), np.eye(4)), tmp_path / 'scan.nii.gz')
    with pytest.raises(InputError, match='4-D'):
        Conform(in_file=str(tmp_path / 'scan.nii.gz')).run()
