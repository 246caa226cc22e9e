"""The velocities beside the default one: LDDMM's kernel against a dense matrix, NODEO's voxel cloud, the plain grid."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from scipy import linalg
from scipy import ndimage as ndi

from bidsreg.registration.numerics import separable
from bidsreg.registration.presets import preset
from bidsreg.registration.regularity import Path
from bidsreg.registration.velocity.gridpoints import GridVelocity, smooth_and_taper
from bidsreg.registration.velocity.lddmm import LddmmVelocity, SobolevKernel, path_length, time_mean, v_norm
from bidsreg.registration.velocity.nodeo import AveragingNodeoVelocity, NodeoVelocity, averaging_weights

PRESET = preset('node-mind')
SHAPE, SPACING, TAPER = (13, 17, 9), np.array([4.0, 4.0, 5.0]), 12.0
SMALL, STEPS, ALPHA = (5, 4, 6), (2.0, 3.0, 2.5), 7.0


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


def noise(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def points(shape, spacing):
    """Where a grid's points are, in mm from its centre, (1, 3, X, Y, Z)."""
    axes = [(torch.arange(n) - (n - 1) / 2) * float(h) for n, h in zip(shape, spacing, strict=True)]
    return torch.stack(torch.meshgrid(*axes, indexing='ij'))[None].float()


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
    return Path(velocity, velocity[:1], torch.tensor(STEPS, dtype=torch.float64), chosen)


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


EULERIAN = [LddmmVelocity, GridVelocity]
VOXEL_CLOUDS = [NodeoVelocity, AveragingNodeoVelocity]


def made(kind, seed=3, shape=SHAPE, chosen=PRESET):
    torch.manual_seed(seed)
    return kind(shape, SPACING, TAPER, chosen)


def values(network):
    """The velocity (K, 3, X, Y, Z), of a voxel cloud with all points at their grid places."""
    if getattr(network, 'lagrangian', False):
        state = points(SHAPE, SPACING)
        return network.at(torch.zeros(()), state)
    return network()


def shaken(network):
    """The same network with parameters that are not those it starts with."""
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for p in network.parameters():
            if p.requires_grad:
                p.add_(torch.randn(p.shape, generator=generator))
    return network


@pytest.mark.parametrize('kind', [*EULERIAN, *VOXEL_CLOUDS])
def test_velocity_is_zero_at_the_start_and_has_a_gradient(kind):
    network = made(kind)
    assert torch.equal(values(network), torch.zeros(1, 3, *SHAPE))
    target = torch.linspace(-1, 1, 3 * math.prod(SHAPE)).view(1, 3, *SHAPE)
    (values(network) - target).square().sum().backward()
    assert max(p.grad.abs().max().item() for p in network.parameters() if p.grad is not None) > 1e-3


@pytest.mark.parametrize('kind', [*EULERIAN, *VOXEL_CLOUDS])
def test_velocity_vanishes_at_the_border_and_nowhere_else(kind):
    velocity = values(shaken(made(kind))).detach()[0]
    assert velocity.shape == (3, *SHAPE)
    assert velocity.abs().amax((1, 2, 3)).min() > 0.01
    for axis in range(3):
        for end in (0, -1):
            assert velocity.select(axis + 1, end).abs().max() < 1e-5 * velocity.abs().max()
    assert (velocity[:, 2:-2, 2:-2, 2:-2] != 0).all()


@pytest.mark.parametrize('kind', [*EULERIAN, *VOXEL_CLOUDS])
def test_same_seed_same_velocity(kind):
    first, second = (values(shaken(made(kind))) for _ in range(2))
    assert torch.equal(first, second)


def test_another_seed_another_network():
    first, second = (values(shaken(made(LddmmVelocity, seed))) for seed in (3, 4))
    assert not torch.equal(first, second)


@pytest.mark.parametrize('kind', EULERIAN)
def test_time_knots_have_velocities_of_their_own(kind):
    velocity = shaken(made(kind, chosen=dataclasses.replace(PRESET, time_knots=3)))()
    assert velocity.shape == (3, 3, *SHAPE)
    assert (velocity[0] - velocity[1]).abs().max() > 0.01


