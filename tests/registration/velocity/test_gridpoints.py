"""Velocities as plain parameters."""

import numpy as np
from scipy import ndimage as ndi

from bidsreg.registration.numerics import separable
from bidsreg.registration.velocity.gridpoints import GridVelocity
from bidsreg.registration.velocity.smoothing import smooth_and_taper
from tests.velocities import PRESET, SHAPE, SPACING, TAPER, made, shaken


def test_grid_is_its_parameters_smoothed_and_tapered():
    network = shaken(made(GridVelocity))
    window = np.einsum(
        'i,j,k->ijk', *(separable.taper_weights(n, TAPER / h) for n, h in zip(SHAPE, SPACING, strict=True))
    )
    truth = ndi.gaussian_filter(
        network.velocities.detach().numpy()[0],
        (0, *(PRESET.velocity_smoothing / SPACING)),
        mode='constant',
        truncate=8,
    )
    np.testing.assert_allclose(network()[0].detach().numpy(), window * truth, atol=1e-5)
    unsmoothed = smooth_and_taper(SHAPE, SPACING, 0.0, 0.0)
    np.testing.assert_allclose(unsmoothed[0], np.diag([0, *np.ones(SHAPE[0] - 2), 0]), atol=1e-12)
