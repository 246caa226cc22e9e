"""Flows whose answer is known in closed form, and the pieces the solver is made of."""

import numpy as np
import pytest
import torch
from scipy import ndimage as ndi
from scipy.linalg import expm

from bidsreg.registration import separable
from bidsreg.registration.flow import integrate
from bidsreg.registration.grid import Grid
from bidsreg.registration.image import Image, identity, resample, sample, to_sampler
from bidsreg.registration.presets import preset
from bidsreg.registration.regularity import gradient_energy
from bidsreg.registration.velocity import NodeVelocity

GENERATOR = np.array([[0.1, -0.6, 0.2], [0.5, -0.1, 0.3], [-0.2, 0.1, 0.15]])


def linear_velocity(n=9):
    """v(x) = G x on a grid: trilinear interpolation is exact, so only the solver errs."""
    points = identity((n, n, n), dtype=torch.float64)
    return (points @ torch.as_tensor(GENERATOR).T).permute(0, 4, 1, 2, 3), 0.4 * points


@pytest.mark.parametrize(('solver', 'order'), [('euler', 1), ('rk4', 4)])
def test_linear_flow_is_the_matrix_exponential_at_the_order_of_the_solver(solver, order):
    velocity, start = linear_velocity()
    truth = start @ torch.as_tensor(expm(GENERATOR)).T
    errors = [(integrate(velocity, start, solver, steps) - truth).abs().max().item() for steps in (4, 8)]
    assert np.log2(errors[0] / errors[1]) == pytest.approx(order, abs=0.35)


@pytest.mark.parametrize('solver', ['euler', 'rk4'])
def test_translation_is_exact(solver):
    velocity = torch.zeros(1, 3, 5, 5, 5, dtype=torch.float64) + torch.tensor([0.2, -0.1, 0.05])[:, None, None, None]
    start = 0.5 * identity((4, 4, 4), dtype=torch.float64)
    end = integrate(velocity, start, solver, 2)
    torch.testing.assert_close(end, start + torch.tensor([0.2, -0.1, 0.05], dtype=torch.float64))


def test_backward_undoes_forward():
    velocity, start = linear_velocity()
    there = integrate(velocity, start, 'rk4', 16)
    torch.testing.assert_close(integrate(velocity, there, 'rk4', 16, backward=True), start, atol=1e-7, rtol=0)


def test_gradient_through_the_flow_by_finite_differences():
    velocity, start = linear_velocity(4)
    leaf = (velocity + 0.05 * torch.randn(velocity.shape, generator=torch.Generator().manual_seed(0))).requires_grad_()
    start = start[:, :2, :2, :2] + 0.013  # off the grid's kinks
    assert torch.autograd.gradcheck(lambda v: integrate(v, start, 'rk4', 1), leaf, eps=1e-7, atol=1e-5)


def test_cubic_weights_reproduce_lines_and_smooth_functions():
    at = np.linspace(2, 17, 40)
    weights = separable.cubic_weights(at, 20)
    np.testing.assert_allclose(weights.sum(1), 1)
    np.testing.assert_allclose(weights @ (3 * np.arange(20) - 1), 3 * at - 1)
    np.testing.assert_allclose(weights @ np.sin(0.3 * np.arange(20)), np.sin(0.3 * at), atol=2e-3)


def test_gaussian_weights_are_symmetric_and_smooth_as_scipy():
    matrix = separable.gaussian_weights(30, 1.7)
    np.testing.assert_allclose(matrix, matrix.T)
    signal = np.random.default_rng(0).normal(size=30)
    np.testing.assert_allclose(
        matrix @ signal, ndi.gaussian_filter1d(signal, 1.7, mode='constant', truncate=8), atol=1e-9
    )


def test_separable_apply_is_three_matrix_products():
    rng = np.random.default_rng(1)
    volume = rng.normal(size=(2, 3, 4, 5, 6))
    matrices = [rng.normal(size=(m, n)) for m, n in ((7, 4), (3, 5), (2, 6))]
    ours = separable.apply(
        torch.as_tensor(volume), separable.to_tensors(matrices, torch.zeros((), dtype=torch.float64))
    )
    np.testing.assert_allclose(ours.numpy(), np.einsum('kcxyz,ax,by,dz->kcabd', volume, *matrices))


def test_sampling_agrees_with_scipy_on_an_oblique_pair_of_grids():
    rng = np.random.default_rng(2)
    source = Grid((8, 9, 7), np.array([[0, -1.1, 0.1, 2], [0.9, 0, 0, -3], [0.1, 0, 2.0, 1], [0, 0, 0, 1]]))
    target = Grid(
        (11, 10, 12), np.diag([1.0, 0.8, 1.2, 1]) + np.array([[0] * 3 + [-7], [0] * 3 + [-3], [0] * 3 + [1], [0] * 4])
    )
    image = Image(rng.normal(size=target.shape).astype(np.float32), target)
    matrix = torch.as_tensor(to_sampler(np.linalg.inv(target.affine) @ source.affine, source.shape, target.shape))
    at = identity(source.shape, dtype=torch.float64) @ matrix[:3, :3].T + matrix[:3, 3]
    ours = sample(torch.as_tensor(image.data, dtype=torch.float64)[None, None], at)[0, 0].numpy()
    scipy = resample(image, source)
    inside = resample(Image(np.ones(target.shape, np.float32), target), source) == 1
    assert inside.sum() > 50
    np.testing.assert_allclose(ours[inside], scipy[inside], atol=1e-5)


def test_gradient_energy_in_millimetres_does_not_depend_on_the_grid():
    def energy(spacing):
        axes = [np.arange(0, 40, h) for h in spacing]
        x, y, z = np.meshgrid(*axes, indexing='ij')
        bump = np.exp(-((x - 20) ** 2 + (y - 20) ** 2 + (z - 20) ** 2) / (2 * 5.0**2))
        velocity = torch.as_tensor(np.stack([bump, 2 * bump, 0 * bump]))[None]
        return gradient_energy(velocity, torch.tensor(spacing, dtype=torch.float64)).item()

    truth = (1 + 4) * 1.5 * np.pi**1.5 * 5.0  # integral of |grad exp(-r^2 / 2 s^2)|^2 = 3/2 pi^(3/2) s
    assert energy((1.0, 1.0, 1.0)) == pytest.approx(truth, rel=0.02)
    assert energy((0.8, 0.8, 2.0)) == pytest.approx(truth, rel=0.03)


def test_network_starts_at_rest_vanishes_at_the_border_and_repeats():
    shape, spacing = (12, 14, 10), np.full(3, 4.0)
    torch.manual_seed(5)
    network = NodeVelocity(shape, spacing, 12.0, preset('node-mind'))
    assert torch.equal(network(), torch.zeros(1, 3, *shape))
    with torch.no_grad():
        for latent in network.latents:
            latent.normal_()
    velocity = network()[0].detach()
    assert velocity.abs().max() > 0.01
    for axis in range(3):
        for end in (0, -1):
            assert velocity.select(axis + 1, end).abs().max() < 1e-6
    assert torch.autograd.grad(network().square().sum(), list(network.latents))[0].abs().max() > 0
