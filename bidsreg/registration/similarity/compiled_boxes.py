"""Boxes of a level as compiled kernels want them, on a CPU."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from bidsreg.registration.numerics.boxes import Box
from bidsreg.registration.numerics.kernels.volumes import grown
from bidsreg.registration.numerics.separable import Matrices

if TYPE_CHECKING:
    from bidsreg.registration.similarity.dataterm import Tile

UNIT = 32
"""Runs have multiples of so many voxels, which are worked at a time with AVX2: one beyond costs as much as eight. So
shorter gaps are worked as well."""
LONGEST = 8 * UNIT
"""Voxels of a run: what is worked at a time stays in the first cache."""


@dataclass(frozen=True)
class Bands:
    """Interpolation along three axes; see :mod:`.warping`."""

    neighbours: tuple[np.ndarray, ...]
    taps: tuple[np.ndarray, ...]


def bands(matrices: Matrices) -> Bands:
    """Return what three matrices (new length, old length) have beside zeros."""
    made = [_band(matrix.numpy()) for matrix in matrices]
    return Bands(tuple(neighbours for neighbours, _ in made), tuple(taps for _, taps in made))


def _band(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    used = matrix != 0
    first, beyond = used.argmax(1), matrix.shape[1] - used[:, ::-1].argmax(1)
    width = -(-int((beyond - first)[used.any(1)].max()) // 4) * 4
    padded = np.pad(matrix, ((0, 0), (0, width)))
    neighbours = first[:, None] + np.arange(width)
    taps = np.take_along_axis(padded, neighbours, 1)
    return np.minimum(neighbours, matrix.shape[1] - 1).astype(np.uint64), np.ascontiguousarray(taps, np.float32)


def runs(wanted: np.ndarray) -> np.ndarray:
    """Return first index and number (R, 2) of stretches of a flat mask, rounded up to whole `UNIT`."""
    at = np.flatnonzero(wanted)
    if not len(at):
        return np.zeros((0, 2), np.int64)
    ends = np.flatnonzero(np.diff(at) > UNIT)
    starts = at[np.r_[0, ends + 1]]
    lengths = -(-(at[np.r_[ends, len(at) - 1]] + 1 - starts) // UNIT) * UNIT
    # those longer than `LONGEST` are several
    parts = -(-lengths // LONGEST)
    before = counted_up(parts) * LONGEST
    first, left = np.repeat(starts, parts) + before, np.repeat(lengths, parts) - before
    return np.stack([first, np.minimum(left, LONGEST)], 1)


def counted_up(counts: np.ndarray) -> np.ndarray:
    """Return 0, 1, ... up to each count (N,), one after another: (sum of counts,)."""
    return np.arange(counts.sum()) - np.repeat(counts.cumsum() - counts, counts)


class Scratch:
    """Memory in which boxes are worked; allocated once, since fresh memory costs page faults.

    Every array keeps its meaning from box to box: what an earlier box left in it is finite.
    """

    def __init__(self) -> None:
        self.arrays: dict[str, np.ndarray] = {}
        self.views: dict[tuple[str, tuple[int, ...]], np.ndarray] = {}
        self.others: list[Scratch] = []

    def __call__(self, name: str, *shape: int, dtype: type = np.float32) -> np.ndarray:
        """Return an array by its name; what is in it is left over."""
        # boxes ask for the same again and again: a hundred thousand times in a registration
        if (found := self.views.get((name, shape))) is not None:
            return found
        size = math.prod(shape)
        if name not in self.arrays or self.arrays[name].size < size:
            self.arrays[name] = np.zeros(size, dtype)
            # those of the smaller array would keep its memory
            self.views = {key: view for key, view in self.views.items() if key[0] != name}
        self.views[name, shape] = self.arrays[name][:size].reshape(shape)
        return self.views[name, shape]

    def parts(self, count: int) -> list[Scratch]:
        """Return so many others that belong to this one, each with names of its own."""
        while len(self.others) < count:
            self.others.append(Scratch())
        return self.others[:count]


@dataclass(frozen=True, eq=False)
class CompiledBox:
    """A box of the level's grid as kernels want it: flat, with the voxels around it that descriptors look at.

    Attributes
    ----------
    coarse : three slices
        Which part of the displacement's grid it depends on.
    bands, adjoint : Bands
        Interpolation of that part, and its adjoint.
    shape : tuple of int
        Voxels, with those around.
    axes : three ndarray, shapes (3, X), (3, Y) and (3, Z)
        What each axis adds to the undisplaced positions in voxels of the moving volume.
    needed, compared : ndarray, shapes (R, 2) and (Q, 3)
        Runs of voxels to sample and to compare; a run to compare has its place in the next two between the others.
    index, weight : ndarray, shape (P,)
        Of the voxels to compare, one run after another: flat indices in the box where planes lie `UNIT` apart, weights.
    features : list of ndarray
        Of the fixed image, for each similarity as its kernel wants them.
    memory : Scratch
        What belongs to the box from one pass to the next.
    """

    coarse: Box
    bands: Bands
    adjoint: Bands
    shape: tuple[int, int, int]
    axes: tuple[np.ndarray, ...]
    needed: np.ndarray
    compared: np.ndarray
    index: np.ndarray
    weight: np.ndarray
    features: list[np.ndarray] = field(default_factory=list)
    memory: Scratch = field(default_factory=Scratch)

    @classmethod
    def of(cls, tile: Tile, support: int) -> CompiledBox:
        """Take over a tile of the torch version; its positions reach `support` voxels beyond what is compared."""
        x, y, z = (axis.shape[1] for axis in tile.axes)
        plane = y * z
        weight = _apart(tile.weight[0, :1].numpy(), (x, y, z))[0]
        inside = weight.reshape(x, -1) > 0
        seen = grown(inside[:, :plane].reshape(x, y, z), support)
        needed, compared = runs(_apart(seen[None], (x, y, z))[0]), runs(inside.ravel())
        index = np.repeat(compared[:, 0], compared[:, 1]) + counted_up(compared[:, 1])
        packed = np.r_[0, compared[:, 1].cumsum()[:-1]]
        margin = plane + z + UNIT
        for found in (needed, compared):
            found[:, 0] += margin - found[:, 0] // (plane + UNIT) * UNIT
        return cls(
            coarse=tile.coarse,
            bands=bands(tile.matrices),
            adjoint=bands(tuple(matrix.T for matrix in tile.matrices)),
            shape=(x, y, z),
            axes=tuple(axis.numpy() for axis in tile.axes),
            needed=needed,
            compared=np.stack([compared[:, 0], packed, compared[:, 1]], 1),
            index=index,
            weight=weight[index],
        )

    def of_compared(self, volumes: np.ndarray) -> np.ndarray:
        """Return values (C, P) of volumes (C, ...) at the voxels to compare; these lie in their middle."""
        return _apart(volumes, self.shape).take(self.index, 1)

    def flat(self, volumes: np.ndarray) -> np.ndarray:
        """Return volumes (C, ...) in the middle of the box as flat ones, (C, N), zero beyond."""
        out = np.zeros((len(volumes), self.room), np.float32)
        out[:, self.margin : self.room - self.margin] = _centred(volumes, self.shape).reshape(len(volumes), -1)
        return out

    @cached_property
    def corner(self) -> np.ndarray:
        """Return where the part of the displacement begins that it depends on, (3,)."""
        return np.array([part.start for part in self.coarse])

    @cached_property
    def plane(self) -> int:
        """Return the number of voxels in a plane of constant x."""
        return self.shape[1] * self.shape[2]

    @cached_property
    def margin(self) -> int:
        """Return the values before and behind the box's voxels in flat volumes: as far as neighbours and runs reach."""
        return self.plane + self.shape[2] + UNIT

    @cached_property
    def room(self) -> int:
        """Return the length of flat volumes."""
        return self.shape[0] * self.plane + 2 * self.margin

    def offsets(self, neighbours: np.ndarray) -> np.ndarray:
        """Return how far away in flat volumes neighbours (..., 3) in voxels lie."""
        return neighbours @ np.array([self.plane, self.shape[2], 1])


def _centred(volumes: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
    """Put volumes (C, ...) into the middle of zeros of the shape of a box."""
    out = np.zeros((len(volumes), *shape), volumes.dtype)
    x, y, z = (slice((n - own) // 2, (n - own) // 2 + own) for n, own in zip(shape, volumes.shape[1:], strict=True))
    out[:, x, y, z] = volumes
    return out


def _apart(volumes: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
    """Do the same with planes so far apart that no run has voxels of two of them, flat: (C, N)."""
    out = np.zeros((len(volumes), shape[0], shape[1] * shape[2] + UNIT), volumes.dtype)
    out[:, :, :-UNIT] = _centred(volumes, shape).reshape(len(volumes), shape[0], -1)
    return out.reshape(len(volumes), -1)
