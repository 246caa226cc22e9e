"""The node that brings a user's mask onto the grid of its image."""

import nibabel as nb
import numpy as np
import pytest

from bidsreg.errors import InputError
from bidsreg.interfaces.masks import FitMask


def test_the_node_writes_the_mask_on_the_grid_of_the_image(heads, here):
    turned = nb.load(heads[1]).as_reoriented([[1, -1], [0, 1], [2, 1]])
    nb.save(turned, here / 'sub-01_space-T2w_desc-brain_mask.nii.gz')
    out = FitMask(reference=str(heads[0]), in_file=str(here / 'sub-01_space-T2w_desc-brain_mask.nii.gz')).run().outputs
    found, goal = nb.load(out.out_file), nb.load(heads[1])
    np.testing.assert_array_equal(np.asanyarray(found.dataobj), np.asanyarray(goal.dataobj) > 0)
    np.testing.assert_allclose(found.affine, nb.load(heads[0]).affine)
    assert found.get_data_dtype() == np.uint8
    assert 'sub-01_space-T2w_desc-brain_mask.nii.gz, its voxels put into the order' in out.method


def test_a_mask_that_does_not_fit_is_an_error(heads, here):
    away = nb.load(heads[1]).affine.copy()
    away[:3, 3] += 300
    nb.save(nb.Nifti1Image(np.asanyarray(nb.load(heads[1]).dataobj), away), here / 'm.nii.gz')
    with pytest.raises(InputError, match='does not fit'):
        FitMask(reference=str(heads[0]), in_file=str(here / 'm.nii.gz')).run()
