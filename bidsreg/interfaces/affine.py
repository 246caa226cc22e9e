"""One 4x4 matrix: as an ITK text file, and as the numbers a reader understands.

World coordinates are millimetres, RAS+; ITK files hold LPS+. A transform maps points of the fixed world to points of
the moving world, which is what ``antsApplyTransforms -t`` wants to bring moving data onto the fixed grid.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


def write_itk_affine(path: str | os.PathLike, matrix: np.ndarray) -> None:
    """Write a 4x4 matrix (RAS+ mm, fixed to moving) as an ITK text file.

    All 17 digits of a double are kept, so reading the file gives the matrix back exactly up to rounding in the last.
    """
    lps = LPS @ np.asarray(matrix, float) @ LPS
    parameters = ' '.join(repr(float(x)) for x in [*lps[:3, :3].ravel(), *lps[:3, 3]])
    Path(path).write_text(
        '#Insight Transform File V1.0\n'
        '#Transform 0\n'
        'Transform: AffineTransform_double_3_3\n'
        f'Parameters: {parameters}\n'
        'FixedParameters: 0 0 0\n'
    )


def read_itk_affine(path: str | os.PathLike) -> np.ndarray:
    """Read one linear transform, an ITK ``.txt`` or ``.mat``, as a 4x4 matrix in RAS+ mm.

    Raises
    ------
    ValueError
        If the file holds anything but one linear transform.
    """
    kind, parameters, centre = _read_mat(path) if str(path).endswith('.mat') else _read_txt(path)
    if not kind.startswith(('AffineTransform', 'MatrixOffsetTransformBase')) or len(parameters) != 12:
        raise ValueError(f'{path} holds a {kind}, not one affine transform')
    matrix, translation = parameters[:9].reshape(3, 3), parameters[9:]
    lps = np.eye(4)
    lps[:3, :3] = matrix
    lps[:3, 3] = translation + centre - matrix @ centre  # ITK rotates about the centre
    return LPS @ lps @ LPS


def _read_mat(path):
    from scipy.io import loadmat

    content = loadmat(path)
    kind = next((key for key in content if not key.startswith('__') and key != 'fixed'), 'nothing')
    return (
        kind,
        np.ravel(content.get(kind, ())).astype(float),
        np.ravel(content.get('fixed', np.zeros(3))).astype(float),
    )


def _read_txt(path):
    lines = [line.partition(':') for line in Path(path).read_text().splitlines() if not line.startswith('#')]
    fields = [(key.strip(), value.strip()) for key, _, value in lines if key.strip()]
    if len([key for key, _ in fields if key == 'Transform']) != 1:
        raise ValueError(f'{path} does not hold exactly one ITK transform')
    content = dict(fields)
    centre = np.array(content.get('FixedParameters', '0 0 0').split(), float)
    return content['Transform'], np.array(content.get('Parameters', '').split(), float), centre


def rigid_matrix(
    degrees: tuple[float, float, float] = (0.0, 0.0, 0.0),
    translation: tuple[float, float, float] = (0.0, 0.0, 0.0),
    centre: tuple[float, float, float] = (0.0, 0.0, 0.0),
) -> np.ndarray:
    """Return the 4x4 of a rotation (degrees about x, then y, then z, around ``centre``, mm) and a translation (mm)."""
    from scipy.spatial.transform import Rotation

    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler('xyz', degrees, degrees=True).as_matrix()
    matrix[:3, 3] = np.asarray(centre) + translation - matrix[:3, :3] @ centre
    return matrix


def decompose(matrix: np.ndarray, centre: np.ndarray | tuple[float, float, float] = (0.0, 0.0, 0.0)) -> dict:
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
        ``translation_total_mm``, ``scales``, ``shears`` (xy, xz, yz), ``determinant``.
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
        'determinant': round(float(np.linalg.det(matrix[:3, :3])), 5),
    }


def _rounded(values) -> list[float]:
    return [round(float(value), 4) + 0.0 for value in values]  # + 0.0 turns -0.0 into 0.0
