"""The networks: shapes, ranges, and that nothing is made outside of the brain."""

from __future__ import annotations

import pytest
import torch

from bidsreg.translation.networks import LEVELS, Discriminator, Generator, Potential

from .conftest import SIZE


@pytest.fixture(scope='module')
def generator():
    torch.manual_seed(0)
    return Generator(2)


@pytest.mark.parametrize('shape', [(32, 32), (48, 32)])
def test_translations_lie_in_the_brain_and_in_the_unit_interval(generator, shape):
    values, inside = torch.rand(3, 1, *shape), (torch.rand(3, 1, *shape) > 0.5).float()
    out = generator(values * inside, inside)
    assert out.shape == (3, 1, *shape)
    assert not out[inside == 0].any()
    assert ((out > 0) & (out < 1))[inside == 1].all()


def test_slices_do_not_see_one_another(generator):
    values, inside = torch.rand(3, 1, SIZE, SIZE), torch.ones(3, 1, SIZE, SIZE)
    together = generator(values, inside)
    alone = torch.cat([generator(one[None], inside[:1]) for one in values])
    torch.testing.assert_close(together, alone)


def test_features_are_those_of_the_way_down(generator):
    values = torch.rand(2, 1, SIZE, SIZE)
    found = generator.features(values)
    assert [tuple(level.shape) for level in found] == [(2, 2 * k, SIZE >> n, SIZE >> n) for n, k in enumerate(LEVELS)]
    seen = []
    hooks = [
        getattr(generator.unet, name).register_forward_hook(lambda *args: seen.append(args[2]))
        for name in ('conv_0', 'down_1', 'down_2', 'down_3', 'down_4')
    ]
    generator(values, torch.ones_like(values))
    for hook in hooks:
        hook.remove()
    for one, other in zip(found, seen, strict=True):
        torch.testing.assert_close(one, other)


def test_noise_is_a_further_channel():
    assert Generator(2, noise=1)(torch.rand(1, 2, SIZE, SIZE), torch.ones(1, 1, SIZE, SIZE)).shape == (1, 1, SIZE, SIZE)


def test_answers_are_of_patches():
    torch.manual_seed(0)
    discriminator, values = Discriminator(2), torch.rand(2, 1, 96, 96)
    before = discriminator(values)
    assert before.shape == (2, 1, 10, 10)


def test_a_potential_is_one_number_without_bounds():
    torch.manual_seed(0)
    potential = Potential(2, SIZE)
    values = torch.rand(3, 1, SIZE, SIZE)
    small, large = potential(values), potential(1e4 * values)
    assert small.shape == (3, 1)
    assert large.abs().min() > 10
