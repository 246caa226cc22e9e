"""Separable linear maps whose matrices are narrow bands: interpolation and Gaussians, all three axes in one pass.

The reference is `numerics.separable.apply`, which multiplies by the whole matrices.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bidsreg.registration.numerics.kernels.compiling import kernel, part
from bidsreg.registration.numerics.threads import in_threads

f32 = np.float32

LANES = 32
"""Rows along z that are worked side by side, so that the processor's vectors are full."""
NEGLIGIBLE = 1e-8
"""Weights below this fraction of a matrix's largest one are left out: they are beneath the last bit of a sum."""


@dataclass(frozen=True, eq=False)
class Band:
    """What of a matrix (M, N) is not zero.

    Attributes
    ----------
    first : ndarray, shape (M,), int64
        The first column that a row has weights in.
    taps : ndarray, shape (T, M), float32
        The T weights of each row from there on; first + T <= N.
    size : int
        N.
    """

    first: np.ndarray
    taps: np.ndarray
    size: int

    @classmethod
    def of(cls, matrix: np.ndarray) -> Band:
        """Cut the band out of a matrix."""
        rows, size = matrix.shape
        held = np.abs(matrix) > NEGLIGIBLE * np.abs(matrix).max(initial=0)
        any_held = held.any(1)
        first = np.where(any_held, held.argmax(1), 0)
        last = np.where(any_held, size - held[:, ::-1].argmax(1), 1)
        width = int((last - first).max(initial=1))
        first = np.minimum(first, size - width)
        columns = first[:, None] + np.arange(width)
        return cls(first, np.ascontiguousarray(matrix[np.arange(rows)[:, None], columns].T.astype(np.float32)), size)


def product(volume: np.ndarray, bands: Sequence[Band], threads: int = 1) -> np.ndarray:
    """Multiply each axis of a volume by its matrix.

    Parameters
    ----------
    volume : ndarray, shape (F, X, Y, Z), float32
        F of them.
    bands : three Band
        Of matrices (X', X), (Y', Y) and (Z', Z).
    threads : int
        How many work; the result does not depend on it.

    Returns
    -------
    ndarray, shape (F, X', Y', Z'), float32
    """
    x, y, z = bands
    out = np.empty((len(volume), len(x.first), len(y.first), len(z.first)), np.float32)
    planes = out.shape[1]
    step = max(1, -(-planes // 8))
    items = [(f, a) for f in range(len(volume)) for a in range(0, planes, step)]

    def work(item: tuple[int, int]) -> None:
        f, a = item
        _product(
            volume[f].ravel(),
            y.size,
            z.size,
            x.first,
            x.taps,
            y.first,
            y.taps,
            z.first,
            z.taps,
            a,
            min(a + step, planes),
            out[f].ravel(),
        )

    in_threads(work, items, threads)
    return out


@part
def _combine(
    source: np.ndarray,
    at: np.uint64,
    by: np.uint64,
    taps: np.ndarray,
    m: int,
    to: np.ndarray,
    begin: np.uint64,
    count: int,
) -> None:
    """Set to[begin:][:count] to rows of a flat array, `by` apart from `at` on, times the weights taps[:, m]; summed.

    Whole arrays with unsigned offsets: slices would be counted by reference, and signed indices stop vectorisation.
    """
    tap = 0
    odd = len(taps) % 2
    if odd:
        w = taps[0, m]
        for n in range(count):
            to[begin + np.uint64(n)] = w * source[at + np.uint64(n)]
        tap, at = 1, at + by
    while tap < len(taps):
        w, v, next_row = taps[tap, m], taps[tap + 1, m], at + by
        if tap == 0:
            for n in range(count):
                to[begin + np.uint64(n)] = w * source[at + np.uint64(n)] + v * source[next_row + np.uint64(n)]
        else:
            for n in range(count):
                to[begin + np.uint64(n)] += w * source[at + np.uint64(n)] + v * source[next_row + np.uint64(n)]
        tap, at = tap + 2, next_row + by


@kernel(
    'void(f4[::1], i8, i8, i8[::1], f4[:, ::1], i8[::1], f4[:, ::1], i8[::1], f4[:, ::1], i8, i8, f4[::1])',
    allocates=True,
)
def _product(
    volume: np.ndarray,
    ny: int,
    nz: int,
    first_x: np.ndarray,
    taps_x: np.ndarray,
    first_y: np.ndarray,
    taps_y: np.ndarray,
    first_z: np.ndarray,
    taps_z: np.ndarray,
    begin: int,
    end: int,
    out: np.ndarray,
) -> None:
    """Fill planes begin to end of flat out, (X', Y', Z'), from flat volume, (X, Y, Z)."""
    rows, columns = first_y.size, first_z.size
    plane, mixed = np.empty(ny * nz, np.float32), np.empty(LANES * nz, np.float32)
    block, done = np.empty(nz * LANES, np.float32), np.empty(columns * LANES, np.float32)
    by_x, by_y, by_z = np.uint64(ny * nz), np.uint64(nz), np.uint64(LANES)
    for x in range(begin, end):
        at = np.uint64(first_x[x]) * by_x
        for y in range(ny):
            _combine(volume, at + np.uint64(y * nz), by_x, taps_x, x, plane, np.uint64(y * nz), nz)
        for start in range(0, rows, LANES):
            lanes = min(LANES, rows - start)
            for lane in range(lanes):
                at = np.uint64(first_y[start + lane]) * by_y
                _combine(plane, at, by_y, taps_y, start + lane, mixed, np.uint64(lane * nz), nz)
            for lane in range(lanes):
                for z in range(nz):
                    block[np.uint64(z * LANES + lane)] = mixed[np.uint64(lane * nz + z)]
            for z in range(columns):
                _combine(block, np.uint64(first_z[z]) * by_z, by_z, taps_z, z, done, np.uint64(z * LANES), lanes)
            at = np.uint64((x * rows + start) * columns)
            for lane in range(lanes):
                for z in range(columns):
                    out[at + np.uint64(lane * columns + z)] = done[np.uint64(z * LANES + lane)]
