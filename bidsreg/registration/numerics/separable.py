"""Linear maps that act on one axis at a time: interpolation and smoothing as three small matrices."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from bidsreg.registration.grid import Grid
from bidsreg.registration.numerics.threads import spare_threads, threads_given_back

if TYPE_CHECKING:
    from bidsreg.registration.numerics.kernels.separable import Band

Tensor = torch.Tensor
Matrices = tuple[Tensor, ...]

BANDED_FROM = 200_000
"""Values from which on it gains to look for narrow bands in matrices."""
NARROW = 5
"""How many times wider than its band a matrix has to be, so that products of whole matrices are slower. Measured with
one thread on bands of 3 to 17 weights, on one and three volumes of 60 and 90 voxels a side."""


def apply(volume: Tensor, matrices: Matrices) -> Tensor:
    """Multiply each axis of (K, C, X, Y, Z) by its matrix (new length, old length); differentiable by the volume."""
    if torch.is_grad_enabled() and volume.requires_grad:
        return _Separable.apply(volume, *matrices)
    return _product(volume, matrices)


class _Separable(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, volume: Tensor, *matrices: Tensor) -> Tensor:
        ctx.matrices = matrices
        return _product(volume, matrices)

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        return apply_transposed(upstream, ctx.matrices), None, None, None


@functools.lru_cache(maxsize=128)
def _band(matrix: Tensor, version: int, transposed: bool) -> Band:
    """Return the band of a matrix, or of its transpose; found once for each `version` of what the tensor holds."""
    # here, since it imports numba
    from bidsreg.registration.numerics.kernels.separable import Band

    return Band.of((matrix.T if transposed else matrix).numpy())


def _product(volume: Tensor, matrices: Matrices, transposed: bool = False) -> Tensor:
    if volume.device.type == 'cpu' and volume.dtype == torch.float32:
        values = volume.shape[:2].numel() * math.prod(m.shape[transposed] for m in matrices)
        if max(values, volume.numel()) >= BANDED_FROM:
            narrow = [_band(m, m._version, transposed) for m in matrices]
            if all(NARROW * len(band.taps) <= band.size for band in narrow):
                from bidsreg.registration.numerics.kernels.separable import product

                folded = np.ascontiguousarray(volume.detach().flatten(0, 1).numpy())
                out = product(folded, narrow, spare_threads(values))
                return torch.from_numpy(out).unflatten(0, volume.shape[:2])
    x, y, z = (m.T for m in matrices) if transposed else matrices
    knots, components, *old = volume.shape
    fields, planes = knots * components, knots * components * len(x)
    with threads_given_back(planes * len(y) * len(z)):
        volume = torch.bmm(x.expand(fields, *x.shape), volume.reshape(fields, old[0], old[1] * old[2]))
        volume = torch.bmm(y.expand(planes, *y.shape), volume.view(planes, *old[1:]))
        volume = torch.bmm(volume, z.T.expand(planes, *z.T.shape))
    return volume.view(knots, components, len(x), len(y), len(z))


def apply_transposed(volume: Tensor, matrices: Matrices) -> Tensor:
    """Multiply each axis of (K, C, X, Y, Z) by the transpose of its matrix: the adjoint of `apply`."""
    if torch.is_grad_enabled() and volume.requires_grad:
        return _Separable.apply(volume, *(m.T for m in matrices))
    return _product(volume, matrices, transposed=True)


def cubic_weights(positions: np.ndarray, n: int) -> np.ndarray:
    """Return Catmull-Rom interpolation as a matrix: smooth, exact at the samples and for straight lines.

    Parameters
    ----------
    positions : ndarray, shape (M,)
        Where to interpolate, in samples from the first one.
    n : int
        Number of samples; before the first and after the last one the ends are repeated.

    Returns
    -------
    ndarray, shape (M, n)
        Rows sum to one. After Keys 1981, IEEE TASSP 29:1153-1160, with a = -1/2.
    """
    base = np.floor(positions).astype(int)
    t = positions - base
    taps = np.stack([-t + 2 * t**2 - t**3, 2 - 5 * t**2 + 3 * t**3, t + 4 * t**2 - 3 * t**3, -(t**2) + t**3], -1) / 2
    out = np.zeros((len(positions), n))
    for k in range(4):
        np.add.at(out, (np.arange(len(positions)), np.clip(base + k - 1, 0, n - 1)), taps[:, k])
    return out


def linear_weights(positions: np.ndarray, n: int) -> np.ndarray:
    """Return the linear interpolation as a matrix (M, n); positions in samples from the first, ends repeated."""
    base = np.clip(np.floor(positions).astype(int), 0, max(n - 2, 0))
    t = np.clip(positions - base, 0, 1)
    out = np.zeros((len(positions), n))
    rows = np.arange(len(positions))
    out[rows, base] = 1 - t
    out[rows, np.minimum(base + 1, n - 1)] += t
    return out


def positions(grid: Grid, samples: Grid) -> list[np.ndarray]:
    """Return where the voxels of `grid` lie along each axis of `samples`, in its voxels; both have the same axes."""
    along = (np.eye(3)[axis] * np.arange(n)[:, None] for axis, n in enumerate(grid.shape))
    return [samples.to_voxels(grid.to_world(voxels))[:, axis] for axis, voxels in enumerate(along)]


def weights_between(grid: Grid, samples: Grid) -> list[np.ndarray]:
    """Return the cubic interpolation from `samples` to the voxels of `grid`, a matrix an axis; axes must agree."""
    return [cubic_weights(p, n) for p, n in zip(positions(grid, samples), samples.shape, strict=True)]


def between(grid: Grid, samples: Grid, like: Tensor) -> Matrices:
    """Return `weights_between` as tensors like `like`."""
    return to_tensors(weights_between(grid, samples), like)


def gaussian_weights(n: int, sigma: float) -> np.ndarray:
    """Return the Gaussian smoothing of n samples as a symmetric (n, n) matrix; `sigma` in samples, zero beyond them."""
    if sigma <= 0:
        return np.eye(n)
    distance = np.arange(n)[:, None] - np.arange(n)[None]
    kernel = np.exp(-0.5 * (distance / sigma) ** 2)
    return kernel / np.exp(-0.5 * (np.arange(-4 * n, 4 * n + 1) / sigma) ** 2).sum()


def taper_weights(n: int, width: float) -> np.ndarray:
    """Return a window over n samples: zero at the ends, rising as sin^2 to one within `width` samples."""
    to_end = np.minimum(np.arange(n), np.arange(n)[::-1])
    return np.sin(np.clip(to_end / max(width, 1e-6), 0, 1) * np.pi / 2) ** 2


def to_tensors(matrices: Sequence[np.ndarray], like: Tensor) -> Matrices:
    """Return the three matrices as tensors of the type and on the device of `like`."""
    return tuple(torch.as_tensor(m, dtype=like.dtype, device=like.device) for m in matrices)
