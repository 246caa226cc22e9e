"""Coarser copies: blocks are averaged, and lie where their voxels did."""

import nibabel as nb
import numpy as np
import pytest

from bidsreg.preparation.thinning import thinned, thinned_both, thinned_mask
from tests import data


def image(values, zooms=(1.0, 1.0, 1.0)):
    affine = np.diag([*zooms, 1.0])
    affine[:3, 3] = (-7, 5, 3)
    return nb.Nifti1Image(np.asarray(values, np.float32), affine)


def test_blocks_are_averaged_about_their_middle():
    ramp = np.add.outer(np.add.outer(np.arange(33.0), 10 * np.arange(24.0)), 100 * np.arange(8.0))
    thin = thinned(image(ramp, (1.0, 1.0, 5.0)), 2.2)
    assert thin.shape == (16, 12, 8)  # what is left over of 33 is dropped, and slices stay as thick as they are
    np.testing.assert_allclose(nb.affines.voxel_sizes(thin.affine), (2, 2, 5))
    # linear values are those at the middle of a block
    at = nb.affines.apply_affine(np.linalg.inv(image(ramp, (1.0, 1.0, 5.0)).affine) @ thin.affine, (3, 4, 5))
    assert thin.get_fdata()[3, 4, 5] == pytest.approx(at @ (1, 10, 100))


def test_a_copy_is_the_same_to_the_last_bit_in_whatever_order_the_voxels_were_stored():
    plain = image(np.random.default_rng(0).normal(600, 100, size=(33, 36, 24)))
    expected = thinned(plain, 3.0).get_fdata()
    for axes in ('PSR', 'IRP', 'SLA', 'ALI', 'LPS'):
        order = nb.orientations.ornt_transform(
            nb.io_orientation(plain.affine), nb.orientations.axcodes2ornt(tuple(axes))
        )
        stored = plain.as_reoriented(order)
        stored = nb.Nifti1Image(np.ascontiguousarray(stored.dataobj), stored.affine)
        np.testing.assert_array_equal(thinned(nb.as_closest_canonical(stored), 3.0).get_fdata(), expected)


def test_the_rounding_of_headers_changes_no_block():
    """3 mm are one and a half voxels of 2 mm: rounded up, also of 2.0000001 mm."""
    values = np.random.default_rng(0).normal(size=(32, 32, 32)).astype(np.float32)
    for turn in np.random.default_rng(0).uniform(-30, 30, (10, 3)):
        affine = data.grid(values.shape, turn=turn, voxel=2.0).astype(np.float32).astype(float)
        assert thinned(nb.Nifti1Image(values, affine), 3.0).shape == (16, 16, 16)


@pytest.mark.parametrize(('shape', 'left'), [((40, 40, 40), (8, 8, 8)), ((20, 9, 5), (10, 9, 5))])
def test_eight_blocks_are_left_along_an_axis(shape, left):
    assert thinned(image(np.zeros(shape)), 50.0).shape == left


def test_half_of_a_block_is_in_a_mask():
    mask = np.zeros((32, 32, 32))
    mask[:3] = 1
    thin = thinned_mask(image(mask), 2.0)
    assert thin.get_data_dtype() == np.uint8
    assert np.asanyarray(thin.dataobj).any((1, 2)).tolist() == [True, True] + 14 * [False]


def test_an_image_may_have_no_mask():
    scan = image(np.random.default_rng(0).normal(size=(32, 32, 32)))
    alone, none = thinned_both(scan, None, 2.0)
    beside, mask = thinned_both(scan, image(np.ones((32, 32, 32))), 2.0)
    assert none is None
    np.testing.assert_array_equal(alone.get_fdata(), beside.get_fdata())
    assert np.asanyarray(mask.dataobj).all()
