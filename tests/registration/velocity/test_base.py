"""What holds for every velocity of the registry."""

import dataclasses
import math

import numpy as np
import pytest
import torch

from bidsreg.registration import Grid
from bidsreg.registration.flow import Solver
from bidsreg.registration.velocity import VELOCITIES, StartPoints
from bidsreg.registration.velocity.gridpoints import GridVelocity
from bidsreg.registration.velocity.lddmm import LddmmVelocity
from tests.velocities import PRESET, SHAPE, SPACING, made, points, shaken, values

EULERIAN = [kind for kind in VELOCITIES.values() if kind.eulerian]
VOXEL_CLOUDS = [kind for kind in VELOCITIES.values() if not kind.eulerian]


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


@pytest.mark.parametrize('kind', VOXEL_CLOUDS)
def test_a_cloud_has_no_adjoint_gradient_and_says_so(kind):
    grid = Grid(SHAPE, np.diag([*SPACING, 1.0]))
    with pytest.raises(ValueError, match='adjoint'):
        made(kind).path(StartPoints.of(grid), Solver(adjoint=True), PRESET)
    some = StartPoints.of(grid, needed=torch.arange(3))
    with pytest.raises(ValueError, match='as a whole'):
        made(kind).path(some, Solver(), PRESET)
