"""Positions of voxels, against numpy's index grids."""

import numpy as np
import pytest

from bidsreg.registration.numerics.boxes import whole
from bidsreg.registration.numerics.positions import mapped_voxels, voxel_indices

MATRIX = np.array([[0.9, 0.2, -0.1, 4.0], [-0.3, 1.1, 0.2, -7.0], [0.1, 0.05, 2.0, 30.0], [0, 0, 0, 1]])


def test_indices_are_those_of_numpy():
    assert np.array_equal(voxel_indices((3, 4, 2)).numpy(), np.indices((3, 4, 2)))


@pytest.mark.parametrize('box', [whole((5, 4, 3)), (slice(2, 4), slice(0, 3), slice(5, 6))])
def test_a_matrix_takes_every_voxel_of_a_box(box):
    voxels = np.stack(np.meshgrid(*[np.arange(b.start, b.stop) for b in box], indexing='ij'))
    wanted = np.einsum('ij,jxyz->ixyz', MATRIX[:3, :3], voxels) + MATRIX[:3, 3].reshape(3, 1, 1, 1)
    np.testing.assert_allclose(mapped_voxels(MATRIX, box).numpy(), wanted, rtol=1e-5)
