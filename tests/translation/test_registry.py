"""Every translator keeps the contract: what it trains, what a step gives, and what it leaves alone."""

from __future__ import annotations

import pytest
import torch

from bidsreg.translation.registry import TRANSLATORS, translator_for
from bidsreg.translation.training import noise_of

from .conftest import SIZE, tiny


def made(name):
    torch.manual_seed(0)
    found = translator_for(tiny(name), SIZE)
    return found, {part: torch.optim.Adam(list(own), 1e-3) for part, own in found.parts().items()}


@pytest.mark.parametrize('name', TRANSLATORS)
def test_every_parameter_has_one_optimiser(name):
    translator, _ = made(name)
    parts = [parameter for own in translator.parts().values() for parameter in own]
    assert len({id(parameter) for parameter in parts}) == len(parts)
    assert {id(parameter) for parameter in parts} == {id(parameter) for parameter in translator.parameters()}


@pytest.mark.parametrize('name', TRANSLATORS)
def test_a_step_changes_all_networks_and_gives_its_losses(name, sampler):
    translator, optimisers = made(name)
    before = {key: value.clone() for key, value in translator.named_parameters()}
    for step in range(2):  # the potential moves every second time
        losses = translator.step(sampler.draw(step, 2), step, optimisers, noise_of(1, step))
        assert tuple(losses) == translator.losses
        assert all(value.ndim == 0 and torch.isfinite(value) and not value.requires_grad for value in losses.values())
    moved = {key.split('.')[0] for key, value in translator.named_parameters() if not torch.equal(value, before[key])}
    assert moved == {key.split('.')[0] for key in before}
    assert all(parameter.requires_grad for parameter in translator.parameters())


@pytest.mark.parametrize('name', TRANSLATORS)
def test_a_trained_generator_gives_one_translation(name, sampler):
    translator, _ = made(name)
    batch = sampler.draw(0, 3).source
    one, other = (
        type(translator).translate(translator.generator, translator.recipe, batch.values, batch.inside)
        for _ in range(2)
    )
    assert torch.equal(one, other)
    assert one.shape == batch.values.shape
    assert not one[batch.inside == 0].any()


def test_generators_are_all_that_a_model_needs():
    for name, kind in TRANSLATORS.items():
        translator, _ = made(name)
        assert kind.new_generator(tiny(name)).state_dict().keys() == translator.generator.state_dict().keys()
