"""Places of voxels axis by axis, against a matrix that takes each voxel."""

import numpy as np
import pytest

from bidsreg.registration.numerics.axes import mapped_axes
from bidsreg.registration.numerics.boxes import whole

MATRIX = np.array([[0.9, 0.2, -0.1, 4.0], [-0.3, 1.1, 0.2, -7.0], [0.1, 0.05, 2.0, 30.0], [0, 0, 0, 1]])


@pytest.mark.parametrize('box', [whole((5, 4, 3)), (slice(2, 4), slice(0, 3), slice(5, 6))])
def test_the_sums_of_the_axes_are_where_a_matrix_takes_the_voxels(box):
    x, y, z = mapped_axes(MATRIX, box)
    assert {axis.dtype for axis in (x, y, z)} == {np.dtype(np.float32)}
    voxels = np.stack(np.meshgrid(*[np.arange(b.start, b.stop) for b in box], indexing='ij'))
    wanted = np.einsum('ij,jxyz->ixyz', MATRIX[:3, :3], voxels) + MATRIX[:3, 3].reshape(3, 1, 1, 1)
    found = x[:, :, None, None] + y[:, None, :, None] + z[:, None, None, :]
    np.testing.assert_allclose(found, wanted, rtol=1e-5)
