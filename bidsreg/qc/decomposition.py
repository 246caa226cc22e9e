"""One 4x4 matrix as the numbers a reader understands, and the matrix that comes closest to a deformation."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import nibabel as nb
import numpy as np
from nibabel.affines import apply_affine

from bidsreg.registration.itk import read_composite
from bidsreg.registration.metrics import displacement_at

MOST_POINTS = 30_000
"""Voxels of the brain that a matrix is fitted to; evenly drawn, it bounds the time."""


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


def linear_part(transform: str | Path, mask: nb.Nifti1Image) -> np.ndarray:
    """Fit a matrix to where a transform takes the voxels of a mask, by least squares.

    What a deformation had to mend of the matrix before it is in this one, and what only a deformation can do is not.

    Parameters
    ----------
    transform
        Composite .h5 of a displacement and then a matrix, as ``bidsreg-pair`` writes ``forward.h5``.
    mask
        Where the brain is, in the world that points come from.

    Returns
    -------
    ndarray
        4x4, mm, RAS+, the way of the transform.

    Raises
    ------
    ValueError
        When the mask is empty, or the file is no such composite.
    """
    matrix, field, grid, matrix_first = read_composite(transform)
    if matrix_first:
        raise ValueError(f'{transform}: the displacement has to come before the matrix')
    voxels = np.argwhere(np.asarray(mask.dataobj) > 0)
    if not len(voxels):
        raise ValueError('the brain mask is empty: no matrix can be fitted')
    points = apply_affine(mask.affine, voxels[:: -(-len(voxels) // MOST_POINTS)])
    return matrix @ closest_affine(points, points + displacement_at(field, grid, points))


def closest_affine(points: np.ndarray, moved: np.ndarray) -> np.ndarray:
    """Fit a 4x4 matrix that takes points (N, 3) to where they have moved (N, 3), by least squares; mm."""
    centre = points.mean(0)  # the world's origin may lie far away
    columns = np.column_stack([points - centre, np.ones(len(points))])
    fitted = np.linalg.lstsq(columns, moved, rcond=None)[0].T
    matrix = np.eye(4)
    matrix[:3, :3] = fitted[:, :3]
    matrix[:3, 3] = fitted[:, 3] - fitted[:, :3] @ centre
    return matrix


def _rounded(values: Iterable[float]) -> list[float]:
    return [round(float(value), 4) + 0.0 for value in values]  # + 0.0 turns -0.0 into 0.0
