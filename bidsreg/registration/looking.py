"""How held-out MIND looks at images by compiled kernels, in arrays: no torch is needed. `views` has it as tensors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np

from bidsreg.registration.grid import Grid
from bidsreg.registration.image import Image
from bidsreg.registration.numerics.axes import mapped_axes
from bidsreg.registration.numerics.boxes import Box, boxes, whole
from bidsreg.registration.numerics.edges import axis_filters, edge_sigma
from bidsreg.registration.numerics.filters import filter_weights
from bidsreg.registration.numerics.pool import shared_out

HELD_OUT_OFFSET = 2
"""Neighbours of the judging MIND, in voxels of the grid; the solver looks at neighbours one voxel away."""
HELD_OUT_BLUR = 0.7
"""Gaussian in voxels before the judging MIND, so that its patches are wider than the solver's too."""
MARGIN = HELD_OUT_OFFSET + 1
"""Voxels around a voxel that its MIND depends on once the image is blurred."""
RIM = HELD_OUT_OFFSET + 4
"""Voxels around the mask that the measures reach into."""
FLOOR = 1e-3
"""The least local variance, relative to its mean: flat regions do not divide noise by nothing."""
COLUMN = (32, 40, 256)
"""Voxels along the sides of a compiled kernel's regions, at most: a few planes of one stay in a processor's cache."""
NOWHERE = np.zeros((3, 0, 0, 0), np.float32)


Values = TypeVar('Values')
"""Arrays of numpy, or tensors."""


@dataclass(frozen=True, eq=False)
class View(Generic[Values]):
    """What is compared of an image, at the N voxels of the brain.

    Attributes
    ----------
    seen : array of bool, shape (N,)
        Which of them lie in the image's field of view, and not where it is hidden.
    values, edges : array, shape (N,), float32
        Intensities, and the magnitude of their gradient per mm.
    distances : array, shape (6, N), float32
        Patch distances of the judging MIND.
    variance : array, shape (N,), float32
        Their mean.
    """

    seen: Values
    values: Values
    edges: Values
    distances: Values
    variance: Values


@dataclass(frozen=True, eq=False)
class ArraySource:
    """An image to look at, whose border value goes on beyond its field of view.

    Attributes
    ----------
    data : ndarray, shape (A, B, C), float32
        The image.
    to_voxels : ndarray, shape (4, 4)
        Its world to its voxels.
    hidden : ndarray, shape (A, B, C), float32, optional
        1 where it is not to be looked at and 0 elsewhere; between voxels at least 0.5 counts.
    """

    data: np.ndarray
    to_voxels: np.ndarray
    hidden: np.ndarray | None = None


