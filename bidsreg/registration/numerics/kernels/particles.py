"""Particles that take the steps of a Runge-Kutta method through a velocity field, and the adjoint of each step.

A particle passes through all steps at once, with its slopes in registers. References: those of `flow`.
"""

from __future__ import annotations

import numpy as np

from bidsreg.registration.numerics.kernels.cells import spread, strides, value, value_and_slopes
from bidsreg.registration.numerics.kernels.compiling import kernel, part

f32 = np.float32

CHUNK = 64
"""Particles that take a step together: what they need stays in the nearest cache."""


@part
def _place(p: np.ndarray, slopes: np.ndarray, row: np.ndarray, i: int, h: float, q: np.ndarray, count: int) -> None:
    """Set where evaluation i of a step takes place, q = p + h (row . slopes before it); all (3, count)."""
    for axis in range(3):
        for n in range(count):
            q[axis, n] = p[axis, n]
        for j in range(i):
            w = h * row[j]
            if w != 0:
                for n in range(count):
                    q[axis, n] += w * slopes[j, axis, n]


@part
def _find_cells(q: np.ndarray, x: int, y: int, z: int, lower: np.ndarray, upper: np.ndarray, count: int) -> None:
    """Set the lower corners of the cells of q, and the weights of the upper ones; all (3, count)."""
    for axis, size in enumerate((x, y, z)):
        last, highest = f32(size - 1), np.int32(max(size - 2, 0))
        for n in range(count):
            # as comparisons, which are false for NaN: no index ever leaves the volume
            inside = q[axis, n] if q[axis, n] > f32(0) else f32(0)
            inside = inside if inside < last else last
            corner = min(np.int32(inside), highest)
            lower[axis, n], upper[axis, n] = corner, inside - f32(corner)


@part
def _evaluate(
    v: np.ndarray,
    x: int,
    y: int,
    z: int,
    q: np.ndarray,
    knot: int,
    between: float,
    k: np.ndarray,
    lower: np.ndarray,
    upper: np.ndarray,
    count: int,
) -> tuple[int, int]:
    """Set k to the velocity at q, both (3, count); return the first and the last plane along x of the cells met."""
    sx, sy, sz = strides(x, y, z, 4)
    first, one_knot = np.uint64(knot * x * y * z * 4), np.uint64(x * y * z * 4)
    _find_cells(q, x, y, z, lower, upper, count)
    low, high = np.int32(x), np.int32(0)
    for n in range(count):
        low, high = min(low, lower[0, n]), max(high, lower[0, n])
        wx, wy, wz = upper[0, n], upper[1, n], upper[2, n]
        row = np.uint64(lower[1, n]) * np.uint64(z) + np.uint64(lower[2, n])
        at = (np.uint64(lower[0, n]) * np.uint64(y * z) + row) * np.uint64(4) + first
        for c in range(3):
            k[c, n] = value(v, at + np.uint64(c), sx, sy, sz, wx, wy, wz)
            if between > 0:
                k[c, n] += between * (value(v, at + np.uint64(c) + one_knot, sx, sy, sz, wx, wy, wz) - k[c, n])
    return int(low), int(high)


@kernel(
    'UniTuple(i8, 2)(f4[::1], i8, i8, i8, f4[:, ::1], f4[:, ::1], f4[::1], f4[:, ::1], f4[:, :, ::1], f4, i8, i8)',
    allocates=True,
)
def carry(
    v: np.ndarray,
    x: int,
    y: int,
    z: int,
    start: np.ndarray,
    moved: np.ndarray,
    unit: np.ndarray,
    tableau: np.ndarray,
    moments: np.ndarray,
    h: float,
    first: int,
    last: int,
) -> tuple[int, int]:
    """Carry particles first to last; return the first plane along x of all cells that were met, and one past the last.

    v is flat, (K, X, Y, Z, 4); start and moved, which is in units (3,) of a voxel's sides, (3, N).
    """
    steps, stages = moments.shape[0], moments.shape[1]
    p, q = np.empty((3, CHUNK), np.float32), np.empty((3, CHUNK), np.float32)
    slopes = np.empty((stages, 3, CHUNK), np.float32)
    lower, upper = np.empty((3, CHUNK), np.int32), np.empty((3, CHUNK), np.float32)
    low, high = x, 0
    for a in range(first, last, CHUNK):
        count = min(CHUNK, last - a)
        for axis in range(3):
            for n in range(count):
                p[axis, n] = start[axis, a + n]
        for step in range(steps):
            for i in range(stages):
                _place(p, slopes, tableau[i], i, h, q, count)
                knot, between = int(moments[step, i, 0]), moments[step, i, 1]
                near, far = _evaluate(v, x, y, z, q, knot, between, slopes[i], lower, upper, count)
                low, high = min(low, near), max(high, far)
            _place(p, slopes, tableau[stages], stages, h, p, count)
        for axis in range(3):
            for n in range(count):
                moved[axis, a + n] = unit[axis] * (p[axis, n] - start[axis, a + n])
    return low, min(high + 2, x)


