"""Folds counted by torch, for a GPU, against the plain measure."""

import numpy as np
import pytest
import torch

from bidsreg.registration import Grid, metrics
from bidsreg.registration.numerics import folds
from tests import data


@pytest.mark.parametrize('name', ['ras', 'oblique-left-handed', 'sheared'])
def test_folds_are_those_of_the_plain_measure(name):
    grid = Grid((12, 11, 10), data.GRIDS[name][1])
    rng = np.random.default_rng(1)
    field = (rng.normal(size=(*grid.shape, 3)) * grid.spacing.min() * 0.4).astype(np.float32)
    wanted = metrics.folded(field, grid)
    assert 0.05 < wanted.mean() < 0.95
    given = torch.from_numpy(np.moveaxis(field, -1, 0).copy())
    assert np.array_equal(folds.folded(given, grid), wanted)
    assert (folds._folded_by_torch(given, grid).numpy() != wanted).mean() < 1e-3  # but for rounding
    assert folds.count_folds(given, grid) == wanted.sum()
    assert not folds._folded_by_torch(torch.zeros(3, *grid.shape), grid).any()
