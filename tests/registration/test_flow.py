"""Flows whose answer is known in closed form, and the pieces the solver is made of."""

import numpy as np
import pytest
import torch
from scipy.linalg import expm
from torchdiffeq import odeint

from bidsreg.registration import flow as flow_module
from bidsreg.registration.flow import ADAPTIVE, FIXED, SOLVERS, STEPS, Eulerian, Solver, carried, flow, integrate

GENERATOR = np.array([[0.1, -0.6, 0.2], [0.5, -0.1, 0.3], [-0.2, 0.1, 0.15]])


def voxels(n, dtype=torch.float64):
    return torch.stack(torch.meshgrid(*[torch.arange(n, dtype=dtype)] * 3, indexing='ij'))


ONE_MM = torch.ones(3, dtype=torch.float64)


def end_of(velocity, start, solver):
    """Where particles end, on voxels of 1 mm."""
    return start + flow(velocity, start, ONE_MM, solver)


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
    errors = [(end_of(velocity, start, Solver(method, n)) - exact(start)).abs().max().item() for n in (4, 8)]
    assert np.log2(errors[0] / errors[1]) == pytest.approx(order, abs=0.35)


@pytest.mark.parametrize('method', SOLVERS)
def test_every_solver_finds_the_linear_flow(method):
    velocity, start = linear_velocity()
    end = end_of(velocity, start, Solver(method, 32, tolerance=1e-6))
    assert (end - exact(start)).abs().max() < (0.02 if method == 'euler' else 3e-3)
    assert method in FIXED + ADAPTIVE


@pytest.mark.parametrize('backward', [False, True])
@pytest.mark.parametrize('method', STEPS)
def test_steps_of_our_own_are_those_of_torchdiffeq(method, backward):
    velocity, start = linear_velocity()
    rate = Eulerian(torch.cat([velocity, 0.5 * velocity, -velocity]))
    span = torch.tensor([1.0, 0.0] if backward else [0.0, 1.0], dtype=torch.float64)
    wanted = odeint(rate, start, span, method=method, options={'step_size': 0.25})[-1]
    torch.testing.assert_close(integrate(rate, start, Solver(method, 4), backward), wanted, rtol=0, atol=1e-12)


@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
@pytest.mark.parametrize('method', ['midpoint', 'dopri5'])
def test_particles_move_in_mm_whatever_the_voxels(method, dtype):
    spacing = torch.tensor([0.5, 2.0, 4.0], dtype=dtype)
    velocity = torch.tensor([0.25, 1.0, -2.0], dtype=dtype)[:, None, None, None].expand(3, 6, 6, 6)[None]
    start = 2 + 0.5 * voxels(3, dtype)
    moved = flow(velocity.contiguous(), start, spacing, Solver(method, 2))
    torch.testing.assert_close(moved, velocity[0, :, :3, :3, :3])


@pytest.mark.parametrize('method', ['euler', 'rk4', 'dopri5'])
def test_translation_is_exact(method):
    shift = torch.tensor([0.2, -0.1, 0.05], dtype=torch.float64)[:, None, None, None]
    start = 1 + 0.5 * voxels(4)
    torch.testing.assert_close(end_of(shift.expand(3, 5, 5, 5)[None], start, Solver(method, 2)), start + shift)


def test_backward_undoes_forward():
    velocity, start = linear_velocity()
    there = end_of(velocity, start, Solver('rk4', 16))
    back = integrate(Eulerian(velocity), there, Solver('rk4', 16), backward=True)
    torch.testing.assert_close(back, start, atol=1e-6, rtol=0)


def test_a_velocity_that_varies_in_time_is_linear_between_its_knots():
    knots = torch.tensor([[0.3, 0, 0], [0.9, -0.6, 0], [0, 0, 0.3]], dtype=torch.float64)
    velocity = knots[:, :, None, None, None].expand(3, 3, 5, 5, 5)
    start = 1 + 0.5 * voxels(3)
    # the integral of a piecewise linear function: the trapezoidal rule
    moved = (knots[0] / 2 + knots[1] + knots[2] / 2) / 2
    end = end_of(velocity, start, Solver('rk4', 2))
    torch.testing.assert_close(end, start + moved[:, None, None, None])
    back = integrate(Eulerian(velocity), end, Solver('rk4', 2), backward=True)
    torch.testing.assert_close(back, start)


@pytest.mark.parametrize('knots', [1, pytest.param(3, marks=pytest.mark.slow)])
def test_gradient_through_the_flow_by_finite_differences(knots):
    velocity, start = linear_velocity(4)
    noise = 0.05 * torch.randn(knots, *velocity.shape[1:], generator=torch.Generator().manual_seed(0)).double()
    leaf = (velocity + noise).requires_grad_()
    start = start[:, :2, :2, :2] + 0.013  # off the grid's kinks
    assert torch.autograd.gradcheck(lambda v: flow(v, start, ONE_MM, Solver('rk4', 1)), leaf, eps=1e-7, atol=1e-5)


def test_the_adjoint_gives_the_gradient_of_the_steps():
    velocity, start = linear_velocity(6)
    leaf = velocity.requires_grad_()
    gradients = [
        torch.autograd.grad(end_of(leaf, start, Solver('rk4', 16, adjoint=adjoint)).square().sum(), leaf)[0]
        for adjoint in (False, True)
    ]
    scale = gradients[0].abs().max()
    torch.testing.assert_close(gradients[1] / scale, gradients[0] / scale, atol=2e-3, rtol=0)


@pytest.mark.parametrize('adjoint', [False, True])
def test_the_gradient_goes_on_to_what_the_velocity_is_made_of(adjoint):
    leaf, start = linear_velocity(6)
    leaf = leaf.requires_grad_()
    velocity = 2 * leaf
    end = end_of(velocity, start, Solver('rk4', 16, adjoint=adjoint)).square().sum()
    by_leaf, by_velocity = torch.autograd.grad(end, (leaf, velocity))
    assert by_velocity.abs().max() > 0
    torch.testing.assert_close(by_leaf, 2 * by_velocity)


def test_unknown_solvers_and_no_steps_are_refused():
    with pytest.raises(ValueError, match='dopri5'):
        Solver('rk5')
    with pytest.raises(ValueError, match='at least one step'):
        Solver('rk4', 0)


@pytest.mark.parametrize('backward', [False, True])
@pytest.mark.parametrize('solver', [Solver('midpoint', 2), Solver('heun3', 2)])
def test_many_particles_flow_as_few_do(solver, backward, monkeypatch):
    monkeypatch.setattr(flow_module, 'CHUNK', 20)
    generator = torch.Generator().manual_seed(0)
    velocity = torch.randn(2, 3, 6, 5, 4, generator=generator)
    start = 4 * torch.rand(3, 5, 4, 3, generator=generator)
    spacing = torch.tensor([1.0, 0.5, 3.0])
    unit = spacing[:, None, None, None].double()
    wanted = (integrate(Eulerian(velocity.double() / unit), start.double(), solver, backward) - start) * unit
    torch.testing.assert_close(carried(velocity, start, spacing, solver, backward).double(), wanted, atol=1e-5, rtol=0)
