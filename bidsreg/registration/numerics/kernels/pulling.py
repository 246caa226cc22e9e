"""Images resampled through a displacement field, and how far a field is from the inverse of another.

References: `Deformation.apply` and `metrics.inverse_consistency` by SciPy. Positions are in double precision, as there.
"""

from __future__ import annotations

import math

import numpy as np

from bidsreg.registration.numerics.kernels.compiling import kernel
from bidsreg.registration.numerics.kernels.places import displacement_at, linear, place
from bidsreg.registration.numerics.threads import in_threads

SLAB = 4
"""Planes that a thread takes at a time."""
PART = 100_000
"""Points that a thread takes at a time."""


def pulled(
    image: np.ndarray,
    field: np.ndarray,
    straight: np.ndarray,
    to_field: np.ndarray,
    turn: np.ndarray,
    shape: tuple[int, int, int],
    threads: int = 1,
) -> np.ndarray:
    """Return an image at ``straight x + turn u(to_field x)`` for the voxels x of a grid.

    Parameters
    ----------
    image : ndarray, shape (A, B, C), float32
        Linear between its voxels; beyond the centres of its outer ones theirs, up to their faces, and zero beyond.
    field : ndarray, shape (X, Y, Z, 3), float32
        u, linear between its voxels, zero beyond the centres of its outer ones.
    straight, to_field : ndarray, shape (4, 4)
        Voxels of the grid to voxels of the image, and of the field.
    turn : ndarray, shape (3, 3)
        Displacements to voxels of the image.
    shape : tuple of int
        Of the grid.
    threads : int
        How many work; the result does not depend on it.

    Returns
    -------
    ndarray, float32
        Of the grid's shape.
    """
    out = np.empty(shape, np.float32)
    flat, values = np.ascontiguousarray(image).ravel(), np.ascontiguousarray(field).ravel()
    rows = [np.ascontiguousarray(matrix[:3], np.float64) for matrix in (straight, to_field, turn)]
    sizes = np.array([image.shape, field.shape[:3]])

    def work(first: int) -> None:
        _pull(flat, values, sizes, *rows, first, min(first + SLAB, shape[0]), out)

    in_threads(work, range(0, shape[0], SLAB), threads)
    return out


def beside(
    forward: np.ndarray, inverse: np.ndarray, axes: np.ndarray, index: np.ndarray, threads: int = 1
) -> np.ndarray:
    """Return how far u(x) + w(x + u(x)) is from zero, in mm, at some voxels x of a grid.

    Parameters
    ----------
    forward, inverse : ndarray, shape (X, Y, Z, 3), float32
        u and w in world mm on the grid; w is linear between the voxels, zero beyond the centres of the outer ones.
    axes : ndarray, shape (3, 3)
        Its columns are the steps in mm from voxel to voxel.
    index : ndarray, shape (N,), int64
        Flat indices of the voxels.
    threads : int
        How many work; the result does not depend on it.

    Returns
    -------
    ndarray, shape (N,), float64
    """
    out = np.empty(len(index))
    u, w = (np.ascontiguousarray(field).ravel() for field in (forward, inverse))
    size, to_voxels = np.array(forward.shape[:3]), np.ascontiguousarray(np.linalg.inv(axes))

    def work(first: int) -> None:
        _beside(u, w, size, to_voxels, index, first, min(first + PART, len(index)), out)

    in_threads(work, range(0, len(index), PART), threads)
    return out


@kernel('void(f4[::1], f4[::1], i8[:, ::1], f8[:, ::1], f8[:, ::1], f8[:, ::1], i8, i8, f4[:, :, ::1])')
def _pull(image, field, sizes, straight, to_field, turn, first, last, out):
    """Fill planes first to last of out; matrices are (3, 4) and (3, 3), sizes those of image and field."""
    size = sizes[0]
    for i in range(first, last):
        for j in range(out.shape[1]):
            for k in range(out.shape[2]):
                a = to_field[0, 3] + to_field[0, 0] * i + to_field[0, 1] * j + to_field[0, 2] * k
                b = to_field[1, 3] + to_field[1, 0] * i + to_field[1, 1] * j + to_field[1, 2] * k
                c = to_field[2, 3] + to_field[2, 0] * i + to_field[2, 1] * j + to_field[2, 2] * k
                u, v, w = displacement_at(field, a, b, c, sizes[1])
                x = straight[0, 3] + straight[0, 0] * i + straight[0, 1] * j + straight[0, 2] * k
                y = straight[1, 3] + straight[1, 0] * i + straight[1, 1] * j + straight[1, 2] * k
                z = straight[2, 3] + straight[2, 0] * i + straight[2, 1] * j + straight[2, 2] * k
                x += turn[0, 0] * u + turn[0, 1] * v + turn[0, 2] * w
                y += turn[1, 0] * u + turn[1, 1] * v + turn[1, 2] * w
                z += turn[2, 0] * u + turn[2, 1] * v + turn[2, 2] * w
                inside = (x >= -0.5) & (x < size[0] - 0.5) & (y >= -0.5) & (y < size[1] - 0.5)
                if not (inside & (z >= -0.5) & (z < size[2] - 0.5)):
                    out[i, j, k] = 0
                    continue
                x, y, z = (
                    min(max(x, 0.0), size[0] - 1.0),
                    min(max(y, 0.0), size[1] - 1.0),
                    min(max(z, 0.0), size[2] - 1.0),
                )
                at, dx, dy, dz, wx, wy, wz = place(x, y, z, size, 1)
                out[i, j, k] = linear(image, at, dx, dy, dz, wx, wy, wz)


@kernel('void(f4[::1], f4[::1], i8[::1], f8[:, ::1], i8[::1], i8, i8, f8[::1])')
def _beside(forward, inverse, size, to_voxels, index, first, last, out):
    """Fill out from first to last; size is (3,)."""
    for n in range(first, last):
        at = index[n]
        u, v, w = np.float64(forward[3 * at]), np.float64(forward[3 * at + 1]), np.float64(forward[3 * at + 2])
        k, j, i = at % size[2], (at // size[2]) % size[1], at // (size[1] * size[2])
        x = i + to_voxels[0, 0] * u + to_voxels[0, 1] * v + to_voxels[0, 2] * w
        y = j + to_voxels[1, 0] * u + to_voxels[1, 1] * v + to_voxels[1, 2] * w
        z = k + to_voxels[2, 0] * u + to_voxels[2, 1] * v + to_voxels[2, 2] * w
        a, b, c = displacement_at(inverse, x, y, z, size)
        out[n] = math.sqrt((u + a) * (u + a) + (v + b) * (v + b) + (w + c) * (w + c))
