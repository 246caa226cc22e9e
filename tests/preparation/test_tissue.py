"""Tissue classes."""

from __future__ import annotations

import numpy as np
from scipy import ndimage as ndi

from bidsreg.preparation.tissue import tissue_classes
from bidsreg.registration import Grid, Image


def test_classes_go_from_dark_to_bright_and_vessels_make_none():
    rng = np.random.default_rng(0)
    truth = ndi.zoom(rng.integers(1, 4, (6, 6, 6)), 4, order=0)
    values = np.array([0, 20, 60, 100])[truth] + rng.normal(0, 3, truth.shape)
    values[:2, :2, :2] = 3000
    inside = np.ones(truth.shape, bool)
    inside[-4:] = False
    image = Image(values.astype(np.float32), Grid(truth.shape, np.eye(4)))
    found = tissue_classes(image, inside)
    assert not found.data[~inside].any()
    assert (found.data == truth)[inside].mean() > 0.98
    np.testing.assert_array_equal(tissue_classes(image, inside).data, found.data)
