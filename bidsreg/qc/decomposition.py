"""One 4x4 matrix as the numbers a reader understands: rotation, translation, scales and shears."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np


def decompose(matrix: np.ndarray, centre: np.ndarray | Sequence[float] = (0.0, 0.0, 0.0)) -> dict[str, Any]:
    """Split an affine into rotation, translation, scales and shears.

    The 3x3 part is R S with R the nearest rotation (polar decomposition) and S symmetric; scales are S's diagonal and
    shears its off-diagonal, so a pure rotation gives scales of 1 and shears of 0 whatever its axis.

    Parameters
    ----------
    matrix
        4x4, RAS+ mm, fixed to moving.
    centre
        Point (mm, fixed world) whose displacement is reported as the translation. The world's origin may lie far from
        the head, where a small rotation looks like a large translation; give the brain's centre.

    Returns
    -------
    dict
        ``rotation_deg`` (about x, y, z), ``rotation_total_deg``, ``translation_mm`` (x, y, z),
        ``translation_total_mm``, ``scales``, ``shears`` (xy, xz, yz), ``determinant``, and ``stretches``, the scales
        along the axes of the stretch itself, however they lie, the smallest first.
    """
    from scipy.linalg import polar
    from scipy.spatial.transform import Rotation

    matrix = np.asarray(matrix, float)
    rotation, stretch = polar(matrix[:3, :3])
    turn = Rotation.from_matrix(rotation)
    moved = matrix[:3, :3] @ centre + matrix[:3, 3] - centre
    return {
        'rotation_deg': _rounded(turn.as_euler('xyz', degrees=True)),
        'rotation_total_deg': round(float(np.degrees(turn.magnitude())), 4),
        'translation_mm': _rounded(moved),
        'translation_total_mm': round(float(np.linalg.norm(moved)), 4),
        'scales': _rounded(np.diag(stretch)),
        'shears': _rounded(stretch[np.triu_indices(3, 1)]),
        'stretches': _rounded(np.linalg.eigvalsh(stretch)),
        'determinant': round(float(np.linalg.det(matrix[:3, :3])), 5),
    }


def _rounded(values: Iterable[float]) -> list[float]:
    return [round(float(value), 4) + 0.0 for value in values]  # + 0.0 turns -0.0 into 0.0
