"""Arithmetic on whole fields in one pass over memory, shared out to threads. The references: a line of numpy each."""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np

from bidsreg.registration.numerics.kernels.compiling import kernel
from bidsreg.registration.numerics.threads import in_threads

f32 = np.float32

PART = 1 << 16
"""Values that a thread takes at a time; sums of parts are added in order, so that no sum depends on the threads."""

BLOCK = 1024
"""Voxels whose channels stay in the nearest cache."""


def _in_parts(work: Callable[[int, int], float | None], count: int, values: int, threads: int) -> list[float | None]:
    """Do `work` on stretches of `count` places, which have `values` in all."""
    step = max(1, PART * count // max(values, 1))
    parts = [(a, min(a + step, count)) for a in range(0, count, step)]
    return in_threads(lambda part: work(*part), parts, threads)


def side_by_side(field: np.ndarray, scale: np.ndarray, threads: int = 1) -> np.ndarray:
    """Return a field with its components next to each other, each multiplied by its scale.

    Parameters
    ----------
    field : ndarray, shape (K, 3, X, Y, Z), float32
        At K moments.
    scale : ndarray, shape (3,), float32
        Of the components.
    threads : int
        How many work; the result does not depend on it.

    Returns
    -------
    ndarray, shape (K, X, Y, Z, 4), float32
        The fourth component is zero: with it those of a voxel share a line of the cache.
    """
    knots, _, *shape = field.shape
    out = np.empty((knots, *shape, 4), np.float32)
    moments = np.ascontiguousarray(field).reshape(knots, 3, -1)
    each, places = out.reshape(knots, -1, 4), moments.shape[2]
    for one, to in zip(moments, each, strict=True):
        _in_parts(functools.partial(_pack, one, scale, to), places, one.size, threads)
    return out


def mapped(matrix: np.ndarray, volumes: np.ndarray, threads: int = 1) -> np.ndarray:
    """Return a matrix times the vector of every voxel.

    Parameters
    ----------
    matrix : ndarray, shape (D, C), float32
    volumes : ndarray, shape (K, C, X, Y, Z), float32
        K fields of vectors.
    threads : int
        How many work; the result does not depend on it.

    Returns
    -------
    ndarray, shape (K, D, X, Y, Z), float32
    """
    fields, channels, *shape = volumes.shape
    out = np.empty((fields, len(matrix), *shape), np.float32)
    given, found = np.ascontiguousarray(volumes).reshape(fields, channels, -1), out.reshape(fields, len(matrix), -1)
    weights, places = np.ascontiguousarray(matrix), given.shape[2]
    for one, to in zip(given, found, strict=True):
        _in_parts(functools.partial(_map, weights, one, to), places, max(one.size, to.size), threads)
    return out


def mean_square(values: np.ndarray, threads: int = 1) -> float:
    """Return the mean of the squares of values (N,), float32; it does not depend on `threads`."""
    parts = _in_parts(functools.partial(_squares, values), values.size, values.size, threads)
    return sum(part for part in parts if part is not None) / values.size


def step_along(
    parameters: np.ndarray, momentum: np.ndarray, gradient: np.ndarray, kept: float, rate: float, threads: int = 1
) -> None:
    """Let a momentum keep a fraction of itself and take the rest from a gradient, and step against it.

    momentum = kept momentum + (1 - kept) gradient; parameters = parameters - rate momentum. In place, (N,), float32.
    """
    work = functools.partial(_step, parameters, momentum, gradient, np.float32(kept), np.float32(rate))
    _in_parts(work, parameters.size, parameters.size, threads)


@kernel('void(f4[:, ::1], f4[::1], f4[:, ::1], i8, i8)')
def _pack(field: np.ndarray, scale: np.ndarray, out: np.ndarray, first: int, last: int) -> None:
    """Set voxels first to last of out, (N, 4), to those of a field, (3, N), times the scale of each component."""
    x, y, z = scale[0], scale[1], scale[2]
    for n in range(first, last):
        out[n, 0], out[n, 1], out[n, 2], out[n, 3] = x * field[0, n], y * field[1, n], z * field[2, n], f32(0)


@kernel('void(f4[:, ::1], f4[:, ::1], f4[:, ::1], i8, i8)')
def _map(matrix: np.ndarray, volumes: np.ndarray, out: np.ndarray, first: int, last: int) -> None:
    """Set voxels first to last of out, (D, N), to a matrix (D, C) times those of volumes, (C, N)."""
    for start in range(first, last, BLOCK):
        stop = min(start + BLOCK, last)
        for d in range(len(matrix)):
            weight = matrix[d, 0]
            for n in range(start, stop):
                out[d, n] = weight * volumes[0, n]
            for c in range(1, len(volumes)):
                weight = matrix[d, c]
                for n in range(start, stop):
                    out[d, n] += weight * volumes[c, n]


@kernel('f8(f4[::1], i8, i8)')
def _squares(values: np.ndarray, first: int, last: int) -> float:
    """Return the sum of squares of values first to last."""
    total = 0.0
    for n in range(first, last):
        total += np.float64(values[n]) * np.float64(values[n])
    return total


@kernel('void(f4[::1], f4[::1], f4[::1], f4, f4, i8, i8)')
def _step(
    parameters: np.ndarray,
    momentum: np.ndarray,
    gradient: np.ndarray,
    kept: float,
    rate: float,
    first: int,
    last: int,
) -> None:
    """Step with values first to last; see `step_along`."""
    for n in range(first, last):
        now = gradient[n] + kept * (momentum[n] - gradient[n])
        momentum[n] = now
        parameters[n] -= rate * now
