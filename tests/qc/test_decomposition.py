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
    np.testing.assert_allclose(parts['shears'], (0.02, 0, 0.01), atol=1e-3)
    assert parts['determinant'] == pytest.approx(np.linalg.det(stretch[:3, :3]), abs=1e-4)