class ArrayViewer:
    """Looks at one image after another at the same voxels of a grid.

    Parameters
    ----------
    brain : ndarray of bool, shape (X, Y, Z)
        The voxels.
    grid : Grid
        Where they lie.
    threads : int
        How many work; what is seen does not depend on it.

    Attributes
    ----------
    deep : ndarray of bool, shape (N,)
        Which of the voxels, in the order of its views, have all neighbours of their MIND on the grid.
    """

    def __init__(self, brain: np.ndarray, grid: Grid, threads: int = 1) -> None:
        from bidsreg.registration.numerics.kernels.views import REACH, region

        self.grid, self.threads = grid, threads
        blur = filter_weights(2 * MARGIN + 1, HELD_OUT_BLUR)
        self.blur = blur[MARGIN, MARGIN:].astype(np.float32)
        self.smooth, self.slope = zip(*(_half_taps(float(size)) for size in grid.spacing), strict=True)
        margin = np.maximum([len(taps) - 1 for taps in self.smooth], REACH)
        # where filters look beyond the grid it is mirrored
        inside = boxes(brain, max(brain.shape))[0]
        gaps = [min(b.start, n - b.stop) for b, n in zip(inside, brain.shape, strict=True)]
        self.pads = [int(max(m - gap, 0)) for m, gap in zip(margin, gaps, strict=True)]
        self.wanted = _wanted(brain, margin)
        padded, deep = (np.pad(x, [(pad, pad) for pad in self.pads]) for x in (brain, deep_in(brain)))
        cut = boxes(padded, COLUMN)
        self.regions = [region(box, padded, margin[1:]) for box in cut]
        self.index = np.concatenate([_flat(box, padded) for box in cut])
        self.deep: np.ndarray = deep.ravel()[self.index]

    def look(self, source: ArraySource, matrix: np.ndarray, displacement: np.ndarray = NOWHERE) -> View[np.ndarray]:
        """Look at the whole grid, then filter it region by region.

        Parameters
        ----------
        source : ArraySource
            The image.
        matrix : ndarray, shape (4, 4)
            The (displaced) world of the grid to that of the image.
        displacement : ndarray, shape (3, X, Y, Z), optional
            In mm, of every voxel of the grid.
        """
        from bidsreg.registration.numerics.kernels.views import described, sampled

        axes = mapped_axes(source.to_voxels @ matrix @ self.grid.affine, whole(self.grid.shape))
        turn = (source.to_voxels[:3, :3] @ matrix[:3, :3]).astype(np.float32)
        where = axes, turn, displacement, self.wanted, self.threads
        values, seen = sampled(source.data, *where)
        if source.hidden is not None:
            seen &= sampled(source.hidden, *where)[0] < 0.5
        room = [(pad, pad) for pad in self.pads]
        if any(self.pads):
            values, seen = np.pad(values, room, 'symmetric'), np.pad(seen, room)
        distances, variance, edges = described(values, self.regions, self.blur, self.smooth, self.slope, self.threads)
        return View(seen.ravel()[self.index], values.ravel()[self.index], edges, distances, variance)

    def mismatch(self, view: View[np.ndarray], floor: float, mind: np.ndarray, counted: np.ndarray) -> float:
        """Return what `views.Viewer.mind_mismatch` does."""
        from bidsreg.registration.numerics.kernels.evidence import mind_mismatch

        return mind_mismatch(view.distances, view.variance, floor, mind, counted, self.threads)


def floor_of(variance: np.ndarray, counted: np.ndarray) -> float:
    """Return the least local variance that MIND divides by, of the voxels that are `counted`; both (N,)."""
    return max(float(variance[counted].mean(dtype=np.float64)) * FLOOR if counted.any() else 0.0, 1e-12)


def mind_of(distances: np.ndarray, variance: np.ndarray, floor: float, threads: int = 1) -> np.ndarray:
    """Return MIND, (6, N), of patch distances (6, N) and their mean (N,); it does not depend on `threads`."""
    scale, out = -np.maximum(variance, np.float32(floor)), np.empty_like(distances)

    def fill(direction: int) -> None:
        np.exp(np.divide(distances[direction], scale, out=out[direction]), out=out[direction])

    shared_out(fill, range(len(distances)), threads)
    return out


def around(marked: np.ndarray) -> Box:
    """Return the box of a grid that the measures of some of its voxels, `marked` (X, Y, Z), reach into.

    Raises
    ------
    ValueError
        If none is marked.
    """
    found = boxes(marked, max(marked.shape))
    if not found:
        raise ValueError('the brain mask is empty: there is nothing to judge the alignment by')
    x, y, z = (slice(max(b.start - RIM, 0), min(b.stop + RIM, n)) for b, n in zip(found[0], marked.shape, strict=True))
    return x, y, z


def edges_of(box: Box) -> tuple[np.ndarray, np.ndarray]:
    """Return where a box starts and stops along each axis, both (3,)."""
    return np.array([b.start for b in box]), np.array([b.stop for b in box])


