"""The contract of translators: small classes that learn to translate slices of one domain into another."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import ClassVar, Generic, TypeVar

import numpy as np
import torch
from torch import nn

from bidsreg.translation.networks import Generator
from bidsreg.translation.recipes import Recipe
from bidsreg.translation.slices import SliceDraw

Tensor = torch.Tensor
OwnRecipe = TypeVar('OwnRecipe', bound=Recipe)
"""The class of recipes that a translator has."""

Optimisers = Mapping[str, torch.optim.Optimizer]


class Translator(nn.Module, ABC, Generic[OwnRecipe]):
    """A way to learn a translation from unpaired slices.

    A subclass makes its networks, says which parameters an optimiser has, and takes a step; the loop, the learning
    rate, checkpoints and the file of the model are the same for all.

    Attributes
    ----------
    losses : tuple of str
        Names of the numbers that a step gives, in the order of the table.
    generator : Generator
        Translates source slices; all of a translator that its model keeps.

    Parameters
    ----------
    recipe : Recipe
        How to train.
    size : int
        Voxels on each side of a slice.
    """

    losses: ClassVar[tuple[str, ...]]
    generator: Generator
    recipe: OwnRecipe

    def __init__(self, recipe: OwnRecipe, size: int) -> None:
        super().__init__()
        self.recipe, self.size = recipe, size
        self.generator = self.new_generator(recipe)

    @classmethod
    def new_generator(cls, recipe: OwnRecipe) -> Generator:
        """Make the network that translates, untrained."""
        return Generator(recipe.width)

    def calibrate(self, source: np.ndarray, target: np.ndarray) -> None:
        """Learn what depends on all scans, once, before the first step; it must lie in buffers.

        Parameters
        ----------
        source, target : ndarray of float32, shape (N,)
            Intensities inside the brains of each domain.
        """

    @abstractmethod
    def parts(self) -> Mapping[str, Iterable[nn.Parameter]]:
        """Return the parameters of each optimiser, by its name."""

    @abstractmethod
    def step(self, draw: SliceDraw, step: int, optimisers: Optimisers, noise: torch.Generator) -> dict[str, Tensor]:
        """Take one step: lower the losses of a draw.

        Parameters
        ----------
        draw : SliceDraw
            Slices of both domains, on the device of the networks.
        step : int
            Its number, from 0.
        optimisers : mapping
            One for each of `parts`; their learning rates are set.
        noise : Generator
            For whatever is random in the step, on the CPU.

        Returns
        -------
        dict
            The numbers of `losses`, scalars without a graph.
        """

    @classmethod
    def translate(cls, generator: Generator, recipe: OwnRecipe, values: Tensor, inside: Tensor) -> Tensor:
        """Translate slices with a trained generator: (B, 1, X, Y) and where the brain is, to (B, 1, X, Y)."""
        return generator(values, inside)


def descend(optimiser: torch.optim.Optimizer, loss: Tensor) -> None:
    """Take one step of an optimiser down a loss."""
    optimiser.zero_grad(set_to_none=True)
    loss.backward()
    optimiser.step()


def towards(answers: Tensor, real: bool) -> Tensor:
    """Return the least-squares loss of a discriminator's answers: their mean squared distance from 1, or from 0."""
    return (answers - float(real)).square().mean()