@part
def _evaluate_back(
    v: np.ndarray,
    x: int,
    y: int,
    z: int,
    q: np.ndarray,
    knot: int,
    between: float,
    k: np.ndarray,
    change: np.ndarray,
    cells: np.ndarray,
    weights: np.ndarray,
    low: int,
    lower: np.ndarray,
    count: int,
) -> None:
    """Do as `_evaluate`, and keep what the adjoint needs.

    Those are the changes of the velocity with the position, (9, count); the cells, (count), as flat indices of a part
    of the volume that begins at plane `low`; and the weights of their upper corners, (3, count).
    """
    sx, sy, sz = strides(x, y, z, 4)
    first, one_knot = np.uint64(knot * x * y * z * 4), np.uint64(x * y * z * 4)
    _find_cells(q, x, y, z, lower, weights, count)
    for n in range(count):
        wx, wy, wz = weights[0, n], weights[1, n], weights[2, n]
        row, along = np.uint64(lower[1, n]) * np.uint64(z) + np.uint64(lower[2, n]), np.uint64(y * z)
        cells[n] = (np.uint64(lower[0, n] - low) * along + row) * np.uint64(4)
        at = (np.uint64(lower[0, n]) * along + row) * np.uint64(4) + first
        for c in range(3):
            here, gx, gy, gz = value_and_slopes(v, at + np.uint64(c), sx, sy, sz, wx, wy, wz)
            if between > 0:
                there, tx, ty, tz = value_and_slopes(v, at + np.uint64(c) + one_knot, sx, sy, sz, wx, wy, wz)
                here, gx = here + between * (there - here), gx + between * (tx - gx)
                gy, gz = gy + between * (ty - gy), gz + between * (tz - gz)
            k[c, n], change[3 * c, n], change[3 * c + 1, n], change[3 * c + 2, n] = here, gx, gy, gz


@part
def _spread(
    out: np.ndarray,
    y: int,
    z: int,
    planes: int,
    cells: np.ndarray,
    weights: np.ndarray,
    knot: int,
    between: float,
    b: np.ndarray,
    count: int,
) -> None:
    """Add b, (3, count), to the gradient where the velocity was evaluated."""
    sx, sy, sz = strides(planes, y, z, 4)
    first, one_knot = np.uint64(knot * planes * y * z * 4), np.uint64(planes * y * z * 4)
    for n in range(count):
        wx, wy, wz = weights[0, n], weights[1, n], weights[2, n]
        at = cells[n] + first
        for c in range(3):
            amount = b[c, n]
            if between > 0:
                spread(out, at + np.uint64(c) + one_knot, sx, sy, sz, wx, wy, wz, between * amount)
                amount -= between * amount
            spread(out, at + np.uint64(c), sx, sy, sz, wx, wy, wz, amount)


@part
def _pull(
    u: np.ndarray,
    pull: np.ndarray,
    tableau: np.ndarray,
    i: int,
    h: float,
    change: np.ndarray,
    b: np.ndarray,
    count: int,
) -> None:
    """Set b to the gradient by the slope of evaluation i, and pull[i] to that by its place; both (3, count)."""
    stages = len(pull)
    w = h * tableau[stages, i]
    for axis in range(3):
        for n in range(count):
            b[axis, n] = w * u[axis, n]
        for j in range(i + 1, stages):
            w_j = h * tableau[j, i]
            if w_j != 0:
                for n in range(count):
                    b[axis, n] += w_j * pull[j, axis, n]
    for axis in range(3):
        for n in range(count):
            pull[i, axis, n] = change[axis, n] * b[0, n] + change[3 + axis, n] * b[1, n] + change[6 + axis, n] * b[2, n]


