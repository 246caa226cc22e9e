"""The coupled cloud of points."""

import numpy as np
import pytest
import torch

from bidsreg.registration.numerics import separable
from bidsreg.registration.velocity.nodeo import AveragingNodeoVelocity, NodeoVelocity
from bidsreg.registration.velocity.smoothing import averaging_weights, smooth_and_taper
from tests.velocities import PRESET, SHAPE, SPACING, TAPER, made, points, shaken, values


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


@pytest.mark.slow
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
