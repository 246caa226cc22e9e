"""What held-out evidence looks at: an image on a grid, its patch distances and edges.

Reference in torch: `views.TiledViewer`. Filters are symmetric (or antisymmetric) along each axis, so that half of
their taps says all: the first belongs to the voxel, the others to its neighbours on both sides. Voxels of the brain are
packed one region after another.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bidsreg.registration.numerics.boxes import Box
from bidsreg.registration.numerics.kernels.cells import cell, strides, value
from bidsreg.registration.numerics.kernels.compiling import kernel, part, routine
from bidsreg.registration.numerics.pool import shared_out

f32 = np.float32

SLAB = 4
"""Planes that a thread samples at a time."""
REACH = 6
"""Voxels that patch distances look at to each side: 3 by the blur, 2 to the neighbour, 1 of its patch."""
BLURRED, SQUARES, SUMMED, ALONG_X, ALONG_YZ, SCRATCH, SMOOTH, SLOPED = 0, 3, 4, 13, 16, 18, 20, 22
PLANES = 24
"""Scratch planes: from which index on what is kept of them, and their number."""


@dataclass(frozen=True, eq=False)
class Region:
    """A box of a grid to look at, and its voxels of the brain.

    Attributes
    ----------
    box : ndarray, shape (6,), int64
        First and last + 1 along x, y and z.
    width : ndarray, shape (2,), int64
        Rows and columns of scratch planes: the box with `margin` around it.
    index : ndarray, shape (N,), int32
        Of the voxels, plane after plane, in a scratch plane.
    starts : ndarray, shape (X + 1,), int64
        The first voxel of each plane, and N.
    """

    box: np.ndarray
    width: np.ndarray
    index: np.ndarray
    starts: np.ndarray


def region(box: Box, brain: np.ndarray, margin: np.ndarray) -> Region:
    """Return a box of a grid with its voxels of the brain; `margin` is what filters reach along y and z, (2,)."""
    inside = brain[box]
    _, rows, columns = inside.shape
    width = np.array([rows + 2 * margin[0], columns + 2 * margin[1]])
    x, y, z = np.nonzero(inside)
    index = (y + margin[0]) * width[1] + z + margin[1]
    starts = np.searchsorted(x, np.arange(len(inside) + 1))
    edges = np.array([edge for side in box for edge in (side.start, side.stop)])
    return Region(edges, width, index.astype(np.int32), starts)


def sampled(
    volume: np.ndarray,
    axes: Sequence[np.ndarray],
    matrix: np.ndarray,
    displacement: np.ndarray,
    wanted: np.ndarray,
    threads: int = 1,
) -> tuple[np.ndarray, np.ndarray]:
    """Return trilinear values where a displacement leads, and whether that is in the field of view.

    With ``u`` the displacement, voxel (x, y, z) lies at ``axes[0][:, x] + axes[1][:, y] + axes[2][:, z] + matrix @ u``.

    Parameters
    ----------
    volume : ndarray, shape (A, B, C), float32
        Beyond its outer voxel centres the border value goes on.
    axes : three ndarray, shapes (3, X), (3, Y) and (3, Z), float32
        What each axis adds to the position, in voxels of the volume.
    matrix : ndarray, shape (3, 3), float32
        From displacements to voxels of the volume.
    displacement : ndarray, shape (3, X, Y, Z) or (3, 0, 0, 0), float32
        None for nowhere; any strides.
    wanted : ndarray, shape (X, Y, 2), int64
        First and last + 1 along z of what is looked at; elsewhere values are zero.
    threads : int
        How many work; the result does not depend on it.

    Returns
    -------
    values : ndarray, shape (X, Y, Z), float32
    seen : ndarray of bool, shape (X, Y, Z)
        Positions are good to a thousandth of a voxel: one on the border is not outside.
    """
    x, y, z = axes
    values = np.zeros((x.shape[1], y.shape[1], z.shape[1]), np.float32)
    seen = np.zeros(values.shape, np.uint8)
    sizes, flat = np.array(volume.shape), np.ascontiguousarray(volume).ravel()

    def work(first: int) -> None:
        at = np.empty((3, z.shape[1]), np.float32)
        last = min(first + SLAB, len(values))
        _sample(flat, sizes, x, y, z, matrix, displacement, wanted, first, last, at, values, seen)

    shared_out(work, range(0, len(values), SLAB), threads)
    return values, seen.view(np.bool_)


def described(
    values: np.ndarray,
    regions: Sequence[Region],
    blur: np.ndarray,
    smooth: Sequence[np.ndarray],
    slope: Sequence[np.ndarray],
    threads: int = 1,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return patch distances and edges at the voxels of the brain.

    With *b* the blurred volume and *w* the weights 1, 2, 1 along each axis, over 64, the distances of voxel *x* are

        d(x, n) = sum_k w(k) (b(x + n + k) - b(x + k))^2

    for the neighbours *n* two voxels forward and back along x, y and z. Edges are the length of the gradient by the
    derivatives of a Gaussian.

    Parameters
    ----------
    values : ndarray, shape (X, Y, Z), float32
        With as much around every region as the filters reach.
    regions : sequence of Region
        Where.
    blur : ndarray, shape (4,), float32
        Half of the taps before distances are taken.
    smooth, slope : three ndarray each, shape (R,), float32
        Half of the taps of the Gaussian along each axis, and of its derivative.
    threads : int
        How many work; the result does not depend on it.

    Returns
    -------
    distances : ndarray, shape (6, N), float32
    variance : ndarray, shape (N,), float32
        Their mean.
    edges : ndarray, shape (N,), float32
    """
    stops = np.cumsum([len(one.index) for one in regions])
    distances, variance, edges = (np.empty((*rows, stops[-1]), np.float32) for rows in ((6,), (), ()))
    flat, size = values.ravel(), np.array(values.shape[1:])

    def work(item: tuple[Region, int]) -> None:
        one, stop = item
        own = slice(stop - len(one.index), stop)
        planes = np.zeros((PLANES, int(one.width.prod())), np.float32)
        filters, out = (blur, tuple(smooth), tuple(slope), planes), (distances[:, own], variance[own], edges[own])
        _describe(flat, size, one.box, one.width, one.index, one.starts, *filters, *out)

    shared_out(work, list(zip(regions, stops.tolist(), strict=True)), threads)
    return distances, variance, edges


