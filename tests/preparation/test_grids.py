"""Whether two images lie on one grid, and the names of their files."""

from __future__ import annotations

from pathlib import Path

import nibabel as nb
import numpy as np
import pytest

from bidsreg.bids.images import SAME_GRID_MM, voxel_order
from bidsreg.errors import InputError
from bidsreg.preparation.grids import canonical, describe_grid, require_same_grid, stem
from tests import data

SHAPE = (10, 12, 8)
REFERENCE = data.image(np.zeros(SHAPE, np.float32), data.grid(SHAPE, voxel=2))


@pytest.mark.parametrize(
    ('path', 'name'),
    [('/a.b/T1w.nii.gz', 'T1w'), (Path('T1w.nii'), 'T1w'), ('T1w.mgz', 'T1w.mgz'), ('x.nii.nii.gz', 'x.nii')],
)
def test_a_name_without_folder_and_extension(path, name):
    assert stem(path) == name


def moved(millimetres: float) -> nb.Nifti1Image:
    affine = REFERENCE.affine.copy()
    affine[2, 3] += millimetres
    return data.image(np.zeros(SHAPE, np.float32), affine)


def check(image: nb.Nifti1Image) -> None:
    require_same_grid(image, REFERENCE, what='Mask', path='/x/mask.nii', of='/y/T1w.nii')


def test_one_grid_with_more_axes_and_within_the_tolerance():
    check(moved(0))
    check(moved(0.9 * SAME_GRID_MM))
    check(data.image(np.zeros((*SHAPE, 2), np.float32), REFERENCE.affine))


def test_another_place():
    with pytest.raises(InputError, match=r'Mask /x/mask.nii lies elsewhere than T1w.nii: .* up to 0\.4 mm apart'):
        check(moved(2 * SAME_GRID_MM))


def test_another_shape():
    with pytest.raises(InputError, match=r'Mask /x/mask.nii has 9x12x8 voxels, but T1w.nii has 10x12x8'):
        check(data.image(np.zeros((9, 12, 8), np.float32), REFERENCE.affine))


def test_a_grid_in_words():
    affine = nb.affines.from_matvec(np.diag([-0.8, 0.8, 1.2]), (40, -50, 60))
    image = nb.Nifti1Image(np.zeros((101, 126, 101), np.uint8), affine)
    assert describe_grid(image) == '101 x 126 x 101 voxels of 0.8 x 0.8 x 1.2 mm, LAS, about (0, 0, 120) mm'


def test_one_order_of_the_voxels_without_a_loss():
    shape, affine = data.GRIDS['oblique-left-handed']
    image = data.image(np.random.default_rng(0).integers(0, 900, shape).astype(np.int16), affine)
    turned = canonical(image)
    assert nb.aff2axcodes(turned.affine) == ('R', 'A', 'S')
    order = voxel_order(turned.affine, turned.shape, image.affine, image.shape)
    np.testing.assert_array_equal(nb.orientations.apply_orientation(turned.dataobj, order), image.dataobj)
    assert turned.get_data_dtype() == np.int16
