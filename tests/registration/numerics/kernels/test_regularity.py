"""Compiled energies against torch's."""

import numpy as np
import pytest
import torch

from bidsreg.registration.numerics.kernels.regularity import bending_energy, divergence_energy, gradient_energy
from bidsreg.registration.regularity import gradient

SPACING = np.array([2.0, 1.5, 3.0])
DENSITIES = {
    gradient_energy: lambda slopes: slopes.square().sum((1, 2)),
    divergence_energy: lambda slopes: torch.einsum('kiixyz->kxyz', slopes).square(),
}


@pytest.mark.parametrize(
    'shape', [(19, 7, 6), (9, 5, 4), (17, 3, 3), (3, 4, 5), (4, 2, 3), (1, 3, 3), (2, 2, 2), (6, 5, 1)]
)
def test_bending_is_torchs_for_any_number_of_threads(shape):
    field = np.random.default_rng(0).normal(size=(2, 3, *shape)).astype(np.float32)
    sums, slope = bending_energy(field, SPACING)
    double, spacing = torch.from_numpy(field).double().requires_grad_(), torch.from_numpy(SPACING)
    first = gradient(double, spacing)
    if min(shape) > 1:
        second = gradient(first.flatten(0, 1), spacing).unflatten(0, first.shape[:2])
        reference = second.square().sum((1, 2, 3)).sum((1, 2, 3))
        reference.sum().backward()
        np.testing.assert_allclose(sums, reference.detach(), rtol=1e-5)
        np.testing.assert_allclose(slope, double.grad, atol=2e-5)
    else:
        assert not sums.any()
        assert not slope.any()
    for threads in (2, 4):
        for one, other in zip((sums, slope), bending_energy(field, SPACING, threads), strict=True):
            np.testing.assert_array_equal(one, other)


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
