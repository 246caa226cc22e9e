"""The judge: how good is a deformation? The numbers of the benchmark and of the tables of methods are defined here.

What a run says of its own result (``result.json``, the QC file) comes from `bidsreg.registration.metrics`: its folds
are counted by three difference schemes over the whole field; SDlogJ and inverse consistency are computed as here.

Fields are judged without the affine, on their own grids, inside the brain mask of the fixed image. Lengths are in mm,
on grids with axes at right angles in any position.

Dice coefficient
    Twice the voxels in common over the sum of both, for each label, of the fixed labels and the moving labels brought
    onto their grid by nearest neighbour. A label that one of the two *images* lacks is unknown: NaN, neither 0 nor 1,
    and no part of the mean. A label that both have and the deformation has squeezed out counts as 0.
HD95
    The 95th percentile of the distances from the surface of a label to its surface in the other image, the larger of
    both directions; NaN where there is no surface on both sides.
Target registration error
    Distance between where the deformation takes a point of the fixed image and where it truly lies in the moving one:
    mean and 95th percentile over points.
Folds
    Voxels in the mask whose Jacobian determinant, by central differences, is not positive, as the Learn2Reg challenge
    counts them. (The solver is stricter with itself: it repairs what folds by forward or backward differences, too.)
Non-diffeomorphic volume
    Volume of the tetrahedra between voxel centres that the field turns over (Liu et al. 2024,
    doi:10.1007/s11263-024-02047-1), in percent of the mask. It finds the folds that central differences miss.
SDlogJ
    Standard deviation of the natural logarithm of the determinant (central differences) over all voxels of the mask,
    the determinant clipped to [1e-9, 1e9]: a folded voxel counts with log 1e-9. (Learn2Reg's own script adds 3 to the
    determinant before it takes the logarithm.)
Scan-rescan consistency
    Needs no labels, but two sessions of one person. Maps from the first session's T1w to the second one's are found
    from T1w to T1w, from T2w to T2w and from T1w to T2w, the last two brought between the T1w by each session's own
    prealignment. They should lead every point to one place: the distance between the ends of two of them, its mean over
    points of the brain and over the three twos. It punishes what contrast and noise do to a method, and what the
    prealignments miss; it rewards a method that does nothing, so look at other measures, too.
Inverse consistency error
    Distance between a point of the mask and where the field and then its inverse take it: mean over voxels.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import combinations, product
from typing import Any

import numpy as np
from scipy import ndimage as ndi

from bidsreg.registration import metrics
from bidsreg.registration.deformation import Deformation
from bidsreg.registration.grid import Grid
from bidsreg.registration.image import Image, resample

NAN = float('nan')
#: mm: a point that got farther from its true place by less is not worse; float32 fields round.
ROUND_OFF_MM = 1e-6


def evaluate(
    found: Deformation,
    mask: Image,
    *,
    fixed_labels: Image | None = None,
    moving_labels: Image | None = None,
    labels: Mapping[int, str] | None = None,
    points: np.ndarray | None = None,
) -> tuple[dict[str, Any], Image | None]:
    """Measure everything that can be known about a deformation.

    Parameters
    ----------
    found : Deformation
        Fixed to moving.
    mask : Image
        Brain mask in the fixed world.
    fixed_labels, moving_labels : Image, optional
        Label images on their own grids; overlap is measured where both are given.
    labels : mapping, optional
        Names of the labels that count, by value.
    points : ndarray, shape (N, 6), optional
        World mm (RAS+): places in the fixed image, and the same places in the moving one.

    Returns
    -------
    measures : dict
        See :func:`field_measures`; with labels those of :func:`label_measures`; with points ``tre_mean`` and
        ``tre_p95``. The keys are those of :data:`bidsreg.benchmark.measures.MEASURES`, and ``labels``.
    moved : Image or None
        The moving labels on the grid of the fixed ones, if there are labels.
    """
    out: dict[str, Any] = field_measures(found, mask)
    moved = None
    if fixed_labels is not None and moving_labels is not None:
        measures, moved = label_measures(fixed_labels, moving_labels, found, labels or {})
        out |= measures
    if points is not None:
        errors = target_errors(points, found)
        out |= {'tre_mean': errors['mean'], 'tre_p95': errors['p95']}
    return out, moved


# ---------------------------------------------------------------------------------------------------- labels
def label_measures(
    fixed: Image, moving: Image, found: Deformation, labels: Mapping[int, str]
) -> tuple[dict[str, Any], Image]:
    """Measure overlap and distance of labels, the moving ones brought onto the fixed grid by nearest neighbour.

    Parameters
    ----------
    fixed, moving : Image
        Label images on their own grids.
    found : Deformation
        Fixed to moving.
    labels : mapping
        Names of the labels that count, by value.

    Returns
    -------
    measures : dict
        ``dice_mean``, ``hd95_mean`` (mm) and ``labels`` (``{value: {'dice', 'hd95'}}``, values as text).
    moved : Image
        The moving labels on the fixed grid.
    """
    moved = found.apply(moving, fixed.grid, order=0)
    overlap = dice(fixed.data, moved.data, labels)
    distance = hd95(fixed.data, moved.data, labels, fixed.grid.spacing)
    for label in np.intersect1d(np.unique(fixed.data), np.unique(moving.data)).tolist():
        if label in overlap and np.isnan(overlap[label]):  # both images have it: it was squeezed out
            overlap[label] = 0.0
    return {
        'dice_mean': _mean(overlap.values()),
        'hd95_mean': _mean(distance.values()),
        'labels': {str(label): {'dice': overlap[label], 'hd95': distance[label]} for label in labels},
    }, moved


def _mean(values: Iterable[float]) -> float:
    known = [value for value in values if np.isfinite(value)]
    return float(np.mean(known)) if known else NAN


def dice(one: np.ndarray, other: np.ndarray, labels: Iterable[int]) -> dict[int, float]:
    """Compute the Dice coefficient of each label: twice the voxels in common over the sum of both.

    Parameters
    ----------
    one, other : ndarray of int, shape (X, Y, Z)
        Label images on one grid.
    labels : iterable of int
        Which values to compare.

    Returns
    -------
    dict
        Coefficients from 0 to 1 by label; NaN where an image has no voxel of it.
    """
    out = {}
    for label in labels:
        ours, theirs = one == label, other == label
        sizes = int(ours.sum()), int(theirs.sum())
        out[label] = 2 * int((ours & theirs).sum()) / sum(sizes) if min(sizes) else NAN
    return out


def hd95(one: np.ndarray, other: np.ndarray, labels: Iterable[int], spacing: np.ndarray) -> dict[int, float]:
    """Compute the distance (mm) that 95 % of the surface of each label keeps to its surface in the other image.

    Surfaces are the voxels with a neighbour (of six) outside of the label, distances those between voxel centres; of
    the two directions the larger one counts, as in MONAI and in the surface distances of Learn2Reg (which weigh
    surface voxels by their area).

    Parameters
    ----------
    one, other : ndarray of int, shape (X, Y, Z)
        Label images on one grid.
    labels : iterable of int
        Which values to compare.
    spacing : ndarray, shape (3,)
        Size of the voxels, mm.

    Returns
    -------
    dict
        mm by label; NaN where an image has no voxel of it.
    """
    return {label: _hd95(one == label, other == label, spacing) for label in labels}


def _hd95(one: np.ndarray, other: np.ndarray, spacing: np.ndarray) -> float:
    if not (one.any() and other.any()):
        return NAN
    # a distance transform needs no more than the box around both
    box = ndi.find_objects((one | other).astype(np.uint8))[0]
    edges = [part & ~ndi.binary_erosion(part) for part in (one[box], other[box])]
    away = [ndi.distance_transform_edt(~edge, sampling=spacing) for edge in edges]
    return float(max(np.percentile(away[1][edges[0]], 95), np.percentile(away[0][edges[1]], 95)))


# ---------------------------------------------------------------------------------------------------- points
def point_errors(points: np.ndarray, found: Deformation) -> np.ndarray:
    """Compute the distance (mm) between where a deformation takes each point and where it truly lies.

    Parameters
    ----------
    points : ndarray, shape (N, 6)
        World mm (RAS+): places in the fixed image, and the same places in the moving one.
    found : Deformation
        Fixed to moving.

    Returns
    -------
    ndarray, shape (N,)
    """
    return np.linalg.norm(found.points(points[:, :3]) - points[:, 3:], axis=1)


def error_summary(errors: np.ndarray) -> dict[str, float]:
    """Summarise distances as every table has them: their mean and 95th percentile (``p95``), in their unit."""
    return {'mean': float(errors.mean()), **metrics.summary(errors, {'p95': 95})}


def target_errors(points: np.ndarray, found: Deformation) -> dict[str, float]:
    """Take the mean and the 95th percentile (``p95``) of :func:`point_errors`, mm."""
    return error_summary(point_errors(points, found))


def percent_worse(points: np.ndarray, found: Deformation) -> float:
    """Return the percentage of points that lie farther from their true places than by the affine alone.

    Parameters
    ----------
    points, found
        See :func:`point_errors`.
    """
    before = point_errors(points, Deformation.from_affine(found.affine, found.grid))
    return 100 * float((point_errors(points, found) > before + ROUND_OFF_MM).mean())


def consistency(ends: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Measure how far apart several maps take the same points: see scan-rescan consistency above.

    Parameters
    ----------
    ends : mapping of str to ndarray, shape (N, 3)
        Where each map takes the same N points, world mm; two maps at least.

    Returns
    -------
    dict
        ``mean`` (mm): over points and over each two maps; and for each two maps, ``ONE | OTHER``, the mean over points.

    Raises
    ------
    ValueError
        If there are fewer than two maps.
    """
    if len(ends) < 2:
        raise ValueError('consistency needs two maps at least')
    apart = {
        f'{one} | {other}': float(np.linalg.norm(ends[one] - ends[other], axis=1).mean())
        for one, other in combinations(ends, 2)
    }
    return {'mean': float(np.mean(list(apart.values()))), **apart}


