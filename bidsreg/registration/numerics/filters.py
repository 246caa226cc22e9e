"""Gaussian filters along an axis, as matrices; numpy alone."""

from __future__ import annotations

import numpy as np


def filter_weights(n: int, sigma: float, order: int = 0, truncate: float = 4.0, mode: str = 'reflect') -> np.ndarray:
    """Return ``ndi.gaussian_filter1d`` along an axis of n samples as an (n, n) matrix.

    Parameters
    ----------
    n : int
        How many samples.
    sigma : float
        Standard deviation in samples, above zero.
    order : int
        0 for the Gaussian, 1 for its derivative.
    truncate : float
        At how many standard deviations it ends.
    mode : {'reflect', 'nearest'}
        How samples go on beyond the ends: mirrored, or as the last one.
    """
    reach = int(truncate * sigma + 0.5)
    steps = np.arange(-reach, reach + 1)
    taps = np.exp(-0.5 / sigma**2 * steps**2)
    taps /= taps.sum()
    at = np.arange(n)[:, None] + steps
    if mode == 'reflect':
        at = np.minimum(at % (2 * n), (-1 - at) % (2 * n))
    out = np.zeros((n, n))
    values = taps * steps / sigma**2 if order else taps
    np.add.at(out, (np.arange(n)[:, None], at.clip(0, n - 1)), np.broadcast_to(values, at.shape))
    return out
