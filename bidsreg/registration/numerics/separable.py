"""Linear maps that act on one axis at a time: interpolation and smoothing as three small matrices."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from bidsreg.registration.grid import Grid
from bidsreg.registration.numerics.threads import in_threads, spare_threads

if TYPE_CHECKING:
    from bidsreg.registration.numerics.kernels.separable import Band

Tensor = torch.Tensor
Matrices = tuple[Tensor, ...]

LARGE = 200_000
"""Values from which on it gains to look for narrow bands in matrices, and to share whole ones out to threads."""
PART = 150_000
"""Values of whole planes that a thread multiplies at a time."""
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
    x, y, z = (m.T for m in matrices) if transposed else matrices
    # without a graph in other threads, too
    folded, values = volume.detach().flatten(0, 1), volume.shape[:2].numel() * len(x) * len(y) * len(z)
    # on a CPU, more than one thread may be worth it
    large, threads = volume.device.type == 'cpu' and max(values, volume.numel()) >= LARGE, spare_threads(values)
    if large and volume.dtype == torch.float32:
        narrow = [_band(m, m._version, transposed) for m in matrices]
        if all(NARROW * len(band.taps) <= band.size for band in narrow):
            from bidsreg.registration.numerics.kernels.separable import product

            found = product(np.ascontiguousarray(folded.numpy()), narrow, threads)
            return torch.from_numpy(found).unflatten(0, volume.shape[:2])
    out = _dense_in_threads(folded, x, y, z, threads) if large else _dense(folded, x, y, z)
    return out.unflatten(0, volume.shape[:2])


def _dense(volume: Tensor, x: Tensor, y: Tensor, z: Tensor) -> Tensor:
    """Multiply each axis of (F, X, Y, Z) by a whole matrix."""
    fields, planes = len(volume), len(volume) * len(x)
    mixed = torch.bmm(x.expand(fields, *x.shape), volume.flatten(2)).view(planes, *volume.shape[2:])
    rows = torch.bmm(y.expand(planes, *y.shape), mixed)
    return torch.bmm(rows, z.T.expand(planes, *z.T.shape)).view(fields, len(x), len(y), len(z))


def _dense_in_threads(volume: Tensor, x: Tensor, y: Tensor, z: Tensor, threads: int) -> Tensor:
    """Do the same products of two matrices, each of them by one thread."""
    fields, planes = len(volume), len(volume) * len(x)
    mixed = volume.new_empty(fields, len(x), volume.shape[2] * volume.shape[3])

    def along_x(field: int) -> None:
        torch.mm(x, volume[field].flatten(1), out=mixed[field])

    in_threads(along_x, range(fields), threads)
    given, out = mixed.view(planes, *volume.shape[2:]), volume.new_empty(planes, len(y), len(z))

    def across(first: int) -> None:
        some = given[first : first + step]
        rows = torch.bmm(y.expand(len(some), *y.shape), some)
        torch.bmm(rows, z.T.expand(len(some), *z.T.shape), out=out[first : first + step])

    step = max(1, PART // max(given[0].numel(), out[0].numel(), 1))
    in_threads(across, range(0, planes, step), threads)
    return out.view(fields, len(x), len(y), len(z))


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
