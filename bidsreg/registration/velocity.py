"""The networks that generate velocity fields: small classes, one registry."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import nn

from bidsreg.registration import separable
from bidsreg.registration.presets import Preset

Tensor = torch.Tensor


def upsample(latent: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Trilinear interpolation of (1, C, x, y, z) to a finer `shape`, corners kept."""
    return nn.functional.interpolate(latent, size=shape, mode='trilinear', align_corners=True)


class NodeVelocity(nn.Module):
    """A multi-scale convolutional network over latent grids.

    Latent grids at the velocity's spacing and at two, four and eight times that are decoded coarse to fine; the coarse
    ones pass through residual convolutions, the finest adds detail directly. A linear head gives three velocity
    components, which a Gaussian smooths and a window brings to zero at the border of the domain. Latents start at
    zero, so that the first velocity is zero and the first map the identity.

    Parameters
    ----------
    shape : tuple of int
        Of the velocity grid, (X, Y, Z).
    spacing : ndarray, shape (3,)
        Its voxel size in mm.
    taper : float
        Over how many mm from the border the window rises from zero to one.
    preset : Preset
        Gives `channels` and `velocity_smoothing`.
    """

    scales = 4

    def __init__(self, shape: tuple[int, ...], spacing: np.ndarray, taper: float, preset: Preset) -> None:
        super().__init__()
        width = preset.channels
        sizes = [tuple(max(2, math.ceil(n / 2**s)) for n in shape) for s in range(self.scales)]
        self.latents = nn.ParameterList([nn.Parameter(torch.zeros(1, width, *size)) for size in sizes])
        self.convolutions = nn.ModuleList([nn.Conv3d(width, width, 3, padding=1, bias=False) for _ in sizes[1:]])
        self.head = nn.Conv3d(width, 3, 1, bias=False)
        smoothing = [
            separable.taper_weights(n, taper / h)[:, None]
            * separable.gaussian_weights(n, preset.velocity_smoothing / h)
            for n, h in zip(shape, spacing, strict=True)
        ]
        self.smoothing = nn.ParameterList(
            [nn.Parameter(torch.as_tensor(m, dtype=torch.float32), requires_grad=False) for m in smoothing]
        )

    def forward(self) -> Tensor:
        """The velocity in mm per unit of time along the grid's axes, shape (1, 3, X, Y, Z); stationary."""
        hidden = self.latents[-1]
        for latent, convolution in zip(self.latents[-2::-1], self.convolutions[::-1], strict=True):
            hidden = hidden + convolution(torch.tanh(hidden))
            hidden = upsample(hidden, tuple(latent.shape[2:])) + latent
        return separable.apply(self.head(hidden), tuple(self.smoothing))


VELOCITIES: dict[str, type[NodeVelocity]] = {'node': NodeVelocity}
