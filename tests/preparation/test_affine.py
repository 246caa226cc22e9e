"""Rigid matrices: the order of the turns, and what they turn around."""

from __future__ import annotations

import numpy as np
import pytest

from bidsreg.preparation.affine import rigid_matrix


def turn(axis: int, degrees: float) -> np.ndarray:
    """A right-handed turn about one axis, written out."""
    cos, sin = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    first, second = (axis + 1) % 3, (axis + 2) % 3
    matrix = np.eye(3)
    matrix[[first, first, second, second], [first, second, first, second]] = cos, -sin, sin, cos
    return matrix


def test_nothing_is_the_identity():
    np.testing.assert_array_equal(rigid_matrix(), np.eye(4))


@pytest.mark.parametrize(('axis', 'goal'), [(0, (0, 0, 1)), (1, (1, 0, 0)), (2, (0, 1, 0))])
def test_turns_are_right_handed(axis, goal):
    """A quarter about one axis brings the next axis onto the one after that; about y, z onto x."""
    degrees = [0, 0, 0]
    degrees[axis] = 90
    start = np.eye(3)[(axis + 1) % 3]
    np.testing.assert_allclose(rigid_matrix(degrees)[:3, :3] @ start, goal, atol=1e-12)


def test_about_x_then_y_then_z():
    matrix = rigid_matrix((10, -20, 30))
    np.testing.assert_allclose(matrix[:3, :3], turn(2, 30) @ turn(1, -20) @ turn(0, 10), atol=1e-12)
    np.testing.assert_array_equal(matrix[:, 3], [0, 0, 0, 1])
    np.testing.assert_array_equal(matrix[3], [0, 0, 0, 1])


def test_around_the_centre_and_then_along():
    """The centre is moved by the translation alone; a point beside it is turned around it first."""
    centre, translation, beside = np.array([20.0, -10, 60]), np.array([3.0, -4, 5]), np.array([1.0, 2, 3])
    matrix = rigid_matrix((10, -20, 30), translation, centre)
    np.testing.assert_allclose(matrix @ [*centre, 1], [*(centre + translation), 1], atol=1e-12)
    goal = centre + translation + turn(2, 30) @ turn(1, -20) @ turn(0, 10) @ beside
    np.testing.assert_allclose(matrix @ [*(centre + beside), 1], [*goal, 1], atol=1e-12)
