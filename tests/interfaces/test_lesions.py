"""The node that brings lesions of the user onto the grid of their image."""

import nibabel as nb
import numpy as np

from bidsreg.interfaces.lesions import FitLesions


def test_the_node_writes_all_lesions_in_one_mask(heads, here):
    image = nb.load(heads[0])
    values = np.zeros(image.shape, np.int16)
    values[6:10, 6:10, 6:10] = 4
    values[12:14, 6:10, 6:10] = 2
    nb.save(nb.Nifti1Image(values, image.affine), here / 'dseg.nii.gz')
    nb.save(nb.Nifti1Image((values == 2).astype('uint8'), image.affine), here / 'roi.nii.gz')
    files = [str(here / 'dseg.nii.gz'), str(here / 'roi.nii.gz')]
    out = FitLesions(reference=str(heads[0]), in_files=files, values=[[4, 5], []]).run().outputs
    found = nb.load(out.out_file)
    np.testing.assert_array_equal(np.asanyarray(found.dataobj), values > 0)
    assert found.get_data_dtype() == np.uint8
    assert out.out_mask == out.out_file
    assert 'dseg.nii.gz, values 4, 5; roi.nii.gz' in out.method


def test_without_any_lesion_there_is_no_mask(heads, here):
    image = nb.load(heads[0])
    nb.save(nb.Nifti1Image(np.zeros(image.shape, 'uint8'), image.affine), here / 'roi.nii.gz')
    outputs = FitLesions(reference=str(heads[0]), in_files=[str(here / 'roi.nii.gz')], values=[[]]).run().outputs
    assert not nb.load(outputs.out_mask).get_fdata().any()
    assert 'out_file' not in {name for name, value in outputs.get().items() if isinstance(value, str)}
    assert '(empty)' in outputs.method