def test_lddmm_is_the_windowed_kernel_of_a_windowed_momentum():
    network = shaken(made(LddmmVelocity))
    kernel = SobolevKernel(SHAPE, torch.as_tensor(SPACING).float(), PRESET.kernel_alpha, PRESET.kernel_power)
    x, y, z = (separable.taper_weights(n, TAPER / h) for n, h in zip(SHAPE, SPACING, strict=True))
    window = torch.as_tensor(np.einsum('i,j,k->ijk', x, y, z)).float()
    torch.testing.assert_close(network(), window * kernel.apply(window * network.network()))
    rougher = made(LddmmVelocity, chosen=dataclasses.replace(PRESET, kernel_alpha=0.0))
    identity = window**2 * network.network()  # alpha 0: K is the identity
    torch.testing.assert_close(shaken(rougher)(), identity, atol=1e-5 * identity.abs().max().item(), rtol=0)


def smooth_parameters(network):
    """What a halved grid can show, too."""
    x, y, z = points(SHAPE, SPACING)[0] / 60
    with torch.no_grad():
        if isinstance(network, GridVelocity):
            network.velocities.copy_(torch.stack([torch.cos(3 * x), y * z, torch.sin(2 * x + y)]))
        else:
            for latent in network.network.latents:
                latent.fill_(0.3)
    return network


@pytest.mark.parametrize('kind', EULERIAN)
def test_velocity_on_a_halved_grid_is_nearly_the_same(kind):
    network = smooth_parameters(made(kind))
    fine, half = network().detach(), network(1).detach()
    assert half.shape == (1, 3, 7, 9, 5)
    assert fine.abs().max() > 0.1
    assert (half - fine[..., ::2, ::2, ::2]).abs().max() < 0.15 * fine.abs().max()
    for axis in (2, 3, 4):
        for end in (0, -1):
            assert half.select(axis, end).abs().max() < 1e-5


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


def test_nodeo_decodes_through_the_kernel_it_is_named_for():
    smooth, average = (shaken(made(kind)) for kind in (NodeoVelocity, AveragingNodeoVelocity))
    coarse = torch.randn(1, 3, *smooth.coarse, generator=torch.Generator().manual_seed(0))
    for network, kernel in ((smooth, separable.gaussian_weights), (average, averaging_weights)):
        with torch.no_grad():
            network.decoder.weight.zero_()
            network.decoder.bias.copy_(coarse.flatten())
        fine = separable.apply(
            coarse,
            separable.to_tensors(
                [
                    separable.linear_weights(np.linspace(0, m - 1, n), m)
                    for n, m in zip(SHAPE, coarse.shape[2:], strict=True)
                ],
                coarse,
            ),
        )
        smoothing = smooth_and_taper(SHAPE, SPACING, TAPER, PRESET.velocity_smoothing, kernel)
        truth = separable.apply(fine, separable.to_tensors(smoothing, coarse))
        torch.testing.assert_close(values(network), truth, atol=1e-5, rtol=1e-4)
    assert (values(smooth) - values(average)).abs().max() > 1e-3


def test_nodeo_answers_to_the_state():
    network, state = shaken(made(NodeoVelocity)), points(SHAPE, SPACING)
    moved = state + 3 * torch.randn(state.shape, generator=torch.Generator().manual_seed(1))
    here, there = (network.at(torch.zeros(()), q) for q in (state, moved))
    assert (here - there).abs().max() > 1e-3
    leaf = state.clone().requires_grad_()
    assert torch.autograd.grad(network.at(torch.zeros(()), leaf).square().sum(), leaf)[0].abs().max() > 0


def test_nodeo_learns_a_displacement_through_its_flow():
    """All parts of the network take part: after a step of the decoder the convolutions have gradients, too."""
    network, state = made(NodeoVelocity), points(SHAPE, SPACING)
    radius = (state / torch.tensor([12.0, 14.0, 12.0])[:, None, None, None]).square().sum(1, keepdim=True)
    target = torch.exp(-radius) * torch.tensor([3.0, -2.0, 1.0])[:, None, None, None]
    optimiser = torch.optim.Adam(network.parameters(), lr=0.02)

    def error():
        end = state
        for k in range(2):
            end = end + network.at(torch.tensor(k / 2), end) / 2
        return (end - state - target).square().mean()

    before = error().item()
    for _ in range(60):
        optimiser.zero_grad()
        error().backward()
        optimiser.step()
    assert error().item() < 0.05 * before
    assert all(p.grad.abs().max() > 0 for p in network.parameters() if p.requires_grad)


@pytest.mark.parametrize('shape', [(60, 70, 60), (104, 124, 104), (20, 25, 12), (5, 40, 3)])
def test_nodeo_stays_small_on_any_grid(shape):
    network = made(NodeoVelocity, shape=shape)
    assert sum(p.numel() for p in network.parameters() if p.requires_grad) < 5e6
    state = points(shape, SPACING)
    with torch.no_grad():
        assert network.at(torch.zeros(()), state).shape == state.shape
