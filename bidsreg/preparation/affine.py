"""Rigid transforms as 4x4 matrices; :mod:`bidsreg.registration.itk` reads and writes them.

World coordinates are millimetres, RAS+. A transform maps points of the fixed world to points of the moving world,
which is what ``antsApplyTransforms -t`` wants to bring moving data onto the fixed grid.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def rigid_matrix(
    degrees: Sequence[float] = (0.0, 0.0, 0.0),
    translation: Sequence[float] = (0.0, 0.0, 0.0),
    centre: Sequence[float] | np.ndarray = (0.0, 0.0, 0.0),
) -> np.ndarray:
    """Return the 4x4 of a rotation (degrees about x, then y, then z, around ``centre``, mm) and a translation (mm)."""
    from scipy.spatial.transform import Rotation

    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler('xyz', degrees, degrees=True).as_matrix()
    matrix[:3, 3] = np.asarray(centre) + translation - matrix[:3, :3] @ centre
    return matrix
