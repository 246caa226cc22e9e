"""The frame of an image: its own axes, with the centre of its grid as the origin.

Optimisers step and sample along the axes of the world and turn about its origin, so what they find depends on how a
header lays the head into the world. In the frame of the fixed image it does not. World coordinates are mm, RAS+.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

#: Elements of a rotation that are smaller are rounding: the numbers of headers have 24 bits.
STRAIGHT = 1e-6
#: mm to which voxel sizes along the axes are rounded: more than headers round. A power of two, for many sizes are
#: fractions of powers of two (220 mm / 256), which must not lie halfway between two steps.
AXIS_MM = 2.0**-16
#: rad to which the turns of grids are rounded, about each axis: more than headers round, and no .002 mm in a head.
TURN_RAD = 2.0**-16
#: mm to which the centres of grids are rounded: more than headers round. The frame moves along, so nothing is lost.
CENTRE_MM = 2.0**-5


def own_frame(affine: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """Return the rigid 4x4 from the world to the frame of a grid.

    A grid at right angles gets straight axes there, a sheared one the axes that are the nearest to straight ones (polar
    decomposition). Where axes are straight but for the rounding of headers, nothing is turned.

    Parameters
    ----------
    affine
        4x4, voxel to world, its axes in RAS+ order.
    shape
        Voxels along each axis.
    """
    rotation = _rotation(affine)
    frame = np.eye(4)
    if np.abs(rotation - np.eye(3)).max() > STRAIGHT:
        frame[:3, :3] = rotation.T
    frame[:3, 3] = -frame[:3, :3] @ _centre(affine, shape)
    return frame


def without_rounding(affine: np.ndarray, shape: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Return the affine of a grid in a frame as it would be if headers did not round.

    Returns
    -------
    affine
        4x4, voxel to world: turns rounded to :data:`TURN_RAD`, sizes to :data:`AXIS_MM`, the centre to
        :data:`CENTRE_MM`.
    shift
        How far (mm, shape (3,)) the centre was moved by that.
    """
    from scipy.spatial.transform import Rotation

    centre = _centre(affine, shape)
    there = np.round(centre / CENTRE_MM) * CENTRE_MM
    found = np.eye(4)
    rotation = _rotation(affine)
    # one by one, elements of a turned grid would lie near a step too often
    axes = np.round(rotation.T @ affine[:3, :3] / AXIS_MM) * AXIS_MM
    turns = np.round(Rotation.from_matrix(rotation).as_rotvec() / TURN_RAD) * TURN_RAD
    found[:3, :3] = Rotation.from_rotvec(turns).as_matrix() @ axes
    found[:3, 3] = there - found[:3, :3] @ ((np.array(shape[:3]) - 1) / 2)
    return found, there - centre


def sizes(affine: np.ndarray) -> np.ndarray:
    """Return the sizes of voxels (mm, shape (3,)) as they would be if headers did not round.

    Whoever counts voxels in a length needs these: of 12 mm six are 2 mm wide, and seven 1.9999999 mm.

    Parameters
    ----------
    affine
        4x4, voxel to world.
    """
    found = np.round(np.linalg.norm(affine[:3, :3], axis=0) / AXIS_MM) * AXIS_MM
    return np.asarray(found)


def rounded(matrix: np.ndarray, linear: float, shift: float) -> np.ndarray:
    """Return a matrix (4x4, between frames) without the last bits that a way through the world has left in it.

    Parameters
    ----------
    matrix
        4x4, mm.
    linear, shift
        Steps to which its linear part and its translation (mm) are rounded.
    """
    steps = np.full((4, 4), linear)
    steps[:3, 3] = shift
    return np.round(matrix / steps) * steps


def _rotation(affine: np.ndarray) -> np.ndarray:
    """Return the turn (3x3) of a grid, its axes in RAS+ order; of a sheared one the nearest."""
    from scipy.linalg import polar

    return np.asarray(polar(affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0))[0])


def _centre(affine: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    return affine[:3, :3] @ ((np.array(shape[:3]) - 1) / 2) + affine[:3, 3]
