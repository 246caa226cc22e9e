"""Operations on whole volumes, where they are: by compiled kernels in a computer's memory, by torch on a GPU."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F

from bidsreg.registration.numerics import separable
from bidsreg.registration.numerics.filters import filter_weights
from bidsreg.registration.numerics.sampling import Sampler
from bidsreg.registration.numerics.threads import spare_threads

Tensor = torch.Tensor

TRUNCATED = 3.0
"""Standard deviations at which Gaussians end."""


def percentiles(values: Tensor, shares: Sequence[float]) -> list[float]:
    """Return percentiles of some values, linear between them, as `numpy.percentile` does.

    Parameters
    ----------
    values : Tensor
        Of any shape, not empty.
    shares : sequence of float
        In [0, 100].
    """
    if values.device.type == 'cpu':
        return [float(p) for p in np.percentile(values.numpy(), shares)]
    return _percentiles_by_torch(values, shares)


def _percentiles_by_torch(values: Tensor, shares: Sequence[float]) -> list[float]:
    ordered = values.flatten().sort().values
    at = torch.tensor(shares, dtype=torch.float64, device=values.device) * ((len(ordered) - 1) / 100)
    below = at.floor().long()
    low, high = ordered[below].double(), ordered[(below + 1).clamp_max(len(ordered) - 1)].double()
    return torch.lerp(low, high, at - below).tolist()


def resampled(volume: Tensor, matrix: np.ndarray, shape: tuple[int, ...], order: int = 1) -> Tensor:
    """Return the values of a volume at the voxels of a grid; zero outside its outer voxel centres.

    Parameters
    ----------
    volume : Tensor, shape (X, Y, Z), float32
        What to sample.
    matrix : ndarray, shape (4, 4)
        Voxels of the grid to voxels of the volume.
    shape : tuple of int
        Of the grid.
    order : int
        1 for trilinear values, 0 for the nearest voxel's.

    Returns
    -------
    Tensor
        Of the grid's shape.
    """
    if volume.device.type == 'cpu':
        from bidsreg.registration.numerics.kernels.volumes import resampled

        threads = spare_threads(math.prod(shape))
        return torch.from_numpy(resampled(volume.contiguous().numpy(), matrix, shape, order, threads))
    return _resampled_by_torch(volume, matrix, shape, order)


def _resampled_by_torch(volume: Tensor, matrix: np.ndarray, shape: tuple[int, ...], order: int) -> Tensor:
    x, y, z = (
        torch.as_tensor(matrix[:3, axis, None] * np.arange(n) + (axis == 0) * matrix[:3, 3:], device=volume.device)
        for axis, n in enumerate(shape)
    )
    # in double precision, so that a voxel on the border is inside or outside as it is for SciPy
    at = x[:, :, None, None] + y[:, None, :, None] + z[:, None, None, :]
    last = torch.tensor(volume.shape, device=volume.device)[:, None, None, None] - 1
    inside = ((at >= 0) & (at <= last)).all(0)
    sampler, where = Sampler(volume[None]), at.float()
    return (sampler.values(where) if order else sampler.nearest(where))[0] * inside


def blurred(volume: Tensor, sigma: np.ndarray) -> Tensor:
    """Return a volume (X, Y, Z) smoothed by a Gaussian; its outer voxels go on beyond the border.

    Parameters
    ----------
    volume : Tensor, shape (X, Y, Z)
        What to smooth.
    sigma : ndarray, shape (3,)
        Standard deviations in voxels.
    """
    matrices = [
        filter_weights(n, s, truncate=TRUNCATED, mode='nearest') if s > 0 else np.eye(n)
        for n, s in zip(volume.shape, sigma, strict=True)
    ]
    return separable.apply(volume[None, None], separable.to_tensors(matrices, volume))[0, 0]


def dilated(mask: Tensor, mm: float, spacing: np.ndarray) -> Tensor:
    """Return where a mask (X, Y, Z) lies within `mm` mm, as float32 of 0 and 1; `spacing` is that of the voxels."""
    if mask.device.type == 'cpu':
        from bidsreg.registration.numerics.kernels.volumes import within

        return torch.from_numpy(within(mask.numpy() > 0, mm, spacing, spare_threads(mask.numel())))
    return _dilated_by_torch(mask, mm, spacing)


def _dilated_by_torch(mask: Tensor, mm: float, spacing: np.ndarray) -> Tensor:
    # squared distances as far as they matter, one axis after another
    squared = torch.where(mask > 0, 0.0, torch.inf)
    for axis, size in enumerate(spacing):
        nearest, n = squared.clone(), squared.shape[axis]
        for step in range(1, min(int(mm / size + 1e-6), n - 1) + 1):
            there, here = squared.narrow(axis, step, n - step), squared.narrow(axis, 0, n - step)
            for to, of in ((nearest.narrow(axis, 0, n - step), there), (nearest.narrow(axis, step, n - step), here)):
                torch.minimum(to, of + float(step * size) ** 2, out=to)
        squared = nearest
    return (squared <= mm**2 * (1 + 1e-6)).float()


def grown(marked: Tensor, reach: int) -> Tensor:
    """Return where something is marked within a cube of `reach` voxels to each side; bool (X, Y, Z), as `marked`."""
    if marked.device.type == 'cpu':
        from bidsreg.registration.numerics.kernels import volumes

        return torch.from_numpy(volumes.grown(marked.numpy(), reach, spare_threads(marked.numel())))
    return _grown_by_torch(marked, reach)


def _grown_by_torch(marked: Tensor, reach: int) -> Tensor:
    volume = marked[None, None].float()
    for axis in range(3):
        size, room = [1, 1, 1], [0, 0, 0]
        size[axis], room[axis] = 2 * reach + 1, reach
        volume = F.max_pool3d(volume, tuple(size), 1, tuple(room))
    return volume[0, 0] > 0


def eroded(marked: Tensor, reach: int) -> Tensor:
    """Return where all of a cube of `reach` voxels to each side is marked; what lies beyond the border is not."""
    out = ~grown(~marked, reach)
    for axis, n in enumerate(marked.shape):
        out.narrow(axis, 0, min(reach, n)).fill_(False)
        out.narrow(axis, max(n - reach, 0), min(reach, n)).fill_(False)
    return out
