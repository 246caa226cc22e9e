"""Joint histograms with Parzen windows, and their derivative. Reference: `parzen.joint_histograms` in torch."""

from __future__ import annotations

from typing import Any

import numpy as np

from bidsreg.registration.numerics.kernels.compiling import kernel, part

f32, i32 = np.float32, np.int32
CHUNK = 256
"""Voxels whose windows are found at a time: they stay in the nearest cache."""


def joint_histogram(
    fixed: np.ndarray,
    moving: np.ndarray,
    weight: np.ndarray,
    fixed_scale: tuple[float, float],
    moving_scale: tuple[float, float],
    bins: int,
    runs: np.ndarray | None = None,
) -> np.ndarray:
    """Return the joint histogram of two images with cubic B-splines as windows.

    Parameters
    ----------
    fixed, moving : ndarray, shape (N,), float32
        Intensities of the same voxels.
    weight : ndarray, shape (P,), float32
        What each voxel of the runs counts, one run after another.
    fixed_scale, moving_scale : tuple of float
        The lowest intensity, which lies at bin 1, and bins per intensity; positions end at bin `bins` - 2.
    bins : int
        Of either image.
    runs : ndarray, shape (R, 3), int64, optional
        First voxel, place of its weight, and number. Default: one of all voxels.

    Returns
    -------
    ndarray, shape (bins, bins), float64
        Rows are bins of the fixed image.
    """
    out, scratch = np.zeros(bins**2), np.empty((2, 4 * CHUNK), np.float32)
    scales = np.array([fixed_scale, moving_scale], np.float32)
    _collect(fixed, moving, weight, _every(weight) if runs is None else runs, scales, bins, *_cells(), scratch, out)
    return out.reshape(bins, bins)


def derivative(
    fixed: np.ndarray,
    moving: np.ndarray,
    weight: np.ndarray,
    fixed_scale: tuple[float, float],
    moving_scale: tuple[float, float],
    upstream: np.ndarray,
    runs: np.ndarray | None = None,
    out: np.ndarray | None = None,
) -> np.ndarray:
    """Return the derivative of ``(upstream * joint_histogram(...)).sum()`` by the moving intensities, (N,), float32.

    Parameters
    ----------
    fixed, moving, weight, fixed_scale, moving_scale, runs
        As for `joint_histogram`.
    upstream : ndarray, shape (bins, bins)
        The derivative by the histogram.
    out : ndarray, shape (N,), float32, optional
        To which it is added. Default: zeros.
    """
    out = np.zeros(len(moving), np.float32) if out is None else out
    scratch, scales = np.empty((2, 4 * CHUNK), np.float32), np.array([fixed_scale, moving_scale], np.float32)
    pull = np.ascontiguousarray(upstream, np.float32).ravel()
    runs = _every(weight) if runs is None else runs
    _distribute(fixed, moving, weight, runs, scales, len(upstream), pull, *_cells(), scratch, out)
    return out


def _every(weight: np.ndarray) -> np.ndarray:
    return np.array([[0, 0, len(weight)]])


def _cells() -> tuple[np.ndarray, np.ndarray]:
    return np.empty((2, CHUNK), np.int32), np.empty((2, CHUNK), np.float32)


@part
def _find(values, low, scale, bins, cells, away):
    """Find the second of the four bins of each intensity, and where it lies between that and the third, in [0, 1]."""
    last, most = f32(bins - 2), f32(bins - 3)
    for n in range(values.size):
        p = f32(1) + (values[n] - low) * scale
        # comparisons that are false for NaN, which must not lead out of the histogram but reach it
        inside = p if p > f32(1) else f32(1)
        inside = inside if inside < last else last
        cell = np.floor(inside)
        cell = cell if cell < most else most
        cells[n] = i32(cell)
        away[n] = inside - cell if p == p else p


@part
def _spline(t: float) -> Any:
    """Return the weights of the four bins: s^3, 4 - 3 t^2 (1 + s), 4 - 3 s^2 (1 + t), t^3 over 6, with s = 1 - t."""
    s = f32(1) - t
    first, last = f32(1 / 6) * (s * s * s), f32(1 / 6) * (t * t * t)
    return first, f32(2 / 3) - f32(0.5) * t * t * (f32(1) + s), f32(2 / 3) - f32(0.5) * s * s * (f32(1) + t), last


@part
def _slope(t: float) -> Any:
    """Return the derivatives of `_spline`."""
    s = f32(1) - t
    return f32(-0.5) * s * s, t * (f32(1.5) * t - f32(2)), s * (f32(2) - f32(1.5) * s), f32(0.5) * t * t


