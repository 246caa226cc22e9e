"""The node that resamples."""

import nibabel as nb
import numpy as np
import pytest

from bidsreg.apply.cli import main
from bidsreg.interfaces.apply import Apply
from bidsreg.preparation.affine import rigid_matrix
from bidsreg.preparation.resample import resample
from bidsreg.registration.grid import Grid
from bidsreg.registration.itk import write_affine, write_composite
from tests import data


def test_the_node_writes_the_image_of_the_function(rigid_pair, here):
    _, paths = rigid_pair
    images = str(paths['fixed_mask']), str(paths['moving'])
    options = {'transforms': [str(paths['affine'])], 'invert': [True], 'interpolation': 'genericLabel'}
    out = Apply(in_file=images[0], reference=images[1], **options).run().outputs
    np.testing.assert_array_equal(nb.load(out.out_file).get_fdata(), resample(*images, **options).get_fdata())
    assert nb.load(out.out_file).get_data_dtype() == np.uint8


def test_transforms_are_optional(rigid_pair, here):
    _, paths = rigid_pair
    same = nb.load(Apply(in_file=str(paths['fixed']), reference=str(paths['fixed'])).run().outputs.out_file)
    np.testing.assert_allclose(same.get_fdata(), nb.load(paths['fixed']).get_fdata(), atol=0.05)


def test_a_voxel_lands_where_the_matrix_says(tmp_path, here):
    """One that is bright in the moving image: the inverse matrix maps it."""
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
    ('interpolation', 'kind', 'end'), [('linear', 'image', 'moving'), ('genericLabel', 'labels', 'moving_mask')]
)
def test_the_node_and_bidsreg_apply_agree(tmp_path, here, interpolation, kind, end):
    """Through a matrix and a field, on grids that are turned against each other."""
    pair = data.pair((24, 28, 24), 2, moving_affine=data.grid((24, 28, 24), 'LAS', turn=(8, -5, 11)))
    paths = pair.save(tmp_path / 'pair')
    grid = Grid(pair.fixed.shape, pair.fixed.affine)
    u = pair.truth.displacement(data.world(grid.shape, grid.affine)).astype(np.float32)
    u[[0, 1, -2, -1]] = u[:, [0, 1, -2, -1]] = u[:, :, [0, 1, -2, -1]] = 0  # as the solver's fields are
    write_composite(tmp_path / 'way.h5', pair.truth.matrix, u, grid)
    node = Apply(
        in_file=str(paths[end]),
        reference=str(paths['fixed']),
        transforms=[str(tmp_path / 'way.h5')],
        interpolation=interpolation,
    ).run()
    words = ['--transform', tmp_path / 'way.h5', '--reference', paths['fixed'], paths[end], '-o', tmp_path / 'o.nii']
    assert main([*map(str, words), '--kind', kind]) == 0
    one, other = (nb.load(path).get_fdata() for path in (node.outputs.out_file, tmp_path / 'o.nii'))
    assert one.std() > 0.1
    if kind == 'labels':
        np.testing.assert_array_equal(one, other)
    else:
        np.testing.assert_allclose(one, other, atol=1e-3 * one.max())
