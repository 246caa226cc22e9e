"""Compiled count of folds against the plain measure."""

import numpy as np
import pytest

from bidsreg.registration import Grid, metrics
from bidsreg.registration.numerics.kernels.folds import folded
from tests import data


@pytest.mark.parametrize('name', ['ras', 'oblique-left-handed', 'sheared'])
@pytest.mark.parametrize('shape', [(17, 5, 6), (2, 2, 2)])
def test_folds_are_those_of_the_plain_measure_for_any_number_of_threads(name, shape):
    grid = Grid(shape, data.GRIDS[name][1])
    field = (np.random.default_rng(1).normal(size=(3, *shape)) * grid.spacing.min() * 0.4).astype(np.float32)
    found = folded(field, grid.affine[:3, :3])
    np.testing.assert_array_equal(found, metrics.folded(np.moveaxis(field, 0, -1), grid))
    np.testing.assert_array_equal(folded(field, grid.affine[:3, :3], threads=3), found)


def test_one_slice_moves_nothing_across_itself():
    field = np.zeros((3, 1, 4, 1), np.float32)
    assert not folded(field, np.eye(3)).any()
    field[1] = -2 * np.arange(4)[:, None]
    assert folded(field, np.eye(3)).all()
