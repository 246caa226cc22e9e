"""The velocity with a metric, against dense operators."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from scipy import linalg

from bidsreg.registration.numerics import separable
from bidsreg.registration.regularity import REGULARISERS
from bidsreg.registration.velocity.base import FlowPath, time_mean
from bidsreg.registration.velocity.lddmm import LddmmVelocity, SobolevKernel, path_length
from tests.velocities import ALPHA, PRESET, SHAPE, SMALL, SPACING, STEPS, TAPER, made, noise, shaken

v_norm = REGULARISERS['v-norm']


def laplacian(n, h):
    """Second differences of n samples on a circle."""
    out = np.zeros((n, n))
    for i in range(n):
        out[i, i] -= 2 / h**2
        out[i, (i - 1) % n] += 1 / h**2
        out[i, (i + 1) % n] += 1 / h**2
    return out


def dense_operator(power):
    """(Id - alpha Laplacian)^power as a matrix over all voxels, in C order."""
    eyes = [np.eye(n) for n in SMALL]
    total = np.eye(math.prod(SMALL))
    for axis, (n, h) in enumerate(zip(SMALL, STEPS, strict=True)):
        factors = [*eyes[:axis], laplacian(n, h), *eyes[axis + 1 :]]
        total -= ALPHA * np.kron(np.kron(factors[0], factors[1]), factors[2])
    values, vectors = linalg.eigh(total)
    return vectors @ np.diag(values**power) @ vectors.T


def kernel_on_small_grid(power):
    return SobolevKernel(SMALL, torch.tensor(STEPS, dtype=torch.float64), ALPHA, power)


@pytest.mark.parametrize('power', [1.0, 2.0, 1.5])
def test_kernel_is_the_inverse_of_the_dense_operator(power):
    momentum, kernel, dense = noise(2, 3, *SMALL), kernel_on_small_grid(power), dense_operator(power)
    columns = momentum.reshape(6, -1).numpy().T
    smoothed, sharpened = (f(momentum).reshape(6, -1).numpy().T for f in (kernel.apply, kernel.inverse))
    np.testing.assert_allclose(smoothed, linalg.solve(dense, columns), atol=1e-12)
    np.testing.assert_allclose(sharpened, dense @ columns, atol=1e-9)


def test_kernel_is_self_adjoint_and_undone_by_its_operator():
    kernel = kernel_on_small_grid(2.0)
    m, n = noise(1, 3, *SMALL), noise(1, 3, *SMALL, seed=1)
    assert (kernel.apply(m) * n).sum() == pytest.approx((m * kernel.apply(n)).sum().item(), rel=1e-12)
    torch.testing.assert_close(kernel.inverse(kernel.apply(m)), m)
    torch.testing.assert_close(kernel.apply(kernel.inverse(m)), m)


def test_kernel_keeps_constants_and_damps_waves_alike_on_any_grid():
    length, alpha = 48.0, 40.0
    for h in (2.0, 4.0):
        n = int(length / h)
        kernel = SobolevKernel((n, 3, 4), torch.full((3,), h, dtype=torch.float64), alpha, 2.0)
        wave = torch.cos(torch.arange(n, dtype=torch.float64) * h * 2 * math.pi / length)[:, None, None].expand(n, 3, 4)
        gain = (kernel.apply(wave)[0, 0, 0] / wave[0, 0, 0]).item()
        assert gain == pytest.approx((1 + alpha * (2 * math.pi / length) ** 2) ** -2, rel=0.02)
        torch.testing.assert_close(kernel.apply(torch.ones_like(wave)), torch.ones_like(wave))


@pytest.mark.parametrize(('alpha', 'power'), [(-1.0, 2.0), (40.0, -0.5)])
def test_kernel_refuses_an_operator_that_is_not_positive(alpha, power):
    with pytest.raises(ValueError, match='at least 0'):
        SobolevKernel(SMALL, torch.ones(3), alpha, power)


def path_on_small_grid(velocity, power):
    chosen = dataclasses.replace(PRESET, kernel_alpha=ALPHA, kernel_power=power)
    return FlowPath(velocity, velocity[:1], torch.tensor(STEPS, dtype=torch.float64), chosen)


@pytest.mark.parametrize('power', [1.0, 2.0])
def test_v_norm_is_the_quadratic_form_of_the_dense_operator(power):
    velocity = noise(1, 3, *SMALL)
    path, dense = path_on_small_grid(velocity, power), dense_operator(power)
    truth = sum(v @ dense @ v for v in velocity.reshape(3, -1).numpy()) * math.prod(STEPS)
    assert v_norm(path).item() == pytest.approx(truth, rel=1e-10)
    assert path_length(velocity, path.spacing, path.preset).item() == pytest.approx(truth**0.5, rel=1e-10)


def test_v_norm_of_a_field_that_vanishes_at_the_border_does_not_feel_the_period():
    inside = torch.nn.functional.pad(noise(1, 3, 3, 4, 5), (1,) * 6)
    outside = torch.nn.functional.pad(inside, (3, 4) * 3)
    assert v_norm(path_on_small_grid(inside, 2.0)).item() == pytest.approx(
        v_norm(path_on_small_grid(outside, 2.0)).item(), rel=1e-12
    )


def test_v_norm_over_time_is_trapezoidal_and_bounds_the_length():
    one = noise(1, 3, *SMALL)
    path = path_on_small_grid(torch.cat([one, 2 * one, 3 * one]), 2.0)
    unit = v_norm(path_on_small_grid(one, 2.0)).item()
    assert v_norm(path).item() == pytest.approx(unit * (1 + 2 * 4 + 9) / 4)
    length = path_length(path.velocity, path.spacing, path.preset).item()
    assert length == pytest.approx(2 * unit**0.5)
    assert length**2 < v_norm(path).item()
    assert time_mean(torch.tensor([3.0])).item() == 3


def test_v_norm_and_kernel_by_finite_differences():
    kernel = kernel_on_small_grid(2.0)
    velocity = noise(2, 3, *SMALL).requires_grad_()
    assert torch.autograd.gradcheck(kernel.apply, velocity)
    assert torch.autograd.gradcheck(lambda v: v_norm(path_on_small_grid(v, 2.0)), velocity, atol=1e-4)


def test_lddmm_is_the_windowed_kernel_of_a_windowed_momentum():
    network = shaken(made(LddmmVelocity))
    kernel = SobolevKernel(SHAPE, torch.as_tensor(SPACING).float(), PRESET.kernel_alpha, PRESET.kernel_power)
    x, y, z = (separable.taper_weights(n, TAPER / h) for n, h in zip(SHAPE, SPACING, strict=True))
    window = torch.as_tensor(np.einsum('i,j,k->ijk', x, y, z)).float()
    torch.testing.assert_close(network(), window * kernel.apply(window * network.network()))
    rougher = made(LddmmVelocity, chosen=dataclasses.replace(PRESET, kernel_alpha=0.0))
    identity = window**2 * network.network()  # alpha 0: K is the identity
    torch.testing.assert_close(shaken(rougher)(), identity, atol=1e-5 * identity.abs().max().item(), rtol=0)
