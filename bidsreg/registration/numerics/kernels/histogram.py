"""Joint histograms with Parzen windows, and their derivative. Reference: `parzen.joint_histograms` in torch."""

from __future__ import annotations

import numpy as np

from bidsreg.registration.numerics.kernels.compiling import kernel, part


def joint_histogram(
    fixed: np.ndarray,
    moving: np.ndarray,
    weight: np.ndarray,
    fixed_scale: tuple[float, float],
    moving_scale: tuple[float, float],
    bins: int,
) -> np.ndarray:
    """Return the joint histogram of two images with cubic B-splines as windows.

    Parameters
    ----------
    fixed, moving, weight : ndarray, shape (N,), float32
        Intensities of the same voxels, and what each counts.
    fixed_scale, moving_scale : tuple of float
        The lowest intensity, which lies at bin 1, and bins per intensity; positions end at bin `bins` - 2.
    bins : int
        Of either image.

    Returns
    -------
    ndarray, shape (bins, bins), float64
        Rows are bins of the fixed image.
    """
    out = np.zeros((bins, bins))
    _collect(fixed, moving, weight, *fixed_scale, *moving_scale, out)
    return out


def derivative(
    fixed: np.ndarray,
    moving: np.ndarray,
    weight: np.ndarray,
    fixed_scale: tuple[float, float],
    moving_scale: tuple[float, float],
    upstream: np.ndarray,
) -> np.ndarray:
    """Return the derivative of ``(upstream * joint_histogram(...)).sum()`` by the moving intensities, (N,), float32.

    Parameters
    ----------
    fixed, moving, weight, fixed_scale, moving_scale
        As for `joint_histogram`.
    upstream : ndarray, shape (bins, bins), float64
        The derivative by the histogram.
    """
    out = np.zeros(len(moving), np.float32)
    _distribute(fixed, moving, weight, *fixed_scale, *moving_scale, upstream, out)
    return out


@part
def _window(value: float, low: float, scale: float, bins: int) -> tuple[int, float]:
    """Return the second of the four bins of an intensity, and where it lies between that and the third, in [0, 1]."""
    position = min(max(1 + (value - low) * scale, 1.0), bins - 2.0)
    cell = min(int(position), bins - 3)
    return cell, position - cell


@part
def _spline(t: float) -> tuple[float, float, float, float]:
    """Return the weights of the four bins: s^3, 4 - 3 t^2 (1 + s), 4 - 3 s^2 (1 + t), t^3 over 6, with s = 1 - t."""
    s = 1 - t
    return s * s * s / 6, (4 - 3 * t * t * (1 + s)) / 6, (4 - 3 * s * s * (1 + t)) / 6, t * t * t / 6


@part
def _slope(t: float) -> tuple[float, float, float, float]:
    """Return the derivatives of `_spline`."""
    s = 1 - t
    return -s * s / 2, t * (1.5 * t - 2), s * (2 - 1.5 * s), t * t / 2


@kernel('void(f4[::1], f4[::1], f4[::1], f8, f8, f8, f8, f8[:, ::1])')
def _collect(
    fixed: np.ndarray,
    moving: np.ndarray,
    weight: np.ndarray,
    fixed_low: float,
    fixed_step: float,
    moving_low: float,
    moving_step: float,
    out: np.ndarray,
) -> None:
    """Add every voxel to the 4 x 4 bins that its windows cover."""
    bins = len(out)
    for n in range(len(fixed)):
        if weight[n] == 0:
            continue
        row, down = _window(fixed[n], fixed_low, fixed_step, bins)
        column, across = _window(moving[n], moving_low, moving_step, bins)
        a, b = _spline(down), _spline(across)
        for i in range(4):
            share = a[i] * weight[n]
            for j in range(4):
                out[row - 1 + i, column - 1 + j] += share * b[j]


@kernel('void(f4[::1], f4[::1], f4[::1], f8, f8, f8, f8, f8[:, ::1], f4[::1])')
def _distribute(
    fixed: np.ndarray,
    moving: np.ndarray,
    weight: np.ndarray,
    fixed_low: float,
    fixed_step: float,
    moving_low: float,
    moving_step: float,
    upstream: np.ndarray,
    out: np.ndarray,
) -> None:
    """Fill out; intensities beyond the bins have no derivative."""
    bins = len(upstream)
    for n in range(len(fixed)):
        position = 1 + (moving[n] - moving_low) * moving_step
        if weight[n] == 0 or position < 1 or position > bins - 2:
            continue
        row, down = _window(fixed[n], fixed_low, fixed_step, bins)
        column, across = _window(moving[n], moving_low, moving_step, bins)
        a, b = _spline(down), _slope(across)
        total = 0.0
        for i in range(4):
            for j in range(4):
                total += a[i] * b[j] * upstream[row - 1 + i, column - 1 + j]
        out[n] = total * weight[n] * moving_step
