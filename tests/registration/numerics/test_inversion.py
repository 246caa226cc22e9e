"""The inverse of a displacement by search."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage as ndi

from bidsreg.registration import Grid, metrics
from bidsreg.registration.numerics.inversion import InversionError, invert_displacement
from tests import data
from tests.fields import AXES, SEEDS, grid_named, tapered


@settings(max_examples=8, deadline=None)
@given(SEEDS, st.sampled_from(list(AXES)), st.floats(0.5, 12.0))
def test_inverted_twice_is_the_same(seed, name, amplitude):
    grid = grid_named(name)
    u = tapered(grid, seed, amplitude)
    w, residual = invert_displacement(u, grid, tolerance=1e-3)
    assert residual <= np.float32(1e-3)
    everywhere = np.ones(grid.shape, bool)
    error = metrics.inverse_consistency(w, u, grid, everywhere)  # at the voxels of w, as it was solved for
    assert error['max'] < 1.2e-3
    again, _ = invert_displacement(w, grid, tolerance=1e-3)
    # both are linear between voxels, which the inverse is not: at most .070 and .0067 of the amplitude in 180 of them
    assert np.linalg.norm(again - u, axis=-1).max() < 0.15 * amplitude
    assert np.linalg.norm(again - u, axis=-1).mean() < 0.015 * amplitude


@pytest.mark.parametrize('name', ['left-handed', 'oblique-left-handed', 'thick'])
def test_a_twist_that_the_fixed_point_iteration_cannot_undo(name):
    """Half a turn in the middle that dies out outwards: turned back by as much, at the same radius."""
    grid = grid_named(name)
    points = data.world(grid.shape, grid.affine)
    radius = np.linalg.norm(points, axis=-1)
    angle = 2.2 * np.exp(-((radius / 26) ** 2)) * (radius < 62)

    def turned(angle):
        c, s = np.cos(angle), np.sin(angle)
        x, y, z = np.moveaxis(points, -1, 0)
        return np.stack([c * x - s * y, s * x + c * y, z], -1) - points

    u, w = turned(angle), turned(-angle)
    field = ndi.map_coordinates
    plain = -u
    for _ in range(30):  # Chen's iteration alone
        at = np.moveaxis(grid.to_voxels(points + plain), -1, 0)
        plain = -np.stack([field(u[..., i], at, order=1, mode='nearest') for i in range(3)], -1)
    found, residual = invert_displacement(u, grid)
    assert residual <= 0.01
    assert np.linalg.norm(plain - w, axis=-1).max() > 10
    assert np.linalg.norm(found - w, axis=-1).max() < 0.12 * np.linalg.norm(u, axis=-1).max()
    assert np.linalg.norm(found - w, axis=-1).mean() < 0.15


def test_translations_and_zero_are_inverted_exactly():
    grid = grid_named('thick')
    for shift in ((0, 0, 0), (3.0, -7.0, 5.0)):
        u = np.broadcast_to(np.array(shift, np.float32), (*grid.shape, 3))
        w, residual = invert_displacement(u, grid)
        np.testing.assert_allclose(w, -u, atol=1e-4)
        assert residual < 1e-4


def test_a_fold_has_no_inverse_and_is_said():
    grid = Grid((20, 20, 20), np.diag([2.0, 2.0, 2.0, 1.0]))
    u = np.random.default_rng(0).normal(0, 6, (20, 20, 20, 3)).astype(np.float32)
    with pytest.raises(InversionError, match=r'voxels are up to .* mm off') as caught:
        invert_displacement(u, grid)
    assert 0 < caught.value.stuck <= 20**3
    assert 0.01 < caught.value.worst < 100
    with pytest.raises(InversionError, match='after 1 iterations'):
        invert_displacement(tapered(grid_named('ras')), grid_named('ras'), iterations=1, tolerance=1e-4)


@pytest.mark.parametrize(
    ('field', 'words'), [(np.zeros((4, 5, 6, 3)), 'shape'), (np.full((5, 5, 5, 3), np.nan), 'NaN')]
)
def test_a_field_that_is_none_is_refused(field, words):
    with pytest.raises(ValueError, match=words):
        invert_displacement(field, Grid((5, 5, 5), np.eye(4)))
