"""Masks of the user: what is read, how they come onto the grid of their image, and what is refused."""

from __future__ import annotations

import nibabel as nb
import numpy as np
import pytest

from bidsreg.errors import InputError
from bidsreg.preparation.masks import check_mask, fit_mask, read_mask
from tests import data

SHAPE = (44, 52, 44)
AFFINE = data.grid(SHAPE, 'LAS', (3, -8, 12), (4.1, 4.0, 4.2))


@pytest.fixture(scope='module')
def head():
    return data.head(SHAPE, 1, affine=AFFINE)


def saved(path, image):
    nb.save(image, path)
    return str(path)


def in_order(image, axes):
    """The same voxels in the order of these axes."""
    order = nb.orientations.ornt_transform(nb.io_orientation(image.affine), nb.orientations.axcodes2ornt(axes))
    return image.as_reoriented(order)


@pytest.mark.parametrize('axes', ['RAS', 'LPI', 'PSR', 'ASL', 'IRP'])
@pytest.mark.parametrize('rounding', [0, 1e-6])
def test_a_mask_in_another_order_is_turned_about_without_loss(head, tmp_path, axes, rounding):
    turned = in_order(head.mask, axes)
    turned = nb.Nifti1Image(np.asanyarray(turned.dataobj), turned.affine * (1 + rounding))
    mask, words = fit_mask(saved(tmp_path / 'mask.nii.gz', turned), head.scan, of='T1w.nii.gz')
    np.testing.assert_array_equal(mask, np.asanyarray(head.mask.dataobj) > 0)
    assert 'order' in words


def test_a_mask_on_the_grid_is_taken_as_it_is(head, tmp_path):
    mask, words = fit_mask(saved(tmp_path / 'mask.nii.gz', head.mask), head.scan, of='T1w.nii.gz')
    np.testing.assert_array_equal(mask, np.asanyarray(head.mask.dataobj) > 0)
    assert words == ''


@pytest.mark.parametrize(
    ('shape', 'affine'),
    [
        ((96, 110, 96), data.grid((96, 110, 96), 'LIA', (0, 0, 0), 2.0)),  # as FreeSurfer conforms
        ((*SHAPE[:2], 43), AFFINE),
        (SHAPE, AFFINE + np.array([[0, 0, 0, 1.0], *[[0] * 4] * 3])),
    ],
)
def test_a_mask_of_another_grid_is_resampled_and_said(head, tmp_path, shape, affine):
    other = data.head(shape, 1, affine=affine)  # the same head in the same world
    mask, words = fit_mask(saved(tmp_path / 'mask.nii.gz', other.mask), head.scan, of='T1w.nii.gz')
    goal = np.asanyarray(head.mask.dataobj) > 0
    assert 2 * (mask & goal).sum() / (mask.sum() + goal.sum()) > 0.95
    assert words.startswith('resampled from ')
    assert ' x '.join(map(str, shape)) in words


def test_a_mask_that_does_not_cover_the_head_names_both_grids(head, tmp_path):
    away = AFFINE.copy()
    away[:3, 3] += (90, 0, 0)
    wrong = ((away, 'ml lie in the image|lies on the head'), (np.diag([2.0, 2, 2, 1]) @ AFFINE, 'ml lie in'))
    for affine, why in wrong:
        path = saved(tmp_path / 'mask.nii.gz', nb.Nifti1Image(np.asanyarray(head.mask.dataobj), affine))
        with pytest.raises(InputError, match=why) as caught:
            fit_mask(path, head.scan, of='/data/sub-01_T1w.nii.gz')
        assert 'The grid of the mask is 44 x 52 x 44 voxels of' in str(caught.value)
        assert 'that of the image 44 x 52 x 44 voxels of 4.1 x 4 x 4.2 mm, LAS' in str(caught.value)
        assert 'sub-01_T1w.nii.gz' in str(caught.value)


@pytest.mark.parametrize('name', ['brainmask.nii.gz', 'brainmask.mgz', 'aseg.nii.gz', 'aparc+aseg.mgz'])
def test_freesurfers_files_are_masks_where_they_are_not_zero(head, tmp_path, name):
    labels, brain = np.asanyarray(head.labels.dataobj), np.asanyarray(head.mask.dataobj) > 0
    values = (np.where(brain, 10 + labels, 0)).astype(np.int32)
    holes = brain & (np.indices(SHAPE).sum(0) % 7 == 0)
    if 'aseg' in name:
        values[holes] = 0
    kind = nb.MGHImage if name.endswith('.mgz') else nb.Nifti1Image
    found = np.asanyarray(read_mask(saved(tmp_path / name, kind(values, AFFINE))).dataobj) > 0
    assert (found & brain).sum() > 0.97 * brain.sum()
    assert found.sum() < 1.05 * brain.sum()


def test_other_files_with_many_values_are_no_masks(head, tmp_path):
    with pytest.raises(InputError, match='not binary'):
        read_mask(saved(tmp_path / 'labels.nii.gz', head.labels))


def test_a_strict_check_wants_the_very_grid(head, tmp_path):
    path = saved(tmp_path / 'mask.nii.gz', in_order(head.mask, 'PSR'))
    with pytest.raises(InputError, match='voxels'):
        check_mask(path, head.scan, of='T1w.nii.gz')
