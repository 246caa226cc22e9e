"""Parts for kernels: trilinear values, slopes and displacements in double precision."""

import numpy as np
import pytest
from scipy import ndimage as ndi

from bidsreg.registration.numerics.kernels import places


@pytest.fixture(scope='module')
def field():
    return np.random.default_rng(0).normal(size=(6, 5, 7, 3)).astype(np.float32)


def inner_positions(shape, n=60, seed=1):
    return np.random.default_rng(seed).uniform(0, 1, (n, 3)) * (np.array(shape) - 1)


def test_displacements_as_scipy_gives_them(field):
    size = np.array(field.shape[:3])
    for x, y, z in inner_positions(size):
        expected = [ndi.map_coordinates(field[..., c], [[x], [y], [z]], order=1)[0] for c in range(3)]
        np.testing.assert_allclose(places.displacement_at(field.ravel(), x, y, z, size), expected, atol=2e-6)


@pytest.mark.parametrize('at', [(-1e-9, 1, 1), (5.0000001, 1, 1), (1, 1, 6.1), (np.nan, 1, 1)])
def test_beyond_the_outer_centres_nothing_moves(field, at):
    assert places.displacement_at(field.ravel(), *at, np.array(field.shape[:3])) == (0, 0, 0)


def test_the_last_voxel_still_counts(field):
    size = np.array(field.shape[:3])
    np.testing.assert_allclose(places.displacement_at(field.ravel(), *(size - 1.0), size), field[-1, -1, -1])


def test_slopes_as_differences_give_them(field):
    size, flat, step = np.array(field.shape[:3]), field.ravel(), 1e-6
    for at in np.floor(inner_positions(size - 1)) + 0.3:
        found = places.value_and_slopes(flat, *places.place(*at, size, 3))
        value = places.linear(flat, *places.place(*at, size, 3))
        assert found[0] == pytest.approx(value)
        for axis in range(3):
            further = at + step * np.eye(3)[axis]
            slope = (places.linear(flat, *places.place(*further, size, 3)) - value) / step
            assert found[1 + axis] == pytest.approx(slope, abs=1e-6)


def test_an_axis_of_one_voxel_has_no_neighbour():
    values = np.arange(4, dtype=np.float32)
    assert places.linear(values, *places.place(0.0, 1.5, 0.0, np.array([1, 4, 1]), 1)) == 1.5
