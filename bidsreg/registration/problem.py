"""A pair made ready for the optimisation: checked, scaled, cropped to the brain, its grids laid out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from bidsreg.registration.grid import Grid, apply_affine
from bidsreg.registration.image import Image, resample
from bidsreg.registration.numerics.distance import dilated
from bidsreg.registration.numerics.threads import in_threads
from bidsreg.registration.presets import Preset
from bidsreg.registration.similarity.base import Similarity

LEAST_MARGIN, SMOOTHING_MARGIN, REACH_MARGIN = 8.0, 1.75, 5.0
"""The velocity fades to zero over so many mm around the brain at least: a length, a number of standard deviations of
its smoothing, and a length beyond the `reach` in which images are compared."""
STILL = 2.0
"""mm of that margin, at its outer end, that the window does not use."""
CROP_MM = 4.0
"""mm that images keep around what the velocity's grid covers."""
COARSER = 2
"""How often the velocity's grid can be halved: coarse image levels need no finer velocity than themselves."""
SAME_GRID_MM = 0.01
"""mm by which the corners of a mask may lie beside those of its image."""
LEAST_OVERLAP = 0.1
"""Fraction of the fixed mask that has to lie in the moving image or its mask."""


@dataclass(frozen=True, eq=False)
class Problem:
    """A pair made ready: intensities scaled, everything cropped to the brain.

    Attributes
    ----------
    fixed, moving : Image
        Scaled to about [0, 1] within their masks.
    fixed_mask, moving_mask : Image
        Where to compare, grown by the preset's `reach`; `moving_mask` is None for everywhere.
    fixed_lesion, moving_lesion : Image or None
        Where nothing may be compared.
    affine : ndarray, shape (4, 4)
        Fixed world to moving world, mm, RAS+.
    resolution : float
        mm: images are never compared sharper than this.
    brain : Grid
        The voxels of the finest grid that images are compared on.
    velocity : Grid
        Where the velocity lives; it vanishes at the border.
    field : Grid
        Where the written fields live: the finest grid, covering `velocity`.
    """

    fixed: Image
    moving: Image
    fixed_mask: Image
    moving_mask: Image | None
    fixed_lesion: Image | None
    moving_lesion: Image | None
    affine: np.ndarray
    resolution: float
    brain: Grid
    velocity: Grid
    field: Grid

    @property
    def volume(self) -> float:
        """Return the volume in which images are compared (the fixed mask, grown by `reach`), in mm^3."""
        return float(self.fixed_mask.data.sum() * abs(np.linalg.det(self.fixed_mask.grid.affine[:3, :3])))

    def velocity_grid(self, coarser: int) -> Grid:
        """Return `velocity` with every length halved `coarser` times, corners kept."""
        x, y, z = ((n - 1) // 2**coarser + 1 for n in self.velocity.shape)
        return Grid((x, y, z), self.velocity.affine @ np.diag([2.0**coarser] * 3 + [1.0]))

    def moving_counts(self, spacing: float, similarity: Similarity) -> Image | None:
        """Return an image above 0.5 where the moving image may be compared at `spacing` mm; None if everywhere."""
        if self.moving_lesion is None:
            return self.moving_mask
        valid = _dilated(self.moving_lesion, similarity.support * spacing).data < 0.5
        if self.moving_mask is not None:
            valid &= self.moving_mask.data > 0.5
        return Image(valid.astype(np.float32), self.moving.grid)


def prepare(
    fixed: Image,
    moving: Image,
    chosen: Preset,
    fixed_mask: Image | None,
    moving_mask: Image | None,
    affine: np.ndarray,
    fixed_lesion: Image | None = None,
    moving_lesion: Image | None = None,
) -> Problem:
    """Check the input, crop it to the brain and lay out the grids.

    Raises
    ------
    ValueError
        If a mask or lesion is empty or lies on another grid than its image, an image is constant inside its mask, or
        the affine moves the fixed mask out of the moving image or its mask.
    """
    check_mask('fixed', fixed, fixed_mask)
    check_mask('moving', moving, moving_mask)
    check_mask('fixed lesion', fixed, fixed_lesion)
    check_mask('moving lesion', moving, moving_lesion)
    mask = _binary(fixed_mask) if fixed_mask else _everywhere(fixed)
    check_overlap(mask, moving_mask or _everywhere(moving), affine)
    finest = fixed.grid.orthogonalised().coarsened(min(h for h, _ in chosen.levels))
    brain, velocity, field = lay_out(finest, mask, chosen.velocity_spacing, margin(chosen), chosen.reach)
    world = velocity.corners()
    there = apply_affine(affine, world)
    near_mask = _binary(_cropped(moving_mask, there)) if moving_mask else None
    mask = _cropped(mask, world)
    wider = [(mask, chosen.reach if fixed_mask else 0.0), *([(near_mask, chosen.reach)] if near_mask else [])]
    fixed_region, *moving_region = in_threads(lambda region: _dilated(*region), wider, torch.get_num_threads())
    return Problem(
        fixed=_standardised('fixed', _cropped(fixed, world), mask),
        moving=_standardised('moving', _cropped(moving, there), near_mask),
        fixed_mask=fixed_region,
        moving_mask=moving_region[0] if moving_region else None,
        fixed_lesion=_binary(_cropped(fixed_lesion, world)) if fixed_lesion else None,
        moving_lesion=_binary(_cropped(moving_lesion, there)) if moving_lesion else None,
        affine=affine,
        resolution=chosen.image_resolution,
        brain=brain,
        velocity=velocity,
        field=field,
    )


def margin(chosen: Preset) -> float:
    """Return how many mm around the brain the velocity takes to fade to zero."""
    return max(LEAST_MARGIN, SMOOTHING_MARGIN * chosen.velocity_smoothing, chosen.reach + REACH_MARGIN)


def check_mask(name: str, image: Image, mask: Image | None) -> None:
    """Refuse a mask that is empty or does not lie on its image's grid.

    Raises
    ------
    ValueError
        With the name in the message.
    """
    if mask is not None and not mask.grid.same_as(image.grid, SAME_GRID_MM):
        raise ValueError(f'the {name} mask lies on another grid than the {name} image; resample it first')
    if mask is not None and not (mask.data > 0).any():
        raise ValueError(f'the {name} mask is empty')


def check_overlap(mask: Image, moving_mask: Image, affine: np.ndarray) -> None:
    """Refuse an affine that leaves less than `LEAST_OVERLAP` of the fixed mask in the moving image or its mask.

    Raises
    ------
    ValueError
        If it does.
    """
    moved = Grid(mask.grid.shape, affine @ mask.grid.affine)
    met = (mask.data > 0) & (resample(_binary(moving_mask), moved, order=0) > 0)
    if met.sum() < LEAST_OVERLAP * (mask.data > 0).sum():
        raise ValueError(
            'less than a tenth of the fixed mask lies inside the moving image (or its mask); '
            'is the affine the right way round?'
        )


def lay_out(
    finest: Grid, mask: Image, velocity_spacing: float, around: float, beyond: float
) -> tuple[Grid, Grid, Grid]:
    """Lay out the grids of a registration.

    Parameters
    ----------
    finest : Grid
        The finest grid that images are compared on.
    mask : Image
        The brain.
    velocity_spacing : float
        In mm, of the velocity's grid.
    around, beyond : float
        mm around the brain that the velocity's grid covers, and in which images are compared.

    Returns
    -------
    brain, velocity, field : Grid
        The brain's box on the finest grid, the velocity's grid, and the finest grid over that.
    """
    at = finest.to_voxels(mask.grid.to_world(np.argwhere(mask.data > 0)))
    low, high = np.floor(at.min(0) + 1e-3), np.ceil(at.max(0) - 1e-3) + 1
    reach, room = (np.ceil(mm / finest.spacing) for mm in (beyond, around))
    velocity = finest.cropped(low - room, high + room).covering(np.full(3, velocity_spacing))
    # so that halving its lengths keeps the corners
    more = -(np.array(velocity.shape) - 1) % 2**COARSER
    velocity = velocity.cropped(-(more // 2), np.array(velocity.shape) + more - more // 2)
    span = finest.to_voxels(velocity.corners())
    field = finest.cropped(np.floor(span.min(0)) - 1, np.ceil(span.max(0)) + 2)
    return finest.cropped(low - reach, high + reach), velocity, field


def _everywhere(image: Image) -> Image:
    return Image(np.ones(image.grid.shape, np.float32), image.grid)


def _binary(mask: Image) -> Image:
    return Image((mask.data > 0).astype(np.float32), mask.grid)


def _dilated(mask: Image, mm: float) -> Image:
    return Image(dilated(mask.data, mm, mask.grid.spacing), mask.grid)


def _cropped(image: Image, points: np.ndarray) -> Image:
    """Return the part of an image around world points, with `CROP_MM` more."""
    voxels = image.grid.to_voxels(points)
    reach = np.ceil(CROP_MM / image.grid.spacing)
    start = np.clip(np.floor(voxels.min(0)) - reach, 0, np.array(image.grid.shape) - 2).astype(int)
    stop = np.clip(np.ceil(voxels.max(0)) + reach + 1, start + 2, image.grid.shape).astype(int)
    cut = tuple(slice(a, b) for a, b in zip(start, stop, strict=True))
    return Image(np.ascontiguousarray(image.data[cut]), image.grid.cropped(start, stop))


def _standardised(name: str, image: Image, mask: Image | None) -> Image:
    try:
        return image.standardised(None if mask is None else mask.data > 0)
    except ValueError as error:
        raise ValueError(f'{name}: {error}') from error
