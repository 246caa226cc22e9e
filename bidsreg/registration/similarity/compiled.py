"""The data term of patch descriptors on a CPU: one box of the level at a time, by compiled kernels."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy import ndimage as ndi

from bidsreg.registration.image import Image
from bidsreg.registration.numerics.boxes import Box
from bidsreg.registration.numerics.kernels import patches, warping
from bidsreg.registration.numerics.separable import Matrices
from bidsreg.registration.similarity import descriptors
from bidsreg.registration.similarity.base import Similarity
from bidsreg.registration.volume import Volume

if TYPE_CHECKING:
    from bidsreg.registration.similarity.dataterm import Tile

Tensor = torch.Tensor

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
    lengths = at[np.r_[ends, len(at) - 1]] + 1 - starts
    stops = starts + -(-lengths // UNIT) * UNIT
    return np.array(
        [
            (part, min(LONGEST, stop - part))
            for start, stop in zip(starts, stops, strict=True)
            for part in range(start, stop, LONGEST)
        ]
    )


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
    features, weight : ndarray, shapes (C, P) and (P,)
        Of the voxels to compare, one run after another; features in 16 bits.
    """

    coarse: Box
    bands: Bands
    adjoint: Bands
    shape: tuple[int, int, int]
    axes: tuple[np.ndarray, ...]
    needed: np.ndarray
    compared: np.ndarray
    features: np.ndarray
    weight: np.ndarray

    @classmethod
    def of(cls, tile: Tile, support: int) -> CompiledBox:
        """Take over a tile of the torch version; its positions reach `support` voxels beyond what is compared."""
        x, y, z = (axis.shape[1] for axis in tile.axes)
        plane, around = y * z, [(support, support)] * 3

        def apart(volume: np.ndarray) -> np.ndarray:
            """Pad to the box, and put its planes so far apart that no run has voxels of two of them."""
            return np.pad(np.pad(volume, around).reshape(x, plane), ((0, 0), (0, UNIT)))

        inside = apart(tile.weight[0, 0].numpy() > 0)
        seen = ndi.maximum_filter(inside[:, :plane].reshape(x, y, z), 2 * support + 1)
        needed, compared = runs(np.pad(seen.reshape(x, plane), ((0, 0), (0, UNIT))).ravel()), runs(inside.ravel())
        index = np.concatenate([np.arange(a, a + n) for a, n in compared])
        weight, *features = (
            apart(volume).ravel()[index] for volume in (tile.weight[0, 0].numpy(), *tile.features[0].numpy())
        )
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
            features=np.rint(np.stack(features) * patches.WHOLE).astype(np.uint16),
            weight=weight,
        )

    @property
    def plane(self) -> int:
        """Return the number of voxels in a plane of constant x."""
        return self.shape[1] * self.shape[2]

    @property
    def margin(self) -> int:
        """Return the values before and behind the box's voxels in flat volumes: as far as neighbours and runs reach."""
        return self.plane + self.shape[2] + UNIT

    @property
    def room(self) -> int:
        """Return the length of flat volumes."""
        return self.shape[0] * self.plane + 2 * self.margin

    def offsets(self, neighbours: np.ndarray) -> np.ndarray:
        """Return how far away in flat volumes neighbours (..., 3) in voxels lie."""
        return neighbours @ np.array([self.plane, self.shape[2], 1])


class Scratch:
    """The memory in which one thread works on boxes; allocated once, since fresh memory costs page faults.

    Every array keeps its meaning from box to box: what an earlier box left in it is finite.
    """

    def __init__(self) -> None:
        self.arrays: dict[str, np.ndarray] = {}

    def __call__(self, name: str, *shape: int, dtype: type = np.float32) -> np.ndarray:
        """Return an array by its name; what is in it is left over."""
        size = math.prod(shape)
        if name not in self.arrays or self.arrays[name].size < size:
            self.arrays[name] = np.zeros(size, dtype)
        return self.arrays[name][:size].reshape(shape)


