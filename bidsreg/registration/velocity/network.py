"""The network that generates velocity fields, and the velocity that is its smoothed output."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from bidsreg.registration.numerics import separable
from bidsreg.registration.numerics.positions import mapped_vectors
from bidsreg.registration.numerics.threads import spare_threads
from bidsreg.registration.presets import Preset
from bidsreg.registration.velocity.base import EulerianVelocity
from bidsreg.registration.velocity.smoothing import smooth_and_taper

Tensor = torch.Tensor

COARSEST = 32.0
"""Spacing in mm of the coarsest latent grid, or a little more."""
CONVOLVED = 8.0
"""Latent grids at least this coarse, in mm, pass through convolutions; finer ones would cost more than they give."""


class LatentNetwork(nn.Module):
    """A multi-scale convolutional network over latent grids.

    Latent grids, each twice as coarse as the next, are decoded coarse to fine: the coarse ones pass through residual
    convolutions, and each adds its detail. A linear head gives three components. Latents start at zero, so the first
    output is zero.

    Parameters
    ----------
    shape : tuple of int
        Of the output's grid, (X, Y, Z); each length one more than a multiple of ``2 ** coarser`` for every coarser
        output wanted.
    spacing : ndarray, shape (3,)
        Its voxel size in mm.
    channels : int
        Width.
    knots : int
        How many outputs: moments of time, which share the network and have latents of their own.
    """

    def __init__(self, shape: tuple[int, ...], spacing: np.ndarray, channels: int, knots: int = 1) -> None:
        super().__init__()
        finest = float(spacing.min())
        scales = max(2, 1 + round(math.log2(COARSEST / finest)))
        self.sizes = [tuple(max(2, math.ceil((n - 1) / 2**s) + 1) for n in shape) for s in range(scales)]
        self.detail = nn.Parameter(torch.zeros(knots, 3, *self.sizes[0]))
        self.latents = nn.ParameterList([nn.Parameter(torch.zeros(knots, channels, *n)) for n in self.sizes[1:]])
        self.convolutions = nn.ModuleDict(
            {
                str(s): nn.Conv3d(channels, channels, 3, padding=1, bias=False)
                for s in range(1, scales)
                if finest * 2**s > CONVOLVED * 0.99
            }
        )
        self.head = nn.Conv3d(channels, 3, 1, bias=False)
        self._finer: dict[int, separable.Matrices] = {}

    def forward(self, coarser: int = 0) -> Tensor:
        """Return the output on its grid, or on one `coarser` times halved; (knots, 3, X, Y, Z)."""
        hidden = self.latents[-1]
        for s in range(len(self.sizes) - 1, 0, -1):
            if s < len(self.sizes) - 1:
                hidden = separable.apply(hidden, self._onto(s)) + self.latents[s - 1]
            if str(s) in self.convolutions:
                weight = self.convolutions[str(s)].weight
                assert isinstance(weight, Tensor)
                hidden = hidden + convolved(torch.tanh(hidden), weight)
            if s == coarser:
                return self._components(hidden)
        return separable.apply(self._components(hidden), self._onto(0)) + self.detail

    def _onto(self, scale: int) -> separable.Matrices:
        """Return the linear interpolation onto a scale from the next coarser one, corners kept."""
        if scale not in self._finer:
            matrices = [
                separable.linear_weights(np.linspace(0, old - 1, new), old)
                for new, old in zip(self.sizes[scale], self.sizes[scale + 1], strict=True)
            ]
            self._finer[scale] = separable.to_tensors(matrices, self.detail)
        return self._finer[scale]

    def _components(self, hidden: Tensor) -> Tensor:
        """Apply the head at every point; as a product of matrices several times faster than as a convolution."""
        weight = self.head.weight.flatten(1)
        if _on_cpu(hidden, weight):
            return _Mapped.apply(hidden, weight)
        return (weight @ hidden.flatten(2)).unflatten(2, hidden.shape[2:])


def convolved(volumes: Tensor, weight: Tensor) -> Tensor:
    """Return the convolution of volumes (K, C, X, Y, Z) with weights (D, C, 3, 3, 3), zero beyond the border."""
    if _on_cpu(volumes, weight):
        return _Convolved.apply(volumes, weight)
    return F.conv3d(volumes, weight, padding=1)


def _on_cpu(volumes: Tensor, weight: Tensor) -> bool:
    """Tell whether kernels can do it: on a CPU, in single precision."""
    return volumes.device.type == 'cpu' and volumes.dtype == weight.dtype == torch.float32


class _Mapped(torch.autograd.Function):
    """A matrix (D, C) times the vector of every voxel, by kernels in several threads."""

    @staticmethod
    def forward(ctx: Any, volumes: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(volumes, weight)
        return mapped_vectors(weight.detach(), volumes)

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, Tensor]:
        volumes, weight = ctx.saved_tensors
        by_weight = torch.einsum('kdn,kcn->dc', upstream.flatten(2), volumes.flatten(2))
        return mapped_vectors(weight.T, upstream), by_weight


class _Convolved(torch.autograd.Function):
    """By kernels: on one thread torch's own takes four times as long."""

    @staticmethod
    def forward(ctx: Any, volumes: Tensor, weight: Tensor) -> Tensor:
        from bidsreg.registration.numerics.kernels import convolution

        ctx.threads = spare_threads(volumes.numel() * weight[:, 0].numel())
        ctx.weight, ctx.bordered = weight.detach().numpy(), [convolution.padded(v) for v in volumes.detach().numpy()]
        out = [convolution.convolved(v, ctx.weight, ctx.threads) for v in ctx.bordered]
        return torch.from_numpy(np.stack(out))

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, Tensor]:
        from bidsreg.registration.numerics.kernels import convolution

        pulls = [convolution.padded(u) for u in upstream.numpy()]
        by_volumes = [convolution.by_input(u, ctx.weight, ctx.threads) for u in pulls]
        by_weight = [convolution.by_weight(v, u, ctx.threads) for v, u in zip(ctx.bordered, pulls, strict=True)]
        return torch.from_numpy(np.stack(by_volumes)), torch.from_numpy(np.sum(by_weight, axis=0))


class NodeVelocity(EulerianVelocity):
    """The Neural ODE's velocity: a `LatentNetwork`, smoothed by a Gaussian, brought to zero at the border."""

    needs = ('channels', 'time_knots')

    def __init__(self, shape: tuple[int, ...], spacing: np.ndarray, taper: float, preset: Preset) -> None:
        super().__init__(shape, spacing, taper, preset)
        self.network = LatentNetwork(shape, spacing, preset.channels, preset.time_knots)
        self.spacing, self.taper, self.sigma = spacing, taper, preset.velocity_smoothing
        self._smoothing: dict[int, separable.Matrices] = {}

    def smoothing(self, coarser: int, like: Tensor) -> separable.Matrices:
        """Return the matrices of the Gaussian and the window for an output `coarser` times halved."""
        if coarser not in self._smoothing:
            matrices = smooth_and_taper(tuple(like.shape[2:]), self.spacing * 2**coarser, self.taper, self.sigma)
            self._smoothing[coarser] = separable.to_tensors(matrices, like)
        return self._smoothing[coarser]

    def forward(self, coarser: int = 0) -> Tensor:
        """Return the smoothed output of the network; see `EulerianVelocity.forward`."""
        raw = self.network(coarser)
        return separable.apply(raw, self.smoothing(coarser, raw))
