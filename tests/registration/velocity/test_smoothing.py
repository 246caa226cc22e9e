"""Smoothing kernels and windows."""

import math

import numpy as np
import pytest
from scipy import ndimage as ndi

from bidsreg.registration.velocity.smoothing import averaging_weights


def test_averaging_weights_are_a_moving_average_of_the_gaussians_width():
    matrix = averaging_weights(40, 7 / math.sqrt(12))  # a window of exactly seven samples
    signal = np.random.default_rng(0).normal(size=40)
    np.testing.assert_allclose(matrix @ signal, ndi.uniform_filter1d(signal, 7, mode='constant'), atol=1e-12)
    for sigma in (1.3, 2.0, 3.7):
        weights = averaging_weights(61, sigma)
        np.testing.assert_allclose(weights, weights.T)
        assert weights[30].sum() == pytest.approx(1)
        # counted in part at its ends, the window is that of a continuous one seen through voxels (variance 1/12)
        assert weights[30] @ (np.arange(61) - 30.0) ** 2 == pytest.approx(sigma**2 + 1 / 12, rel=0.05)
    np.testing.assert_allclose(averaging_weights(5, 0.0), np.eye(5))
