"""The similarity on one level, worked in slabs that fit the processor's cache, with its gradient."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from scipy import ndimage as ndi

from bidsreg.registration import separable
from bidsreg.registration.grid import Grid
from bidsreg.registration.image import Image, resample, sample, to_sampler
from bidsreg.registration.parallel import in_threads
from bidsreg.registration.similarity import Similarity

if TYPE_CHECKING:
    from bidsreg.registration.solve import Problem

Tensor = torch.Tensor

SLAB_VOXELS = 250_000
"""Voxels of a slab on a CPU: its dozen temporaries stay in the cache, which made MIND five times faster."""


@dataclass(frozen=True, eq=False)
class Slab:
    """A box of the level's grid: what is compared in it, and how the displacement gets there."""

    box: tuple[slice, ...]
    features: Tensor
    weight: Tensor
    matrices: separable.Matrices


class DataTerm:
    """Dissimilarity of the fixed and the warped moving image as a function of the coarse displacement.

    Parameters
    ----------
    fixed : ndarray, shape (X, Y, Z)
        The fixed image on the level's grid.
    weight : ndarray, shape (X, Y, Z)
        Where to compare, 0 or 1; at least `support` voxels from the border.
    moving : Image
        Smoothed for the level, on its own grid.
    moving_mask : Image or None
        On the moving grid.
    to_moving : ndarray, shape (4, 4)
        Voxels of the level to voxels of the moving image, without displacement.
    interpolation : tuple of Tensor
        For each axis, the matrix that interpolates the coarse displacement at the level's voxels.
    similarity : Similarity
        What is compared.
    device : torch.device
        Where to work; one slab on a GPU.
    threads : int
        Slabs worked at a time on a CPU.
    """

    def __init__(
        self,
        fixed: np.ndarray,
        weight: np.ndarray,
        moving: Image,
        moving_mask: Image | None,
        to_moving: np.ndarray,
        interpolation: separable.Matrices,
        similarity: Similarity,
        device: torch.device,
        threads: int = 1,
    ) -> None:
        self.similarity, self.device = similarity, device
        self.threads = threads if device.type == 'cpu' else 1
        self.moving = self._volume(moving.data)
        self.moving_mask = None if moving_mask is None else self._volume(moving_mask.data)
        self.base = self._tensor(to_sampler(to_moving, fixed.shape, moving.data.shape))
        self.axes = [self._tensor(np.linspace(-1, 1, n)) for n in fixed.shape]
        size = np.array(moving.data.shape)
        reach = similarity.support * np.abs(to_moving[:3, :3]).sum(1) / (size - 1)
        self.limit = self._tensor((1 - reach)[::-1])
        whole = self._volume(fixed)
        features = similarity.features(whole)
        s = similarity.support
        at_start = sample(self.moving, self._coordinates((slice(None),) * 3), padding='border')
        inner = self._volume(weight)[..., s:-s, s:-s, s:-s]
        similarity.calibrate(at_start, inner)
        self.slabs = []
        for box in _boxes(weight, s, SLAB_VOXELS if device.type == 'cpu' else weight.size):
            x, y, z = (slice(b.start, b.stop - 2 * s) for b in box)
            self.slabs.append(
                Slab(
                    box=box,
                    features=features[..., x, y, z].contiguous(),
                    weight=inner[..., x, y, z].contiguous(),
                    matrices=tuple(m[b] for m, b in zip(interpolation, box, strict=True)),
                )
            )

    @classmethod
    def at(
        cls, problem: Problem, spacing: float, similarity: Similarity, device: torch.device, threads: int = 1
    ) -> DataTerm:
        """The data term of a problem with images at `spacing` mm."""
        level = _padded(problem.brain.coarsened(spacing), similarity.support)
        fixed = resample(problem.fixed.smoothed_for(level.spacing), level)
        weight = resample(problem.fixed_mask, level, order=0) > 0
        seen = resample(Image(np.ones(problem.fixed.grid.shape, np.float32), problem.fixed.grid), level, order=0) > 0
        weight &= ndi.binary_erosion(seen, np.ones((3, 3, 3)), iterations=similarity.support)
        return cls(
            fixed=fixed,
            weight=weight.astype(np.float32),
            moving=problem.moving.smoothed_for(np.full(3, spacing)),
            moving_mask=problem.moving_mask,
            to_moving=np.linalg.inv(problem.moving.grid.affine) @ problem.affine @ level.affine,
            interpolation=separable.between(level, problem.velocity, torch.zeros((), device=device)),
            similarity=similarity,
            device=device,
            threads=threads,
        )

    def _tensor(self, array: np.ndarray) -> Tensor:
        return torch.as_tensor(np.ascontiguousarray(array), dtype=torch.float32, device=self.device)

    def _volume(self, array: np.ndarray) -> Tensor:
        return self._tensor(array)[None, None]

    def _coordinates(self, box: tuple[slice, ...]) -> Tensor:
        """Sampler coordinates in the moving image of the voxels of a box, undisplaced, (1, X, Y, Z, 3)."""
        x, y, z = (axis[b] for axis, b in zip(self.axes, box, strict=True))
        matrix, shift = self.base[:3, :3], self.base[:3, 3]
        x = x[:, None, None, None] * matrix[:, 2]
        y = y[None, :, None, None] * matrix[:, 1]
        z = z[None, None, :, None] * matrix[:, 0]
        return (x + (y + z + shift))[None]

    def _slab(self, slab: Slab, displacement: Tensor) -> tuple[Tensor, Tensor]:
        """Weighted sum of the dissimilarity over a slab, and the sum of the weights."""
        moved = separable.apply(displacement, slab.matrices).permute(0, 2, 3, 4, 1)
        at = self._coordinates(slab.box) + moved
        weight = slab.weight
        with torch.no_grad():
            s = self.similarity.support
            core = at[:, s:-s, s:-s, s:-s]
            # a voxel counts where its whole support lies in the moving field of view
            weight = weight * (core.abs() <= self.limit).all(-1)
            if self.moving_mask is not None:
                weight = weight * (sample(self.moving_mask, core) > 0.5)
        warped = sample(self.moving, at, padding='border')
        return self.similarity(slab.features, warped, weight), weight.sum()

    def value_and_gradient(self, displacement: Tensor) -> tuple[Tensor, Tensor]:
        """The mean dissimilarity over the compared voxels, and its gradient by the coarse displacement."""

        def one(slab: Slab) -> tuple[Tensor, Tensor, Tensor]:
            with torch.enable_grad():
                leaf = displacement.detach().requires_grad_()
                value, weight = self._slab(slab, leaf)
                return value.detach(), weight, torch.autograd.grad(value, leaf)[0]

        if not self.slabs:
            return displacement.new_zeros(()), torch.zeros_like(displacement)
        values, weights, gradients = zip(*in_threads(one, self.slabs, self.threads), strict=True)
        count = torch.stack(weights).sum().clamp_min(1)
        return torch.stack(values).sum() / count, torch.stack(gradients).sum(0) / count

    def __call__(self, displacement: Tensor) -> Tensor:
        """The mean dissimilarity as a node of the graph; displacement (1, 3, X, Y, Z) in moving sampler coordinates."""
        return _Slabwise.apply(displacement, self)