@kernel(
    'void(f4[::1], i8, i8, i8, f4[:, ::1], f4[:, ::1], f4[::1], '
    'f4[:, ::1], f4[:, :, ::1], f4, i8, i8, i8, i8, f4[::1])',
    allocates=True,
)
def carry_back(
    v: np.ndarray,
    x: int,
    y: int,
    z: int,
    start: np.ndarray,
    upstream: np.ndarray,
    unit: np.ndarray,
    tableau: np.ndarray,
    moments: np.ndarray,
    h: float,
    first: int,
    last: int,
    low: int,
    planes: int,
    out: np.ndarray,
) -> None:
    """Set planes low to low + planes of the gradient to that of particles first to last.

    v is flat, (K, X, Y, Z, 4), and so is out, (K, planes, Y, Z, 4); start and upstream (3, N), unit as in `carry`. The
    steps are done once more, with the change of every slope with the position; then their adjoints, the last one first.
    """
    steps, stages = moments.shape[0], moments.shape[1]
    p, q = np.empty((3, CHUNK), np.float32), np.empty((3, CHUNK), np.float32)
    u, b = np.empty((3, CHUNK), np.float32), np.empty((3, CHUNK), np.float32)
    slopes = np.empty((stages, 3, CHUNK), np.float32)
    pull = np.empty((stages, 3, CHUNK), np.float32)
    change = np.empty((steps, stages, 9, CHUNK), np.float32)
    weights = np.empty((steps, stages, 3, CHUNK), np.float32)
    cells, lower = np.empty((steps, stages, CHUNK), np.uint64), np.empty((3, CHUNK), np.int32)
    for n in range(out.size):
        out[n] = f32(0)
    for a in range(first, last, CHUNK):
        count = min(CHUNK, last - a)
        for axis in range(3):
            for n in range(count):
                p[axis, n], u[axis, n] = start[axis, a + n], unit[axis] * upstream[axis, a + n]
        for step in range(steps):
            for i in range(stages):
                _place(p, slopes, tableau[i], i, h, q, count)
                knot, between = int(moments[step, i, 0]), moments[step, i, 1]
                _evaluate_back(
                    v,
                    x,
                    y,
                    z,
                    q,
                    knot,
                    between,
                    slopes[i],
                    change[step, i],
                    cells[step, i],
                    weights[step, i],
                    low,
                    lower,
                    count,
                )
            _place(p, slopes, tableau[stages], stages, h, p, count)
        for step in range(steps - 1, -1, -1):
            for i in range(stages - 1, -1, -1):
                _pull(u, pull, tableau, i, h, change[step, i], b, count)
                knot, between = int(moments[step, i, 0]), moments[step, i, 1]
                _spread(out, y, z, planes, cells[step, i], weights[step, i], knot, between, b, count)
            for i in range(stages):
                for axis in range(3):
                    for n in range(count):
                        u[axis, n] += pull[i, axis, n]


@kernel('void(f4[::1], i8[:, ::1], i8, f4[::1], i8, i8, f4[:, :, :, ::1])', allocates=True)
def add_up(
    slabs: np.ndarray, where: np.ndarray, size: int, unit: np.ndarray, first: int, last: int, out: np.ndarray
) -> None:
    """Set planes first to last of out, (K, 3, X, N), to sums of what parts have there, times the unit of a component.

    A row of `where` says where a part begins in the flat slabs, (K, planes, N, 4), its first plane and one past its
    last. N is `size`.
    """
    total = np.empty(4 * size, np.float32)
    for plane in range(first, last):
        for k in range(out.shape[0]):
            total[:] = f32(0)
            for p in range(where.shape[0]):
                begin, low, high = where[p, 0], where[p, 1], where[p, 2]
                if low <= plane < high:
                    at = np.uint64(begin + (k * (high - low) + plane - low) * size * 4)
                    for n in range(4 * size):
                        total[n] += slabs[at + np.uint64(n)]
            for c in range(3):
                for n in range(size):
                    out[k, c, plane, n] = unit[c] * total[4 * n + c]
