"""Energies of a velocity field with their gradients, in one pass. Reference: `regularity` in torch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from bidsreg.registration.numerics.kernels.compiling import kernel
from bidsreg.registration.numerics.threads import in_threads

f32 = np.float32

SLAB = 8
"""Planes along x that a thread takes at a time; sums of slabs are added in order."""


def gradient_energy(field: np.ndarray, spacing: np.ndarray, threads: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Sum the squares of all nine forward differences over the voxels with a neighbour ahead on every axis.

    Parameters
    ----------
    field : ndarray, shape (K, 3, X, Y, Z), float32
        In mm.
    spacing : ndarray, shape (3,)
        Voxel size in mm.
    threads : int
        How many work; the result does not depend on it.

    Returns
    -------
    sums : ndarray, shape (K,), float32
        Without unit.
    gradient : ndarray, shape (K, 3, X, Y, Z), float32
        Of each sum by its field.
    """
    scales = (1 / np.square(spacing)).astype(np.float32)
    return _in_slabs(_gradient_slab, field, scales, threads)


def divergence_energy(field: np.ndarray, spacing: np.ndarray, threads: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Sum the squares of the divergence; see `gradient_energy`."""
    return _in_slabs(_divergence_slab, field, (1 / spacing).astype(np.float32), threads)


def _in_slabs(
    work: Callable[..., float], field: np.ndarray, scales: np.ndarray, threads: int
) -> tuple[np.ndarray, np.ndarray]:
    knots, _, x, *_ = field.shape
    gradient = np.empty_like(field)
    items = [(k, a) for k in range(knots) for a in range(0, x, SLAB)]
    sums = in_threads(
        lambda item: work(field[item[0]], scales, item[1], min(item[1] + SLAB, x), gradient[item[0]]), items, threads
    )
    return np.array(sums).reshape(knots, -1).sum(1).astype(np.float32), gradient


@kernel('f8(f4[:, :, :, ::1], f4[::1], i8, i8, f4[:, :, :, ::1])')
def _gradient_slab(u: np.ndarray, scales: np.ndarray, first: int, last: int, out: np.ndarray) -> float:
    """Return the energy of planes first to last; `out` is the gradient there. Both (3, X, Y, Z)."""
    _, nx, ny, nz = u.shape
    sx, sy = scales[0], scales[1]
    total = 0.0
    for c in range(3):
        for x in range(first, last):
            for y in range(ny):
                inside = (x < nx - 1) & (y < ny - 1)
                # where there is no difference, a row minus itself
                here, to = u[c, x, y], out[c, x, y]
                ahead_x, ahead_y = u[c, x + inside, y], u[c, x, y + inside]
                behind_x = u[c, x - ((x > 0) & (y < ny - 1)), y]
                behind_y = u[c, x, y - ((y > 0) & (x < nx - 1))]
                sz = scales[2] if inside else f32(0)
                energy: Any = f32(0)
                for z in range(nz - 1):
                    ax, ay, az = ahead_x[z] - here[z], ahead_y[z] - here[z], here[z + 1] - here[z]
                    energy += sx * ax * ax + sy * ay * ay + sz * az * az
                    to[z] = f32(2) * (sx * (here[z] - behind_x[z] - ax) + sy * (here[z] - behind_y[z] - ay) - sz * az)
                to[nz - 1] = 0
                for z in range(1, nz):
                    to[z] += f32(2) * sz * (here[z] - here[z - 1])
                total += energy
    return total


@kernel('f8(f4[:, :, :, ::1], f4[::1], i8, i8, f4[:, :, :, ::1])', allocates=True)
def _divergence_slab(u: np.ndarray, scales: np.ndarray, first: int, last: int, out: np.ndarray) -> float:
    """Return the energy of planes first to last; `out` is the gradient there. Both (3, X, Y, Z)."""
    _, nx, ny, nz = u.shape
    sx, sy, sz = scales[0], scales[1], scales[2]
    # of the plane behind and of this one; zero where there is no divergence
    planes = np.zeros((2, ny, nz), np.float32)
    total = 0.0
    for x in range(max(first - 1, 0), last):
        now, before = planes[x % 2], planes[(x + 1) % 2]
        if x == nx - 1:
            now[:] = f32(0)
        else:
            for y in range(ny - 1):
                ux, ahead_x = u[0, x, y], u[0, x + 1, y]
                uy, ahead_y, uz, to = u[1, x, y], u[1, x, y + 1], u[2, x, y], now[y]
                energy: Any = f32(0)
                for z in range(nz - 1):
                    d = sx * (ahead_x[z] - ux[z]) + sy * (ahead_y[z] - uy[z]) + sz * (uz[z + 1] - uz[z])
                    to[z] = d
                    energy += d * d
                if x >= first:
                    total += energy
        if x < first:
            continue
        for y in range(ny):
            here, back_x, back_y = now[y], before[y], now[max(y - 1, 0)]
            to_x, to_y, to_z = out[0, x, y], out[1, x, y], out[2, x, y]
            by_y = sy if y > 0 else f32(0)
            for z in range(nz):
                to_x[z] = f32(2) * sx * (back_x[z] - here[z])
                to_y[z] = f32(2) * (by_y * back_y[z] - sy * here[z])
            to_z[0] = -f32(2) * sz * here[0]
            for z in range(1, nz):
                to_z[z] = f32(2) * sz * (here[z - 1] - here[z])
    return total
