"""Corners, volumes and centres."""

import nibabel as nb
import numpy as np
import pytest

from bidsreg.bids.images import corner_distance, mask_centre, volume_ml
from tests import data


def test_the_farthest_corner_counts():
    affine = np.diag([2.0, 2.0, 2.0, 1.0])
    wider = np.diag([2.1, 2.0, 2.0, 1.0])
    assert corner_distance(affine, affine, (11, 5, 5)) == 0
    assert corner_distance(affine, wider, (11, 5, 5)) == pytest.approx(1.0)  # ten steps of 0.1 mm
    assert corner_distance(affine, wider, (11, 5, 5, 1), edge=0.5) == pytest.approx(1.05)
    moved = affine.copy()
    moved[:3, 3] = 3, 4, 0
    assert corner_distance(affine, moved, (4, 4, 4)) == pytest.approx(5)


@pytest.mark.parametrize('name', ['oblique', 'thick'])
def test_a_mask_has_its_volume_and_centre_on_any_grid(name):
    shape, affine = data.GRIDS[name]
    inside = np.linalg.norm(data.world(shape, affine), axis=-1) < 50
    assert volume_ml(inside, affine) == pytest.approx(4 / 3 * np.pi * 5**3, rel=0.03)
    np.testing.assert_allclose(mask_centre(nb.Nifti1Image(inside.astype(np.uint8), affine)), 0, atol=1.0)