# ----------------------------------------------------------------------------------------------------------- sampling
@kernel(
    'void(f4[::1], i8[::1], f4[:, ::1], f4[:, ::1], f4[:, ::1], f4[:, ::1], f4[:, :, :, :], i8[:, :, ::1], i8, i8, '
    'f4[:, ::1], f4[:, :, ::1], u1[:, :, ::1])'
)
def _sample(volume, sizes, along_x, along_y, along_z, matrix, displacement, wanted, first, last, at, values, seen):
    """Fill planes first to last."""
    a, b, c = sizes[0], sizes[1], sizes[2]
    sx, sy, sz = strides(a, b, c, 1)
    slack = f32(1e-3)
    for x in range(first, last):
        for y in range(along_y.shape[1]):
            begin, end = wanted[x, y, 0], wanted[x, y, 1]
            for k in range(3):
                for z in range(begin, end):
                    at[k, z] = along_x[k, x] + (along_y[k, y] + along_z[k, z])
            if displacement.size:
                for k in range(3):
                    for j in range(3):
                        turn = matrix[k, j]
                        for z in range(begin, end):
                            at[k, z] += turn * displacement[j, x, y, z]
            for z in range(begin, end):
                px, py, pz = at[0, z], at[1, z], at[2, z]
                cx, wx = cell(px, a)
                cy, wy = cell(py, b)
                cz, wz = cell(pz, c)
                values[x, y, z] = value(volume, np.uint64((cx * b + cy) * c + cz), sx, sy, sz, wx, wy, wz)
                low = (px >= -slack) & (py >= -slack) & (pz >= -slack)
                high = (px <= f32(a - 1) + slack) & (py <= f32(b - 1) + slack) & (pz <= f32(c - 1) + slack)
                seen[x, y, z] = low & high


