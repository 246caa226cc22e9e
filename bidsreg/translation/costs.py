"""What it costs to translate one slice into another: squared distances of features, and their registry.

A T2w is about one minus a T1w, so the squared distance of the intensities themselves, which neural optimal transport
was published with, tells it to keep the contrast that it is to change.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

Tensor = torch.Tensor

#: Steps of the table of the decreasing match.
KNOTS = 65
#: Smallest local variance of the descriptors, of squared intensities in [0, 1]: noise of a hundredth is no structure.
FLOOR = 1e-4


class Cost(nn.Module, ABC):
    """A cost: the mean squared distance of what it makes of a source slice and of a translated one.

    What it learned of the scans (`calibrate`) lies in its buffers, and so in checkpoints.
    """

    def calibrate(self, source: np.ndarray, target: np.ndarray) -> None:
        """Learn from the intensities inside the brains of both domains, each of shape (N,)."""

    @abstractmethod
    def of_source(self, values: Tensor) -> Tensor:
        """Return the features of source slices: (B, 1, X, Y) to (B, C, X', Y')."""

    @abstractmethod
    def of_target(self, values: Tensor) -> Tensor:
        """Return the features of translated slices: (B, 1, X, Y) to (B, C, X', Y')."""


class IntensityCost(Cost):
    """The intensities themselves, as published; for contrasts of one polarity."""

    def of_source(self, values: Tensor) -> Tensor:
        """Return the slices."""
        return values

    def of_target(self, values: Tensor) -> Tensor:
        """Return the slices."""
        return values


class InvertedCost(IntensityCost):
    """The intensities after the decreasing map that gives the source domain the histogram of the target domain."""

    knots: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer('knots', torch.linspace(1, 0, KNOTS))

    def calibrate(self, source: np.ndarray, target: np.ndarray) -> None:
        """Tabulate the map: the brightest of the source becomes the darkest of the target."""
        at = np.linspace(0, 1, KNOTS)
        below = np.searchsorted(np.sort(source), at, side='right') / len(source)
        self.knots.copy_(torch.from_numpy(np.quantile(target, 1 - below)))

    def of_source(self, values: Tensor) -> Tensor:
        """Return the slices after the map, linear between the knots; what is exactly zero stays."""
        place = values.clamp(0, 1) * (KNOTS - 1)
        left = place.floor().clamp_max(KNOTS - 2).long()
        part = place - left
        return ((1 - part) * self.knots[left] + part * self.knots[left + 1]) * (values != 0)


class MindCost(Cost):
    """MIND (Heinrich et al. 2012) of the slice, in two dimensions: four neighbours, patches of 3 x 3 voxels."""

    def of_source(self, values: Tensor) -> Tensor:
        """Return the descriptors."""
        return plane_mind(values)

    def of_target(self, values: Tensor) -> Tensor:
        """Return the descriptors."""
        return plane_mind(values)


def plane_mind(values: Tensor) -> Tensor:
    """Return MIND of slices.

    Parameters
    ----------
    values : Tensor, shape (B, 1, X, Y)
        Intensities in [0, 1].

    Returns
    -------
    Tensor, shape (B, 4, X - 4, Y - 4)
        exp(-d / v) in (0, 1] with the patch distances d to the next voxel up and down either axis, binomial weights,
        and v their mean.
    """
    inner = values[..., 1:-1, 1:-1]
    shifted = (values[..., 2:, 1:-1], values[..., :-2, 1:-1], values[..., 1:-1, 2:], values[..., 1:-1, :-2])
    squares = torch.cat([(other - inner).square() for other in shifted], 1)
    line = values.new_tensor([0.25, 0.5, 0.25])
    patch = (line[:, None] * line).expand(4, 1, 3, 3)
    distances = F.conv2d(squares, patch, groups=4)
    return torch.exp(-distances / distances.mean(1, keepdim=True).clamp_min(FLOOR))


COSTS: dict[str, type[Cost]] = {'intensity': IntensityCost, 'inverted': InvertedCost, 'mind': MindCost}
"""The costs by the names that a recipe knows them by."""
