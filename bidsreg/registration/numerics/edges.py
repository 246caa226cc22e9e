"""Edges of an image: the magnitude of its gradient by derivatives of a Gaussian."""

from __future__ import annotations

import numpy as np

from bidsreg.registration.numerics.filters import filter_weights

EDGE_MM = 1.0
"""Standard deviation in mm of the Gaussian whose derivatives are taken."""
LEAST_VOXELS = 0.7
"""The same in voxels, at least: derivatives of narrower kernels are no derivatives."""


def edge_sigma(spacing: np.ndarray | float) -> np.ndarray:
    """Return the standard deviation in voxels for voxels of `spacing` mm along an axis (or several)."""
    return np.maximum(EDGE_MM / np.asarray(spacing, float), LEAST_VOXELS)


def gradient_magnitude(values: np.ndarray, spacing: np.ndarray) -> np.ndarray:
    """Return the magnitude of the gradient of a volume (X, Y, Z), in intensity per mm; mirrored at the border.

    Parameters
    ----------
    values : ndarray, shape (X, Y, Z)
        Intensities.
    spacing : ndarray, shape (3,)
        Voxel size in mm.
    """
    # not before it is needed, as everywhere: SciPy takes a fifth of a second
    from scipy import ndimage as ndi

    sigma = edge_sigma(spacing)
    slopes = (
        ndi.gaussian_filter(values, sigma, order=tuple(row)) / spacing[k] for k, row in enumerate(np.eye(3, dtype=int))
    )
    return np.sqrt(sum(slope**2 for slope in slopes))


def axis_filters(n: int, spacing: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the Gaussian and its derivative (per mm) along an axis of n voxels, as (n, n) matrices."""
    sigma = float(edge_sigma(spacing))
    smooth, slope = (filter_weights(n, sigma, order) for order in (0, 1))
    return smooth, slope / spacing
