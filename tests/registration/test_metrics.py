"""Numbers about a deformation, against closed forms."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bidsreg.registration import Grid, metrics
from tests import data


def linear_field(matrix, grid):
    return grid.to_world(np.stack(np.meshgrid(*map(np.arange, grid.shape), indexing='ij'), -1)) @ (matrix - np.eye(3)).T


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([n for n in data.GRIDS if n != 'sheared']))
def test_jacobian_of_a_linear_map_is_its_determinant_on_any_grid(seed, name):
    matrix = np.eye(3) + np.random.default_rng(seed).uniform(-0.3, 0.3, (3, 3))
    grid = Grid((5, 6, 4), data.GRIDS[name][1])
    for scheme in ('central', 'forward', 'backward'):
        ours = metrics.jacobian_determinant(linear_field(matrix, grid), grid, scheme)
        np.testing.assert_allclose(ours, np.linalg.det(matrix), rtol=1e-3, atol=1e-4)


def test_folds_are_counted_by_any_scheme():
    grid = Grid((12, 5, 5), np.eye(4))
    u = np.zeros((12, 5, 5, 3))
    assert metrics.count_folds(u, grid) == 0
    u[6, :, :, 0] = 1.5  # point 6 overtakes point 7: forward differences see it, central ones do not
    assert (metrics.jacobian_determinant(u, grid) > 0).all()
    assert metrics.count_folds(u, grid) == 50


def test_inverse_consistency_of_a_known_error():
    grid = Grid((20, 20, 20), np.diag([1.0, 2.0, 1.5, 1.0]))
    forward = np.broadcast_to([0.5, 0.0, 0.0], (20, 20, 20, 3)).copy()
    mask = np.zeros(grid.shape, bool)
    mask[5:15, 5:15, 5:15] = True
    good = metrics.inverse_consistency(forward, -forward, grid, mask)
    assert good['max'] < 1e-9
    off = metrics.inverse_consistency(forward, -forward + [0, 0.3, 0.4], grid, mask)
    assert off['mean'] == pytest.approx(0.5)
    assert off['p99'] == pytest.approx(0.5)