class CompiledTerm:
    """Sums and gradients of boxes for a similarity with `steps`, as `DataTerm` takes them by torch.

    Parameters
    ----------
    similarity : Similarity
        Calibrated.
    moving : Tensor, shape (1, 1, X, Y, Z)
        The moving volume.
    counts : Image, Volume or None
        Above 0.5 where it may be compared, on the same grid.
    lowest, highest : Tensor, shape (3, 1, 1, 1)
        Between which positions a voxel counts.
    """

    def __init__(
        self, similarity: Similarity, moving: Tensor, counts: Image | Volume | None, lowest: Tensor, highest: Tensor
    ) -> None:
        self.support = similarity.support
        self.radius = similarity.radius
        self.far = np.array([step.far for step in similarity.steps])
        self.near = np.array([step.near for step in similarity.steps])
        self.places = np.array([step.places for step in similarity.steps])
        self.floor = np.float32(similarity.floor * descriptors.sum_of_weights(similarity.radius))
        self.moving, self.shape = moving.numpy().ravel(), np.array(moving.shape[2:])
        self.counts = (
            np.zeros(0, np.uint8) if counts is None else (np.asarray(counts.data) > 0.5).astype(np.uint8).ravel()
        )
        self.lowest, self.highest = (edge.numpy().reshape(3, 1) for edge in (lowest, highest))
        self.idle: list[Scratch] = []

    def box(self, tile: Tile) -> CompiledBox:
        """Take over a tile of the torch version."""
        return CompiledBox.of(tile, self.support)

    def sums_and_gradient(self, box: CompiledBox, displacement: Tensor) -> tuple[Tensor, Tensor]:
        """Return a box's sums (2,), and the gradient of the first by its part of the displacement, (3, a, b, c).

        Parameters
        ----------
        box : CompiledBox
        displacement : Tensor, shape (1, 3, CX, CY, CZ)
            In voxels of the moving volume.
        """
        scratch = self.idle.pop() if self.idle else Scratch()
        a, b, c = (part.stop - part.start for part in box.coarse)
        x, y, z = box.shape
        image, slopes = scratch('image', box.room), scratch('slopes', 3, box.room)
        weight, gradient = scratch('weight', box.weight.size), scratch('gradient', box.room)
        seen = warping.warp(
            displacement[0].numpy(),
            np.array([part.start for part in box.coarse]),
            box.bands.neighbours,
            box.bands.taps,
            box.axes,
            self.moving,
            self.shape,
            self.counts,
            self.lowest,
            self.highest,
            box.margin,
            box.needed,
            box.compared,
            box.weight,
            scratch('lines', b, z),
            scratch('planes', 3, a, y * z),
            scratch('across', 4, y * z),
            scratch('at', 3, y * z + LONGEST),
            scratch('corners', 11, LONGEST),
            scratch('cells', LONGEST, dtype=np.int32),
            image,
            slopes,
            weight,
        )
        mismatch = self._mismatch(box, image, weight, scratch, gradient)
        by_coarse, planes = np.empty((3, a, b, c), np.float32), scratch('planes back', a, y, z)
        warping.collect(
            gradient,
            slopes,
            box.margin,
            box.adjoint.neighbours,
            box.adjoint.taps,
            scratch('products', x, warping.STRIP),
            planes.reshape(a, y * z),
            planes,
            scratch('line', z),
            by_coarse,
        )
        if math.isfinite(mismatch):
            self.idle.append(scratch)
        return torch.tensor([mismatch, seen], dtype=torch.float32), torch.from_numpy(by_coarse)

    def _mismatch(
        self, box: CompiledBox, image: np.ndarray, weight: np.ndarray, scratch: Scratch, gradient: np.ndarray
    ) -> float:
        """Compare a box's sampled image with its features; the gradient by the image is written."""
        count, row = len(self.far), box.shape[2]
        # for radius 0 distances are taken from the image
        room = box.room if self.radius else 0
        first, last = box.compared[0], box.compared[-1]
        return patches.mismatch(
            image,
            box.offsets(self.far),
            box.offsets(self.near),
            box.offsets(self.places),
            self.radius,
            row,
            box.plane,
            first[0],
            last[0] + last[2],
            self.floor,
            box.features,
            weight,
            box.compared,
            scratch('distances', count, room),
            scratch('by_distance', count, room),
            scratch('smoothed', room),
            scratch('strips', 3, patches.CHUNK + 2 * row + 2),
            scratch('rows', 2 * count + 4, LONGEST),
            gradient,
        )
