"""Where mutual information is measured: brains and a little more, or everywhere, and no lesions."""

import nibabel as nb
import numpy as np
import pytest
from scipy import ndimage as ndi

from bidsreg.errors import InputError
from bidsreg.preparation.compared import DILATION_MM, compared
from tests import data

AFFINE = data.grid((20, 22, 18), 'LPS', (4, 0, 0), (0.8, 0.9, 2.5))


@pytest.fixture
def files(tmp_path):
    image = nb.Nifti1Image(np.random.default_rng(0).uniform(size=(20, 22, 18)).astype(np.float32), AFFINE)
    brain, lesion = (np.zeros(image.shape, np.uint8) for _ in range(2))
    brain[5:15, 5:15, 5:15] = 1
    lesion[12:18, 5:9, 5:9] = 1
    paths = {}
    for name, values in (('brain', brain), ('lesion', lesion)):
        paths[name] = str(tmp_path / f'{name}.nii.gz')
        nb.save(nb.Nifti1Image(values, AFFINE), paths[name])
    return image, brain > 0, lesion > 0, paths


def grown(brain):
    return ndi.distance_transform_edt(~brain, sampling=nb.affines.voxel_sizes(AFFINE)) <= DILATION_MM + 1e-6


def test_the_brain_and_a_little_more_without_its_lesion(files):
    image, brain, lesion, paths = files
    np.testing.assert_array_equal(np.asarray(compared(paths['brain'], None, image, 'i').dataobj), grown(brain))
    found = np.asarray(compared(paths['brain'], paths['lesion'], image, 'i').dataobj)
    np.testing.assert_array_equal(found, grown(brain) & ~lesion)


def test_without_a_mask_everywhere_but_in_the_lesion(files):
    image, _, lesion, paths = files
    assert compared(None, None, image, 'i') is None
    np.testing.assert_array_equal(np.asarray(compared(None, paths['lesion'], image, 'i').dataobj), ~lesion)


def test_masks_on_other_grids_are_refused(files, tmp_path):
    image, brain, _, _ = files
    nb.save(nb.Nifti1Image(brain[1:].astype(np.uint8), AFFINE), tmp_path / 'other.nii.gz')
    with pytest.raises(InputError, match='19x22x18'):
        compared(str(tmp_path / 'other.nii.gz'), None, image, 'i')
    with pytest.raises(InputError, match='19x22x18'):
        compared(None, str(tmp_path / 'other.nii.gz'), image, 'i')
