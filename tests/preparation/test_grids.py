"""Two images lie on one grid, or the message says in what they differ."""

from __future__ import annotations

import nibabel as nb
import numpy as np
import pytest

from bidsreg.errors import InputError
from bidsreg.preparation.grids import GRID_TOLERANCE, require_same_grid, stem


def image(shape=(10, 12, 14), shift=0.0):
    affine = np.diag([2.0, 2.0, 2.0, 1.0])
    affine[0, 3] = shift
    return nb.Nifti1Image(np.zeros(shape, np.uint8), affine)


def check(one):
    require_same_grid(one, image(), what='the mask', path='/in/mask.nii', of='/in/t1w.nii.gz')


def test_rounding_of_headers_is_no_difference():
    check(image())
    check(image(shift=0.9 * GRID_TOLERANCE))


@pytest.mark.parametrize(
    ('other', 'words'),
    [
        (image(shape=(10, 12, 13)), 'the mask /in/mask.nii has 10x12x13 voxels, but t1w.nii.gz has 10x12x14'),
        (image(shift=3.0), 'up to 3.0 mm apart'),
        (image(shift=float('nan')), 'lies elsewhere'),
    ],
)
def test_another_grid_is_said(other, words):
    with pytest.raises(InputError, match=words):
        check(other)


@pytest.mark.parametrize('name', ['scan.nii', '/a.b/scan.nii.gz', 'scan'])
def test_a_stem_has_no_extension(name):
    assert stem(name) == 'scan'
