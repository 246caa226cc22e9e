"""Trilinear interpolation in double precision at positions in voxels, for kernels to share.

Volumes are flat, in C order. Those of `cells` are faster and in single precision, which is not enough for a position.
"""

from __future__ import annotations

import numpy as np

from bidsreg.registration.numerics.kernels.compiling import part


@part
def corner(position, n):
    """Return the lower corner of a position's cell along an axis of n voxels, and how far above it lies."""
    lower = min(int(position), max(n - 2, 0))
    return lower, position - lower


@part
def linear(values, at, dx, dy, dz, wx, wy, wz):
    """Return the value in the cell whose lower corner lies at a flat index, its neighbours as far away as said."""
    c0, c1 = np.float64(values[at]), np.float64(values[at + dz])
    c2, c3 = np.float64(values[at + dy]), np.float64(values[at + dy + dz])
    up = at + dx
    c4, c5 = np.float64(values[up]), np.float64(values[up + dz])
    c6, c7 = np.float64(values[up + dy]), np.float64(values[up + dy + dz])
    e0, e1, e2, e3 = c0 + wz * (c1 - c0), c2 + wz * (c3 - c2), c4 + wz * (c5 - c4), c6 + wz * (c7 - c6)
    f0, f1 = e0 + wy * (e1 - e0), e2 + wy * (e3 - e2)
    return f0 + wx * (f1 - f0)


@part
def place(x, y, z, size, components):
    """Return the flat index of a position's cell, the distances of neighbours (0 where there is none), and weights."""
    a, wx = corner(x, size[0])
    b, wy = corner(y, size[1])
    c, wz = corner(z, size[2])
    at = np.uint64(((a * size[1] + b) * size[2] + c) * components)
    dx = np.uint64(size[1] * size[2] * components if size[0] > 1 else 0)
    dy = np.uint64(size[2] * components if size[1] > 1 else 0)
    dz = np.uint64(components if size[2] > 1 else 0)
    return at, dx, dy, dz, wx, wy, wz


@part
def within(x, y, z, size, margin):
    """Tell whether a position lies between the outer voxels' centres, or so far beyond them; NaN does not."""
    along_x = (x >= -margin) & (x <= size[0] - 1 + margin)
    along_y = (y >= -margin) & (y <= size[1] - 1 + margin)
    return along_x & along_y & (z >= -margin) & (z <= size[2] - 1 + margin)


@part
def displacement_at(field, x, y, z, size):
    """Return a displacement; zero beyond the field."""
    if not within(x, y, z, size, 0.0):
        return 0.0, 0.0, 0.0
    at, dx, dy, dz, wx, wy, wz = place(x, y, z, size, 3)
    u = linear(field, at, dx, dy, dz, wx, wy, wz)
    v = linear(field, at + np.uint64(1), dx, dy, dz, wx, wy, wz)
    return u, v, linear(field, at + np.uint64(2), dx, dy, dz, wx, wy, wz)


@part
def value_and_slopes(values, at, dx, dy, dz, wx, wy, wz):
    """Return the value in a cell as `linear` does, and its change per voxel along the three axes."""
    c0, c1 = np.float64(values[at]), np.float64(values[at + dz])
    c2, c3 = np.float64(values[at + dy]), np.float64(values[at + dy + dz])
    up = at + dx
    c4, c5 = np.float64(values[up]), np.float64(values[up + dz])
    c6, c7 = np.float64(values[up + dy]), np.float64(values[up + dy + dz])
    r0, r1, r2, r3 = c1 - c0, c3 - c2, c5 - c4, c7 - c6
    e0, e1, e2, e3 = c0 + wz * r0, c2 + wz * r1, c4 + wz * r2, c6 + wz * r3
    d0, d1 = e1 - e0, e3 - e2
    f0, f1 = e0 + wy * d0, e2 + wy * d1
    g0, g1 = r0 + wy * (r1 - r0), r2 + wy * (r3 - r2)
    return f0 + wx * (f1 - f0), f1 - f0, d0 + wx * (d1 - d0), g0 + wx * (g1 - g0)
