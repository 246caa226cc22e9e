"""Energies of a velocity field with their gradients, in one pass. Reference: `regularity` in torch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from bidsreg.registration.numerics.kernels.compiling import kernel, part
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


def bending_energy(field: np.ndarray, spacing: np.ndarray, threads: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Sum the squares of all 27 second forward differences where both steps stay in the field; see `gradient_energy`.

    Mixed differences count twice, as the two orders in which they are taken. The sums are in 1 / mm^2.
    """
    x, y, z = 1 / np.square(spacing)
    scales = np.array([x * x, y * y, z * z, 2 * x * y, 2 * x * z, 2 * y * z], np.float32)
    return _in_slabs(_bending_slab, field, scales, threads)


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


@kernel('f8(f4[:, :, :, ::1], f4[::1], i8, i8, f4[:, :, :, ::1])', allocates=True)
def _bending_slab(u: np.ndarray, scales: np.ndarray, first: int, last: int, out: np.ndarray) -> float:
    """Return the energy of planes first to last; `out` is the gradient there. Both (3, X, Y, Z)."""
    _, nx, ny, nz = u.shape
    # weighted differences xx, yy, zz, xy, xz, yz of three planes; zero in front of the field and where there are none
    planes = np.zeros((3, 6, ny + 2, nz + 2), np.float32)
    total = 0.0
    for c in range(3):
        planes[:] = f32(0)
        for x in range(max(first - 2, 0), last):
            now = planes[x % 3]
            if x >= nx - 2:
                now[:] = f32(0)
            else:
                for y in range(ny - 2):
                    energy = _second_differences(
                        u[c, x, y],
                        u[c, x + 1, y],
                        u[c, x + 2, y],
                        u[c, x, y + 1],
                        u[c, x, y + 2],
                        u[c, x + 1, y + 1],
                        scales,
                        now[:, y + 2],
                        nz - 2,
                    )
                    if x >= first:
                        total += energy
            if x >= first:
                before, earlier = planes[(x + 2) % 3], planes[(x + 1) % 3]
                for y in range(ny):
                    _bent_back(now, before, earlier, y + 2, out[c, x, y])
    return total


@part
def _second_differences(here, by_x, by_xx, by_y, by_yy, by_xy, scales, out, count):
    """Set weighted second differences of one row, (6, 2 + n), and return the sum of weighted squares."""
    xx, yy, zz, xy, xz, yz = out[0], out[1], out[2], out[3], out[4], out[5]
    a, b, c, d, e, f = scales[0], scales[1], scales[2], scales[3], scales[4], scales[5]
    energy: Any = f32(0)
    for z in range(count):
        p, q = by_xx[z] - f32(2) * by_x[z] + here[z], by_yy[z] - f32(2) * by_y[z] + here[z]
        energy += a * p * p + b * q * q
        xx[z + 2], yy[z + 2] = a * p, b * q
    for z in range(count):
        p, q = here[z + 2] - f32(2) * here[z + 1] + here[z], by_x[z + 1] - by_x[z] - here[z + 1] + here[z]
        energy += c * p * p + e * q * q
        zz[z + 2], xz[z + 2] = c * p, e * q
    for z in range(count):
        p, q = by_xy[z] - by_x[z] - by_y[z] + here[z], by_y[z + 1] - by_y[z] - here[z + 1] + here[z]
        energy += d * p * p + f * q * q
        xy[z + 2], yz[z + 2] = d * p, f * q
    return np.float64(energy)


@part
def _bent_back(now, before, earlier, y, out):
    """Set the gradient of one row from the differences of its plane and the two behind; all (6, Y + 2, Z + 2)."""
    x0, x1, x2 = now[0, y], before[0, y], earlier[0, y]
    y0, y1, y2 = now[1, y], now[1, y - 1], now[1, y - 2]
    for z in range(out.size):
        out[z] = f32(2) * (x0[z + 2] - f32(2) * x1[z + 2] + x2[z + 2] + y0[z + 2] - f32(2) * y1[z + 2] + y2[z + 2])
    zz, xz, xz1 = now[2, y], now[4, y], before[4, y]
    for z in range(out.size):
        out[z] += f32(2) * (zz[z + 2] - f32(2) * zz[z + 1] + zz[z] + xz[z + 2] - xz[z + 1] - xz1[z + 2] + xz1[z + 1])
    a, b, c, d = now[3, y], now[3, y - 1], before[3, y], before[3, y - 1]
    for z in range(out.size):
        out[z] += f32(2) * (a[z + 2] - b[z + 2] - c[z + 2] + d[z + 2])
    yz, yz1 = now[5, y], now[5, y - 1]
    for z in range(out.size):
        out[z] += f32(2) * (yz[z + 2] - yz[z + 1] - yz1[z + 2] + yz1[z + 1])