def mind_distances(
    fixed: Image,
    moving: Image,
    matrices: Sequence[np.ndarray],
    mask: Image,
    fixed_lesion: Image | None = None,
    moving_lesion: Image | None = None,
    threads: int = 1,
) -> list[float]:
    """Return the held-out MIND distance of two images after each of several matrices.

    Each is `evidence.Evidence.mind_heldout`, but that voxels count which are seen after every one of the matrices.

    Parameters
    ----------
    fixed, moving : Image
        The images; neighbours are voxels of the fixed one's grid.
    matrices : sequence of ndarray, shape (4, 4)
        Fixed world to moving world.
    mask : Image
        The brain, on the grid of the fixed image.
    fixed_lesion, moving_lesion : Image, optional
        Above zero where nothing may be judged, each on its image's grid.
    threads : int
        How many work; the result does not depend on it.

    Raises
    ------
    ValueError
        If the mask is empty but for lesions, or none of it is seen after every matrix.
    """
    # what is judged of a voxel depends on what is so near
    near = MARGIN * float(fixed.grid.spacing.max())
    here, there = (_near(lesion, near, threads) for lesion in (fixed_lesion, moving_lesion))
    marked = mask.data > 0
    if here is not None:
        marked = marked & (here < 0.5)
    # beyond the field of view border values go on, so that a thin slab has neighbours, too
    room = np.full(3, RIM)
    marked, grid = np.pad(marked, RIM), fixed.grid.cropped(-room, np.array(fixed.grid.shape) + room)
    box = around(marked)
    viewer = ArrayViewer(marked[box], grid.cropped(*edges_of(box)), threads)
    view = viewer.look(_source(fixed), np.eye(4))
    mind = mind_of(view.distances, view.variance, floor_of(view.variance, viewer.deep), viewer.threads)
    source = _source(moving, there)
    views = [viewer.look(source, matrix) for matrix in matrices]
    counted = np.logical_and.reduce([view.seen for view in views])
    if not counted.any():
        raise ValueError("nothing of the brain lies in the moving image's field of view after every matrix")
    return [
        viewer.mismatch(view, floor_of(view.variance, counted), mind, counted) / int(counted.sum()) for view in views
    ]


def _source(image: Image, hidden: np.ndarray | None = None) -> ArraySource:
    return ArraySource(np.ascontiguousarray(image.data, np.float32), np.linalg.inv(image.grid.affine), hidden)


def _near(lesion: Image | None, mm: float, threads: int) -> np.ndarray | None:
    """Return where a lesion lies within `mm` mm, 0 or 1."""
    if lesion is None:
        return None
    from bidsreg.registration.numerics.kernels.volumes import within

    return within(lesion.data > 0, mm, lesion.grid.spacing, threads)


def deep_in(brain: np.ndarray) -> np.ndarray:
    """Return which voxels of a grid have all neighbours of their MIND on it."""
    deep = np.zeros_like(brain)
    deep[(slice(MARGIN, -MARGIN),) * 3] = True
    return deep


def _half_taps(spacing: float) -> tuple[np.ndarray, np.ndarray]:
    """Return half of the taps of a Gaussian along an axis of voxels of `spacing` mm, and of its derivative per mm."""
    reach = int(4 * float(edge_sigma(spacing)) + 0.5)
    smooth, slope = (matrix[reach, reach:].astype(np.float32) for matrix in axis_filters(2 * reach + 1, spacing))
    return smooth, slope


def _wanted(brain: np.ndarray, margin: np.ndarray) -> np.ndarray:
    """Return first and last + 1 voxel along z that lies `margin` voxels around the brain, (X, Y, 2); 0, 0 if none."""
    n = brain.shape[2]
    some = brain.any(2)
    first = np.where(some, brain.argmax(2), n)
    last = np.where(some, n - brain[:, :, ::-1].argmax(2), 0)
    for axis in range(2):
        first, last = (
            _extreme(ends, int(margin[axis]), axis, best) for ends, best in ((first, np.minimum), (last, np.maximum))
        )
    wanted = np.stack([np.maximum(first - margin[2], 0), np.minimum(last + margin[2], n)], -1)
    wanted[first >= last] = 0
    return wanted


def _extreme(values: np.ndarray, reach: int, axis: int, best: np.ufunc) -> np.ndarray:
    """Return the least or largest value within `reach` along an axis."""
    out, n = values.copy(), values.shape[axis]
    for step in range(1, min(reach, n - 1) + 1):
        ahead, behind = np.arange(step, n), np.arange(n - step)
        for to, of in ((behind, ahead), (ahead, behind)):
            index = (to,) if axis == 0 else (slice(None), to)
            out[index] = best(out[index], values.take(of, axis))
    return out


def _flat(box: Box, brain: np.ndarray) -> np.ndarray:
    """Return the flat indices in the grid of a box's voxels of the brain."""
    inside = np.argwhere(brain[box]) + [side.start for side in box]
    return np.ravel_multi_index(tuple(inside.T), brain.shape)
