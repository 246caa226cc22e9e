"""Flows whose answer is known in closed form, and the pieces the solver is made of."""

import numpy as np
import pytest
import torch
from scipy import ndimage as ndi
from scipy.linalg import expm

from bidsreg.registration.flow import ADAPTIVE, FIXED, SOLVERS, Eulerian, Solver, flow, integrate
from bidsreg.registration.grid import Grid
from bidsreg.registration.image import Image, resample
from bidsreg.registration.numerics import separable
from bidsreg.registration.numerics.sampling import Sampler, interpolate
from bidsreg.registration.presets import preset
from bidsreg.registration.velocity.network import LatentNetwork, NodeVelocity

GENERATOR = np.array([[0.1, -0.6, 0.2], [0.5, -0.1, 0.3], [-0.2, 0.1, 0.15]])


def voxels(n, dtype=torch.float64):
    return torch.stack(torch.meshgrid(*[torch.arange(n, dtype=dtype)] * 3, indexing='ij'))


def linear_velocity(n=9):
    """v(x) = G (x - c) on a grid: trilinear interpolation is exact, so only the solver errs."""
    away = voxels(n) - (n - 1) / 2
    velocity = torch.einsum('ij,jxyz->ixyz', torch.as_tensor(GENERATOR), away)[None]
    return velocity, (n - 1) / 2 + 0.3 * away


def exact(start, n=9):
    middle = (n - 1) / 2
    return middle + torch.einsum('ij,jxyz->ixyz', torch.as_tensor(expm(GENERATOR)), start - middle)


@pytest.mark.parametrize(('method', 'order'), [('euler', 1), ('midpoint', 2), ('heun3', 3), ('rk4', 4)])
def test_linear_flow_is_the_matrix_exponential_at_the_order_of_the_solver(method, order):
    velocity, start = linear_velocity()
    errors = [(flow(velocity, start, Solver(method, n)) - exact(start)).abs().max().item() for n in (4, 8)]
    assert np.log2(errors[0] / errors[1]) == pytest.approx(order, abs=0.35)


@pytest.mark.parametrize('method', SOLVERS)
def test_every_solver_finds_the_linear_flow(method):
    velocity, start = linear_velocity()
    end = flow(velocity, start, Solver(method, 32, tolerance=1e-6))
    assert (end - exact(start)).abs().max() < (0.02 if method == 'euler' else 3e-3)
    assert method in FIXED + ADAPTIVE


@pytest.mark.parametrize('method', ['euler', 'rk4', 'dopri5'])
def test_translation_is_exact(method):
    shift = torch.tensor([0.2, -0.1, 0.05], dtype=torch.float64)[:, None, None, None]
    start = 1 + 0.5 * voxels(4)
    torch.testing.assert_close(flow(shift.expand(3, 5, 5, 5)[None], start, Solver(method, 2)), start + shift)


def test_backward_undoes_forward():
    velocity, start = linear_velocity()
    there = flow(velocity, start, Solver('rk4', 16))
    back = integrate(Eulerian(velocity), there, Solver('rk4', 16), backward=True)
    torch.testing.assert_close(back, start, atol=1e-6, rtol=0)


def test_a_velocity_that_varies_in_time_is_linear_between_its_knots():
    knots = torch.tensor([[0.3, 0, 0], [0.9, -0.6, 0], [0, 0, 0.3]], dtype=torch.float64)
    velocity = knots[:, :, None, None, None].expand(3, 3, 5, 5, 5)
    start = 1 + 0.5 * voxels(3)
    # the integral of a piecewise linear function: the trapezoidal rule
    moved = (knots[0] / 2 + knots[1] + knots[2] / 2) / 2
    end = flow(velocity, start, Solver('rk4', 2))
    torch.testing.assert_close(end, start + moved[:, None, None, None])
    back = integrate(Eulerian(velocity), end, Solver('rk4', 2), backward=True)
    torch.testing.assert_close(back, start)


@pytest.mark.parametrize('knots', [1, 3])
def test_gradient_through_the_flow_by_finite_differences(knots):
    velocity, start = linear_velocity(4)
    noise = 0.05 * torch.randn(knots, *velocity.shape[1:], generator=torch.Generator().manual_seed(0)).double()
    leaf = (velocity + noise).requires_grad_()
    start = start[:, :2, :2, :2] + 0.013  # off the grid's kinks
    assert torch.autograd.gradcheck(lambda v: flow(v, start, Solver('rk4', 1)), leaf, eps=1e-7, atol=1e-5)


