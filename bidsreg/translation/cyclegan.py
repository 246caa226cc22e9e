"""CycleGAN: two generators, two discriminators, and a slice that goes there and back is itself again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import nn

from bidsreg.translation.base import Optimisers, Translator, descend, towards
from bidsreg.translation.networks import Discriminator, Generator
from bidsreg.translation.recipes import CycleGanRecipe
from bidsreg.translation.slices import SliceDraw

Tensor = torch.Tensor


class CycleGan(Translator[CycleGanRecipe]):
    """CycleGAN (Zhu et al. 2017, ICCV), with least squares and without a pool of earlier translations."""

    losses = ('adversarial', 'cycle', 'identity', 'discriminator')

    def __init__(self, recipe: CycleGanRecipe, size: int) -> None:
        super().__init__(recipe, size)
        self.backward_generator = Generator(recipe.width)
        self.of_source, self.of_target = Discriminator(recipe.width), Discriminator(recipe.width)

    def parts(self) -> Mapping[str, Iterable[nn.Parameter]]:
        """Return the parameters of both generators, and of both discriminators."""
        return {
            'generators': [*self.generator.parameters(), *self.backward_generator.parameters()],
            'discriminators': [*self.of_source.parameters(), *self.of_target.parameters()],
        }

    def step(self, draw: SliceDraw, step: int, optimisers: Optimisers, noise: torch.Generator) -> dict[str, Tensor]:
        """Take a step of the generators, then one of the discriminators."""
        x, y, recipe = draw.source, draw.target, self.recipe
        there = self.generator(x.values, x.inside)
        back = self.backward_generator(y.values, y.inside)
        self._freeze(True)
        adversarial = towards(self.of_target(there), True) + towards(self.of_source(back), True)
        cycle = _l1(self.backward_generator(there, x.inside), x.values) + _l1(self.generator(back, y.inside), y.values)
        identity = _l1(self.generator(y.values, y.inside), y.values) + _l1(
            self.backward_generator(x.values, x.inside), x.values
        )
        descend(optimisers['generators'], adversarial + recipe.cycle * cycle + recipe.identity * identity)
        self._freeze(False)
        discriminator = self._told(self.of_target, y.values, there) + self._told(self.of_source, x.values, back)
        descend(optimisers['discriminators'], discriminator)
        found = adversarial, cycle, identity, discriminator
        return {name: loss.detach() for name, loss in zip(self.losses, found, strict=True)}

    def _freeze(self, frozen: bool) -> None:
        """Let gradients pass the discriminators, without any for themselves, or let them learn."""
        for network in (self.of_source, self.of_target):
            network.requires_grad_(not frozen)

    @staticmethod
    def _told(discriminator: Discriminator, real: Tensor, translated: Tensor) -> Tensor:
        return (towards(discriminator(real), True) + towards(discriminator(translated.detach()), False)) / 2


def _l1(one: Tensor, other: Tensor) -> Tensor:
    return (one - other).abs().mean()
