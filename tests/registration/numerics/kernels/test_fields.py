"""Arithmetic on whole fields against the line of numpy that each kernel stands for."""

import numpy as np
import pytest

from bidsreg.registration.numerics.kernels import fields

SHAPES = [(1, 1, 1), (5, 4, 7), (30, 41, 53)]


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def drawn(rng, *shape):
    return rng.normal(size=shape).astype(np.float32)


@pytest.mark.parametrize('threads', [1, 3])
@pytest.mark.parametrize('shape', SHAPES)
def test_components_lie_side_by_side(rng, shape, threads):
    field, scale = drawn(rng, 2, 3, *shape), np.array([1, 0.5, -3], np.float32)
    found = fields.side_by_side(field, scale, threads)
    np.testing.assert_allclose(found[..., :3], np.moveaxis(field, 1, -1) * scale, rtol=1e-6)
    assert not found[..., 3].any()


@pytest.mark.parametrize('threads', [1, 3])
@pytest.mark.parametrize(('rows', 'channels'), [(3, 3), (3, 16), (16, 3), (2, 1)])
@pytest.mark.parametrize('shape', SHAPES)
def test_vectors_are_mapped(rng, shape, rows, channels, threads):
    volumes, matrix = drawn(rng, 2, channels, *shape), drawn(rng, rows, channels)
    wanted = np.einsum('ij,kjxyz->kixyz', matrix.astype(float), volumes)
    np.testing.assert_allclose(fields.mapped(matrix, volumes, threads), wanted, atol=3e-5)


def test_vectors_that_lie_apart_in_memory_are_mapped(rng):
    volumes, matrix = drawn(rng, 1, 3, 5, 8, 7), drawn(rng, 3, 3)
    wanted = np.einsum('ji,kjxyz->kixyz', matrix.astype(float), volumes[..., ::2])
    np.testing.assert_allclose(fields.mapped(matrix.T, volumes[..., ::2]), wanted, atol=1e-5)


@pytest.mark.parametrize('size', [1, 1000, 3 * fields.PART + 5])
def test_the_mean_square_is_the_same_for_any_number_of_threads(rng, size):
    values = drawn(rng, size)
    assert fields.mean_square(values) == pytest.approx(float(np.square(values, dtype=float).mean()), rel=1e-12)
    assert fields.mean_square(values, 5) == fields.mean_square(values)


@pytest.mark.parametrize('bad', [np.nan, np.inf])
def test_a_mean_square_of_what_is_no_number_is_none(bad):
    assert not np.isfinite(fields.mean_square(np.array([1, bad, 2], np.float32)))


@pytest.mark.parametrize('size', [1, 1000, 3 * fields.PART + 5])
def test_a_step_goes_along_the_momentum(rng, size):
    p, momentum, gradient = drawn(rng, 3, size)
    direction = 0.9 * momentum.astype(float) + 0.1 * gradient
    wanted = p - 0.25 * direction
    fields.step_along(p, momentum, gradient, 0.9, 0.25, 3)
    np.testing.assert_allclose(momentum, direction, atol=1e-6)
    np.testing.assert_allclose(p, wanted, atol=1e-6)
