"""Folds by three schemes of differences, in one pass. Reference: `metrics.folded`."""

from __future__ import annotations

import numpy as np

from bidsreg.registration.numerics.kernels.compiling import kernel, part
from bidsreg.registration.numerics.threads import in_threads

f32 = np.float32

SLAB = 8
"""Planes along x that a thread takes at a time."""


def folded(field: np.ndarray, axes: np.ndarray, threads: int = 1) -> np.ndarray:
    """Return where det(A + du/dvoxel) / det(A) is not positive by central, forward or backward differences.

    Parameters
    ----------
    field : ndarray, shape (3, X, Y, Z), float32
        u in world mm.
    axes : ndarray, shape (3, 3), float32
        A, whose columns are the steps in mm from voxel to voxel.
    threads : int
        How many work; the result does not depend on it.

    Returns
    -------
    ndarray of bool, shape (X, Y, Z)
    """
    out = np.empty(field.shape[1:], np.bool_)
    n = len(out)
    columns = np.ascontiguousarray(axes.T, dtype=np.float32)
    in_threads(lambda first: _folded(field, columns, first, min(first + SLAB, n), out), range(0, n, SLAB), threads)
    return out


@part
def _determinant(
    a0: float, a1: float, a2: float, b0: float, b1: float, b2: float, c0: float, c1: float, c2: float
) -> float:
    return a0 * (b1 * c2 - b2 * c1) - a1 * (b0 * c2 - b2 * c0) + a2 * (b0 * c1 - b1 * c0)


@kernel('void(f4[:, :, :, ::1], f4[:, ::1], i8, i8, b1[:, :, ::1])', allocates=True)
def _folded(u: np.ndarray, axes: np.ndarray, first: int, last: int, out: np.ndarray) -> None:
    """Fill planes first to last of out. At a border that has no neighbour on a side, the other difference serves."""
    _, nx, ny, nz = u.shape
    x0, x1, x2 = axes[0, 0], axes[0, 1], axes[0, 2]
    y0, y1, y2 = axes[1, 0], axes[1, 1], axes[1, 2]
    z0, z1, z2 = axes[2, 0], axes[2, 1], axes[2, 2]
    sign = f32(1) if _determinant(x0, x1, x2, y0, y1, y2, z0, z1, z2) > 0 else f32(-1)
    ahead, behind = np.empty((3, 3, nz), np.float32), np.empty((3, 3, nz), np.float32)
    for x in range(first, last):
        # which two planes each difference is between
        xa, xb = min(x, max(nx - 2, 0)), max(x - 1, 0)
        for y in range(ny):
            ya, yb = min(y, max(ny - 2, 0)), max(y - 1, 0)
            for c in range(3):
                for z in range(nz):
                    ahead[0, c, z] = axes[0, c] + (u[c, min(xa + 1, nx - 1), y, z] - u[c, xa, y, z])
                    behind[0, c, z] = axes[0, c] + (u[c, min(xb + 1, nx - 1), y, z] - u[c, xb, y, z])
                    ahead[1, c, z] = axes[1, c] + (u[c, x, min(ya + 1, ny - 1), z] - u[c, x, ya, z])
                    behind[1, c, z] = axes[1, c] + (u[c, x, min(yb + 1, ny - 1), z] - u[c, x, yb, z])
                for z in range(nz - 1):
                    ahead[2, c, z] = axes[2, c] + (u[c, x, y, z + 1] - u[c, x, y, z])
                ahead[2, c, nz - 1] = ahead[2, c, max(nz - 2, 0)] if nz > 1 else axes[2, c]
                behind[2, c, 0] = ahead[2, c, 0]
                for z in range(1, nz):
                    behind[2, c, z] = ahead[2, c, z - 1]
            for z in range(nz):
                a0, a1, a2 = ahead[0, 0, z], ahead[0, 1, z], ahead[0, 2, z]
                b0, b1, b2 = ahead[1, 0, z], ahead[1, 1, z], ahead[1, 2, z]
                c0, c1, c2 = ahead[2, 0, z], ahead[2, 1, z], ahead[2, 2, z]
                d0, d1, d2 = behind[0, 0, z], behind[0, 1, z], behind[0, 2, z]
                e0, e1, e2 = behind[1, 0, z], behind[1, 1, z], behind[1, 2, z]
                f0, f1, f2 = behind[2, 0, z], behind[2, 1, z], behind[2, 2, z]
                # sums of both instead of means: eight times the determinant
                central = _determinant(a0 + d0, a1 + d1, a2 + d2, b0 + e0, b1 + e1, b2 + e2, c0 + f0, c1 + f1, c2 + f2)
                forward = _determinant(a0, a1, a2, b0, b1, b2, c0, c1, c2)
                backward = _determinant(d0, d1, d2, e0, e1, e2, f0, f1, f2)
                out[x, y, z] = (sign * forward <= 0) | (sign * backward <= 0) | (sign * central <= 0)
