"""How alike two images are at the voxels of the brain: held-out evidence. Reference in torch: `views.TiledViewer`."""

from __future__ import annotations

import math

import numpy as np

from bidsreg.registration.numerics.kernels.compiling import kernel, part
from bidsreg.registration.numerics.kernels.patches import decay
from bidsreg.registration.numerics.pool import shared_out

f32 = np.float32

PART = 100_000
"""Voxels that a thread compares at a time; sums of parts are added in order."""
ROW = 512
"""Voxels that are compared at a time: they stay in the nearest cache."""


def mind_mismatch(
    distances: np.ndarray,
    variance: np.ndarray,
    floor: float,
    mind: np.ndarray,
    counted: np.ndarray,
    threads: int = 1,
) -> float:
    """Return the sum over voxels that count of the mean squared difference of MIND.

    Parameters
    ----------
    distances, variance : ndarray, shapes (6, N) and (N,), float32
        Of one image: its MIND is ``exp(-distances / max(variance, floor))``.
    floor : float
        Smallest variance.
    mind : ndarray, shape (6, N), float32
        That of the other one.
    counted : ndarray of bool, shape (N,)
        Which voxels count.
    threads : int
        How many work; the result does not depend on it.
    """
    flags, n = counted.view(np.uint8), len(variance)

    def work(first: int) -> float:
        rows = np.empty((2, ROW), np.float32)
        return float(_mind_mismatch(distances, variance, floor, mind, flags, first, min(first + PART, n), rows))

    return sum(shared_out(work, range(0, n, PART), threads)) / 6


def binned(values: np.ndarray, edges: np.ndarray, threads: int = 1) -> np.ndarray:
    """Return the bin of each value, `information.to_bins` for given edges, (N,), uint8.

    Parameters
    ----------
    values : ndarray, shape (N,), float32
        Those beyond the outer edges belong to the outer bins.
    edges : ndarray, shape (B + 1,), float64
        Of B equally wide bins, at most 256.
    threads : int
        How many work; the result does not depend on it.
    """
    out, n = np.empty(len(values), np.uint8), len(values)
    shared_out(lambda a: _bin(values, edges, a, min(a + PART, n), out), range(0, n, PART), threads)
    return out


def joint_counts(first: np.ndarray, second: np.ndarray, counted: np.ndarray, bins: int) -> np.ndarray:
    """Return how many of the voxels that count lie in each pair of bins, (bins, bins), int64.

    Parameters
    ----------
    first, second : ndarray, shape (N,), uint8
        Bins of two images; those of the first are the rows.
    counted : ndarray of bool, shape (N,)
        Which voxels count.
    bins : int
        Of either image.
    """
    out = np.zeros(bins * bins, np.int64)
    _count_pairs(first, second, counted.view(np.uint8), bins, out)
    return out.reshape(bins, bins)


def correlation(first: np.ndarray, second: np.ndarray, counted: np.ndarray, threads: int = 1) -> float:
    """Return Pearson's correlation of two images over the voxels that count; NaN where one of them is constant.

    Parameters
    ----------
    first, second : ndarray, shape (N,), float32
        Their values.
    counted : ndarray of bool, shape (N,)
        Which voxels count.
    threads : int
        How many work; the result does not depend on it.
    """
    flags, n = counted.view(np.uint8), len(first)

    def summed(centre: np.ndarray) -> np.ndarray:
        sums = shared_out(
            lambda a: _moments(first, second, flags, centre, a, min(a + PART, n)), range(0, n, PART), threads
        )
        return np.sum(sums, 0)

    # the second time about the means, so that nothing cancels
    number, a, b, *_ = summed(np.zeros(2))
    *_, aa, bb, ab = summed(np.array([a, b]) / number)
    return float(ab / math.sqrt(aa * bb)) if aa * bb > 0 else math.nan


@kernel('f8(f4[:, ::1], f4[::1], f4, f4[:, ::1], u1[::1], i8, i8, f4[:, ::1])')
def _mind_mismatch(distances, variance, floor, mind, counted, first, last, rows):
    inverse, squares = rows[0], rows[1]
    total = 0.0
    for start in range(first, last, ROW):
        stop = min(start + ROW, last)
        _invert(variance[start:stop], floor, inverse, squares)
        for c in range(6):
            _add_squares(distances[c, start:stop], mind[c, start:stop], inverse, squares)
        total += np.float64(_total(squares, counted[start:stop]))
    return total


@part
def _invert(variance, floor, inverse, squares):
    for n in range(variance.size):
        inverse[n] = f32(1) / (variance[n] if variance[n] > floor else floor)
        squares[n] = f32(0)


@part
def _add_squares(distances, mind, inverse, squares):
    for n in range(distances.size):
        difference = decay(distances[n] * inverse[n]) - mind[n]
        squares[n] += difference * difference


@part
def _total(squares, counted):
    total = f32(0)
    for n in range(counted.size):
        total += f32(counted[n]) * squares[n]
    return total


@kernel('void(f4[::1], f8[::1], i8, i8, u1[::1])')
def _bin(values, edges, first, last, out):
    bins, low = edges.size - 1, edges[0]
    width = edges[bins] - low
    scale = bins / width if width > 0 else 0.0
    for n in range(first, last):
        v = np.float64(values[n])
        guess = (v - low) * scale
        guess = guess if guess > 0 else 0.0
        k = np.int64(min(guess, bins - 1.0))
        # rounding may put a value that lies on an edge on its wrong side
        if (k > 0) & (v < edges[k]):
            k -= 1
        elif (k < bins - 1) & (v >= edges[k + 1]):
            k += 1
        out[n] = k


@kernel('void(u1[::1], u1[::1], u1[::1], i8, i8[::1])')
def _count_pairs(first, second, counted, bins, out):
    for n in range(first.size):
        out[np.uint64(first[n]) * np.uint64(bins) + np.uint64(second[n])] += counted[n]


@kernel('UniTuple(f8, 6)(f4[::1], f4[::1], u1[::1], f8[::1], i8, i8)')
def _moments(first, second, counted, centre, start, stop):
    """Return number, sums, squares and products about a centre, of the voxels that count."""
    number, total_a, total_b, aa, bb, ab = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    for n in range(start, stop):
        weight = np.float64(counted[n])
        a, b = weight * (first[n] - centre[0]), weight * (second[n] - centre[1])
        number += weight
        total_a += a
        total_b += b
        aa += a * a
        bb += b * b
        ab += a * b
    return number, total_a, total_b, aa, bb, ab
