"""A plain grid of velocities, without a network: what the networks are compared with."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from bidsreg.registration.numerics import separable
from bidsreg.registration.presets import Preset
from bidsreg.registration.velocity.base import EulerianVelocity
from bidsreg.registration.velocity.smoothing import constants, smooth_and_taper

Tensor = torch.Tensor


class GridVelocity(EulerianVelocity):
    """Velocities at the grid's points as free parameters, smoothed by a Gaussian and brought to zero at the border."""

    needs = ('time_knots',)

    def __init__(self, shape: tuple[int, ...], spacing: np.ndarray, taper: float, preset: Preset) -> None:
        super().__init__(shape, spacing, taper, preset)
        self.velocities = nn.Parameter(torch.zeros(preset.time_knots, 3, *shape))
        self.smoothing = constants(smooth_and_taper(shape, spacing, taper, preset.velocity_smoothing))

    def forward(self, coarser: int = 0) -> Tensor:
        """Return velocities at the grid's points, or at every other one of them `coarser` times over."""
        return separable.apply(self.velocities, tuple(m[:: 2**coarser] for m in self.smoothing))
