"""Smoothing of velocities, and the window that brings them to zero at the border: one matrix for each axis."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import nn

from bidsreg.registration.numerics import separable

SmoothingKernel = Callable[[int, float], np.ndarray]
"""From the length of an axis and a standard deviation in voxels to a symmetric smoothing matrix."""


def smooth_and_taper(
    shape: tuple[int, ...],
    spacing: np.ndarray,
    taper: float,
    sigma: float,
    kernel: SmoothingKernel = separable.gaussian_weights,
) -> list[np.ndarray]:
    """Return smoothing followed by a window that brings fields to zero at the border, as one matrix for each axis.

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
        What smooths.

    Returns
    -------
    list of ndarray, shapes (X, X), (Y, Y), (Z, Z)
        For :func:`.separable.apply`.
    """
    return [
        separable.taper_weights(n, taper / h)[:, None] * kernel(n, sigma / h)
        for n, h in zip(shape, spacing, strict=True)
    ]


def averaging_weights(n: int, sigma: float) -> np.ndarray:
    """Return a moving average over n samples as a symmetric (n, n) matrix, with the standard deviation of a Gaussian.

    The window is sqrt(12) `sigma` samples wide (at least one) and counts samples in part at its ends; zero beyond the
    ends of the axis.
    """
    width = max(math.sqrt(12) * sigma, 1.0)
    distance = np.abs(np.arange(n)[:, None] - np.arange(n)[None])
    return np.clip((width + 1) / 2 - distance, 0, 1) / width


def constants(matrices: list[np.ndarray]) -> nn.ParameterList:
    """Return matrices that move with a network from device to device, but are not optimised."""
    tensors = [torch.as_tensor(m, dtype=torch.float32) for m in matrices]
    return nn.ParameterList([nn.Parameter(m, requires_grad=False) for m in tensors])
