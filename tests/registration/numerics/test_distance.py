"""Distances in mm, against brute force."""

import numpy as np
import pytest

from bidsreg.registration.numerics.distance import distance_to


@pytest.mark.parametrize('spacing', [(1.0, 1.0, 1.0), (0.7, 1.5, 3.0)])
def test_distances_are_those_of_brute_force(spacing):
    rng = np.random.default_rng(0)
    marked = rng.random((7, 6, 5)) > 0.9
    every, some = np.argwhere(np.ones(marked.shape)) * spacing, np.argwhere(marked) * spacing
    wanted = np.linalg.norm(every[:, None] - some[None], axis=-1).min(1).reshape(marked.shape)
    np.testing.assert_allclose(distance_to(marked, np.array(spacing)), wanted, atol=1e-12)
