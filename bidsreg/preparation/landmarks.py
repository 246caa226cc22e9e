"""Eyes and temporal muscles in a T1w and in the T2w on its grid: where a template says, and what looks like them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import nibabel as nb
import numpy as np

from bidsreg import SEED
from bidsreg.frame import sizes
from bidsreg.preparation.ants import to_ants
from bidsreg.preparation.prealign import find_start, optimise

#: Voxel size (mm) of the template, and of the level on which a brain is aligned with it.
TEMPLATE_MM, LEVEL_MM = 2, 4.0
#: Places of the right half of the head in the template's world, mm; the left ones mirror them. The eyes are the mean of
#: twelve heads with labels of eyes, aligned as :func:`to_template` does (one lay 28 mm away, the others within 11 mm);
#: the box of the muscle holds what fills the temporal fossa of the same heads.
EYE, EYE_REACH = (34.0, 57.0, -42.0), 30.0
MUSCLE_BOX = ((44.0, 0.0, -45.0), (82.0, 45.0, 0.0))
#: mm around the brain mask that belong to neither.
AWAY_MM = 4.0
#: What fluid and muscle look like, as parts of the median of white matter (a median over the whole brain goes with how
#: much of it is fluid): at least and at most so bright in the T1w and in the T2w. By judgement: fluid is darker than
#: grey matter in a T1w and brighter than all else in a T2w; muscle is like grey matter in a T1w, where bone is dark and
#: fat bright, and darker than white matter in a T2w.
FLUID: Mapping[str, tuple[float, float]] = MappingProxyType({'t1w': (0.0, 0.4), 't2w': (1.7, np.inf)})
MUSCLE: Mapping[str, tuple[float, float]] = MappingProxyType({'t1w': (0.25, 0.9), 't2w': (0.0, 0.75)})
#: An eyeball has about 7 ml and is 24 mm wide; one that is larger or smaller by far (ml, mm), or fills less of the
#: ellipsoid in its box than this, is none.
EYE_ML, EYE_WIDTH_MM, EYE_FILL = (2.0, 12.0), 35.0, 0.55
#: The least muscle (ml) after its rim has been taken away.
MUSCLE_ML = 0.5
#: mm by which what looks like an eye is opened, so that it lets go of what it touches, and by which the rim of both,
#: where voxels are mixed, is taken away.
OPENING_MM, RIM_MM = 3.0, 2.0


def to_template(t1w: nb.Nifti1Image, inside: np.ndarray) -> np.ndarray:
    """Align the brain of a T1w with the MNI152 brain that nilearn ships, by an affine.

    Works in the current folder, where ANTs leaves its files.

    Parameters
    ----------
    t1w
        The image.
    inside
        bool, of its shape: the brain.

    Returns
    -------
    numpy.ndarray
        4x4, the image's world to that of the template, mm, RAS+.
    """
    from nilearn.datasets import load_mni152_template

    template = load_mni152_template(resolution=TEMPLATE_MM)
    where = np.nonzero(inside)
    box = tuple(slice(axis.min(), axis.max() + 1) for axis in where)
    data = np.where(inside, t1w.get_fdata(dtype=np.float32), np.float32(0))
    brain = nb.as_closest_canonical(nb.Nifti1Image(data, t1w.affine).slicer[box])
    start, _ = find_start(brain, template, seed=SEED)
    return optimise(
        to_ants(brain),
        to_ants(template),
        start,
        transform='Affine',
        level_mm=LEVEL_MM,
        seed=SEED,
        iterations=200,
        samples=30_000,
    )


@dataclass(frozen=True, eq=False)
class SeenHead:
    """What landmarks are looked for in.

    Attributes
    ----------
    t1w, t2w
        The images, float, on one grid.
    inside, white
        bool, of their shape: the brain, and its white matter.
    affine
        4x4, voxel to world, mm.
    template
        4x4, world to that of the template (:func:`to_template`).
    """

    t1w: np.ndarray
    t2w: np.ndarray
    inside: np.ndarray
    white: np.ndarray
    affine: np.ndarray
    template: np.ndarray


def find_eyes(head: SeenHead) -> np.ndarray:
    """Find the fluid of the eyeballs: near the place of each eye the largest ball that looks like fluid.

    Returns
    -------
    numpy.ndarray
        bool, of the shape of the images, without the rim; empty where no eye was found.
    """
    spacing = sizes(head.affine)

    def one(looks_like: np.ndarray, points: np.ndarray, side: int) -> np.ndarray:
        near = np.linalg.norm(points - np.multiply(EYE, (side, 1, 1)), axis=-1) < EYE_REACH
        return _eroded(_eyeball(looks_like & near, spacing), spacing)

    ends = np.add.outer((-EYE_REACH, EYE_REACH), EYE)
    return _on_both_sides(one, head, FLUID, ends)


def find_muscle(head: SeenHead) -> np.ndarray:
    """Find the temporal muscles: in the fossa of each side the largest region that looks like muscle.

    The result is that of :func:`find_eyes`.
    """
    spacing = sizes(head.affine)

    def one(looks_like: np.ndarray, points: np.ndarray, side: int) -> np.ndarray:
        place = points * (side, 1, 1)
        within = ((place >= MUSCLE_BOX[0]) & (place <= MUSCLE_BOX[1])).all(-1)
        muscle = _largest(_eroded(looks_like & within, spacing))
        return muscle & (_millilitres(muscle, spacing) >= MUSCLE_ML)

    return _on_both_sides(one, head, MUSCLE, np.array(MUSCLE_BOX))


def _on_both_sides(
    one: Callable[[np.ndarray, np.ndarray, int], np.ndarray],
    head: SeenHead,
    looks: Mapping[str, tuple[float, float]],
    ends: np.ndarray,
) -> np.ndarray:
    """Look for one thing on both sides of a head, each in the box of voxels around its place.

    Parameters
    ----------
    one
        Gets what looks like it (bool), the world mm in the template of the same voxels, and the side (1: right).
    head
        Where it is looked for.
    looks
        How bright it is in both scans.
    ends
        Two opposite corners of the place on the right, mm, in the template.
    """
    found = np.zeros(head.inside.shape, bool)
    scans = {'t1w': head.t1w, 't2w': head.t2w}
    seen = head.white & (head.t1w > 0) & (head.t2w > 0)  # a T2w may cover a part of the brain
    if not seen.any():
        return found
    spacing, way = sizes(head.affine), head.template @ head.affine
    medians = {name: float(np.median(data[seen])) for name, data in scans.items()}
    for side in (-1, 1):
        box = _box(ends * (side, 1, 1), way, found.shape)
        if any(part.start >= part.stop for part in box):
            continue
        index = np.stack(np.meshgrid(*(np.arange(part.start, part.stop) for part in box), indexing='ij'), -1)
        looks_like = _away(head.inside, box, spacing)
        for name, data in scans.items():
            low, high = (medians[name] * part for part in looks[name])
            looks_like &= (data[box] > low) & (data[box] < high)
        found[box] |= one(looks_like, nb.affines.apply_affine(way, index), side)
    return found


def _box(ends: np.ndarray, matrix: np.ndarray, shape: Sequence[int]) -> tuple[slice, ...]:
    """Return the voxels around a box whose corners (2, 3) lie where a matrix takes voxels to."""
    corners = np.stack(np.meshgrid(*ends.T, indexing='ij'), -1).reshape(-1, 3)
    voxels = nb.affines.apply_affine(np.linalg.inv(matrix), corners)
    low, high = np.floor(voxels.min(0)).astype(int), np.ceil(voxels.max(0)).astype(int) + 1
    return tuple(slice(max(a, 0), min(b, n)) for a, b, n in zip(low, high, shape, strict=True))


def _away(inside: np.ndarray, box: tuple[slice, ...], spacing: np.ndarray) -> np.ndarray:
    """Return which voxels of a box are far enough from the brain."""
    from scipy import ndimage

    if not inside[box].any():
        return np.ones(inside[box].shape, bool)
    return np.asarray(ndimage.distance_transform_edt(~inside[box], sampling=spacing) > AWAY_MM)


def _eyeball(looks_like: np.ndarray, spacing: np.ndarray) -> np.ndarray:
    """Return the largest region that has let go of what it touched, if it is an eyeball; else nothing."""
    from scipy import ndimage

    ball = _largest(ndimage.binary_opening(looks_like, _structure(OPENING_MM, spacing)))
    if not ball.any():
        return ball
    widths = np.array([(np.ptp(axis) + 1) * step for axis, step in zip(np.nonzero(ball), spacing, strict=True)])
    volume = _millilitres(ball, spacing)
    fill = 1000 * volume / (np.pi / 6 * widths.prod())
    plausible = EYE_ML[0] <= volume <= EYE_ML[1] and widths.max() <= EYE_WIDTH_MM and fill >= EYE_FILL
    return ball if plausible else np.zeros_like(ball)


def _largest(region: np.ndarray) -> np.ndarray:
    from scipy import ndimage

    labels, count = ndimage.label(region)
    return np.asarray(labels == np.bincount(labels.ravel())[1:].argmax() + 1) if count else np.zeros_like(region)


def _eroded(region: np.ndarray, spacing: np.ndarray) -> np.ndarray:
    from scipy import ndimage

    return np.asarray(ndimage.binary_erosion(region, _structure(RIM_MM, spacing)))


def _structure(radius: float, spacing: np.ndarray) -> np.ndarray:
    """Return which voxels about one lie within a radius (mm): bool, an odd number along each axis."""
    reach = np.floor(radius / spacing).astype(int)
    away = np.meshgrid(*(np.arange(-n, n + 1) * step for n, step in zip(reach, spacing, strict=True)), indexing='ij')
    return np.asarray(sum(axis**2 for axis in away) <= radius**2)


def _millilitres(region: np.ndarray, spacing: np.ndarray) -> float:
    return float(region.sum() * spacing.prod() / 1000)
