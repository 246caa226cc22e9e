"""What translators share: steps of an optimiser, least squares, and a translator of one's own in a few lines."""

from __future__ import annotations

import pytest
import torch

from bidsreg.translation.base import Translator, descend, towards

from .conftest import SIZE, tiny


def test_least_squares():
    answers = torch.tensor([0.0, 1.0, 3.0])
    assert float(towards(answers, True)) == pytest.approx((1 + 0 + 4) / 3)
    assert float(towards(answers, False)) == pytest.approx((0 + 1 + 9) / 3)


def test_a_step_goes_down_and_forgets_gradients_of_before():
    place = torch.nn.Parameter(torch.tensor(2.0))
    optimiser = torch.optim.SGD([place], lr=0.1)
    place.grad = torch.tensor(100.0)
    descend(optimiser, place.square())
    assert float(place.detach()) == pytest.approx(2 - 0.1 * 4)


class Copy(Translator):
    """Learn nothing but to copy."""

    losses = ('copy',)

    def parts(self):
        return {'generator': self.generator.parameters()}

    def step(self, draw, step, optimisers, noise):
        loss = (self.generator(draw.source.values, draw.source.inside) - draw.source.values).abs().mean()
        descend(optimisers['generator'], loss)
        return {'copy': loss.detach()}


def test_one_of_ones_own(sampler):
    torch.manual_seed(0)
    mine = Copy(tiny('cut', width=4), SIZE)
    optimisers = {name: torch.optim.Adam(list(part), 0.01) for name, part in mine.parts().items()}
    losses = [float(mine.step(sampler.draw(n, 2), n, optimisers, torch.Generator())['copy']) for n in range(25)]
    assert sum(losses[-5:]) < 0.6 * sum(losses[:5])
    batch = sampler.draw(0, 2).source
    torch.testing.assert_close(
        Copy.translate(mine.generator, mine.recipe, batch.values, batch.inside),
        mine.generator(batch.values, batch.inside),
    )
