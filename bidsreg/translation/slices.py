"""Draws of slices along the three world axes: from each domain its own, and never of one head in both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from bidsreg.translation.volumes import WorldBrain

Tensor = torch.Tensor

#: A slice is drawn (and trusted, when a stack is translated) where its brain is at least so much of the largest one.
LEAST_BRAIN = 0.1
#: Voxels by which the middle of what is drawn lies off the middle of the volume, at most.
LARGEST_SHIFT = 4


@dataclass(frozen=True, eq=False)
class SliceBatch:
    """Slices of one domain.

    Attributes
    ----------
    values : Tensor, shape (B, 1, S, S)
        Intensities in [0, 1], zero outside of the brain.
    inside : Tensor, shape (B, 1, S, S)
        1 where the brain is, else 0.
    heads : tuple of str
        Whose they are.
    """

    values: Tensor
    inside: Tensor
    heads: tuple[str, ...]

    def to(self, device: str) -> SliceBatch:
        """Return the same on a device."""
        return SliceBatch(self.values.to(device), self.inside.to(device), self.heads)


@dataclass(frozen=True, eq=False)
class SliceDraw:
    """What one step sees: slices of the source domain, and of other heads those of the target domain."""

    source: SliceBatch
    target: SliceBatch


class SliceSampler:
    """Draw slices.

    A draw follows from the seed and the number of the step alone, so a training that was interrupted goes on with the
    draws that it would have had.

    Parameters
    ----------
    source, target : mapping
        Volumes of each domain by whose they are; at least two heads in all.
    size : int
        Voxels on each side of what is drawn.
    seed : int
        Of the draws.
    """

    def __init__(
        self,
        source: Mapping[str, Sequence[WorldBrain]],
        target: Mapping[str, Sequence[WorldBrain]],
        *,
        size: int,
        seed: int,
    ) -> None:
        self.domains, self.size, self.seed = (source, target), size, seed

    def draw(self, step: int, count: int) -> SliceDraw:
        """Draw `count` slices of each domain for a step."""
        rng = np.random.default_rng((self.seed, step))
        sides = self._sides(rng)
        source, target = (
            self._batch(domain, heads, count, rng) for domain, heads in zip(self.domains, sides, strict=True)
        )
        return SliceDraw(source, target)

    def _sides(self, rng: np.random.Generator) -> tuple[list[str], list[str]]:
        """Deal the heads out: those whose slices may be of the source, and those whose may be of the target."""
        first, second = (sorted(domain) for domain in self.domains)
        one = first[rng.integers(len(first))]
        others = [head for head in second if head != one]
        if not others:  # it is the only one with the target: then it is not for the source
            one = rng.choice([head for head in first if head != one])
            others = [head for head in second if head != one]
        other = others[rng.integers(len(others))]
        coins = {head: bool(rng.integers(2)) for head in sorted({*first, *second})} | {one: True, other: False}
        return [head for head in first if coins[head]], [head for head in second if not coins[head]]

    def _batch(
        self, domain: Mapping[str, Sequence[WorldBrain]], heads: Sequence[str], count: int, rng: np.random.Generator
    ) -> SliceBatch:
        chosen = [heads[int(rng.integers(len(heads)))] for _ in range(count)]
        cuts = [self._cut(domain[head][int(rng.integers(len(domain[head])))], rng) for head in chosen]
        values, inside = (torch.from_numpy(np.stack(part)[:, None]) for part in zip(*cuts, strict=True))
        return SliceBatch(values, inside, tuple(chosen))

    def _cut(self, volume: WorldBrain, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        axis = int(rng.integers(3))
        numbers = np.flatnonzero(worthwhile(volume.inside, axis))
        number = int(numbers[rng.integers(len(numbers))])
        shift = rng.integers(-LARGEST_SHIFT, LARGEST_SHIFT + 1, 2)
        parts = (np.take(data, number, axis).astype(np.float32) for data in (volume.values, volume.inside))
        values, inside = (framed(part, (self.size, self.size), shift) for part in parts)
        return values, inside


def worthwhile(inside: np.ndarray, axis: int) -> np.ndarray:
    """Tell which slices of a brain across an axis have enough of it: bool, as long as the axis."""
    counts = inside.sum(tuple(other for other in range(3) if other != axis))
    return counts >= max(LEAST_BRAIN * counts.max(), 1)


def framed(plane: np.ndarray, shape: Sequence[int], shift: Sequence[int] | np.ndarray = (0, 0)) -> np.ndarray:
    """Return a slice in the middle (but for a shift) of one of another shape; zeros around it, or its rim cut off."""
    out = np.zeros(tuple(shape), plane.dtype)
    here, there = [], []
    for have, want, by in zip(plane.shape, shape, shift, strict=True):
        # towards the beginning in both directions, so that a slice there and back is itself
        start = (want - have) // 2 if want >= have else -((have - want) // 2)
        start += int(by)
        there.append(slice(max(start, 0), min(start + have, want)))
        here.append(slice(max(-start, 0), max(-start, 0) + max(there[-1].stop - there[-1].start, 0)))
    out[tuple(there)] = plane[tuple(here)]
    return out
