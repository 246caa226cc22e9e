"""Distances in mm, against brute force."""

import numpy as np
import pytest

from bidsreg.registration.numerics.distance import dilated, distance_to


@pytest.mark.parametrize('spacing', [(1.0, 1.0, 1.0), (0.7, 1.5, 3.0)])
def test_distances_are_those_of_brute_force(spacing):
    rng = np.random.default_rng(0)
    marked = rng.random((7, 6, 5)) > 0.9
    every, some = np.argwhere(np.ones(marked.shape)) * spacing, np.argwhere(marked) * spacing
    wanted = np.linalg.norm(every[:, None] - some[None], axis=-1).min(1).reshape(marked.shape)
    np.testing.assert_allclose(distance_to(marked, np.array(spacing)), wanted, atol=1e-12)
    grown = dilated(marked, 1.6, np.array(spacing))
    assert grown.dtype == np.float32
    assert np.array_equal(grown > 0, wanted <= 1.6)


def test_nothing_grows_by_zero_millimetres():
    mask = np.zeros((4, 4, 4))
    mask[1, 2, 3] = 2.0
    assert np.array_equal(dilated(mask, 0.0, np.ones(3)), (mask > 0).astype(np.float32))