class _Slabwise(torch.autograd.Function):
    """Takes the gradient slab by slab in the forward pass, so that only one slab's graph is ever alive."""

    @staticmethod
    def forward(ctx: Any, displacement: Tensor, term: DataTerm) -> Tensor:
        value, gradient = term.value_and_gradient(displacement)
        ctx.save_for_backward(gradient)
        return value

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, None]:
        (gradient,) = ctx.saved_tensors
        return upstream * gradient, None


def _padded(grid: Grid, support: int) -> Grid:
    """The grid with enough voxels around it for every one to have its support."""
    return grid.cropped(np.full(3, -support), np.array(grid.shape) + support)


def _boxes(weight: np.ndarray, support: int, voxels: int) -> list[tuple[slice, ...]]:
    """Boxes that together hold every compared voxel once, each with `support` more voxels on every side."""
    occupied = np.flatnonzero(weight.any((1, 2)))
    if not len(occupied):
        return []
    thickness = max(2 * support, voxels // (weight.shape[1] * weight.shape[2]) - 2 * support)
    boxes = []
    for start in range(occupied[0], occupied[-1] + 1, thickness):
        stop = min(start + thickness, occupied[-1] + 1)
        bounds = [slice(start - support, stop + support)]
        for axis in (1, 2):
            there = np.flatnonzero(weight[start:stop].any((0, 3 - axis)))
            if len(there):
                bounds.append(slice(there[0] - support, there[-1] + 1 + support))
        if len(bounds) == 3:
            boxes.append(tuple(bounds))
    return boxes
