"""Prealignment: one matrix from the fixed world to the moving one, by ANTs.

Rigid on heads, from whatever positions they lie in, then affine inside the brains.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nb
import numpy as np

from bidsreg import SEED
from bidsreg.bids.images import load_image
from bidsreg.errors import InputError
from bidsreg.frame import own_frame, rounded, sizes, without_rounding
from bidsreg.preparation.affine import rigid_matrix
from bidsreg.preparation.ants import load_ants, to_ants
from bidsreg.preparation.compared import compared
from bidsreg.preparation.thinning import thinned, thinned_both
from bidsreg.registration.itk import read_affine, write_affine

#: Voxel size (mm) of the copies on which starting positions are tried: coarse, as many are tried.
START_MM = 6.0
#: Turns (degrees about x, y, z) that are tried from each starting position: none, nodding, tilting, looking aside.
START_TURNS = ((0, 0, 0), (25, 0, 0), (-25, 0, 0), (0, 25, 0), (0, -25, 0), (0, 0, 25), (0, 0, -25))
#: Points at which mutual information is sampled at each level, about: from all starts, on heads, inside masks. More
#: points cost time, fewer make it noisy.
SAMPLES = {'start': 8_000, 'rigid': 30_000, 'affine': 80_000}
#: Transforms and the voxel size (mm) of a level of each, one after the other.
Plan = Sequence[tuple[str, float]]
#: The levels of each stage, of several the cheapest that lose nothing: experiments/linear.py, on the simulated heads
#: 03, 05, 07 and 09.
PLANS: Mapping[str, Plan] = {
    'rigid': (('Rigid', 8.0), ('Rigid', 2.0)),
    'affine': (('Affine', 4.0), ('Affine', 1.0)),
}
#: Those of a sloppy run.
SLOPPY_PLANS: Mapping[str, Plan] = {
    'rigid': (('Rigid', 8.0), ('Rigid', 4.0)),
    'affine': (('Affine', 4.0),),
}
#: Quarter and half turns to the 23 other ways in which three axes can lie along three axes: a head on its side, or a
#: header that is wrong.
FAR_TURNS = (
    *((x, 0, z) for x in (0, 90, 180, -90) for z in (0, 90, 180, -90) if x or z),
    *((x, y, 0) for y in (90, -90) for x in (0, 90, 180, -90)),
)
#: So many of the starts, the likeliest, are followed to their optimum, and the scanner's own positions beside them.
FOLLOWED = 4
#: So many of those with a far turn, beside them; of 24 turns of the example head the likeliest alone was enough.
FOLLOWED_FAR = 2
#: Voxel size (mm) of the copies on which the far starts, of which there are many, are compared.
FAR_MM = 12.0
#: Another start must beat the scanner's own positions by this much mutual information (relative) to be believed:
#: a smaller gain may be chance, and the scanner is most often right.
BELIEF = 0.02
#: The part of either grid that must be in the field of view of the other once the heads are aligned: of a slab hardly
#: any of a whole head is in its own, nor of the air around a head in a wide one.
LEAST_OVERLAP = 0.1
#: mm around a mask that ANTs gets of an image: as far as the widest smoothing reaches inside.
MARGIN_MM = 12.0
#: Steps to which a matrix that is given is rounded in the frame, its linear part and its translation (mm): together
#: they move no point of a head by more than some hundredths of a millimetre, and a search begins there alone.
START_STEPS = 2.0**-14, 2.0**-7


def prealign(
    fixed_path: str,
    moving_path: str,
    *,
    stage: str,
    fixed_mask: str | None = None,
    moving_mask: str | None = None,
    fixed_lesion: str | None = None,
    moving_lesion: str | None = None,
    initial: str | None = None,
    seed: int = SEED,
    sloppy: bool = False,
) -> tuple[np.ndarray, str]:
    """Align two images linearly by mutual information with ANTs: the same bits for the same images and seed.

    It is the same matrix in whatever order the voxels are stored, and however the two headers are turned or moved
    together: ANTs sees the images in the frame of the fixed one (:mod:`bidsreg.frame`). Works in the current folder,
    where ANTs leaves its files.

    Parameters
    ----------
    fixed_path, moving_path
        The images, conformed.
    stage
        ``rigid``: six parameters over whole heads, from several starts; ``affine``: twelve parameters.
    fixed_mask, moving_mask
        Masks to look inside, grown by :data:`bidsreg.preparation.compared.DILATION_MM`.
    fixed_lesion, moving_lesion
        Masks of what is not to be looked at, with and without the former.
    initial
        ITK matrix to start from.
    seed
        Seeds the sampling.
    sloppy
        Fewer iterations on coarser voxels, for trying things out.

    Returns
    -------
    matrix
        4x4, RAS+ mm, fixed world to moving world.
    start
        Words that say where the search started.

    Raises
    ------
    InputError
        If a mask does not fit its image, a lesion covers the brain, or the aligned images hardly overlap.
    """
    fixed, moving = load_image(fixed_path), load_image(moving_path)
    masks = [
        compared(fixed_mask, fixed_lesion, fixed, fixed_path),
        compared(moving_mask, moving_lesion, moving, moving_path),
    ]
    fixed_near, moving_near = (_around(*pair) for pair in zip((fixed, moving), masks, strict=True))
    # which voxels are sampled depends on their order, and which way the search takes on the axes and their origin
    straight = nb.as_closest_canonical(fixed_near[0])
    frame = own_frame(straight.affine, straight.shape)
    (fixed_near, here), (moving_near, there) = (in_frame(*near, frame) for near in (fixed_near, moving_near))
    if initial is not None:
        given = there @ read_affine(initial) @ np.linalg.inv(here)
        start, why = rounded(given, *START_STEPS), 'the matrix given'
    elif stage == 'rigid':
        start, why = find_start(fixed_near[0], moving_near[0], seed=seed)
    else:
        start, why = np.eye(4), 'the positions of the scanner'
    found = start
    for transform, level in _levels((SLOPPY_PLANS if sloppy else PLANS)[stage], fixed, moving):
        # half of the level's voxels: its smoothing leaves nothing finer
        thin = [thinned_both(*near, level / 2) for near in (fixed_near, moving_near)]
        found = optimise(
            to_ants(thin[0][0]),
            to_ants(thin[1][0]),
            found,
            transform=transform,
            level_mm=level,
            masks=[None if mask is None else to_ants(mask, binary=True) for _, mask in thin],
            seed=seed,
            iterations=50 if sloppy else 500,
            samples=SAMPLES[stage],
        )
    matrix = np.linalg.inv(there) @ found @ here
    overlap = max(_overlap(fixed, moving, matrix), _overlap(moving, fixed, np.linalg.inv(matrix)))
    if overlap < LEAST_OVERLAP:
        raise InputError(
            f'{fixed_path} and {moving_path} could not be aligned: {100 * overlap:.0f} % of the one is in the '
            'field of view of the other. Do they show the same head?'
        )
    return matrix, why


def _around(image: nb.Nifti1Image, mask: nb.Nifti1Image | None) -> tuple[nb.Nifti1Image, nb.Nifti1Image | None]:
    """Cut the box around a mask, and :data:`MARGIN_MM` more, out of an image and its mask."""
    if mask is None:
        return image, None
    reach = np.ceil(MARGIN_MM / sizes(image.affine)).astype(int)
    where = np.nonzero(np.asanyarray(mask.dataobj))
    box = tuple(slice(max(axis.min() - n, 0), axis.max() + n + 1) for axis, n in zip(where, reach, strict=True))
    return image.slicer[box], mask.slicer[box]


def in_frame(
    image: nb.Nifti1Image, mask: nb.Nifti1Image | None, frame: np.ndarray
) -> tuple[tuple[nb.Nifti1Image, nb.Nifti1Image | None], np.ndarray]:
    """Move an image and its mask into a frame; there voxels are in RAS+ order, and the grid is free of rounding.

    Returns
    -------
    (image, mask), moved
        Both there; and the rigid 4x4 that they were moved by, the frame's but for the rounding of the grid's centre.
    """

    def in_order(one: nb.Nifti1Image) -> nb.Nifti1Image:
        return nb.as_closest_canonical(nb.Nifti1Image(one.dataobj, frame @ image.affine))

    turned = in_order(image)
    affine, shift = without_rounding(turned.affine, turned.shape)
    moved = frame.copy()
    moved[:3, 3] += shift
    inside = None if mask is None else nb.Nifti1Image(in_order(mask).dataobj, affine)
    return (nb.Nifti1Image(turned.dataobj, affine), inside), moved


def _levels(plan: Plan, *images: nb.Nifti1Image) -> list[tuple[str, float]]:
    """Return the levels of a plan, none finer than an image and none twice."""
    sharpest = max(float(sizes(image.affine).min()) for image in images)
    return list(dict.fromkeys((transform, max(level, sharpest)) for transform, level in plan))


def _overlap(fixed: nb.Nifti1Image, moving: nb.Nifti1Image, matrix: np.ndarray) -> float:
    """Return which part of the fixed grid falls into the moving field of view."""
    voxels = np.indices((16, 16, 16)).reshape(3, -1) / 15 * (np.array(fixed.shape)[:, None] - 1)
    to_moving = np.linalg.inv(moving.affine) @ matrix @ fixed.affine
    where = to_moving[:3, :3] @ voxels + to_moving[:3, 3:]
    return float(np.all((where >= 0) & (where <= np.array(moving.shape)[:, None] - 1), axis=0).mean())


def find_start(fixed: nb.Nifti1Image, moving: nb.Nifti1Image, *, seed: int = SEED) -> tuple[np.ndarray, str]:
    """Find a rigid start for two heads that may lie in any position.

    Parameters
    ----------
    fixed, moving
        The two images.
    seed
        Seeds the sampling.

    Returns
    -------
    matrix
        4x4, RAS+ mm, fixed to moving.
    why
        Words that say which start it grew from.
    """
    fixed, moving = thinned(fixed, START_MM), thinned(moving, START_MM)
    score = _Likeness(fixed, moving)
    centre = _centre_of_mass(fixed)
    shift = np.eye(4)
    shift[:3, 3] = _centre_of_mass(moving) - centre
    header = Start(np.eye(4), 'the positions of the scanner')
    near = [
        start.turned(turn, centre) for start in (header, Start(shift, 'the centres of mass')) for turn in START_TURNS
    ]
    far = [
        Start(shift, 'the centres of mass').turned(way, centre).turned(turn, centre)
        for way in FAR_TURNS
        for turn in START_TURNS
    ]
    rough = _Likeness(thinned(fixed, FAR_MM), thinned(moving, FAR_MM))
    starts = [header, *_likeliest(near[1:], score, FOLLOWED), *_likeliest(far, rough, FOLLOWED_FAR)]
    found = _followed(starts, fixed, moving, score, seed)
    if not found:
        return shift, 'the centres of mass, unrefined'
    best = max(found, key=lambda item: item[0])
    trusted = found[0] if found[0][1].words == header.words else best
    if best[0] - 1 <= (trusted[0] - 1) * (1 + BELIEF):
        best = trusted
    return best[1].matrix, best[1].words


@dataclass(frozen=True, eq=False)
class Start:
    """A matrix to start from, 4x4, fixed world to moving world, and where it comes from in words."""

    matrix: np.ndarray
    words: str

    def turned(self, turn: tuple[int, int, int], centre: np.ndarray) -> Start:
        """Return the start after a turn of the fixed head (degrees about x, y, z) about a centre."""
        words = f'{self.words}, turned by {turn} degrees' if any(turn) else self.words
        return Start(self.matrix @ rigid_matrix(turn, centre=centre), words)


def _likeliest(starts: Sequence[Start], score: _Likeness, count: int) -> list[Start]:
    """Return the starts with the highest scores."""
    return sorted(starts, key=lambda start: -score(start.matrix))[:count]


def _followed(
    starts: Sequence[Start], fixed: nb.Nifti1Image, moving: nb.Nifti1Image, score: _Likeness, seed: int
) -> list[tuple[float, Start]]:
    """Follow starts to their optimum, those that have one; return each with its score there."""
    images = to_ants(fixed), to_ants(moving)
    found = []
    for start in starts:
        if not np.isfinite(score(start.matrix)):
            continue
        try:
            matrix = optimise(
                *images,
                start.matrix,
                transform='Rigid',
                level_mm=START_MM,
                seed=seed,
                iterations=60,
                samples=SAMPLES['start'],
            )
        except RuntimeError:  # ANTs gives up when the images drift apart
            continue
        found.append((score(matrix), Start(matrix, start.words)))
    return found


class _Likeness:
    """Normalised mutual information of two coarse images under a matrix, or -inf where they hardly overlap."""

    def __init__(self, fixed: nb.Nifti1Image, moving: nb.Nifti1Image, bins: int = 32):
        self.bins = bins
        self.fixed, self.moving = (self._levels(image.get_fdata()) for image in (fixed, moving))
        voxels = np.indices(fixed.shape).reshape(3, -1)
        self.points = np.vstack(
            [fixed.affine[:3] @ np.vstack([voxels, np.ones(voxels.shape[1])]), np.ones(voxels.shape[1])]
        )
        self.to_voxel = np.linalg.inv(moving.affine)
        self.head = self.fixed.ravel() > 0.1 * (bins - 1)

    def _levels(self, data: np.ndarray) -> np.ndarray:
        low, high = np.percentile(data, (0.5, 99.5))
        return np.clip((data - low) / max(high - low, 1e-6), 0, 1) * (self.bins - 1)

    def __call__(self, matrix: np.ndarray) -> float:
        from scipy import ndimage

        where = (self.to_voxel @ matrix @ self.points)[:3]
        seen = np.all((where >= 0) & (where <= np.array(self.moving.shape)[:, None] - 1), axis=0)
        if (seen & self.head).sum() < 0.3 * self.head.sum():
            return -np.inf
        moving = ndimage.map_coordinates(self.moving, where[:, seen], order=1)
        # values between the levels and ranges of their own: registration.metrics bins otherwise
        joint = np.histogram2d(self.fixed.ravel()[seen], moving, bins=self.bins, range=[[0, self.bins - 1]] * 2)[0]
        joint /= joint.sum()
        return (_entropy(joint.sum(0)) + _entropy(joint.sum(1))) / _entropy(joint)


def _entropy(probabilities: np.ndarray) -> float:
    positive = probabilities[probabilities > 0]
    return float(-(positive * np.log(positive)).sum()) + 1e-12


def _centre_of_mass(image: nb.Nifti1Image) -> np.ndarray:
    """Return the centre of mass (mm) of what is brighter than the background."""
    data = image.get_fdata()
    low, high = np.percentile(data, (1, 99))
    weights = np.clip(data - low - 0.1 * (high - low), 0, None).clip(max=high)
    voxel = [
        (weights.sum(axis=tuple({0, 1, 2} - {axis})) @ np.arange(size)) / weights.sum()
        for axis, size in enumerate(data.shape)
    ]
    return image.affine[:3, :3] @ voxel + image.affine[:3, 3]


def optimise(
    fixed: Any,
    moving: Any,
    start: np.ndarray,
    *,
    transform: str,
    level_mm: float,
    masks: Sequence[Any] = (None, None),
    seed: int,
    iterations: int,
    samples: int,
) -> np.ndarray:
    """Maximise Mattes mutual information over a linear transform with antsRegistration.

    Parameters
    ----------
    fixed, moving
        ANTsImages.
    start
        4x4, RAS+ mm, fixed to moving.
    transform
        ``'Rigid'`` or ``'Affine'``.
    level_mm
        Voxel size of the fixed image that is compared; both images are smoothed by half of it.
    masks
        ANTsImages or ``None``, for fixed and moving.
    seed
        Seeds the jitter on the sampled points.
    iterations
        The most.
    samples
        Points to look at, about.

    Returns
    -------
    numpy.ndarray
        4x4, RAS+ mm, fixed to moving.

    Raises
    ------
    RuntimeError
        If ANTs fails, as it does when the images do not overlap.
    """
    ants = load_ants()
    from ants.internal import get_pointer_string

    # the library reads the images behind the pointers as what --float 0 says, whatever they are
    fixed, moving = fixed.clone('double'), moving.clone('double')
    # short names in the working folder: ANTs' parser trips over spaces and brackets in paths
    start_file, result_file = Path('ants_start.txt'), Path('ants_0GenericAffine.mat')
    result_file.unlink(missing_ok=True)
    write_affine(start_file, start)
    pointers = f'{get_pointer_string(fixed)},{get_pointer_string(moving)}'
    arguments = ['--dimensionality', '3', '--float', '0', '--output', 'ants_', '-r', str(start_file)]
    arguments += ['--random-seed', str(seed or 1)]  # to ANTs, 0 means the clock
    arguments += ['--collapse-output-transforms', '1', '--write-composite-transform', '0']
    if any(mask is not None for mask in masks):
        arguments += ['--masks', '[' + ','.join('NA' if m is None else get_pointer_string(m) for m in masks) + ']']
    arguments += ['--transform', f'{transform}[0.1]']
    rate = _sampling_rate(fixed, masks[0], level_mm, samples)
    arguments += ['--metric', f'Mattes[{pointers},1,32,Regular,{rate:.4f}]']
    arguments += ['--convergence', f'[{iterations},1e-6,10]']
    arguments += ['--shrink-factors', str(max(1, round(level_mm / min(fixed.spacing))))]
    arguments += ['--smoothing-sigmas', f'{level_mm / 2:g}mm']
    if ants.registration(arguments, None) != 0 or not result_file.exists():
        raise RuntimeError('antsRegistration failed: do the two images show the same head?')
    return read_affine(result_file)


def _sampling_rate(image: Any, mask: Any, voxel_mm: float, samples: int) -> float:
    """Return which part of the voxels of a level to look at, so that about ``samples`` of the domain are seen."""
    voxels = float(np.prod(image.shape)) if mask is None else float((mask.numpy() > 0).sum())
    voxels *= float(np.prod(np.minimum(1.0, np.divide(image.spacing, voxel_mm))))  # an axis is never made finer
    return float(np.clip(samples / max(voxels, 1.0), 0.01, 1.0))
