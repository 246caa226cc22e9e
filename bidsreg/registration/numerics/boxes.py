"""Boxes that fit a processor's cache."""

from __future__ import annotations

import itertools

import numpy as np

Box = tuple[slice, slice, slice]

BOX_SIZE = 56
"""Voxels along the sides of a box on a CPU, at most: larger ones leave the cache, smaller ones keep threads waiting."""

COLUMN = (24, 24, 256)
"""The same for compiled kernels, which hold less at a time: long where memory is contiguous. Boxes of 56 x 56 x 56 and
of 24 x 24 x 64 took a fifth more time on pair 07-08 with patches of single voxels; wider patches were not tried."""


def whole(shape: tuple[int, ...]) -> Box:
    """Return the box of a whole volume."""
    x, y, z = (slice(0, n) for n in shape)
    return x, y, z


def boxes(weight: np.ndarray, size: int | tuple[int, ...] | None = None, block: int = 1) -> list[Box]:
    """Return boxes that together hold every compared voxel once.

    Parameters
    ----------
    weight : ndarray, shape (X, Y, Z)
        Above zero where voxels are compared.
    size : int or three int, optional
        Largest number of voxels along a side, rounded up to whole blocks. Default: `BOX_SIZE`.
    block : int
        Boxes begin and end at multiples of this.

    Returns
    -------
    list of three slices
        Drawn in around the compared voxels.
    """
    sizes = np.broadcast_to(BOX_SIZE if size is None else size, 3)
    found = []
    for part in itertools.product(
        *[_even(int(a), int(b), int(n), block) for a, b, n in zip(*_bounds(weight > 0), sizes, strict=True)]
    ):
        corner = [p.start for p in part]
        inside = weight[part] > 0
        if inside.any():
            low, high = (np.array(corner) + edge for edge in _bounds(inside))
            low, high = low // block * block, -(-high // block) * block
            x, y, z = (slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
            found.append((x, y, z))
    return found


def _even(start: int, stop: int, size: int, block: int) -> list[slice]:
    """Share the blocks from `start` to `stop` out to as few equal parts as `size` allows."""
    start, whole = start // block * block, -(-size // block) * block
    parts = -(-(stop - start) // whole)
    step = -(-(stop - start) // (parts * block)) * block if parts else whole
    return [slice(a, a + step) for a in range(start, stop, step)]


def _bounds(inside: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the first and one past the last index along each axis where there is anything."""
    if not inside.any():
        return np.zeros(3, int), np.zeros(3, int)
    along = [np.flatnonzero(inside.any(tuple(a for a in range(3) if a != axis))) for axis in range(3)]
    return np.array([a[0] for a in along]), np.array([a[-1] + 1 for a in along])
