"""Which linear transform of a head is kept: the affine, or the rigid that it began with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import nibabel as nb
import numpy as np

from bidsreg.bids.images import load_image
from bidsreg.errors import InputError
from bidsreg.frame import own_frame
from bidsreg.preparation.grids import require_same_grid
from bidsreg.preparation.lesions import without_lesion
from bidsreg.preparation.prealign import in_frame
from bidsreg.preparation.thinning import thinned, thinned_mask
from bidsreg.registration.grid import Grid
from bidsreg.registration.image import Image
from bidsreg.registration.looking import mind_distances

#: Voxel size (mm) of the copies that are compared. On 32 cases of experiments/kept.py (heads 01, 02, 03 and 05, three
#: sessions) 1 and 3 mm decide alike but for two and one whose distances differ by less than .5 %.
LOOK_MM = 2.0
#: A stretch that is none, but for the last bits of a matrix.
ROUNDING = 1e-6


@dataclass(frozen=True)
class LinearChoice:
    """Which linear transform is kept, and why.

    Attributes
    ----------
    kept
        ``rigid`` or ``affine``.
    mind_heldout
        The held-out MIND distance in the inner half of the brain after each of the two, low is alike.
    stretch
        By which fraction the affine makes the head longer or shorter, in the direction where this is most.
    """

    kept: str
    mind_heldout: Mapping[str, float]
    stretch: float


def choose_linear(
    fixed_path: str,
    moving_path: str,
    *,
    rigid: np.ndarray,
    affine: np.ndarray,
    fixed_mask: str,
    fixed_lesion: str | None = None,
    moving_lesion: str | None = None,
) -> LinearChoice:
    """Keep the affine between two scans of one head if what it stretches is seen in their structure, else the rigid.

    The affine maximises mutual information inside masks, and follows what the two contrasts show of the brain's
    surface: where fluid, dura and bone are as bright as tissue in one of them alone, it scales a brain that has one
    size. So both are judged where that is far away, in the inner half of the brain, and by what was not maximised: the
    distance of MIND (:func:`bidsreg.registration.looking.mind_distances`). A head has one size, so a stretch has to be
    earned: the affine is kept if it lowers the distance by at least the fraction by which it stretches the head.

    Parameters
    ----------
    fixed_path, moving_path
        The two scans, without their bias fields.
    rigid, affine
        4x4, RAS+ mm, fixed world to moving world.
    fixed_mask
        Brain mask of the fixed scan.
    fixed_lesion, moving_lesion
        Masks of what is not to be looked at.

    Raises
    ------
    InputError
        If a mask does not fit its image or is empty, a lesion covers the brain, or nothing of the brain is in view.
    """
    fixed, moving, mask = (load_image(path) for path in (fixed_path, moving_path, fixed_mask))
    require_same_grid(mask, fixed, what='Mask', path=fixed_mask, of=fixed_path)
    marks = _lesion(fixed_lesion, fixed, mask, fixed_path), _lesion(moving_lesion, moving, None, moving_path)
    # which voxels are averaged must not depend on their order, nor on how headers lay the head into the world
    straight = nb.as_closest_canonical(fixed)
    frame = own_frame(straight.affine, straight.shape)
    (fixed, _), here = in_frame(fixed, None, frame)
    (moving, _), there = in_frame(moving, None, frame)
    matrices = {name: there @ matrix @ np.linalg.inv(here) for name, matrix in (('rigid', rigid), ('affine', affine))}
    near, brain = thinned(fixed, LOOK_MM), thinned_mask(in_frame(mask, None, frame)[0][0], LOOK_MM)
    hidden = [None if one is None else _image(thinned(in_frame(one, None, frame)[0][0], LOOK_MM)) for one in marks]
    inner = inner_half(np.asanyarray(brain.dataobj) > 0, in_view(near, moving, *matrices.values()), near.affine)
    if not inner.any():
        raise InputError(f'{moving_path} shows nothing of the brain in {fixed_mask}: do the scans show the same head?')
    try:
        found = mind_distances(
            _image(near),
            _image(thinned(moving, LOOK_MM)),
            list(matrices.values()),
            Image(inner.astype(np.float32), _image(near).grid),
            fixed_lesion=hidden[0],
            moving_lesion=hidden[1],
        )
    except ValueError as error:
        raise InputError(
            f'{fixed_path} and {moving_path} cannot be compared outside of their lesions: {error}'
        ) from error
    distances = dict(zip(matrices, found, strict=True))
    stretch = float(np.abs(np.linalg.svd(affine[:3, :3], compute_uv=False) - 1).max())
    earned = distances['rigid'] - distances['affine'] >= (stretch - ROUNDING) * distances['rigid']
    return LinearChoice('affine' if earned else 'rigid', distances, stretch)


def inner_half(brain: np.ndarray, seen: np.ndarray, affine: np.ndarray) -> np.ndarray:
    """Return the half of a brain that lies deepest under its surface.

    Parameters
    ----------
    brain, seen
        The brain, and what of it may be taken, bool, on one grid.
    affine
        Voxel to world, mm.
    """
    from scipy import ndimage

    inside = np.pad(brain, 1)
    depth = ndimage.distance_transform_edt(inside, sampling=nb.affines.voxel_sizes(affine))[1:-1, 1:-1, 1:-1]
    taken = brain & seen
    return taken & (depth >= np.median(depth[taken])) if taken.any() else taken


def in_view(fixed: nb.Nifti1Image, moving: nb.Nifti1Image, *matrices: np.ndarray) -> np.ndarray:
    """Return which voxels of a fixed image are in the field of view of the moving one after every matrix, bool."""
    seen = np.ones(fixed.shape[:3], bool)
    last = np.array(moving.shape[:3]) - 1
    for matrix in matrices:
        to_moving = np.linalg.inv(moving.affine) @ matrix @ fixed.affine
        for row, end in zip(to_moving[:3], last, strict=True):
            x, y, z = (step * np.arange(n) for step, n in zip(row[:3], fixed.shape, strict=False))
            at = x[:, None, None] + y[:, None] + z + row[3]
            seen &= (at >= 0) & (at <= end)
    return seen


def _lesion(path: str | None, image: nb.Nifti1Image, mask: nb.Nifti1Image | None, of: str) -> nb.Nifti1Image | None:
    """Return a lesion on the grid of its image, so that coarse voxels are above zero that have a part of it."""
    if path is None:
        return None
    lesion = load_image(path)
    inside = np.ones(image.shape[:3], bool) if mask is None else np.asanyarray(mask.dataobj) > 0
    without_lesion(inside, lesion, image, path=path, of=of)
    return nb.Nifti1Image((np.asanyarray(lesion.dataobj) > 0).astype(np.float32), image.affine)


def _image(image: nb.Nifti1Image) -> Image:
    x, y, z = image.shape[:3]
    return Image(np.asarray(image.dataobj, np.float32), Grid((x, y, z), image.affine))