@part
def _weigh(away, weight, out):
    """Set the windows of voxels, four weights after another, times what each counts."""
    for n in range(away.size):
        a, b, c, d = _spline(away[n])
        out[4 * n], out[4 * n + 1] = weight[n] * a, weight[n] * b
        out[4 * n + 2], out[4 * n + 3] = weight[n] * c, weight[n] * d


@part
def _incline(values, low, scale, bins, away, weight, out):
    """Set the derivatives of the windows by the intensities; those beyond the bins have none."""
    last = f32(bins - 2)
    for n in range(values.size):
        p = f32(1) + (values[n] - low) * scale
        a, b, c, d = _slope(away[n])
        # true for NaN
        counts = f32(0) if (p < f32(1)) | (p > last) else weight[n] * scale
        out[4 * n], out[4 * n + 1], out[4 * n + 2], out[4 * n + 3] = counts * a, counts * b, counts * c, counts * d


@kernel(
    'void(f4[::1], f4[::1], f4[::1], i8[:, ::1], f4[:, ::1], i8, i4[:, ::1], f4[:, ::1], f4[:, ::1], f8[::1])'
)  # fmt: skip
def _collect(fixed, moving, weight, runs, scales, bins, cells, away, windows, out):
    """Add every voxel to the 4 x 4 bins that its windows cover; out is flat."""
    for run in range(runs.shape[0]):
        for start in range(0, runs[run, 2], CHUNK):
            count = min(CHUNK, runs[run, 2] - start)
            at, packed = runs[run, 0] + start, runs[run, 1] + start
            counts = weight[packed : packed + count]
            _find(fixed[at : at + count], scales[0, 0], scales[0, 1], bins, cells[0], away[0])
            _find(moving[at : at + count], scales[1, 0], scales[1, 1], bins, cells[1], away[1])
            _weigh(away[0, :count], counts, windows[0])
            counts_once = away[1, :count]
            for n in range(count):
                if counts[n] == 0:
                    continue
                p, q, r, s = _spline(counts_once[n])
                to = np.uint64((cells[0, n] - 1) * bins + cells[1, n] - 1)
                for i in range(4):
                    share = windows[0, 4 * n + i]
                    a, b, c, d = out[to], out[to + np.uint64(1)], out[to + np.uint64(2)], out[to + np.uint64(3)]
                    out[to], out[to + np.uint64(1)] = a + share * p, b + share * q
                    out[to + np.uint64(2)], out[to + np.uint64(3)] = c + share * r, d + share * s
                    to += np.uint64(bins)


@kernel(
    'void(f4[::1], f4[::1], f4[::1], i8[:, ::1], f4[:, ::1], i8, f4[::1], i4[:, ::1], f4[:, ::1], f4[:, ::1], f4[::1])'
)
def _distribute(fixed, moving, weight, runs, scales, bins, upstream, cells, away, windows, out):
    """Add to out; upstream is flat."""
    for run in range(runs.shape[0]):
        for start in range(0, runs[run, 2], CHUNK):
            count = min(CHUNK, runs[run, 2] - start)
            at, packed = runs[run, 0] + start, runs[run, 1] + start
            counts, there = weight[packed : packed + count], moving[at : at + count]
            _find(fixed[at : at + count], scales[0, 0], scales[0, 1], bins, cells[0], away[0])
            _find(there, scales[1, 0], scales[1, 1], bins, cells[1], away[1])
            _incline(there, scales[1, 0], scales[1, 1], bins, away[1], counts, windows[1])
            for n in range(count):
                if counts[n] == 0:
                    continue
                p, q, r, s = _spline(away[0, n])
                o = np.uint64((cells[0, n] - 1) * bins + cells[1, n] - 1)
                a = _mixed(upstream, o, bins, p, q, r, s)
                b = _mixed(upstream, o + np.uint64(1), bins, p, q, r, s)
                c = _mixed(upstream, o + np.uint64(2), bins, p, q, r, s)
                d = _mixed(upstream, o + np.uint64(3), bins, p, q, r, s)
                slope = windows[1, 4 * n] * a + windows[1, 4 * n + 1] * b
                out[at + n] += slope + windows[1, 4 * n + 2] * c + windows[1, 4 * n + 3] * d


@part
def _mixed(values, at, by, p, q, r, s):
    """Return four values `by` apart times their weights."""
    step = np.uint64(by)
    return p * values[at] + q * values[at + step] + r * values[at + step + step] + s * values[at + step + step + step]
