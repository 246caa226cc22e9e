"""Where the brain is: masks out of labels, and images without all else."""

from __future__ import annotations

import nibabel as nb
import numpy as np
import pytest

from bidsreg.benchmark.masks import filled_union
from bidsreg.errors import InputError
from bidsreg.preparation.spaces import cut_out


def test_the_union_has_no_gaps_and_no_holes():
    labels = np.zeros((20, 20, 20), int)
    labels[4:9, 4:16, 4:16] = 1
    labels[11:16, 4:16, 4:16] = 2  # two voxels between them
    labels[5:8, 9:12, 9:12] = 0  # a hole
    labels[0, 0, 0] = 9  # counts for nothing
    expected = np.zeros(labels.shape, bool)
    expected[4:16, 4:16, 4:16] = True
    found = filled_union(labels, [1, 2])
    assert found.dtype == bool
    # closing rounds the edges of the gap between the two
    assert (found[4:9] == expected[4:9]).all()
    assert (found[11:] == expected[11:]).all()
    assert found[9:11, 6:14, 6:14].all()
    assert not found[:4].any()


def test_what_touches_the_border_is_kept():
    labels = np.ones((6, 6, 6), int)
    assert filled_union(labels, [1]).all()


def test_only_the_brain_is_left(tmp_path):
    affine = np.diag([-2.0, 1, 1, 1])
    values = np.arange(1000, dtype=np.int16).reshape(10, 10, 10)
    mask = (values % 3 == 0).astype(np.uint8)
    nb.save(nb.Nifti1Image(values, affine), tmp_path / 'head.nii.gz')
    nb.save(nb.Nifti1Image(mask, affine), tmp_path / 'mask.nii.gz')
    brain = cut_out(str(tmp_path / 'head.nii.gz'), str(tmp_path / 'mask.nii.gz'))
    np.testing.assert_array_equal(brain.get_fdata(), values * mask)
    np.testing.assert_array_equal(brain.affine, affine)
    nb.save(nb.Nifti1Image(mask[1:], affine), tmp_path / 'mask.nii.gz')
    with pytest.raises(InputError, match=r'Mask .*mask\.nii\.gz has 9x10x10 voxels'):
        cut_out(str(tmp_path / 'head.nii.gz'), str(tmp_path / 'mask.nii.gz'))