# ---------------------------------------------------------------------------------------------------------- filtering
@routine
def _filtered(source, at, step, taps, sign, to, begin, count):
    """Set to[begin:][:count] to a filter along `step` of a flat array from `at` on: symmetric, or not (sign -1)."""
    centre, out, w = source[at : at + count], to[begin : begin + count], taps[0]
    for i in range(count):
        out[i] = w * centre[i]
    for k in range(1, taps.size):
        ahead, behind, w = source[at + k * step :], source[at - k * step :], taps[k]
        for i in range(count):
            out[i] += w * (ahead[i] + sign * behind[i])


@routine
def _summed_squares(plane, ahead, shift, width, begin, end, square, strip, out):
    """Square the step to a value `shift` ahead, and sum over neighbours along y and z with weights 1, 2, 1."""
    start, stop = begin - width - 1, end + width + 1
    near, far = plane[start:stop], ahead[start + shift : stop + shift]
    to = square[start:stop]
    for i in range(to.size):
        step = far[i] - near[i]
        to[i] = step * step
    _binomial(square, start + 1, stop - 1, 1, strip)
    _binomial(strip, begin, end, width, out)


@part
def _binomial(source, begin, end, step, out):
    a, b, c = source[begin - step : end - step], source[begin:end], source[begin + step : end + step]
    to = out[begin:end]
    for i in range(to.size):
        to[i] = a[i] + f32(2) * b[i] + c[i]


@routine
def _mixed(a, b, c, begin, end, out):
    """Sum three planes with weights 1, 2, 1, over 64 with those along the other axes."""
    share = f32(1 / 64)
    p, q, r, to = a[begin:end], b[begin:end], c[begin:end], out[begin:end]
    for i in range(to.size):
        to[i] = share * (p[i] + f32(2) * q[i] + r[i])


