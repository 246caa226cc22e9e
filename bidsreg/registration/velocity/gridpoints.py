"""A plain grid of velocities, without a network: what the networks are compared with."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import nn

from bidsreg.registration.numerics import separable
from bidsreg.registration.presets import Preset

Tensor = torch.Tensor
Kernel = Callable[[int, float], np.ndarray]


def smooth_and_taper(
    shape: tuple[int, ...],
    spacing: np.ndarray,
    taper: float,
    sigma: float,
    kernel: Kernel = separable.gaussian_weights,
) -> list[np.ndarray]:
    """Smoothing, then a window that brings fields to zero at the border, as one matrix per axis.

    Parameters
    ----------
    shape : tuple of int
        Of the grid, (X, Y, Z).
    spacing : ndarray, shape (3,)
        Its voxel size in mm.
    taper : float
        Over how many mm from the border the window rises from zero to one.
    sigma : float
        Standard deviation of the kernel in mm; 0 does not smooth.
    kernel : callable
        Length of an axis and standard deviation in voxels to a symmetric smoothing matrix.

    Returns
    -------
    list of ndarray, shapes (X, X), (Y, Y), (Z, Z)
        For :func:`.separable.apply`.
    """
    return [
        separable.taper_weights(n, taper / h)[:, None] * kernel(n, sigma / h)
        for n, h in zip(shape, spacing, strict=True)
    ]


def constants(matrices: list[np.ndarray]) -> nn.ParameterList:
    """Matrices that move with a network from device to device, but are not optimised."""
    tensors = [torch.as_tensor(m, dtype=torch.float32) for m in matrices]
    return nn.ParameterList([nn.Parameter(m, requires_grad=False) for m in tensors])


class GridVelocity(nn.Module):
    """Velocities at the grid's points as free parameters, smoothed by a Gaussian and brought to zero at the border.

    Parameters
    ----------
    shape : tuple of int
        Of the velocity grid, (X, Y, Z).
    spacing : ndarray, shape (3,)
        Its voxel size in mm.
    taper : float
        Over how many mm from the border the window rises from zero to one.
    preset : Preset
        Gives `time_knots` and `velocity_smoothing`.
    """

    def __init__(self, shape: tuple[int, ...], spacing: np.ndarray, taper: float, preset: Preset) -> None:
        super().__init__()
        self.velocities = nn.Parameter(torch.zeros(preset.time_knots, 3, *shape))
        self.smoothing = constants(smooth_and_taper(shape, spacing, taper, preset.velocity_smoothing))

    def forward(self, coarser: int = 0) -> Tensor:
        """Velocities in mm per unit of time along the grid's axes, shape (knots, 3, X, Y, Z).

        At the grid's points, or at every other one of them `coarser` times over.
        """
        return separable.apply(self.velocities, tuple(m[:: 2**coarser] for m in self.smoothing))
