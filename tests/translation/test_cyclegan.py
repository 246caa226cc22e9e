"""CycleGAN: its losses from their definition."""

from __future__ import annotations

import pytest
import torch

from bidsreg.translation.cyclegan import CycleGan

from .conftest import SIZE, tiny


def test_losses_are_what_their_definition_says(sampler):
    torch.manual_seed(0)
    translator = CycleGan(tiny('cyclegan'), SIZE)
    draw = sampler.draw(0, 2)
    x, y = draw.source, draw.target
    with torch.no_grad():
        there, back = translator.generator(x.values, x.inside), translator.backward_generator(y.values, y.inside)
        adversarial = (translator.of_target(there) - 1).square().mean() + (
            translator.of_source(back) - 1
        ).square().mean()
        cycle = (translator.backward_generator(there, x.inside) - x.values).abs().mean()
        cycle += (translator.generator(back, y.inside) - y.values).abs().mean()
        identity = (translator.generator(y.values, y.inside) - y.values).abs().mean()
        identity += (translator.backward_generator(x.values, x.inside) - x.values).abs().mean()
        told = 0.5 * (
            (translator.of_target(y.values) - 1).square().mean() + translator.of_target(there).square().mean()
        )
        told += 0.5 * (
            (translator.of_source(x.values) - 1).square().mean() + translator.of_source(back).square().mean()
        )
    still = {name: torch.optim.SGD(list(part), 0.0) for name, part in translator.parts().items()}
    losses = translator.step(draw, 0, still, torch.Generator())
    expected = dict(zip(translator.losses, (adversarial, cycle, identity, told), strict=True))
    for name, value in expected.items():
        assert float(losses[name]) == pytest.approx(float(value), rel=1e-4), name


def test_there_and_back_becomes_the_slice_itself(sampler):
    torch.manual_seed(0)
    translator = CycleGan(tiny('cyclegan', width=3), SIZE)
    optimisers = {name: torch.optim.Adam(list(part), 5e-3) for name, part in translator.parts().items()}
    batch = sampler.draw(999, 4).source

    def error():
        with torch.no_grad():
            there = translator.generator(batch.values, batch.inside)
            return float((translator.backward_generator(there, batch.inside) - batch.values).abs().mean())

    before = error()
    for n in range(15):
        translator.step(sampler.draw(n, 2), n, optimisers, torch.Generator())
    assert error() < 0.85 * before
