"""Neural optimal transport: a map that moves slices at least cost, held to the target domain by a potential."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeVar

import numpy as np
import torch
from torch import nn

from bidsreg.translation.base import Optimisers, Translator, descend
from bidsreg.translation.costs import COSTS
from bidsreg.translation.networks import Generator, Potential
from bidsreg.translation.recipes import TransportRecipe, WeakTransportRecipe
from bidsreg.translation.slices import SliceBatch, SliceDraw

Tensor = torch.Tensor
OwnTransport = TypeVar('OwnTransport', bound=TransportRecipe)
"""The class of recipes that a transport has."""

#: Of the noise by which a trained weak map translates: always the same, so that a scan has one translation.
NOISE_SEED = 0


class _Transport(Translator[OwnTransport]):
    """What both kinds share: sup over f of inf over T of cost(x, T(x)) - f(T(x)) + f(y)."""

    losses = ('cost', 'potential')
    recipe: OwnTransport

    def __init__(self, recipe: OwnTransport, size: int) -> None:
        super().__init__(recipe, size)
        self.potential = Potential(recipe.width, size)
        self.cost = COSTS[self.recipe.cost]()

    def calibrate(self, source: np.ndarray, target: np.ndarray) -> None:
        """Let the cost learn."""
        self.cost.calibrate(source, target)

    def parts(self) -> Mapping[str, Iterable[nn.Parameter]]:
        """Return the parameters of the map, and of the potential."""
        return {'map': self.generator.parameters(), 'potential': self.potential.parameters()}

    def _climb(self, draw: SliceDraw, moved: Tensor, optimisers: Optimisers) -> Tensor:
        """Take a step of the potential: f(T(x)) - f(y) falls."""
        potential = self.potential(moved.detach()).mean() - self.potential(draw.target.values).mean()
        descend(optimisers['potential'], potential)
        return potential

    def _moves_potential(self, step: int) -> bool:
        """Tell whether a step is one of the potential's, too."""
        return (step + 1) % self.recipe.inner == 0

    def _numbers(self, cost: Tensor, draw: SliceDraw, moved: Tensor) -> dict[str, Tensor]:
        with torch.no_grad():
            potential = self.potential(moved).mean() - self.potential(draw.target.values).mean()
        return {'cost': cost.detach(), 'potential': potential}


class StrongTransport(_Transport[TransportRecipe]):
    """Neural optimal transport (Korotin et al. 2023, ICLR), strong: one translation of each slice."""

    def step(self, draw: SliceDraw, step: int, optimisers: Optimisers, noise: torch.Generator) -> dict[str, Tensor]:
        """Take a step of the map: cost(x, T(x)) - f(T(x)) falls; and of the potential every so many steps."""
        x = draw.source
        moved = self.generator(x.values, x.inside)
        cost = (self.cost.of_target(moved) - self.cost.of_source(x.values)).square().mean()
        numbers = self._numbers(cost, draw, moved)
        descend(optimisers['map'], cost - self.potential(moved).mean())
        if self._moves_potential(step):
            self._climb(draw, moved, optimisers)
        return numbers


class WeakTransport(_Transport[WeakTransportRecipe]):
    """Neural optimal transport, weak: several translations of each slice, told apart by a channel of noise.

    The cost of the translations of a slice is that of their mean, plus their variance times 1 - gamma - 1/draws
    (gamma-weak quadratic cost), taken of features.
    """

    @classmethod
    def new_generator(cls, recipe: WeakTransportRecipe) -> Generator:
        """Make the map, which has a channel of noise."""
        return Generator(recipe.width, noise=1)

    def step(self, draw: SliceDraw, step: int, optimisers: Optimisers, noise: torch.Generator) -> dict[str, Tensor]:
        """Take a step of the map, and of the potential every so many steps."""
        x, recipe = draw.source, self.recipe
        moved = _translations(self.generator, recipe, x.values, x.inside, noise)
        cost = self._cost(x, moved, step)
        numbers = self._numbers(cost, draw, moved)
        descend(optimisers['map'], cost - self.potential(moved).mean())
        if self._moves_potential(step):
            self._climb(draw, moved, optimisers)
        return numbers

    def _cost(self, batch: SliceBatch, moved: Tensor, step: int) -> Tensor:
        features = self.cost.of_target(moved).unflatten(0, (len(batch.values), self.recipe.draws))
        mean = features.mean(1)
        distance = (mean - self.cost.of_source(batch.values)).square().mean()
        weight = 1 - self.recipe.gamma(step) - 1 / self.recipe.draws
        return distance + weight * features.var(1).mean()

    @classmethod
    def translate(cls, generator: Generator, recipe: WeakTransportRecipe, values: Tensor, inside: Tensor) -> Tensor:
        """Return the mean of the translations of each slice."""
        noise = torch.Generator().manual_seed(NOISE_SEED)
        moved = _translations(generator, recipe, values, inside, noise)
        return moved.unflatten(0, (len(values), recipe.draws)).mean(1)


def _translations(
    generator: Generator, recipe: WeakTransportRecipe, values: Tensor, inside: Tensor, noise: torch.Generator
) -> Tensor:
    """Return several translations of each slice, one after another: (B, 1, X, Y) to (B draws, 1, X, Y)."""
    many, where = (part.repeat_interleave(recipe.draws, 0) for part in (values, inside))
    field = recipe.noise * torch.randn(many.shape, generator=noise).to(many.device)
    return generator(torch.cat([many, field], 1), where)
