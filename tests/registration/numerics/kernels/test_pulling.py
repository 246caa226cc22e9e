"""Images pulled by kernels, and inverse consistency, against SciPy."""

import numpy as np
import pytest
from scipy import ndimage as ndi

from bidsreg.registration.numerics.kernels import pulling

TURNED = np.array([[0.9, 0.2, -0.1, 0.413], [-0.15, 0.8, 0.1, 1.317], [0.1, -0.1, 1.1, -0.529], [0, 0, 0, 1]])
SHIFTED = np.array([[1, 0, 0, -1.207], [0, 1.3, 0, 0.61], [0, 0.1, 0.7, -2.13], [0, 0, 0, 1]])
SHAPE = (11, 9, 7)
VOXELS = np.indices(SHAPE).reshape(3, -1)


def noise(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def placed(matrix):
    return matrix[:3, :3] @ VOXELS + matrix[:3, 3:]


def displacements(field, at):
    return np.stack([ndi.map_coordinates(field[..., c], at, order=1, mode='constant') for c in range(3)])


@pytest.mark.parametrize('image', [(8, 10, 9), (8, 10, 1), (1, 1, 1)])
@pytest.mark.parametrize('field', [(12, 9, 6), (2, 2, 2), (5, 1, 6)])
@pytest.mark.parametrize('size', [0, 1, 50])
def test_pulled_as_scipy_does_for_any_number_of_threads(image, field, size):
    values, u = noise(*image), size * noise(*field, 3, seed=1)
    at = placed(TURNED) + SHIFTED[:3, :3] @ displacements(u, placed(SHIFTED))
    wanted = ndi.map_coordinates(values.astype(float), at, order=1, mode='nearest')
    wanted[((at < -0.5) | (at >= np.array(image)[:, None] - 0.5)).any(0)] = 0
    given = values, u, TURNED, SHIFTED, SHIFTED[:3, :3], SHAPE
    found = pulling.pulled(*given)
    np.testing.assert_allclose(found.ravel(), wanted, atol=1e-5)
    for threads in (2, 4):
        np.testing.assert_array_equal(pulling.pulled(*given, threads), found)


def test_where_nothing_is_known_there_is_zero():
    u = np.full((*SHAPE, 3), np.nan, np.float32)
    assert (pulling.pulled(noise(*SHAPE), u, np.eye(4), np.eye(4), np.eye(3), SHAPE) == 0).all()
    assert pulling.pulled(noise(*SHAPE), u, np.eye(4), np.eye(4), np.eye(3), (0, 2, 2)).shape == (0, 2, 2)


@pytest.mark.parametrize('shape', [SHAPE, (11, 1, 7)])
def test_beside_is_the_distance_for_any_number_of_threads(shape, monkeypatch):
    monkeypatch.setattr(pulling, 'PART', 50)
    axes = TURNED[:3, :3]
    u, w = (2 * noise(*shape, 3, seed=seed) for seed in (1, 2))
    index = np.flatnonzero(noise(*shape) > 0.3)
    voxels = np.stack(np.unravel_index(index, shape))
    here = u.reshape(-1, 3)[index]
    back = displacements(w, voxels + np.linalg.solve(axes, here.T.astype(float)))
    wanted = np.linalg.norm(here + back.T, axis=1)
    found = pulling.beside(u, w, axes, index)
    np.testing.assert_allclose(found, wanted, atol=1e-5)
    for threads in (2, 4):
        np.testing.assert_array_equal(pulling.beside(u, w, axes, index, threads), found)
    assert len(pulling.beside(u, w, axes, index[:0])) == 0
