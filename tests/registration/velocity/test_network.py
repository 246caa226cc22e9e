"""The network, and the Neural ODE's velocity."""

import numpy as np
import torch

from bidsreg.registration.presets import preset
from bidsreg.registration.velocity.network import LatentNetwork, NodeVelocity, convolved


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


def test_convolutions_are_the_same_in_both_precisions():
    generator = torch.Generator().manual_seed(0)
    volumes, weight = torch.randn(2, 3, 4, 5, 3, generator=generator), torch.randn(2, 3, 3, 3, 3, generator=generator)
    answers = []
    for kind in (torch.float64, torch.float32):
        given, by = (t.to(kind, copy=True).requires_grad_() for t in (volumes, weight))
        out = convolved(given, by)
        out.square().sum().backward()
        answers.append([t.detach().double() for t in (out, given.grad, by.grad)])
    for double, single in zip(*answers, strict=True):
        torch.testing.assert_close(single, double, atol=1e-3, rtol=1e-5)
