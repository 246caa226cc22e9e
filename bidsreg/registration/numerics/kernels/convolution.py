"""Small convolutions of few channels, and their gradients. Reference: `torch.nn.functional.conv3d`.

Volumes have a border of zeros, so that a plane with its neighbours is one stretch of memory, whatever the shift; what
is computed on the border itself is not looked at. C is the number of channels that go in, D of those that come out.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from bidsreg.registration.numerics.kernels.compiling import kernel, part
from bidsreg.registration.numerics.threads import in_threads

f32 = np.float32


def padded(volumes: np.ndarray) -> np.ndarray:
    """Return volumes (C, X, Y, Z) with a voxel of zeros around them, (C, X + 2, Y + 2, Z + 2)."""
    channels, x, y, z = volumes.shape
    # np.pad takes a quarter of a millisecond to find out what is meant
    out = np.zeros((channels, x + 2, y + 2, z + 2), volumes.dtype)
    out[:, 1:-1, 1:-1, 1:-1] = volumes
    return out


def convolved(bordered: np.ndarray, weight: np.ndarray, threads: int = 1) -> np.ndarray:
    """Return ``conv3d(input, weight, padding=1)``.

    Parameters
    ----------
    bordered : ndarray, shape (C, X + 2, Y + 2, Z + 2), float32
        The input, `padded`.
    weight : ndarray, shape (D, C, 3, 3, 3), float32
        The weights.
    threads : int
        How many work; the result does not depend on it.

    Returns
    -------
    ndarray, shape (D, X, Y, Z), float32
    """
    channels, x, y, z = bordered.shape
    out = np.empty((len(weight), x - 2, y, z), np.float32)
    flat, taps = bordered.ravel(), np.ascontiguousarray(weight).reshape(len(weight), channels, 9, 3)
    in_threads(lambda plane: _convolve(flat, x, y, z, taps, plane, out.ravel()), range(x - 2), threads)
    return np.ascontiguousarray(out[:, :, 1:-1, 1:-1])


def by_input(upstream: np.ndarray, weight: np.ndarray, threads: int = 1) -> np.ndarray:
    """Return the gradient by the input, (C, X, Y, Z), from that by the output, `padded`; see `convolved`."""
    return convolved(upstream, np.ascontiguousarray(weight.swapaxes(0, 1)[:, :, ::-1, ::-1, ::-1]), threads)


def by_weight(bordered: np.ndarray, upstream: np.ndarray, threads: int = 1) -> np.ndarray:
    """Return the gradient by the weights, (D, C, 3, 3, 3), from input and gradient by the output, both `padded`."""
    channels, x, y, z = bordered.shape
    flat, pulls = bordered.ravel(), upstream.ravel()
    out = np.empty((len(upstream), channels, 27), np.float32)

    def work(d: int) -> None:
        _correlate(flat, pulls, channels, x, y, z, d, out)

    in_threads(work, range(len(upstream)), threads)
    return out.reshape(len(upstream), channels, 3, 3, 3)


@part
def _add_three(
    volumes: np.ndarray, at: np.uint64, w: float, v: float, u: float, out: np.ndarray, to: np.uint64, count: int
) -> None:
    """Add to a stretch of out three neighbouring stretches, times their weights."""
    for n in range(count):
        i = at + np.uint64(n)
        out[to + np.uint64(n)] += w * volumes[i] + v * volumes[i + np.uint64(1)] + u * volumes[i + np.uint64(2)]


@kernel('void(f4[::1], i8, i8, i8, f4[:, :, :, ::1], i8, f4[::1])')
def _convolve(volumes: np.ndarray, x: int, y: int, z: int, taps: np.ndarray, plane: int, out: np.ndarray) -> None:
    """Fill a plane of out, flat (D, x - 2, y, z), from flat volumes (C, x, y, z); taps (D, C, 9, 3) end along z."""
    size = y * z
    count = size - 2 * z - 2
    begin = z + 1
    for d in range(len(taps)):
        to = np.uint64((d * (x - 2) + plane) * size + begin)
        for n in range(count):
            out[to + np.uint64(n)] = 0
        for c in range(taps.shape[1]):
            for k in range(9):
                w, v, u = taps[d, c, k, 0], taps[d, c, k, 1], taps[d, c, k, 2]
                at = np.uint64((c * x + plane + k // 3) * size + (k % 3) * z)
                _add_three(volumes, at, w, v, u, out, to, count)


@kernel('void(f4[::1], f4[::1], i8, i8, i8, i8, i8, f4[:, :, ::1])')
def _correlate(
    volumes: np.ndarray, upstream: np.ndarray, channels: int, x: int, y: int, z: int, d: int, out: np.ndarray
) -> None:
    """Fill out[d], (C, 27), with the sums of shifted input times upstream; both flat, (C, x, y, z) and (D, x, y, z)."""
    size = y * z
    count = size - 2 * z - 2
    begin = z + 1
    for c in range(channels):
        for k in range(9):
            first, second, third = 0.0, 0.0, 0.0
            for plane in range(x - 2):
                pull = np.uint64((d * x + plane + 1) * size + begin)
                at = np.uint64((c * x + plane + k // 3) * size + (k % 3) * z)
                a: Any = f32(0)
                b: Any = f32(0)
                e: Any = f32(0)
                for n in range(count):
                    p, i = upstream[pull + np.uint64(n)], at + np.uint64(n)
                    a += p * volumes[i]
                    b += p * volumes[i + np.uint64(1)]
                    e += p * volumes[i + np.uint64(2)]
                first, second, third = first + a, second + b, third + e
            out[d, c, 3 * k], out[d, c, 3 * k + 1], out[d, c, 3 * k + 2] = first, second, third
