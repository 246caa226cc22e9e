"""A matrix taken apart into the numbers it was made of."""

import numpy as np
import pytest

from bidsreg.preparation.affine import rigid_matrix
from bidsreg.qc.decomposition import decompose


def test_decompose_gives_back_what_went_in():
    centre = np.array([10.0, -20.0, 40.0])
    matrix = rigid_matrix((4, -5, 6), (1, 2, 3), centre)
    parts = decompose(matrix, centre)
    np.testing.assert_allclose(parts['rotation_deg'], (4, -5, 6), atol=1e-3)
    np.testing.assert_allclose(parts['translation_mm'], (1, 2, 3), atol=1e-3)
    np.testing.assert_allclose(parts['scales'], 1, atol=1e-6)
    np.testing.assert_allclose(parts['shears'], 0, atol=1e-6)
    stretch = np.eye(4)
    stretch[:3, :3] = [[1.1, 0.02, 0], [0.02, 0.9, 0.01], [0, 0.01, 1.0]]
    parts = decompose(matrix @ stretch, centre)
    np.testing.assert_allclose(parts['scales'], (1.1, 0.9, 1.0), atol=1e-3)
    np.testing.assert_allclose(parts['stretches'], np.linalg.svd(stretch[:3, :3])[1][::-1], atol=1e-4)
    np.testing.assert_allclose(parts['shears'], (0.02, 0, 0.01), atol=1e-3)
    assert parts['determinant'] == pytest.approx(np.linalg.det(stretch[:3, :3]), abs=1e-4)


def test_a_scale_is_seen_whatever_way_its_axis_lies():
    """A T2w with slices 5 % too thick that was scanned obliquely: along no axis of the T1w the scale is 5 %."""
    scale = np.diag([1.0, 1.0, 1.05, 1.0])
    turned = rigid_matrix((30, 20, 10))
    parts = decompose(turned @ scale @ np.linalg.inv(turned))
    assert max(parts['scales']) < 1.04
    assert parts['stretches'] == pytest.approx([1, 1, 1.05], abs=1e-4)
