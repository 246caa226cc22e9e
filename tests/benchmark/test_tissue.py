"""How labels are carried from one grid to another."""

from __future__ import annotations

import numpy as np
import pytest

from bidsreg.benchmark.tissue import carried_labels
from bidsreg.preparation.affine import rigid_matrix
from bidsreg.registration import Grid, Image


def test_labels_are_carried_by_weight():
    def blob(radius):
        away = np.linalg.norm(grid.to_world(np.moveaxis(np.indices(grid.shape), 0, -1)) - (9, 9, 27), axis=-1)
        return (away < radius).astype(np.uint8)

    grid = Grid((20, 20, 20), np.diag([1, 1, 3, 1.0]))
    labels = Image(blob(8) + blob(5), grid)
    np.testing.assert_array_equal(carried_labels(labels, np.eye(4), grid), labels.data)
    fine = grid.covering(np.full(3, 1.0))
    moved = carried_labels(labels, rigid_matrix((0, 0, 0), (2, -1, 4)), fine)
    assert set(np.unique(moved)) == {0, 1, 2}
    assert (moved > 0).sum() == pytest.approx(3 * (labels.data > 0).sum(), rel=0.1)
    # the matrix leads from the fine grid to the labels: what is at x there is at x - shift here
    np.testing.assert_allclose(fine.to_world(np.argwhere(moved == 2).mean(0)), (7, 10, 23), atol=0.3)
