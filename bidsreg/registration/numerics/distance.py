"""Distances in mm to what is marked in a volume."""

from __future__ import annotations

import numpy as np

from bidsreg.registration.numerics.threads import spare_threads


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
    # here, since it imports numba
    from bidsreg.registration.numerics.kernels.volumes import distances

    return distances(marked != 0, spacing, spare_threads(marked.size))