# ---------------------------------------------------------------------------------------------------- the field
def field_measures(found: Deformation, mask: Image) -> dict[str, float]:
    """Measure how a field folds and stretches, and how well its inverse fits.

    Parameters
    ----------
    found : Deformation
        Fixed to moving.
    mask : Image
        Brain mask in the fixed world, on any grid.

    Returns
    -------
    dict
        See :func:`jacobian_measures`, and ``inverse_consistency_mm``: the mean of :func:`inverse_consistency`.
    """
    inside = mask_on(found.grid, mask)
    return {
        **jacobian_measures(found.forward, found.grid, inside),
        'inverse_consistency_mm': inverse_consistency(found, inside)['mean'],
    }


def mask_on(grid: Grid, mask: Image) -> np.ndarray:
    """Bring a mask onto the grid of a field by nearest neighbour: bool, shape (X, Y, Z)."""
    return resample(mask, grid, order=0) > 0


def jacobian_measures(displacement: np.ndarray, grid: Grid, inside: np.ndarray) -> dict[str, float]:
    """Measure how a displacement field stretches and folds space within a mask.

    Parameters
    ----------
    displacement : ndarray, shape (X, Y, Z, 3)
        mm, RAS+, without an affine.
    grid : Grid
        Where it lies.
    inside : ndarray of bool, shape (X, Y, Z)
        The mask.

    Returns
    -------
    dict
        ``folds`` (voxels), ``folds_percent`` (of the mask), ``ndv_percent`` (non-diffeomorphic volume, of the mask)
        and ``sdlogj``.

    Raises
    ------
    ValueError
        If the mask is empty.
    """
    count = int(inside.sum())
    if not count:
        raise ValueError('the mask does not meet the grid of the displacement field')
    determinant = metrics.jacobian_determinant(displacement, grid)
    folds = int((determinant[inside] <= 0).sum())
    return {
        'folds': folds,
        'folds_percent': 100 * folds / count,
        'ndv_percent': 100 * non_diffeomorphic_volume(displacement, grid, inside) / count,
        'sdlogj': metrics.jacobian_summary(determinant, inside, folds)['sdlogj'],
    }


