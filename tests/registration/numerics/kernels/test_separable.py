"""Products with bands against products with the whole matrices."""

import numpy as np
import pytest

from bidsreg.registration.numerics import separable
from bidsreg.registration.numerics.kernels.separable import Band, product


def whole(volume, matrices):
    x, y, z = matrices
    return np.einsum('fxyz,ax,by,cz->fabc', volume.astype(float), x, y, z)


MATRICES = {
    'smoothing': [separable.gaussian_weights(n, 0.6) for n in (12, 40, 9)],
    'interpolation': [separable.cubic_weights(np.linspace(-1, n, m), n) for n, m in ((5, 11), (6, 70), (4, 8))],
    'its adjoint': [separable.linear_weights(np.linspace(0, n - 1, m), n).T for n, m in ((5, 9), (6, 11), (4, 1))],
    'one voxel': [np.eye(n) for n in (1, 3, 1)],
    'an empty row': [np.diag([1.0, 0.0, 2.0]), np.eye(2), np.ones((2, 3))],
}


@pytest.mark.parametrize('matrices', MATRICES.values(), ids=MATRICES)
def test_products_are_those_of_the_matrices_for_any_number_of_threads(matrices):
    volume = np.random.default_rng(0).normal(size=(2, *[m.shape[1] for m in matrices])).astype(np.float32)
    bands = [Band.of(m) for m in matrices]
    out = product(volume, bands)
    np.testing.assert_allclose(out, whole(volume, matrices), atol=1e-5)
    np.testing.assert_array_equal(product(volume, bands, threads=3), out)


def test_a_band_is_as_wide_as_its_widest_row():
    band = Band.of(np.array([[0, 1, 2, 0], [0, 0, 0, 3], [1, 1e-12, 0, 0]]))
    np.testing.assert_array_equal(band.first, [1, 2, 0])
    np.testing.assert_allclose(band.taps, [[1, 0, 1], [2, 3, 0]], atol=1e-11)
    assert band.size == 4


def test_no_volume():
    bands = [Band.of(np.eye(2))] * 3
    assert product(np.empty((0, 2, 2, 2), np.float32), bands).shape == (0, 2, 2, 2)
