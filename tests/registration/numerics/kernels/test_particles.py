"""Sums of what parts of the particles leave in a gradient; the steps themselves are tested with `flow`."""

import numpy as np

from bidsreg.registration.numerics.kernels.particles import add_up


def test_overlapping_slabs_are_added_up_where_they_lie():
    rng = np.random.default_rng(0)
    knots, planes, size = 2, 9, 5
    reach = [(0, 4), (2, 2), (3, 9), (3, 5)]
    slabs = [rng.normal(size=(knots, high - low, size, 4)).astype(np.float32) for low, high in reach]
    unit, wanted = np.array([1, 0.5, -2], np.float32), np.zeros((knots, 3, planes, size))
    for slab, (low, high) in zip(slabs, reach, strict=True):
        wanted[:, :, low:high] += np.moveaxis(slab[..., :3] * unit, -1, 1)
    begins = np.cumsum([0, *(slab.size for slab in slabs)])[:-1]
    where = np.array([(begin, *ends) for begin, ends in zip(begins, reach, strict=True)])
    flat, found = (
        np.concatenate([slab.ravel() for slab in slabs]),
        np.full((knots, 3, planes, size), np.nan, np.float32),
    )
    for first in range(0, planes, 2):
        add_up(flat, where, size, unit, first, min(first + 2, planes), found)
    np.testing.assert_allclose(found, wanted, atol=1e-5)
