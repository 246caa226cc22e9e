"""Matrices: written, read by others, taken apart."""

import nibabel as nb
import numpy as np
import pytest

from bidsreg.preparation.affine import rigid_matrix
from bidsreg.registration.itk import read_affine, write_affine
from tests import data

MATRIX = rigid_matrix((10, -20, 30), (3, -4, 5), (20, -10, 60)) @ np.diag([1.02, 0.97, 1.05, 1])


def test_round_trip_is_exact_to_the_last_digits(tmp_path):
    write_affine(tmp_path / 'a.txt', MATRIX)
    np.testing.assert_allclose(read_affine(tmp_path / 'a.txt'), MATRIX, rtol=0, atol=1e-14)


def test_text_is_what_itk_writes_itself(tmp_path):
    sitk = pytest.importorskip('SimpleITK')
    write_affine(tmp_path / 'a.txt', MATRIX)
    transform = sitk.ReadTransform(str(tmp_path / 'a.txt'))
    x, y, z = transform.TransformPoint((-10.0, -20.0, 30.0))  # LPS
    np.testing.assert_allclose((-x, -y, z), (MATRIX @ [10, 20, 30, 1])[:3], atol=1e-10)

    transform = sitk.AffineTransform(3)
    transform.SetCenter((12.0, -30.0, 7.0))
    transform.SetMatrix(np.diag([1.1, 0.9, 1.0]).ravel())
    transform.SetTranslation((1.0, 2.0, 3.0))
    for name in ('b.txt', 'b.mat'):
        sitk.WriteTransform(transform, str(tmp_path / name))
        point = (read_affine(tmp_path / name) @ [10, 20, 30, 1])[:3]
        x, y, z = transform.TransformPoint((-10.0, -20.0, 30.0))
        np.testing.assert_allclose(point, (-x, -y, z), atol=1e-10)


def test_nitransforms_reads_the_same_matrix(tmp_path):
    linear = pytest.importorskip('nitransforms.linear')
    write_affine(tmp_path / 'a.txt', MATRIX)
    np.testing.assert_allclose(linear.load(tmp_path / 'a.txt', fmt='itk').matrix, MATRIX, atol=1e-6)


def test_ants_resamples_with_it(tmp_path, here):
    """A voxel bright in the moving image lands where the inverse matrix says it must."""
    from bidsreg.interfaces.apply import Apply

    matrix = rigid_matrix((5, 0, -10), (4, -6, 8))
    shape, affine = data.GRIDS['oblique-left-handed']
    moving = np.zeros(shape, np.float32)
    moving[20, 30, 18] = 100
    nb.save(data.image(moving, affine), tmp_path / 'moving.nii.gz')
    reference = data.image(np.zeros((60, 70, 60), np.float32), data.grid((60, 70, 60)))
    nb.save(reference, tmp_path / 'reference.nii.gz')
    write_affine(tmp_path / 'a.txt', matrix)
    found = Apply(
        in_file=str(tmp_path / 'moving.nii.gz'),
        reference=str(tmp_path / 'reference.nii.gz'),
        transforms=[str(tmp_path / 'a.txt')],
    ).run()
    moved = nb.load(found.outputs.out_file)
    weights = moved.get_fdata()
    voxel = [
        np.average(np.arange(n), weights=weights.sum(axis=tuple({0, 1, 2} - {k}))) for k, n in enumerate(weights.shape)
    ]
    world = nb.affines.apply_affine(moved.affine, voxel)
    goal = nb.affines.apply_affine(np.linalg.inv(matrix), nb.affines.apply_affine(affine, (20, 30, 18)))
    assert np.linalg.norm(world - goal) < 0.3


@pytest.mark.parametrize(
    'text', ['', 'hello', '#Insight Transform File V1.0\nTransform: AffineTransform_double_3_3\nParameters: 1 2\n']
)
def test_other_files_are_refused(tmp_path, text):
    (tmp_path / 'a.txt').write_text(text)
    with pytest.raises(ValueError, match=r'a\.txt'):
        read_affine(tmp_path / 'a.txt')