def test_the_adjoint_gives_the_gradient_of_the_steps():
    velocity, start = linear_velocity(6)
    leaf = velocity.requires_grad_()
    gradients = [
        torch.autograd.grad(flow(leaf, start, Solver('rk4', 16, adjoint=adjoint)).square().sum(), leaf)[0]
        for adjoint in (False, True)
    ]
    scale = gradients[0].abs().max()
    torch.testing.assert_close(gradients[1] / scale, gradients[0] / scale, atol=2e-3, rtol=0)


@pytest.mark.parametrize('adjoint', [False, True])
def test_the_gradient_goes_on_to_what_the_velocity_is_made_of(adjoint):
    leaf, start = linear_velocity(6)
    leaf = leaf.requires_grad_()
    velocity = 2 * leaf
    end = flow(velocity, start, Solver('rk4', 16, adjoint=adjoint)).square().sum()
    by_leaf, by_velocity = torch.autograd.grad(end, (leaf, velocity))
    assert by_velocity.abs().max() > 0
    torch.testing.assert_close(by_leaf, 2 * by_velocity)


def test_unknown_solvers_and_no_steps_are_refused():
    with pytest.raises(ValueError, match='dopri5'):
        Solver('rk5')
    with pytest.raises(ValueError, match='at least one step'):
        Solver('rk4', 0)


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
    index = np.stack(np.meshgrid(*map(np.arange, source.shape), indexing='ij'), -1)
    at = torch.as_tensor(np.moveaxis(target.to_voxels(source.to_world(index)), -1, 0))
    sampler = Sampler(torch.as_tensor(image.data, dtype=torch.float64)[None])
    inside = resample(Image(np.ones(target.shape, np.float32), target), source) == 1
    assert inside.sum() > 50
    np.testing.assert_allclose(sampler.values(at)[0].numpy()[inside], resample(image, source)[inside], atol=1e-5)
    nearest = resample(image, source, order=0)
    assert (sampler.nearest(at)[0].numpy()[inside] == nearest[inside]).mean() > 0.99  # ties may go either way


def test_sampled_slopes_and_their_adjoint_by_finite_differences():
    generator = torch.Generator().manual_seed(3)
    volume = torch.rand(2, 5, 4, 6, generator=generator, dtype=torch.float64)
    at = 0.6 + 2.2 * torch.rand(3, 2, 3, 2, generator=generator, dtype=torch.float64)
    assert torch.autograd.gradcheck(interpolate, (volume.requires_grad_(), at.requires_grad_()), eps=1e-7)
    values, slopes = Sampler(volume.detach())(at.detach())
    torch.testing.assert_close(values, interpolate(volume, at).detach())
    assert [s.shape for s in slopes] == [at.shape, at.shape]


def test_beyond_the_volume_the_border_goes_on_and_flat_volumes_have_one_slice():
    volume = torch.arange(12.0).reshape(1, 3, 4, 1)
    at = torch.tensor([[-5.0, 1.0, 9.0], [1.0, -2.0, 9.0], [0.0, 3.0, -1.0]]).reshape(3, 3, 1, 1)
    assert Sampler(volume).values(at).flatten().tolist() == [1.0, 4.0, 11.0]


def test_network_starts_at_rest_vanishes_at_the_border_and_repeats():
    shape, spacing = (13, 17, 9), np.full(3, 4.0)
    torch.manual_seed(5)
    network = NodeVelocity(shape, spacing, 12.0, preset('node-mind'))
    assert torch.equal(network(), torch.zeros(1, 3, *shape))
    with torch.no_grad():
        for latent in network.network.latents:
            latent.normal_()
    velocity = network()[0].detach()
    assert velocity.abs().max() > 0.01
    for axis in range(3):
        for end in (0, -1):
            assert velocity.select(axis + 1, end).abs().max() < 1e-6
    gradients = torch.autograd.grad(network().square().sum(), list(network.network.latents))
    assert all(g.abs().max() > 0 for g in gradients)
    # on the halved grid it is nearly the same velocity, without the finest detail
    half = network(1)[0].detach()
    assert half.shape == (3, 7, 9, 5)
    assert (half - velocity[:, ::2, ::2, ::2]).abs().max() < 0.2 * velocity.abs().max()


def test_moments_of_time_share_a_network_and_have_latents_of_their_own():
    network = LatentNetwork((9, 9, 9), np.full(3, 4.0), 4, knots=3)
    with torch.no_grad():
        network.latents[0][1] += 1
    out = network()
    assert out.shape == (3, 3, 9, 9, 9)
    assert out[0].abs().max() == 0
    assert out[1].abs().max() > 0
