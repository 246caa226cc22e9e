"""Positions of voxels as tensors, built axis by axis."""

from __future__ import annotations

import numpy as np
import torch

from bidsreg.registration.numerics import axes
from bidsreg.registration.numerics.boxes import Box
from bidsreg.registration.numerics.threads import spare_threads

Tensor = torch.Tensor


def voxel_indices(shape: tuple[int, ...], device: torch.device | str = 'cpu') -> Tensor:
    """Return the voxel indices of a grid, float32, (3, X, Y, Z)."""
    axes = [torch.arange(n, dtype=torch.float32, device=device) for n in shape]
    return torch.stack(torch.meshgrid(*axes, indexing='ij'))


def mapped_voxels(matrix: np.ndarray, box: Box, device: torch.device | str = 'cpu') -> Tensor:
    """Return where a matrix takes the voxels of a box.

    Parameters
    ----------
    matrix : ndarray, shape (4, 4)
        From voxel indices to whatever is wanted.
    box : three slices
        Which voxels, with a start and a stop along each axis.
    device : torch.device or str
        Where the result is to be.

    Returns
    -------
    Tensor, shape (3, x, y, z), float32
    """
    return added_axes(*mapped_axes(matrix, box, device))


def mapped_axes(matrix: np.ndarray, box: Box, device: torch.device | str = 'cpu') -> tuple[Tensor, Tensor, Tensor]:
    """Return `axes.mapped_axes` as tensors."""
    x, y, z = (torch.as_tensor(along, device=device) for along in axes.mapped_axes(matrix, box))
    return x, y, z


def added_axes(x: Tensor, y: Tensor, z: Tensor) -> Tensor:
    """Add what each axis contributes at every voxel of a box, (3, x, y, z)."""
    return x[:, :, None, None] + (y[:, None, :, None] + z[:, None, None, :])


def mapped_vectors(matrix: Tensor, field: Tensor) -> Tensor:
    """Return a matrix (D, C) times every vector of fields (K, C, X, Y, Z), without a graph."""
    if field.device.type != 'cpu' or field.dtype != torch.float32:
        return torch.einsum('ij,kjxyz->kixyz', matrix, field)
    # here, since it imports numba
    from bidsreg.registration.numerics.kernels.fields import mapped

    return torch.from_numpy(mapped(matrix.numpy(), field.detach().numpy(), spare_threads(field.numel())))