def non_diffeomorphic_volume(displacement: np.ndarray, grid: Grid, inside: np.ndarray) -> float:
    """Compute the volume that a field turns inside out, in voxels (Liu et al. 2024, doi:10.1007/s11263-024-02047-1).

    Between voxel centres space is filled by tetrahedra, five to each cube and in two ways; the volume of those that
    the field turns over is counted, half for each way. Unlike central differences this misses no fold.

    Parameters
    ----------
    displacement : ndarray, shape (X, Y, Z, 3)
        mm, RAS+, without an affine.
    grid : Grid
        Where it lies.
    inside : ndarray of bool, shape (X, Y, Z)
        A tetrahedron counts where its apex is inside.
    """
    # in voxels: volumes are then those of voxels, in whatever position and spacing
    moved = displacement @ np.linalg.inv(grid.affine[:3, :3]).T.astype(displacement.dtype)
    moved = np.pad(np.moveaxis(moved, -1, 0), [(0, 0)] + [(1, 1)] * 3, mode='edge')
    turned = sum(float(np.maximum(-volume, 0).sum()) for volume in _tetrahedra(moved, np.argwhere(inside).T + 1))
    return turned / 6 / 2


def _tetrahedra(moved: np.ndarray, apexes: np.ndarray) -> Iterator[np.ndarray]:
    """Yield six times the signed volumes at each apex: eight in the corners of cubes, two in their middles.

    `moved` are displacements in voxels, components first, with a margin of one voxel; `apexes` are indices into it.
    """
    edges = _Edges(moved, apexes)
    for signs in product((1, -1), repeat=3):
        yield edges.determinant(np.diag(signs)) * np.prod(signs)
    for sign in (1, -1):
        steps = sign * (1 - np.eye(3, dtype=int))[::-1]
        yield edges.determinant(steps) * round(float(np.sign(np.linalg.det(steps))))


