"""Numbers that tell whether a registration can be right: overlap, and whether the scans would agree better elsewhere.

The evidence of :mod:`bidsreg.registration.evidence` says that an alignment got better; these say whether it is good.
They compare the result with alternatives of the same two scans, so they need no truth and hold for any contrast.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nb
import numpy as np
from nibabel.affines import apply_affine, obliquity, voxel_sizes
from scipy import ndimage as ndi
from scipy.optimize import minimize
from scipy.spatial.transform import Rotation

from bidsreg.bids.images import load_image
from bidsreg.frame import sizes
from bidsreg.qc.brain import counts_from_zero
from bidsreg.qc.symmetry import Midplane, thinned
from bidsreg.registration.numerics.edges import gradient_magnitude
from bidsreg.registration.numerics.information import binned_information, to_bins

SHIFTS_MM = (5.0, 10.0, 20.0)
"""Distances by which the T2w is moved to see whether it fits better there; the shortest is about one thick slice."""
TURNS_DEG = (10.0, 20.0)
"""Angles by which it is turned about each axis through the middle of the brain."""
MOST_POINTS = 30_000
"""Voxels of the brain that are compared, drawn at random; it bounds the time."""
BINS = 24
"""Bins of the histograms; few, as noise alone has an information of (BINS - 1)**2 / (2 * points)."""
SIGNAL = 0.05
"""Share of the 95th percentile in the brain: what is darker counts as empty; a choice, well below any tissue."""
WINDOW_MM = 9.0
"""Side of the cubes in which edges are correlated; at least three voxels."""
EVEN_MM, EVEN_GRID_MM = 15.0, 5.0
"""Standard deviation of the Gaussian mean by which intensities are divided, and the voxels on which it is made."""
LEAST_INFORMATION = 1e-6
"""Nats; where there are fewer, there are none that could be lost."""
LEAST_POINTS = 300
"""An alternative that shows the brain in fewer is none."""
_DIRECTIONS = {
    'to the right': (1, 0, 0),
    'to the left': (-1, 0, 0),
    'to the front': (0, 1, 0),
    'to the back': (0, -1, 0),
    'upwards': (0, 0, 1),
    'downwards': (0, 0, -1),
}
_AXES = {'the left-right axis': (1, 0, 0), 'the back-front axis': (0, 1, 0), 'the feet-head axis': (0, 0, 1)}


def in_memory(path: str | Path) -> nb.Nifti1Image:
    """Read an image once for all that is measured: float32, in the order of voxels that is closest to RAS+.

    Blocks are averaged and voxels drawn from the first one on: numbers must not depend on where a file begins.
    """
    image = nb.as_closest_canonical(load_image(path))
    return nb.Nifti1Image(np.ascontiguousarray(image.dataobj, np.float32), image.affine)


def geometry(image: nb.Nifti1Image) -> dict[str, Any]:
    """Describe the grid of an image.

    Returns
    -------
    dict
        ``shape`` (voxels), ``voxel_mm`` and ``obliqueness_deg`` (largest angle between a voxel axis and the world).
    """
    return {
        'shape': [int(n) for n in image.shape[:3]],
        'voxel_mm': [round(float(size), 4) for size in voxel_sizes(image.affine)],
        'obliqueness_deg': round(float(np.degrees(obliquity(image.affine)).max()), 3),
    }


def overlap(
    fixed_mask: nb.Nifti1Image, moving_mask: nb.Nifti1Image, matrix: np.ndarray, warped: nb.Nifti1Image
) -> dict[str, Any]:
    """Measure how much of the two brains lies on each other, and how much of the T1w's the T2w shows.

    Parameters
    ----------
    fixed_mask, moving_mask
        Brain masks of the T1w and the T2w, each on the grid of its scan.
    matrix
        4x4, world of the T1w to world of the T2w (mm, RAS+).
    warped
        The registered T2w on the grid of ``fixed_mask``.

    Returns
    -------
    dict
        ``mask_dice`` and ``brain_in_view`` (share of the T1w's brain inside the T2w's field of view), each ``before``
        (by the headers) and after the ``affine``; ``brain_with_signal``, the share of the T1w's brain where the
        registered T2w is brighter than :data:`SIGNAL` of its 95th percentile there (not zero, where its mean was taken
        off). All in [0, 1].

    Raises
    ------
    ValueError
        When one of the masks is empty.
    """
    inside, other = _array(fixed_mask) > 0, _array(moving_mask) > 0
    if not inside.any() or not other.any():
        raise ValueError(f'the brain mask of the {"T2w" if inside.any() else "T1w"} is empty: nothing can be compared')
    points = apply_affine(fixed_mask.affine, np.argwhere(inside))
    dice, view = {}, {}
    for stage, way in (('before', np.eye(4)), ('affine', np.asarray(matrix, float))):
        voxels = apply_affine(np.linalg.inv(moving_mask.affine) @ way, points)
        seen = ((voxels > -0.5) & (voxels < np.array(other.shape) - 0.5)).all(1)
        shared = np.zeros(len(points), bool)
        shared[seen] = other[tuple(np.rint(voxels[seen]).astype(int).T)]
        # the T2w's brain in voxels of the T1w: one determinant for the grids, one for the scaling of the matrix
        there = other.sum() * abs(np.linalg.det(moving_mask.affine) / np.linalg.det(fixed_mask.affine))
        dice[stage] = _rounded(2 * shared.sum() / (inside.sum() + there / abs(np.linalg.det(way))))
        view[stage] = _rounded(seen.mean())
    values = _array(warped)[inside]
    size = np.abs(values)
    # of a scan whose mean was taken off, tissue may be close to zero, but for nothing else is it zero
    least = SIGNAL * np.percentile(size, 95) if counts_from_zero(values) else 0.0
    bright = (size > least).mean()
    return {'mask_dice': dice, 'brain_in_view': view, 'brain_with_signal': _rounded(bright)}


def alternatives(
    fixed: nb.Nifti1Image,
    fixed_mask: nb.Nifti1Image,
    warped: nb.Nifti1Image,
    moving: nb.Nifti1Image,
    matrix: np.ndarray,
    plane: Midplane,
    one_head: bool = True,
) -> dict[str, Any]:
    """Measure whether the scans would agree better with the T2w shifted, turned or mirrored.

    Mutual information inside the T1w's brain is the judge. A margin is 1 - best / here: the part of the information
    that is lost even in the best of the alternatives. It is near 1 for a registration that is right, near 0 where
    there is nothing to see, and below 0 where one of the alternatives is better.

    Of one head, a shift or turn is compared where it
    shows what lies in the mask, and so is what it is compared with: the dark skull that it brings elsewhere to the dark
    rim of the brain would be information in a scan of little contrast. Both scans are taken by their mean around each
    voxel (:data:`EVEN_MM`): what a coil leaves, and that brains are brighter in their depth than at their rim, is much
    the same in every head and on both sides. A person and a template agree in little else: these are compared as they
    are.

    Parameters
    ----------
    fixed, fixed_mask
        The T1w and its brain mask, on one grid.
    warped
        The registered T2w on the same grid; it is shifted by :data:`SHIFTS_MM` and turned by :data:`TURNS_DEG`.
    moving, matrix
        The T2w on its own grid and a 4x4 from the T1w's world to its world (mm, RAS+): of one head the linear part of
        the result (:func:`.linear_part`), else the affine. It is mirrored after this alone, for a deformation hides a
        mirrored brain; the mirror plane is searched for.
    plane
        Between the halves of the T1w's head: around it the mirror plane is searched, and the brain is turned about the
        point of it that is next to the mask's middle, for a mask may be that of one half.
    one_head
        Both are scans of one head.

    Returns
    -------
    dict
        ``mutual_information`` (nats), ``shift_margin``, ``best_shift`` (words), ``turn_margin``, ``best_turn``,
        ``mirror_margin`` (against the best of all that is not mirrored, so that a shift is not taken for a mirror), and
        ``person_margin`` (mirrored against not, both after the matrix alone: a head is alike to another one about as
        much as to that one's mirror image, and a deformation hides that as well).

    Raises
    ------
    ValueError
        When the mask is empty.
    """
    if one_head:
        fixed, warped, moving = (_evened(one) for one in (fixed, warped, moving))
    brain = _BrainSample(fixed, fixed_mask, everywhere=not one_head)
    registered, native = _Sampled(warped, np.eye(4)), _Sampled(moving, np.asarray(matrix, float))
    still = np.eye(4)
    here, linear = brain.information(registered, still), brain.information(native, still)
    shift = min((brain.moved(registered, way, text) for text, way in _shifts()), key=_least)
    turn = min((brain.moved(registered, way, text) for text, way in _turns(plane.nearest(brain.centre))), key=_least)
    mirrored = _best_mirror(brain, native, plane)
    upright = max(here, linear, shift.there, turn.there)
    return {
        'mutual_information': _rounded(here),
        'shift_margin': shift.margin,
        'best_shift': shift.words,
        'turn_margin': turn.margin,
        'best_turn': turn.words,
        'mirror_margin': _margin(upright, mirrored),
        'person_margin': _margin(linear, mirrored),
    }


def edge_lncc(
    fixed: nb.Nifti1Image,
    fixed_mask: nb.Nifti1Image,
    moving: nb.Nifti1Image,
    matrix: np.ndarray,
    warped: nb.Nifti1Image,
) -> dict[str, float | None]:
    """Correlate the edges (gradient magnitudes) of the two scans locally: Pearson in small cubes, mean over the brain.

    Parameters
    ----------
    fixed, fixed_mask
        The T1w and its brain mask, on one grid.
    moving, matrix
        The T2w on its own grid and the 4x4 from the T1w's world to its world (mm, RAS+).
    warped
        The registered T2w on the grid of the T1w.

    Returns
    -------
    dict
        ``before`` (by the headers; None where less than half of the brain is then in view), ``affine`` and
        ``registered``, each in [-1, 1], high is alike. Cubes in which one of the scans is flat are left out; None where
        all are.

    Raises
    ------
    ValueError
        When the mask is empty.
    """
    mask = _array(fixed_mask) > 0
    if not mask.any():
        raise ValueError('the brain mask of the T1w is empty: nothing can be compared')
    spacing = sizes(fixed.affine)
    # what the filters reach beyond the brain
    rim = np.ceil(WINDOW_MM / spacing).astype(int) + 4
    ends = [np.flatnonzero(mask.any(tuple({0, 1, 2} - {axis}))) for axis in range(3)]
    start = [max(int(found[0]) - reach, 0) for found, reach in zip(ends, rim, strict=True)]
    box = tuple(slice(a, int(found[-1]) + reach + 1) for a, found, reach in zip(start, ends, rim, strict=True))
    inside = mask[box]
    to_world = fixed.affine @ nb.affines.from_matvec(np.eye(3), start)
    edges = _LocalEdges(_array(fixed)[box], inside, spacing)
    found: dict[str, float | None] = {'registered': edges.correlation(_array(warped)[box])}
    values = _array(moving)
    points = apply_affine(to_world, np.argwhere(inside))
    for stage, way in (('affine', np.asarray(matrix, float)), ('before', np.eye(4))):
        to_moving = np.linalg.inv(moving.affine) @ way
        voxels = apply_affine(to_moving, points)
        found[stage] = None
        if ((voxels >= 0) & (voxels <= np.array(values.shape) - 1)).all(1).mean() >= 0.5:
            there = to_moving @ to_world
            seen = ndi.affine_transform(values, there[:3, :3], there[:3, 3], output_shape=inside.shape, order=1)
            found[stage] = edges.correlation(seen)
    return {stage: found[stage] for stage in ('before', 'affine', 'registered')}


def contrast(fixed: nb.Nifti1Image, fixed_mask: nb.Nifti1Image, warped: nb.Nifti1Image) -> float | None:
    """Correlate the intensities of the two scans in the brain, values beyond 1 and 99 % clipped.

    Parameters
    ----------
    fixed, fixed_mask, warped
        The T1w, its brain mask, and the registered T2w, on one grid.

    Returns
    -------
    float or None
        Pearson's correlation: below zero for a T1w and a T2w, whose greys are turned over; 1 for one scan twice. None
        where one of them is constant.
    """
    inside = np.asanyarray(fixed_mask.dataobj) > 0
    clipped = []
    for image in (fixed, warped):
        values = image.get_fdata(dtype=np.float32)[inside].astype(float)
        clipped.append(np.clip(values, *np.percentile(values, (1, 99))))
    if min(values.std() for values in clipped) == 0:
        return None
    return _rounded(np.corrcoef(*clipped)[0, 1])


class _LocalEdges:
    """The edges of an image, to be correlated with those of others in the cube around each voxel of a mask."""

    def __init__(self, image: np.ndarray, mask: np.ndarray, spacing: np.ndarray) -> None:
        self.mask, self.spacing = mask, spacing
        self.size = [2 * max(round((WINDOW_MM / step - 1) / 2), 1) + 1 for step in spacing]
        self.edges, self.mean, self.variance = self._moments(image)

    def _local_mean(self, values: np.ndarray) -> np.ndarray:
        return ndi.uniform_filter(values, self.size)[self.mask].astype(float)

    def _moments(self, image: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the edges of an image, in units of their spread, and their local mean and variance."""
        edges = gradient_magnitude(image, self.spacing)
        edges = edges / max(float(edges[self.mask].std()), 1e-12)
        mean = self._local_mean(edges)
        return edges, mean, self._local_mean(edges * edges) - mean**2

    def correlation(self, image: np.ndarray) -> float | None:
        """Return the mean over the mask of Pearson's correlation with an image on the grid; None if all is flat."""
        edges, mean, variance = self._moments(image)
        # sums of squares lose the small variances of flat cubes, which are left out for it
        some = (self.variance > 1e-4) & (variance > 1e-4)
        if not some.any():
            return None
        shared = self._local_mean(self.edges * edges) - self.mean * mean
        return _rounded((shared[some] / np.sqrt(self.variance[some] * variance[some])).mean())


class _Sampled:
    """An image that is sampled at points of the T1w's world."""

    def __init__(self, image: nb.Nifti1Image, matrix: np.ndarray) -> None:
        self.data = _array(image)
        self.to_voxels = np.linalg.inv(image.affine) @ matrix

    def at(self, points: np.ndarray) -> np.ndarray:
        """Return the values at points (N, 3), linear, zero outside; float32 (N,)."""
        return ndi.map_coordinates(self.data, apply_affine(self.to_voxels, points).T, order=1, mode='constant')


class _BrainSample:
    """Points of the T1w's brain, the intensities that the T1w has there, and whether all are compared everywhere."""

    def __init__(self, fixed: nb.Nifti1Image, mask: nb.Nifti1Image, everywhere: bool) -> None:
        voxels = np.argwhere(_array(mask) > 0)
        if not len(voxels):
            raise ValueError('the brain mask of the T1w is empty: nothing can be compared')
        if len(voxels) > MOST_POINTS:
            voxels = voxels[np.random.default_rng(0).choice(len(voxels), MOST_POINTS, replace=False)]
        self.points = apply_affine(mask.affine, voxels)
        self.centre = self.points.mean(0)
        self.values = _array(fixed)[tuple(voxels.T)]
        self.mask, self.to_voxels, self.everywhere = _array(mask) > 0, np.linalg.inv(mask.affine), everywhere

    def information(self, image: _Sampled, way: np.ndarray) -> float:
        """Return the mutual information (nats) with an image whose world is moved by a 4x4 matrix."""
        return _information(self.values, image.at(apply_affine(way, self.points)))

    def moved(self, image: _Sampled, way: np.ndarray, words: str) -> _Moved:
        """Compare an image whose world is moved by a 4x4 matrix with where it is, where both show the brain."""
        moved = apply_affine(way, self.points)
        seen = np.ones(len(moved), bool) if self.everywhere else self._in_mask(moved)
        if seen.sum() < LEAST_POINTS:
            return _Moved(words, 0.0, None)
        here, other = (_information(self.values[seen], image.at(at[seen])) for at in (self.points, moved))
        return _Moved(words, other, _margin(here, other))

    def _in_mask(self, points: np.ndarray) -> np.ndarray:
        there = np.rint(apply_affine(self.to_voxels, points)).astype(int)
        seen = ((there >= 0) & (there < self.mask.shape)).all(1)
        seen[seen] = self.mask[tuple(there[seen].T)]
        return seen


@dataclass(frozen=True)
class _Moved:
    """An alternative: its words, its information (nats), and what is lost by it; None where nothing is to be lost."""

    words: str
    there: float
    margin: float | None


def _least(moved: _Moved) -> float:
    return np.inf if moved.margin is None else moved.margin


def _evened(image: nb.Nifti1Image) -> nb.Nifti1Image:
    """Return an image by its Gaussian mean around each voxel; air stays dark, and voxels that are 0 do not count."""
    some = nb.Nifti1Image((_array(image) != 0).astype(np.float32), image.affine)
    coarse, share = thinned(image, EVEN_GRID_MM), thinned(some, EVEN_GRID_MM)
    width = EVEN_MM / sizes(coarse.affine)
    sums = [ndi.gaussian_filter(np.abs(np.asarray(one.dataobj)), width, mode='constant') for one in (coarse, share)]
    mean = sums[0] / np.maximum(sums[1], 1e-3)
    way = np.linalg.inv(coarse.affine) @ image.affine
    mean = ndi.affine_transform(mean, way[:3, :3], way[:3, 3], image.shape[:3], order=1, mode='nearest')
    floor = 0.05 * float(np.percentile(mean, 99))
    return nb.Nifti1Image(_array(image) / np.maximum(mean + floor, 1e-12), image.affine)


def _information(one: np.ndarray, other: np.ndarray) -> float:
    """Return the mutual information (nats) of two samples."""
    return binned_information(to_bins(one, BINS), to_bins(other, BINS), BINS)[0]


def _shifts() -> Iterator[tuple[str, np.ndarray]]:
    """Yield words and matrix of every shift."""
    for distance in SHIFTS_MM:
        for text, direction in _DIRECTIONS.items():
            way = np.eye(4)
            way[:3, 3] = -distance * np.array(direction)  # to look further left is to move the picture right
            yield f'{distance:g} mm {text}', way


def _turns(centre: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """Yield words and matrix of every turn about a centre."""
    for degrees in TURNS_DEG:
        for text, axis in _AXES.items():
            for sign in (1, -1):
                turn = Rotation.from_rotvec(sign * degrees * np.array(axis, float), degrees=True).as_matrix()
                yield f'{sign * degrees:+g}° about {text}', _about(turn, centre)


def _about(turn: np.ndarray, centre: np.ndarray) -> np.ndarray:
    """Return the 4x4 matrix of a 3x3 one that leaves a point (mm) where it is."""
    way = np.eye(4)
    way[:3, :3], way[:3, 3] = turn, centre - turn @ centre
    return way


def _best_mirror(brain: _BrainSample, image: _Sampled, plane: Midplane) -> float:
    """Return the largest information with the T2w mirrored at a plane near that between the halves of the head."""

    def loss(parameters: np.ndarray) -> float:
        return -brain.information(image, plane.moved(*parameters).mirror())

    # mm, and degrees about y and z: the T2w's head is not quite where the T1w's is
    start = np.array([[0, 0, 0], [6, 0, 0], [0, 8, 0], [0, 0, 8]], float) - [1.5, 2, 2]
    options = {'initial_simplex': start, 'xatol': 0.25, 'fatol': 1e-4, 'maxfev': 80}
    return -float(minimize(loss, start[0], method='Nelder-Mead', options=options).fun)


def _array(image: nb.Nifti1Image) -> np.ndarray:
    return np.asarray(image.dataobj, np.float32)


def _margin(here: float, there: float) -> float | None:
    """Return which part of the information is lost; None where there was none to lose."""
    return _rounded(1 - there / here) if here > LEAST_INFORMATION else None


def _rounded(value: float) -> float:
    return round(float(value), 5)
