"""Compiled energies against torch's."""

import numpy as np
import pytest
import torch

from bidsreg.registration.numerics.kernels.regularity import divergence_energy, gradient_energy
from bidsreg.registration.regularity import gradient

SPACING = np.array([2.0, 1.5, 3.0])
DENSITIES = {
    gradient_energy: lambda slopes: slopes.square().sum((1, 2)),
    divergence_energy: lambda slopes: torch.einsum('kiixyz->kxyz', slopes).square(),
}


@pytest.mark.parametrize('shape', [(9, 5, 4), (17, 3, 2), (4, 2, 1), (1, 3, 3), (5, 1, 6)])
@pytest.mark.parametrize('energy', DENSITIES)
def test_energies_and_gradients_are_torchs_for_any_number_of_threads(energy, shape):
    field = np.random.default_rng(0).normal(size=(2, 3, *shape)).astype(np.float32)
    sums, slope = energy(field, SPACING)
    double = torch.from_numpy(field).double().requires_grad_()
    reference = DENSITIES[energy](gradient(double, torch.from_numpy(SPACING))).sum((1, 2, 3))
    reference.sum().backward()
    np.testing.assert_allclose(sums, reference.detach(), rtol=1e-5)
    np.testing.assert_allclose(slope, double.grad, atol=1e-5)
    for one, three in zip((sums, slope), energy(field, SPACING, threads=3), strict=True):
        np.testing.assert_array_equal(one, three)