class _Edges:
    """The edges that lead from each apex to its neighbours, each looked up once: several tetrahedra share them."""

    def __init__(self, moved: np.ndarray, apexes: np.ndarray) -> None:
        self._parts = [part.ravel() for part in moved]
        self._strides = np.array([moved.shape[2] * moved.shape[3], moved.shape[3], 1])
        self._places = self._strides @ apexes
        self._starts = [part[self._places] for part in self._parts]
        self._known: dict[tuple[int, ...], list[np.ndarray]] = {}

    def _edge(self, step: np.ndarray) -> list[np.ndarray]:
        key = tuple(step.tolist())
        if key not in self._known:
            ends = self._places + self._strides @ step
            self._known[key] = [
                part[ends] - start + along for part, start, along in zip(self._parts, self._starts, key, strict=True)
            ]
        return self._known[key]

    def determinant(self, steps: np.ndarray) -> np.ndarray:
        """Return the determinant of three edges, those of the rows of `steps`, at each apex."""
        (a, b, c), (d, e, f), (g, h, i) = map(self._edge, steps)
        return a * (e * i - f * h) + b * (f * g - d * i) + c * (d * h - e * g)


def inverse_consistency(found: Deformation, inside: np.ndarray) -> dict[str, float]:
    """Measure how far points of a mask lie from where the field and then its inverse take them.

    Parameters
    ----------
    found : Deformation
        A deformation with both of its fields.
    inside : ndarray of bool
        The mask, on the grid of the fields.

    Returns
    -------
    dict
        ``mean``, ``p95``, ``p99`` and ``max``, mm; all NaN when the inverse is not known everywhere.
    """
    if not np.isfinite(found.inverse).all():
        return dict.fromkeys(('mean', 'p95', 'p99', 'max'), NAN)
    return metrics.inverse_consistency(found.forward, found.inverse, found.grid, inside)
