"""Distances in mm to what is marked in a volume."""

from __future__ import annotations

import numpy as np
from scipy import ndimage as ndi


def distance_to(marked: np.ndarray, spacing: np.ndarray) -> np.ndarray:
    """Return the distance of every voxel to the nearest marked one.

    Parameters
    ----------
    marked : ndarray, shape (X, Y, Z)
        Not zero where marked.
    spacing : ndarray, shape (3,)
        Voxel size in mm.

    Returns
    -------
    ndarray, shape (X, Y, Z)
        In mm; zero where marked.
    """
    return ndi.distance_transform_edt(marked == 0, sampling=spacing)
