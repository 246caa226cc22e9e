"""Where a matrix takes the voxels of a box, axis by axis; numpy alone."""

from __future__ import annotations

import numpy as np

from bidsreg.registration.numerics.boxes import Box

Axes = tuple[np.ndarray, np.ndarray, np.ndarray]


def mapped_axes(matrix: np.ndarray, box: Box) -> Axes:
    """Return what each axis adds to the places of a box's voxels, which are the sums of the three.

    Parameters
    ----------
    matrix : ndarray, shape (4, 4)
        From voxel indices to whatever is wanted.
    box : three slices
        Which voxels, with a start and a stop along each axis.

    Returns
    -------
    three ndarray, shapes (3, x), (3, y) and (3, z), float32
    """
    x, y, z = (
        np.ascontiguousarray(matrix[:3, axis, None] * np.arange(b.start, b.stop) + matrix[:3, 3:] / 3, np.float32)
        for axis, b in enumerate(box)
    )
    return x, y, z
