"""Jacobian determinants of written fields, and where they fold, on the device where the field is."""

from __future__ import annotations

import numpy as np
import torch

from bidsreg.registration.grid import Grid
from bidsreg.registration.numerics.threads import spare_threads

Tensor = torch.Tensor


def folded(field: Tensor, grid: Grid) -> Tensor:
    """Return where the Jacobian determinant of x + u(x) is not positive by any of three difference schemes.

    Parameters
    ----------
    field : Tensor, shape (3, X, Y, Z)
        u in world mm.
    grid : Grid
        Where it lies.

    Returns
    -------
    Tensor of bool, shape (X, Y, Z)
        The same as `metrics.folded`.
    """
    if field.device.type == 'cpu':
        from bidsreg.registration.numerics.kernels.folds import folded

        axes = grid.affine[:3, :3].astype(np.float32)
        return torch.from_numpy(folded(field.contiguous().numpy(), axes, spare_threads(field.numel())))
    return _folded_by_torch(field, grid)


def _folded_by_torch(field: Tensor, grid: Grid) -> Tensor:
    axes = torch.as_tensor(grid.affine[:3, :3].T.astype(np.float32), device=field.device)
    sign = torch.sign(_determinant([column[:, None, None, None] for column in axes]))
    ahead, behind = zip(*(_differences(field, axis) for axis in range(3)), strict=True)
    out = torch.zeros(field.shape[1:], dtype=torch.bool, device=field.device)
    for steps in (ahead, behind, [(a + b) / 2 for a, b in zip(ahead, behind, strict=True)]):
        columns = [step + column[:, None, None, None] for step, column in zip(steps, axes, strict=True)]
        out |= _determinant(columns) * sign <= 0
    return out


def count_folds(field: Tensor, grid: Grid) -> int:
    """Return at how many voxels a field is `folded`."""
    return int(folded(field, grid).sum())


def _differences(field: Tensor, axis: int) -> tuple[Tensor, Tensor]:
    """Return forward and backward differences along an axis; at the border that has no neighbour there, the other."""
    step = field.diff(dim=axis + 1)
    n = step.shape[axis + 1]
    first, last = step.narrow(axis + 1, 0, 1), step.narrow(axis + 1, n - 1, 1)
    return torch.cat([step, last], axis + 1), torch.cat([first, step], axis + 1)


def _determinant(columns: list[Tensor]) -> Tensor:
    """Return a . (b x c) of three columns of three components."""
    a, b, c = columns
    first = a[0] * (b[1] * c[2] - b[2] * c[1])
    return first - a[1] * (b[0] * c[2] - b[2] * c[0]) + a[2] * (b[0] * c[1] - b[1] * c[0])
