"""Cells and their corners, in plain Python."""

import itertools

import numpy as np
import pytest

from bidsreg.registration.numerics.kernels import cells

f32 = np.float32


@pytest.mark.parametrize(
    ('position', 'n', 'lower', 'weight'),
    [(0, 4, 0, 0), (1.25, 4, 1, 0.25), (3, 4, 2, 1), (9, 4, 2, 1), (-2, 4, 0, 0), (np.nan, 4, 0, 0), (5, 1, 0, 0)],
)
def test_a_cell_lies_inside(position, n, lower, weight):
    assert cells.cell.py_func(f32(position), n) == (lower, weight)


def test_values_slopes_and_their_adjoint_agree_with_the_corners():
    rng = np.random.default_rng(0)
    volume = rng.normal(size=(3, 4, 5, 2)).astype(f32)
    sx, sy, sz = cells.strides.py_func(3, 4, 5, 2)
    at, weights = np.uint64(((1 * 4 + 2) * 5 + 3) * 2 + 1), [f32(0.25), f32(0.5), f32(0.125)]
    corners = volume[1:3, 2:4, 3:5, 1]
    of_corner = np.array(
        [
            np.prod([w if up else 1 - w for w, up in zip(weights, ups, strict=True)])
            for ups in itertools.product((0, 1), repeat=3)
        ]
    ).reshape(2, 2, 2)
    expected = (corners * of_corner).sum()
    assert cells.value.py_func(volume.ravel(), at, sx, sy, sz, *weights) == pytest.approx(expected, rel=1e-5)
    value, *slopes = cells.value_and_slopes.py_func(volume.ravel(), at, sx, sy, sz, *weights)
    assert value == pytest.approx(expected, rel=1e-5)
    for axis, (slope, w) in enumerate(zip(slopes, weights, strict=True)):
        across = of_corner / np.array([1 - w, w]).reshape([-1 if a == axis else 1 for a in range(3)])
        assert slope == pytest.approx((np.diff(corners * across, axis=axis)).sum(), rel=1e-5)
    out = np.zeros_like(volume)
    cells.spread.py_func(out.reshape(-1), at, sx, sy, sz, *weights, f32(2))
    np.testing.assert_allclose(out[1:3, 2:4, 3:5, 1], 2 * of_corner, rtol=1e-5)
    assert out.sum() == pytest.approx(2)


def test_an_axis_of_one_voxel_has_no_neighbours():
    assert cells.strides.py_func(1, 4, 1, 3) == (0, 3, 0)
