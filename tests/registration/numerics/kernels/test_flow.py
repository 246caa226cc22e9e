"""Compiled flow against torchdiffeq, its gradient against autograd."""

import numpy as np
import pytest
import torch

from bidsreg.registration.flow import Eulerian, Solver, integrate
from bidsreg.registration.numerics.kernels.flow import TABLEAUS, Carrier

SPACING = np.array([1.0, 0.5, 3.0])


def moved(field, start, solver, backward=False):
    """What torch says, in mm."""
    unit = torch.from_numpy(SPACING).float()[:, None, None, None]
    return ((integrate(Eulerian(field / unit), start, solver, backward) - start) * unit)[:, :, 0, 0]


def case(knots, shape=(7, 9, 8), particles=150, seed=0):
    """Velocities that take some particles beyond the border, particles, and a gradient by where they end."""
    rng = np.random.default_rng(seed)
    velocity = (rng.normal(size=(knots, 3, *shape)) * SPACING[:, None, None, None]).astype(np.float32)
    start = (rng.uniform(-0.5, 1, size=(3, particles)) * np.array(shape)[:, None]).astype(np.float32)
    return velocity, start, rng.normal(size=start.shape).astype(np.float32)


@pytest.mark.parametrize('backward', [False, True])
@pytest.mark.parametrize('knots', [1, 2, 3])
@pytest.mark.parametrize('method', TABLEAUS)
def test_particles_and_gradient_are_torchs(method, knots, backward):
    velocity, start, upstream = case(knots)
    carrier = Carrier(velocity, SPACING, method, 3, backward)
    end, reach = carrier.forward(start)
    field = torch.from_numpy(velocity).requires_grad_()
    reference = moved(field, torch.from_numpy(start)[:, :, None, None], Solver(method, 3), backward)
    np.testing.assert_allclose(end, reference.detach(), atol=1e-5)
    (reference * torch.from_numpy(upstream)).sum().backward()
    np.testing.assert_allclose(carrier.by_velocity(start, upstream, reach), field.grad, atol=1e-4)


@pytest.mark.parametrize('shape', [(1, 4, 5), (4, 1, 1), (1, 1, 1)])
def test_axes_of_one_voxel(shape):
    velocity, start, upstream = case(1, shape, 5)
    carrier = Carrier(velocity, SPACING, 'midpoint', 1)
    end, reach = carrier.forward(start)
    field = torch.from_numpy(velocity).requires_grad_()
    reference = moved(field, torch.from_numpy(start)[:, :, None, None], Solver('midpoint', 1))
    np.testing.assert_allclose(end, reference.detach(), atol=1e-5)
    (reference * torch.from_numpy(upstream)).sum().backward()
    np.testing.assert_allclose(carrier.by_velocity(start, upstream, reach), field.grad, atol=1e-4)


def test_no_particles():
    carrier = Carrier(*case(1)[:1], SPACING, 'euler', 2)
    nobody = np.empty((3, 0), np.float32)
    end, reach = carrier.forward(nobody)
    assert end.shape == (3, 0)
    assert not carrier.by_velocity(nobody, nobody, reach).any()


def test_threads_change_nothing_and_nan_stays_nan():
    velocity, start, upstream = case(2, particles=1000)
    velocity[0, 0, 3, 3, 3] = start[0, 0] = np.nan
    answers = []
    for threads in (1, 3):
        carrier = Carrier(velocity, SPACING, 'rk4', 2, threads=threads)
        end, reach = carrier.forward(start)
        answers.append((end, carrier.by_velocity(start, upstream, reach)))
    for one, three in zip(*answers, strict=True):
        np.testing.assert_array_equal(one, three)
    assert np.isnan(answers[0][0][0, 0])
    assert np.isfinite(answers[0][0]).any()
