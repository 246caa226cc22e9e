"""Resampling: one interpolation, on every grid, both ways."""

import nibabel as nb
import numpy as np
import pytest

from bidsreg.errors import InputError
from bidsreg.preparation.affine import rigid_matrix
from bidsreg.preparation.resample import resample
from bidsreg.registration.itk import write_affine
from tests import data


def apply(in_file, reference, transforms=(), **options):
    return resample(str(in_file), str(reference), transforms, **options)


@pytest.mark.parametrize('name', sorted(set(data.GRIDS) - {'sheared'}))
def test_agrees_with_our_own_sampling(name, tmp_path, here):
    """Pulled through a matrix, the voxel at x shows the moving image at A x: checked without ITK."""
    from scipy import ndimage

    shape, affine = data.GRIDS[name]
    matrix = rigid_matrix((4, -7, 11), (5, -3, 8)) @ np.diag([1.03, 0.98, 1.0, 1])
    moving = data.t2w(shape, affine=affine, noise=0)
    reference = data.image(np.zeros((30, 34, 28), np.float32), data.grid((30, 34, 28), 'ASL', (3, 4, 5), 3.5))
    nb.save(moving, tmp_path / 'moving.nii.gz')
    nb.save(reference, tmp_path / 'reference.nii.gz')
    write_affine(tmp_path / 'a.txt', matrix)
    found = apply(tmp_path / 'moving.nii.gz', tmp_path / 'reference.nii.gz', transforms=[str(tmp_path / 'a.txt')])
    where = nb.affines.apply_affine(np.linalg.inv(affine) @ matrix, data.world(reference.shape, reference.affine))
    where = np.moveaxis(where, -1, 0)
    goal = ndimage.map_coordinates(moving.get_fdata(), where, order=1)
    inside = np.all((where >= 0) & (where <= np.array(shape)[:, None, None, None] - 1), axis=0)
    np.testing.assert_allclose(found.get_fdata()[inside], goal[inside], atol=0.05)
    np.testing.assert_allclose(found.affine, reference.affine, atol=1e-4)


def test_there_and_back(rigid_pair, here):
    """The T1w's mask goes to the T2w by the inverse, as labels, and meets the mask that is known."""
    pair, paths = rigid_pair
    mask = apply(
        paths['fixed_mask'],
        paths['moving'],
        transforms=[str(paths['affine'])],
        invert=[True],
        interpolation='genericLabel',
    )
    assert mask.get_data_dtype() == np.uint8
    got, goal = mask.get_fdata() > 0, np.asanyarray(pair.moving_mask.dataobj) > 0
    assert 2 * (got & goal).sum() / (got.sum() + goal.sum()) > 0.95


@pytest.mark.parametrize('interpolation', ['genericLabel', 'nearestNeighbor'])
@pytest.mark.parametrize(('labels', 'kind'), [((2, 255), 'uint8'), ((1001, 2035), 'int16'), ((-3, 70000), 'int32')])
def test_labels_of_any_atlas_keep_their_numbers(tmp_path, here, labels, kind, interpolation):
    """As uint8 the 1001 of FreeSurfer's cortex became 233."""
    values = np.zeros((12, 12, 12), np.int32)
    values[2:6, 2:10, 2:10], values[6:10, 2:10, 2:10] = labels
    nb.save(data.image(values, np.diag([2.0, 2, 2, 1])), tmp_path / 'labels.nii.gz')
    found = apply(tmp_path / 'labels.nii.gz', tmp_path / 'labels.nii.gz', interpolation=interpolation)
    np.testing.assert_array_equal(found.get_fdata(), values)
    assert found.get_data_dtype() == np.dtype(kind)


def test_labels_that_ants_would_round_are_refused(tmp_path, here):
    values = np.zeros((12, 12, 12), np.int32)
    values[2:6] = 2**24 + 1
    nb.save(data.image(values, np.eye(4)), tmp_path / 'labels.nii.gz')
    with pytest.raises(InputError, match=r'labels\.nii\.gz: ANTs reckons .* bidsreg-apply'):
        apply(tmp_path / 'labels.nii.gz', tmp_path / 'labels.nii.gz', interpolation='genericLabel')


def test_labels_that_are_no_numbers_are_refused(tmp_path, here):
    nb.save(data.image(np.full((12, 12, 12), np.nan, np.float32), np.eye(4)), tmp_path / 'labels.nii.gz')
    with pytest.raises(InputError, match=r'labels\.nii\.gz: .* NaN'):
        apply(tmp_path / 'labels.nii.gz', tmp_path / 'labels.nii.gz', interpolation='nearestNeighbor')


def test_without_transforms_the_headers_speak(rigid_pair, here):
    _, paths = rigid_pair
    same = apply(paths['fixed'], paths['fixed'])
    np.testing.assert_allclose(same.get_fdata(), nb.load(paths['fixed']).get_fdata(), atol=0.05)


def test_as_many_inverts_as_transforms(rigid_pair, here):
    _, paths = rigid_pair
    with pytest.raises(ValueError, match='1 transforms'):
        apply(paths['fixed'], paths['moving'], transforms=[str(paths['affine'])], invert=[True, False])
