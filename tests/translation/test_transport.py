"""Neural optimal transport: what each network lowers, the weak cost, and that it learns an inverted contrast."""

from __future__ import annotations

import pytest
import torch

from bidsreg.translation.slices import SliceBatch
from bidsreg.translation.training import noise_of
from bidsreg.translation.transport import StrongTransport, WeakTransport

from .conftest import SIZE, tiny


def optimisers_of(translator, rate=0.0, kind=torch.optim.SGD):
    return {name: kind(list(part), rate) for name, part in translator.parts().items()}


@pytest.mark.parametrize('cost', ['intensity', 'mind'])
def test_numbers_are_what_their_definition_says(sampler, cost):
    torch.manual_seed(0)
    translator = StrongTransport(tiny('not', cost=cost), SIZE)
    draw = sampler.draw(0, 2)
    with torch.no_grad():
        moved = translator.generator(draw.source.values, draw.source.inside)
        features = translator.cost.of_target(moved), translator.cost.of_source(draw.source.values)
        potential = translator.potential(moved).mean() - translator.potential(draw.target.values).mean()
    found = translator.step(draw, 0, optimisers_of(translator), noise_of(0, 0))
    assert float(found['cost']) == pytest.approx(float((features[0] - features[1]).square().mean()), rel=1e-4)
    assert float(found['potential']) == pytest.approx(float(potential), rel=1e-4, abs=1e-6)


def test_the_potential_moves_after_every_so_many_steps_of_the_map(sampler):
    translator = StrongTransport(tiny('not', inner=3), SIZE)
    optimisers = optimisers_of(translator, 1e-3, torch.optim.Adam)
    changed = []
    for step in range(6):
        before = [parameter.clone() for parameter in translator.potential.parameters()]
        translator.step(sampler.draw(step, 1), step, optimisers, noise_of(0, step))
        after = translator.potential.parameters()
        changed.append(any(not torch.equal(a, b) for a, b in zip(before, after, strict=True)))
    assert changed == [False, False, True, False, False, True]


def test_map_and_potential_pull_in_opposite_directions(sampler):
    """The potential learns to be lower on translations than on the target, the map to find where it is high."""
    torch.manual_seed(0)
    translator = StrongTransport(tiny('not', inner=1), SIZE)
    optimisers = optimisers_of(translator, 1e-2, torch.optim.Adam)
    draw = sampler.draw(0, 2)
    for learner in ('potential', 'map'):
        moving = {'potential': _Still(), 'map': _Still(), learner: optimisers[learner]}
        numbers = [float(translator.step(draw, n, moving, noise_of(0, n))['potential']) for n in range(8)]
        assert (numbers[-1] < numbers[0]) == (learner == 'potential')


class _Still:
    """An optimiser that leaves everything where it is."""

    def zero_grad(self, set_to_none=True):
        pass

    def step(self):
        pass


def inverted(batch):
    """The same slices in a contrast that is one minus theirs."""
    return SliceBatch((1 - batch.values) * batch.inside, batch.inside, batch.heads)


def test_an_inverted_contrast_is_learned(sampler):
    torch.manual_seed(0)
    translator = StrongTransport(tiny('not', width=4, inner=10), SIZE)
    draws = [sampler.draw(n, 2) for n in range(40)]
    pairs = [(draw.source, inverted(sampler.draw(n + 100, 2).source)) for n, draw in enumerate(draws)]
    source, target = (torch.cat([one.values[one.inside > 0] for one in part]) for part in zip(*pairs, strict=True))
    translator.calibrate(source.numpy(), target.numpy())
    optimisers = optimisers_of(translator, 3e-3, torch.optim.Adam)

    def error():
        with torch.no_grad():
            batch = sampler.draw(999, 4).source
            return float((translator.generator(batch.values, batch.inside) - inverted(batch).values).abs().mean())

    before = error()
    for n, (one, other) in enumerate(pairs):
        translator.step(type(draws[0])(one, other), n, optimisers, noise_of(0, n))
    assert error() < 0.6 * before


def test_the_weak_cost_is_what_its_definition_says(sampler):
    torch.manual_seed(0)
    recipe = tiny('not-weak', draws=3, cost='intensity', steps=8)
    translator = WeakTransport(recipe, SIZE)
    batch = sampler.draw(0, 2).source
    moved = torch.rand(6, 1, SIZE, SIZE)
    expected = 0.0
    for number in range(2):
        own = moved[3 * number : 3 * number + 3]
        mean = own.mean(0)
        distance = (mean - batch.values[number]).square().mean()
        variance = ((own - mean).square().sum(0) / 2).mean()
        expected += float(distance + variance * (1 - 0.66 * 0.5 - 1 / 3)) / 2
    assert float(translator._cost(batch, moved, step=1)) == pytest.approx(expected, rel=1e-5)


def test_weak_translations_of_a_slice_differ_and_their_mean_is_written(sampler):
    torch.manual_seed(0)
    recipe = tiny('not-weak', draws=4, noise=1.0)
    translator = WeakTransport(recipe, SIZE)
    batch = sampler.draw(0, 2).source
    seen = []
    translator.generator.register_forward_hook(lambda *args: seen.append(args[2]))
    mean = WeakTransport.translate(translator.generator, recipe, batch.values, batch.inside)
    (many,) = seen
    assert many.shape == (8, 1, SIZE, SIZE)
    assert not torch.equal(many[0], many[1])
    torch.testing.assert_close(mean[1], many[4:].mean(0))