@kernel(
    'void(f4[::1], i8[::1], i8[::1], i8[::1], i4[::1], i8[::1], f4[::1], UniTuple(f4[::1], 3), UniTuple(f4[::1], 3), '
    'f4[:, ::1], f4[:, :], f4[::1], f4[::1])'
)
def _describe(values, size, box, width, index, starts, blur, smooth, slope, planes, distances, variance, edges):
    """Fill what belongs to one region, plane by plane; each is blurred once, and kept while it is looked at.

    Of the planes, three are blurred ones (x modulo 3), one squares, three times three their sums over neighbours along
    y and z for steps along x, y and z (x modulo 3), three distances along x (x modulo 3), two those along y and z; the
    others are scratch.
    """
    rows, row = width[0], width[1]
    above, before = (rows - (box[3] - box[2])) // 2, (row - (box[5] - box[4])) // 2
    begin, end = above * row, (rows - above) * row
    for q in range(box[0] - 3, box[1] + 3):
        # what blurred planes hold reaches 3 voxels beyond the region along y and z
        for y in range(above - REACH, rows - above + REACH):
            at = (q * size[0] + box[2] - above + y) * size[1] + box[4] - before
            _filtered(values, at, size[0] * size[1], blur, f32(1), planes[SCRATCH], y * row, row)
        start, stop = begin - 3 * row, end + 3 * row
        _filtered(planes[SCRATCH], start, row, blur, f32(1), planes[SCRATCH + 1], start, stop - start)
        here = planes[BLURRED + q % 3]
        _filtered(planes[SCRATCH + 1], start + 3, 1, blur, f32(1), here, start + 3, stop - start - 6)
        p = q - 2
        if p < box[0] - 3:
            continue
        now = planes[BLURRED + p % 3]
        square, strip, sums = planes[SQUARES], planes[SCRATCH], SUMMED + p % 3
        _summed_squares(now, here, 0, row, begin, end, square, strip, planes[sums])
        _summed_squares(now, now, 2 * row, row, begin - 2 * row, end, square, strip, planes[sums + 3])
        _summed_squares(now, now, 2, row, begin, end, square, strip, planes[sums + 6])
        c = p - 1
        if c < box[0] - 2:
            continue
        one, two, three = SUMMED + (c - 1) % 3, SUMMED + c % 3, SUMMED + (c + 1) % 3
        _mixed(planes[one], planes[two], planes[three], begin, end, planes[ALONG_X + c % 3])
        if c < box[0]:
            continue
        along_x, back, along_y, along_z = ALONG_X + c % 3, ALONG_X + (c - 2) % 3, ALONG_YZ, ALONG_YZ + 1
        _mixed(planes[one + 3], planes[two + 3], planes[three + 3], begin - 2 * row, end, planes[along_y])
        _mixed(planes[one + 6], planes[two + 6], planes[three + 6], begin, end, planes[along_z])
        a, b = starts[c - box[0]], starts[c - box[0] + 1]
        _gather(planes[along_x], index, a, b, 0, distances[0])
        _gather(planes[back], index, a, b, 0, distances[1])
        _gather(planes[along_y], index, a, b, 0, distances[2])
        _gather(planes[along_y], index, a, b, 2 * row, distances[3])
        _gather(planes[along_z], index, a, b, 0, distances[4])
        _gather(planes[along_z], index, a, b, 2, distances[5])
        for n in range(a, b):
            total = distances[0, n] + distances[1, n] + distances[2, n]
            total += distances[3, n] + distances[4, n] + distances[5, n]
            variance[n] = f32(1 / 6) * total
        _find_edges(values, c, size, box, rows, row, above, before, smooth, slope, planes, index[a:b], edges[a:b])


@routine
def _gather(plane, index, first, last, back, out):
    for n in range(first, last):
        out[n] = plane[np.uint64(index[n] - back)]


@part
def _find_edges(values, x, size, box, rows, row, above, before, smooth, slope, planes, index, edges):
    """Set the length of the gradient at the voxels of one plane."""
    by_plane, reach = size[0] * size[1], smooth[1].size - 1
    smoothed, sloped = planes[SCRATCH], planes[SCRATCH + 1]
    for y in range(above - reach, rows - above + reach):
        at = (x * size[0] + box[2] - above + y) * size[1] + box[4] - before
        _filtered(values, at, by_plane, smooth[0], f32(1), smoothed, y * row, row)
        _filtered(values, at, by_plane, slope[0], f32(-1), sloped, y * row, row)
    begin, count = above * row, (rows - 2 * above) * row
    _filtered(sloped, begin, row, smooth[1], f32(1), planes[SMOOTH], begin, count)
    _filtered(smoothed, begin, row, slope[1], f32(-1), planes[SMOOTH + 1], begin, count)
    _filtered(smoothed, begin, row, smooth[1], f32(1), planes[SLOPED], begin, count)
    # rows begin and end with as much as filters reach, and what is left there is not looked at
    begin, count, reach = begin + before, count - 2 * before, smooth[2].size - 1
    _filtered(planes[SMOOTH], begin, 1, smooth[2], f32(1), planes[SCRATCH], begin, count)
    _filtered(planes[SMOOTH + 1], begin, 1, smooth[2], f32(1), planes[SCRATCH + 1], begin, count)
    _filtered(planes[SLOPED], begin, 1, slope[2], f32(-1), planes[SLOPED + 1], begin, count)
    a, b, c = planes[SCRATCH], planes[SCRATCH + 1], planes[SLOPED + 1]
    for n in range(edges.size):
        i = np.uint64(index[n])
        edges[n] = math.sqrt(a[i] * a[i] + b[i] * b[i] + c[i] * c[i])
