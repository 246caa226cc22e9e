"""Chains: their order, their inverses, and that others map points alike."""

import numpy as np
import pytest

from bidsreg.apply.chain import Chain, Leg, Link, outside
from bidsreg.errors import InputError
from bidsreg.registration import Grid
from bidsreg.registration.itk import DisplacementField, write_affine
from tests import data

from .conftest import some_points


@pytest.fixture
def legs(transforms):
    return [Leg(transforms['folder'] / 'ab.h5'), Leg(transforms['folder'] / 'bc.h5')]


def test_the_first_named_is_the_first_that_points_go_through(transforms, legs):
    points = some_points(transforms['ab'].grid)
    there, _ = Chain.read(legs).points(points)
    expected = transforms['bc'].points(transforms['ab'].points(points))
    np.testing.assert_allclose(there, expected, atol=1e-4)
    turned, _ = Chain.read(legs[::-1]).points(points)
    assert np.linalg.norm(turned - expected, axis=1).mean() > 1


def test_antspy_takes_the_same_order(transforms, legs):
    import ants
    import pandas as pd

    points = some_points(transforms['ab'].grid, 50)
    table = pd.DataFrame(points * [-1, -1, 1], columns=['x', 'y', 'z'])
    theirs = ants.apply_transforms_to_points(3, table, [str(leg.path) for leg in legs]).to_numpy() * [-1, -1, 1]
    there, _ = Chain.read(legs).points(points)
    np.testing.assert_allclose(there, theirs, atol=2e-3)


def test_the_inverse_takes_every_point_back(transforms, legs):
    chain, points = Chain.read(legs), some_points(transforms['ab'].grid)
    there, _ = chain.points(points)
    back, _ = chain.inverted().points(there)
    np.testing.assert_allclose(back, points, atol=5e-3)
    assert np.linalg.norm(there - points, axis=1).mean() > 5


def test_inverted_legs_are_the_inverse_of_the_chain(transforms, legs):
    points = some_points(transforms['bc'].grid)
    one, _ = Chain.read(legs).inverted().points(points)
    other, _ = Chain.read([Leg(leg.path, inverted=True) for leg in reversed(legs)]).points(points)
    np.testing.assert_array_equal(one, other)


def test_the_inverse_file_is_the_inverse_of_the_file(transforms):
    folder, points = transforms['folder'], some_points(transforms['ab'].grid)
    there, _ = Chain.read([Leg(folder / 'ab.h5')]).points(points)
    back, _ = Chain.read([Leg(folder / 'ab_inverse.h5')]).points(there)
    ours, _ = Chain.read([Leg(folder / 'ab.h5', inverted=True)]).points(there)
    # between the voxels of the file's own field, of 4.2 mm, it is linear
    assert np.linalg.norm(back - points, axis=1).max() < 0.3
    assert np.linalg.norm(ours - points, axis=1).max() < 5e-3


def test_any_number_of_threads_gives_the_same_bits(legs, transforms, monkeypatch):
    monkeypatch.setattr('bidsreg.apply.chain.PART', 70)
    chain, points = Chain.read(legs).inverted(), some_points(transforms['ab'].grid)
    one = chain.points(points)
    for threads in (2, 3):
        for found, expected in zip(chain.points(points, threads), one, strict=True):
            np.testing.assert_array_equal(found, expected)


def test_points_outside_of_a_field_are_told_and_moved_by_the_affine_alone(transforms):
    one = transforms['ab']
    far = one.grid.to_world(np.array([[-5.0, 3, 3], [10, 10, 10]]))
    there, beyond = Chain.read([Leg(transforms['folder'] / 'ab.h5')]).points(far)
    np.testing.assert_array_equal(beyond, [True, False])
    np.testing.assert_allclose(there[0], one.affine[:3, :3] @ far[0] + one.affine[:3, 3], atol=1e-4)
    back, beyond = Chain.read([Leg(transforms['folder'] / 'ab.h5', inverted=True)]).points(there)
    np.testing.assert_array_equal(beyond, [True, False])
    np.testing.assert_allclose(back, far, atol=5e-3)


def test_a_point_that_nothing_leads_to_becomes_nan():
    u = np.zeros((12, 4, 4, 3), np.float32)
    u[..., 0] = 3
    chain = Chain((Link(DisplacementField(u, Grid((12, 4, 4), np.eye(4)))),)).inverted()
    there, _ = chain.points(np.array([[1.5, 2, 2], [5, 2, 2]]))
    assert np.isnan(there[0]).all()
    np.testing.assert_allclose(there[1], [2, 2, 2], atol=2e-3)


def test_no_points_and_no_links():
    there, beyond = Chain().points(np.zeros((0, 3)))
    assert (there.shape, beyond.shape) == ((0, 3), (0,))
    np.testing.assert_array_equal(Chain().points(np.ones((2, 3)))[0], np.ones((2, 3)))


def test_matrices_beside_each_other_become_one(transforms, legs, tmp_path):
    write_affine(tmp_path / 'm.txt', data.truth(7).matrix)
    chain = Chain.read([Leg(tmp_path / 'm.txt'), *legs, Leg(tmp_path / 'm.txt', inverted=True)])
    before, after = data.grid((5, 6, 7), 'LPS', (4, 5, 6), 3.0), np.linalg.inv(data.grid((9, 9, 9), voxel=2.0))
    fused = chain.fused(before, after)
    assert [isinstance(link.part, np.ndarray) for link in fused.links] == [True, False, True, False, True]
    target = Grid((5, 6, 7), before)
    places = fused.places(target, 1, 3)
    world, _ = chain.points(data.world(target.shape, before)[1:3].reshape(-1, 3))
    np.testing.assert_allclose(places, world @ after[:3, :3].T + after[:3, 3], atol=1e-9)


@pytest.mark.parametrize('content', [b'', b'no transform', b'\x89HDF\r\n\x1a\nbroken'])
@pytest.mark.parametrize('name', ['x.h5', 'x.txt', 'x.nii.gz', 'x.mat'])
def test_what_is_no_transform_is_named(tmp_path, content, name):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=name):
        Chain.read([Leg(tmp_path / name)])


def test_outside_by_a_margin():
    grid = Grid((4, 4, 4), np.eye(4) * [2, 2, 2, 1])
    points = np.array([[0, 0, 0], [6, 6, 6], [-0.5, 0, 0], [0, 0, 7.1]])
    np.testing.assert_array_equal(outside(grid, points), [False, False, True, True])
    np.testing.assert_array_equal(outside(grid, points, 0.5), [False, False, False, True])
