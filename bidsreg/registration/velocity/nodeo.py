"""The voxel cloud of NODEO: all points of the grid are one state, and a network says how it changes."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import nn

from bidsreg.registration.numerics import separable
from bidsreg.registration.presets import Preset
from bidsreg.registration.velocity.base import LagrangianVelocity
from bidsreg.registration.velocity.smoothing import SmoothingKernel, averaging_weights, constants, smooth_and_taper

Tensor = torch.Tensor


class NodeoVelocity(LagrangianVelocity):
    """A network from the voxel cloud to its velocities (NODEO; Wu et al. 2022, CVPR, 20804-20813).

    d q / dt = K f(q): the state q holds where all points of the grid are. Strided convolutions shrink it, a fully
    connected layer squeezes it into a few numbers, a linear decoder gives velocities on a coarse grid; linear
    interpolation, the smoothing kernel and a window that vanishes at the border take them to the points. The decoder
    starts at zero, so that the first map is the identity. f depends on time through q alone, so there are no time
    knots.

    The points are coupled: a velocity belongs to a point of the grid, not to a place. The flow solved backward from
    the grid is therefore not the inverse map, and nothing but regularity keeps points from crossing.
    """

    needs = ('channels',)
    half_extent: Tensor
    kernel: SmoothingKernel = staticmethod(separable.gaussian_weights)
    bottleneck = 32
    smallest = 8
    """Convolutions halve the grid until no axis has more points than this."""
    finest = 36
    """The decoder's grid is the given one, coarsened at least twofold, so that no axis has more points than this."""

    def __init__(self, shape: tuple[int, ...], spacing: np.ndarray, taper: float, preset: Preset) -> None:
        super().__init__(shape, spacing, taper, preset)
        width = preset.channels
        halvings = max(1, math.ceil(math.log2(max(shape) / self.smallest)))
        factor = max(2, math.ceil(max(shape) / self.finest))
        small = [math.ceil(n / 2**halvings) for n in shape]
        self.coarse = tuple(max(2, math.ceil(n / factor)) for n in shape)
        self.convolutions = nn.ModuleList(
            [nn.Conv3d(width if k else 3, width, 3, stride=2, padding=1) for k in range(halvings)]
        )
        self.encoder = nn.Linear(width * math.prod(small), self.bottleneck)
        nn.init.normal_(self.encoder.weight)
        self.decoder = nn.Linear(self.bottleneck, 3 * math.prod(self.coarse))
        nn.init.zeros_(self.decoder.weight)
        nn.init.zeros_(self.decoder.bias)
        self.smoothing = constants(
            [
                smooth @ separable.linear_weights(np.linspace(0, m - 1, n), m)
                for n, m, smooth in zip(
                    shape,
                    self.coarse,
                    smooth_and_taper(shape, spacing, taper, preset.velocity_smoothing, self.kernel),
                    strict=True,
                )
            ]
        )
        half = np.maximum((np.array(shape) - 1) / 2, 0.5) * spacing
        self.register_buffer('half_extent', torch.as_tensor(half, dtype=torch.float32))

    def at(self, t: Tensor, state: Tensor) -> Tensor:
        """Return the velocities that the network gives; it does not look at the time. See `LagrangianVelocity.at`."""
        hidden = state / self.half_extent[:, None, None, None]
        for convolution in self.convolutions:
            hidden = torch.tanh(convolution(hidden))
        # inputs over the root of their number and weights about 1: else a step of Adam on thousands of them saturates
        features = hidden.flatten(1) / math.sqrt(self.encoder.in_features)
        coarse = self.decoder(torch.tanh(self.encoder(features)))
        return separable.apply(coarse.view(1, 3, *self.coarse), tuple(self.smoothing))


class AveragingNodeoVelocity(NodeoVelocity):
    """The same with a moving average as the smoothing kernel, of the same standard deviation."""

    kernel = staticmethod(averaging_weights)
