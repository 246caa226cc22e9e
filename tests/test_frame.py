"""The frame of a grid: straight axes about its centre, the same however a header moves and rounds."""

import numpy as np
import pytest

from bidsreg.frame import AXIS_MM, CENTRE_MM, own_frame, rounded, sizes, without_rounding
from tests import data

SHAPE = (44, 52, 40)
SIZES = (0.859375, 1.1, 3.3)


@pytest.mark.parametrize('turn', [(0, 0, 0), (14, -9, 7), (-8, 12, 17)])
def test_a_grid_is_straight_in_its_own_frame(turn):
    affine = data.grid(SHAPE, 'RAS', turn, SIZES, centre=(31.3, -240, 77))
    affine = affine.astype(np.float32).astype(float)  # as headers hold it
    frame = own_frame(affine, SHAPE)
    np.testing.assert_allclose(frame[:3, :3] @ frame[:3, :3].T, np.eye(3), atol=1e-12)
    np.testing.assert_allclose(frame[:3, :3], data.rotation(*turn).T, atol=1e-6)
    found, shift = without_rounding(frame @ affine, SHAPE)
    goal = data.grid(SHAPE, 'RAS', (0, 0, 0), np.round(np.divide(SIZES, AXIS_MM)) * AXIS_MM)
    np.testing.assert_array_equal(found, goal)
    assert np.abs(shift).max() < 1e-9


def test_a_straight_grid_is_not_turned():
    affine = data.grid(SHAPE, voxel=SIZES, turn=(1e-6, -2e-6, 0))
    np.testing.assert_array_equal(own_frame(affine, SHAPE)[:3, :3], np.eye(3))


def test_a_sheared_grid_keeps_its_shear():
    affine = data.grid(SHAPE, turn=(5, 3, -8), shear=0.1)
    found = own_frame(affine, SHAPE) @ affine
    unit = found[:3, :3] / np.linalg.norm(found[:3, :3], axis=0)
    np.testing.assert_allclose(unit, unit.T, atol=1e-9)  # the symmetric factor of the polar decomposition
    assert unit[0, 1] > 0.04


def test_the_centre_of_another_grid_is_rounded_and_the_shift_told():
    affine = data.grid(SHAPE, voxel=SIZES, centre=(3.017, -4.4, 0.01))
    found, shift = without_rounding(affine, SHAPE)
    assert 0 < np.abs(shift).max() <= CENTRE_MM / 2
    middle = (np.array(SHAPE) - 1) / 2
    at = found[:3, :3] @ middle + found[:3, 3]
    np.testing.assert_allclose(at, np.array([3.017, -4.4, 0.01]) + shift, atol=1e-9)
    np.testing.assert_allclose(at / CENTRE_MM, np.round(at / CENTRE_MM), atol=1e-9)


def test_a_matrix_is_rounded_to_steps_of_its_own_for_shifts():
    matrix = np.eye(4)
    matrix[0, 1], matrix[:3, 3] = 0.2501, (3.14, -0.01, 7)
    found = rounded(matrix, 2.0**-4, 2.0**-2)
    np.testing.assert_array_equal(found[:3], [[1, 0.25, 0, 3.25], [0, 1, 0, 0], [0, 0, 1, 7]])
    np.testing.assert_array_equal(found[3], [0, 0, 0, 1])


def test_sizes_are_those_before_a_header_rounded_them():
    turns = np.random.default_rng(0).uniform(-30, 30, (20, 3))
    held = [data.grid(SHAPE, 'PSR', turn, (2.0, 0.75, 1.5)).astype(np.float32).astype(float) for turn in turns]
    assert len({float(np.linalg.norm(affine[:3, 0])) for affine in held}) > 5
    for affine in held:
        np.testing.assert_array_equal(sizes(affine), (2.0, 0.75, 1.5))
