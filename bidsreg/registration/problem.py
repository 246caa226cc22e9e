"""A pair made ready for the optimisation: checked, scaled, cropped to the brain, its grids laid out."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from bidsreg.registration.grid import Grid, apply_affine
from bidsreg.registration.image import Image
from bidsreg.registration.lesions import check_lesion, left_out
from bidsreg.registration.numerics.compute import ON_CPU, Compute
from bidsreg.registration.numerics.pool import in_order
from bidsreg.registration.numerics.threads import in_threads
from bidsreg.registration.presets import Preset
from bidsreg.registration.volume import Volume

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
MOST_VOXELS = 2**31 - 1
"""Of a grid: indices have 32 bits."""
LEAST_OVERLAP = 0.1
"""Fraction of the fixed mask that has to lie in the moving image or its mask."""


@dataclass(frozen=True, eq=False)
class Problem:
    """A pair made ready: on the device it is worked on, intensities scaled, everything cropped to the brain.

    Attributes
    ----------
    fixed, moving : Volume
        Scaled to about [0, 1] within their masks, lesions painted over.
    fixed_mask, moving_mask : Volume
        Where to compare, grown by the preset's `reach`; `moving_mask` is None for everywhere.
    fixed_lesion, moving_lesion : Volume or None
        Where nothing may be compared: the lesions and the voxels that touch them.
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
    outlined : bool
        Whether both images have an outline: what lies outside of the brain is darker than anything within.
    """

    fixed: Volume
    moving: Volume
    fixed_mask: Volume
    moving_mask: Volume | None
    fixed_lesion: Volume | None
    moving_lesion: Volume | None
    affine: np.ndarray
    resolution: float
    brain: Grid
    velocity: Grid
    field: Grid
    outlined: bool = False

    @cached_property
    def volume(self) -> float:
        """Return the volume in which images are compared (the fixed mask, grown by `reach`), in mm^3."""
        return float(
            self.fixed_mask.data.sum(dtype=torch.float64) * abs(np.linalg.det(self.fixed_mask.grid.affine[:3, :3]))
        )

    def velocity_grid(self, coarser: int) -> Grid:
        """Return `velocity` with every length halved `coarser` times, corners kept."""
        x, y, z = ((n - 1) // 2**coarser + 1 for n in self.velocity.shape)
        return Grid((x, y, z), self.velocity.affine @ np.diag([2.0**coarser] * 3 + [1.0]))

    def moving_counts(self, spacing: float, support: int) -> Volume | None:
        """Return a volume above 0.5 where the moving image may be compared; None if everywhere.

        Lesions are left out with all whose surroundings, `support` voxels of `spacing` mm, touch them.
        """
        if self.moving_lesion is None:
            return self.moving_mask
        valid = self.moving_lesion.dilated(support * spacing).data < 0.5
        if self.moving_mask is not None:
            valid &= self.moving_mask.data > 0.5
        return Volume(valid.float(), self.moving.grid)


def prepare(
    fixed: Image,
    moving: Image,
    chosen: Preset,
    fixed_mask: Image | None,
    moving_mask: Image | None,
    affine: np.ndarray,
    fixed_lesion: Image | None = None,
    moving_lesion: Image | None = None,
    compute: Compute = ON_CPU,
) -> Problem:
    """Check the input, crop it to the brain and lay out the grids; everything on the device of `compute`.

    Raises
    ------
    ValueError
        If a mask or lesion is empty or lies on another grid than its image, a lesion covers the brain, an image is
        constant inside its mask, the affine moves the fixed mask out of the moving image or its mask, or the field of
        view is too wide for the velocity's grid.
    """
    check_mask('fixed', fixed, fixed_mask)
    check_mask('moving', moving, moving_mask)
    ills = ('fixed', fixed, fixed_lesion, fixed_mask), ('moving', moving, moving_lesion, moving_mask)
    for end, image, lesion, brain_mask in ills:
        check_mask(end, image, lesion, 'lesion mask')
        check_lesion(end, lesion, brain_mask)
    fixed, fixed_lesion = left_out(fixed, fixed_lesion)
    moving, moving_lesion = left_out(moving, moving_lesion)

    def here(image: Image | None) -> Volume | None:
        return None if image is None else Volume.of(image, compute.device).binary()

    scans = Volume.of(fixed, compute.device), Volume.of(moving, compute.device)
    mask, near_mask = here(fixed_mask) or _everywhere(scans[0]), here(moving_mask)
    check_overlap(mask, near_mask or _everywhere(scans[1]), affine)
    finest = fixed.grid.orthogonalised().coarsened(min(h for h, _ in chosen.levels))
    brain, velocity, field = lay_out(finest, mask, chosen.velocity_spacing, margin(chosen), chosen.reach)
    world = velocity.corners()
    there = apply_affine(affine, world)
    near_mask = near_mask and _cropped(near_mask, there)
    mask = _cropped(mask, world)
    wider = [(mask, chosen.reach if fixed_mask else 0.0), *([(near_mask, chosen.reach)] if near_mask else [])]
    fixed_region, *moving_region = in_threads(lambda region: region[0].dilated(region[1]), wider, compute.at_a_time)
    lesions = here(fixed_lesion), here(moving_lesion)
    # an outline in one image alone would be compared with a skull
    brains = fixed_mask is not None and moving_mask is not None
    outline, compression = (chosen.outline, chosen.compression) if brains else (0.0, 0.0)
    named = ('fixed', _cropped(scans[0], world), mask), ('moving', _cropped(scans[1], there), near_mask)
    # of two errors the first
    scaled = list(in_order(lambda image: _standardised(*image, outline, compression), named, compute.at_a_time))
    return Problem(
        fixed=scaled[0],
        moving=scaled[1],
        fixed_mask=fixed_region,
        moving_mask=moving_region[0] if moving_region else None,
        fixed_lesion=lesions[0] and _cropped(lesions[0], world),
        moving_lesion=lesions[1] and _cropped(lesions[1], there),
        affine=affine,
        resolution=chosen.image_resolution,
        brain=brain,
        velocity=velocity,
        field=field,
        outlined=outline > 0,
    )


def margin(chosen: Preset) -> float:
    """Return how many mm around the brain the velocity takes to fade to zero."""
    return max(LEAST_MARGIN, SMOOTHING_MARGIN * chosen.velocity_smoothing, chosen.reach + REACH_MARGIN)


def check_mask(name: str, image: Image, mask: Image | None, kind: str = 'mask') -> None:
    """Refuse a mask that is empty or does not lie on its image's grid.

    Raises
    ------
    ValueError
        With the image's name in the message, and what kind of mask it is.
    """
    if mask is not None and not mask.grid.same_as(image.grid, SAME_GRID_MM):
        raise ValueError(f'the {name} {kind} lies on another grid than the {name} image; resample it first')
    if mask is not None and not (mask.data > 0).any():
        raise ValueError(f'the {name} {kind} is empty')


def check_overlap(mask: Image | Volume, moving_mask: Image | Volume, affine: np.ndarray) -> None:
    """Refuse an affine that leaves less than `LEAST_OVERLAP` of the fixed mask in the moving image or its mask.

    Raises
    ------
    ValueError
        If it does.
    """
    here, there = Volume.of(mask), Volume.of(moving_mask)
    moved = Grid(mask.grid.shape, affine @ mask.grid.affine)
    met = (here.data > 0) & (there.binary().resampled(moved, order=0) > 0)
    if met.sum() < LEAST_OVERLAP * (here.data > 0).sum():
        raise ValueError(
            'less than a tenth of the fixed mask lies inside the moving image (or its mask); '
            'is the affine the right way round?'
        )


def lay_out(
    finest: Grid, mask: Volume, velocity_spacing: float, around: float, beyond: float
) -> tuple[Grid, Grid, Grid]:
    """Lay out the grids of a registration.

    Parameters
    ----------
    finest : Grid
        The finest grid that images are compared on.
    mask : Volume
        The brain.
    velocity_spacing : float
        In mm, of the velocity's grid.
    around, beyond : float
        mm around the brain that the velocity's grid covers, and in which images are compared.

    Returns
    -------
    brain, velocity, field : Grid
        The brain's box on the finest grid, the velocity's grid, and the finest grid over that.

    Raises
    ------
    ValueError
        If one of them has more than `MOST_VOXELS`.
    """
    at = finest.to_voxels(mask.grid.to_world(_ends(mask.data > 0)))
    low, high = np.floor(at.min(0) + 1e-3), np.ceil(at.max(0) - 1e-3) + 1
    reach, room = (np.ceil(mm / finest.spacing) for mm in (beyond, around))
    velocity = finest.cropped(low - room, high + room).covering(np.full(3, velocity_spacing))
    # so that halving its lengths keeps the corners
    more = -(np.array(velocity.shape) - 1) % 2**COARSER
    velocity = velocity.cropped(-(more // 2), np.array(velocity.shape) + more - more // 2)
    span = finest.to_voxels(velocity.corners())
    field = finest.cropped(np.floor(span.min(0)) - 1, np.ceil(span.max(0)) + 2)
    grids = finest.cropped(low - reach, high + reach), velocity, field
    for grid in grids:
        if math.prod(grid.shape) > MOST_VOXELS:
            width = max((high - low - 1) * finest.spacing)
            raise ValueError(
                f'the fixed image is {width:.6g} mm wide where it is to be compared, too much for a grid of voxels of '
                f'{min(grid.spacing):.3g} mm: are the lengths in its header millimetres? If so, give a mask'
            )
    return grids


def _everywhere(volume: Volume) -> Volume:
    return Volume(torch.ones_like(volume.data), volume.grid)


def _ends(marked: torch.Tensor) -> np.ndarray:
    """Return the first and the last marked voxel of each row along the third axis, (N, 3): none lies further out."""
    rows = marked.any(2)
    first = marked.byte().argmax(2)
    last = marked.shape[2] - 1 - marked.flip(2).byte().argmax(2)
    index = rows.nonzero()
    return torch.cat([torch.cat([index, end[rows][:, None]], 1) for end in (first, last)]).cpu().numpy()


def _cropped(volume: Volume, points: np.ndarray) -> Volume:
    """Return the part of a volume around world points, with `CROP_MM` more."""
    voxels = volume.grid.to_voxels(points)
    reach = np.ceil(CROP_MM / volume.grid.spacing)
    start = np.clip(np.floor(voxels.min(0)) - reach, 0, np.array(volume.grid.shape) - 2).astype(int)
    stop = np.clip(np.ceil(voxels.max(0)) + reach + 1, start + 2, volume.grid.shape).astype(int)
    return volume.cropped(start, stop)


def _standardised(name: str, volume: Volume, mask: Volume | None, outline: float, compression: float) -> Volume:
    """Return a volume scaled within its mask; what lies outside of that at minus `outline`, unless this is 0."""
    try:
        scaled = volume.standardised(mask)
        if compression > 0 and mask is not None:
            scaled = scaled.compressed(mask, compression).standardised(mask)
    except ValueError as error:
        raise ValueError(f'{name}: {error}') from error
    if outline == 0 or mask is None:
        return scaled
    return Volume(scaled.data.where(mask.data > 0, -outline), scaled.grid)
