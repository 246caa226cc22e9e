"""Mutual information by plain bins, to judge by; needs no torch. To be optimised: `parzen`."""

from __future__ import annotations

import numpy as np

BINS = 48
"""Of either image."""


def information_of_values(a: np.ndarray, b: np.ndarray, bins: int = BINS) -> tuple[float, float]:
    """Return the mutual information in nats and its normalised form (H(a) + H(b)) / H(a, b), by plain bins.

    Parameters
    ----------
    a, b : ndarray
        Intensities of two images at the same places, of one shape; clipped to their 0.5th and 99.5th percentiles.
    bins : int
        Of either image.
    """
    return binned_information(to_bins(a, bins), to_bins(b, bins), bins)


def to_bins(values: np.ndarray, bins: int = BINS) -> np.ndarray:
    """Return the bin of each value: equally wide ones between the 0.5th and 99.5th percentile, the rest clipped."""
    low, high = (float(p) for p in np.percentile(values, (0.5, 99.5)))
    if not high > low:
        return np.zeros(values.shape, int)
    edges = np.linspace(low, high, bins + 1)
    clipped = np.clip(values, low, high, dtype=float)
    found = ((clipped - low) * (bins / (high - low))).astype(int).clip(max=bins - 1)
    # rounding may put a value that lies on an edge on its wrong side
    found -= clipped < edges[found]
    return found + ((clipped >= edges[found + 1]) & (found < bins - 1))


def binned_information(a: np.ndarray, b: np.ndarray, bins: int = BINS) -> tuple[float, float]:
    """Return `information_of_values` of values that are bins already (`to_bins`)."""
    return of_counts(np.bincount(a * bins + b, minlength=bins**2).reshape(bins, bins))


def of_counts(joint: np.ndarray) -> tuple[float, float]:
    """Return `information_of_values` from a joint histogram of counts, (bins, bins)."""
    p = joint / joint.sum()

    def entropy(q: np.ndarray) -> float:
        q = q[q > 0]
        return float(-(q * np.log(q)).sum())

    ha, hb, hab = entropy(p.sum(1)), entropy(p.sum(0)), entropy(p)
    return ha + hb - hab, (ha + hb) / max(hab, 1e-12)
