"""Gaussian filters as matrices, against SciPy."""

import numpy as np
import pytest
from scipy import ndimage as ndi

from bidsreg.registration.numerics.filters import filter_weights


@pytest.mark.parametrize('mode', ['reflect', 'nearest'])
@pytest.mark.parametrize('order', [0, 1])
@pytest.mark.parametrize('n', [1, 2, 5, 30])
@pytest.mark.parametrize('sigma', [0.2, 0.7, 3.3])
def test_filter_weights_are_those_of_scipy(n, sigma, order, mode):
    """Mirrored more than once, too."""
    found = filter_weights(n, sigma, order, 3.0, mode)
    wanted = ndi.gaussian_filter1d(np.eye(n), sigma, axis=0, order=order, mode=mode, truncate=3)
    np.testing.assert_allclose(found, wanted, atol=1e-14)
