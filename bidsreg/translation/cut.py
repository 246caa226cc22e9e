"""CUT: one generator, one discriminator, and each patch of a translation tells the patch that it came from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import nn

from bidsreg.translation.base import Optimisers, Translator, descend, towards
from bidsreg.translation.networks import Discriminator
from bidsreg.translation.recipes import CutRecipe
from bidsreg.translation.slices import SliceBatch, SliceDraw

Tensor = torch.Tensor

#: Added to where the brain is, so that places outside are drawn where there are too few inside.
OUTSIDE = 1e-6


class Cut(Translator[CutRecipe]):
    """CUT (Park et al. 2020, ECCV): features of the generator's five levels, at places inside the brain."""

    losses = ('adversarial', 'contrast', 'identity', 'discriminator')

    def __init__(self, recipe: CutRecipe, size: int) -> None:
        super().__init__(recipe, size)
        self.discriminator = Discriminator(recipe.width)
        self.projections = nn.ModuleList(
            nn.Sequential(
                nn.Linear(channels, recipe.projection), nn.ReLU(), nn.Linear(recipe.projection, recipe.projection)
            )
            for channels in self.generator.channels
        )

    def parts(self) -> Mapping[str, Iterable[nn.Parameter]]:
        """Return the parameters of the generator with the projections, and of the discriminator."""
        return {
            'generator': [*self.generator.parameters(), *self.projections.parameters()],
            'discriminator': self.discriminator.parameters(),
        }

    def step(self, draw: SliceDraw, step: int, optimisers: Optimisers, noise: torch.Generator) -> dict[str, Tensor]:
        """Take a step of the discriminator, then one of the generator and the projections."""
        x, y, recipe = draw.source, draw.target, self.recipe
        there = self.generator(x.values, x.inside)
        real, false = self.discriminator(y.values), self.discriminator(there.detach())
        discriminator = (towards(real, True) + towards(false, False)) / 2
        descend(optimisers['discriminator'], discriminator)
        self.discriminator.requires_grad_(False)
        adversarial = towards(self.discriminator(there), True)
        contrast = self._contrast(x, there, noise)
        identity = self._contrast(y, self.generator(y.values, y.inside), noise) if recipe.identity else 0 * contrast
        weight = recipe.contrast / 2 if recipe.identity else recipe.contrast
        descend(optimisers['generator'], adversarial + weight * (contrast + identity))
        self.discriminator.requires_grad_(True)
        found = adversarial, contrast, identity, discriminator
        return {name: loss.detach() for name, loss in zip(self.losses, found, strict=True)}

    def _contrast(self, batch: SliceBatch, translated: Tensor, noise: torch.Generator) -> Tensor:
        """Return PatchNCE of slices and their translations: the mean over levels."""
        levels = zip(self.generator.features(batch.values), self.generator.features(translated), strict=True)
        losses = []
        for projection, (before, after) in zip(self.projections, levels, strict=True):
            places = draw_places(batch.inside.cpu(), before.shape[-2:], self.recipe.patches, noise).to(before.device)
            keys, queries = (F.normalize(projection(_at(level, places)), dim=-1) for level in (before, after))
            losses.append(patch_nce(queries, keys.detach(), self.recipe.temperature))
        return torch.stack(losses).mean()


def draw_places(inside: Tensor, shape: Sequence[int], count: int, noise: torch.Generator) -> Tensor:
    """Draw places of a level, inside the brain where there are enough, none twice.

    Parameters
    ----------
    inside : Tensor, shape (B, 1, X, Y)
        1 where the brain is.
    shape : sequence of two int
        Of the level.
    count : int
        How many, if the level has so many.
    noise : Generator
        For the draw.

    Returns
    -------
    Tensor of int64, shape (B, N)
        Places in the flattened level.
    """
    weight = F.adaptive_avg_pool2d(inside, (shape[0], shape[1])).flatten(1) + OUTSIDE
    return torch.multinomial(weight, min(count, weight.shape[1]), generator=noise)


def _at(level: Tensor, places: Tensor) -> Tensor:
    """Return the features (B, C, X, Y) at places (B, N): (B, N, C)."""
    flat = level.flatten(2).transpose(1, 2)
    return flat.gather(1, places[..., None].expand(-1, -1, flat.shape[2]))


def patch_nce(queries: Tensor, keys: Tensor, temperature: float) -> Tensor:
    """Return how badly each query tells its key from the others of the slice: the mean cross entropy, in nats.

    Parameters
    ----------
    queries, keys : Tensor, shape (B, N, C)
        Unit vectors; those of one number belong together.
    temperature : float
        Of the softmax.
    """
    likeness = queries @ keys.transpose(1, 2) / temperature
    own = torch.arange(keys.shape[1], device=keys.device).expand(len(keys), -1)
    return F.cross_entropy(likeness.flatten(0, 1), own.flatten())
