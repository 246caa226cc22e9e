"""Scans made ready for translation: masked, corrected, scaled to [0, 1], on a grid along the world axes; and back."""

from __future__ import annotations

import contextlib
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

import nibabel as nb
import numpy as np

from bidsreg.bids.headers import load_sane
from bidsreg.errors import InputError
from bidsreg.preparation.ants import new_image
from bidsreg.preparation.bias import correct_bias
from bidsreg.preparation.masks import fit_mask
from bidsreg.preparation.skullstrip import brain_mask
from bidsreg.registration.grid import Grid
from bidsreg.registration.image import Image, resample
from bidsreg.stripped import stripped_brain

#: Voxels around a brain on the grids along the world axes.
MARGIN = 2
#: A voxel of a coarser grid is of the brain where at least so much of it is.
HALF = 0.5
#: Weights of a mask below this are rounding, by which nothing is divided.
LEAST_WEIGHT = 1e-3


@dataclass(frozen=True, eq=False)
class WorldBrain:
    """A brain on a grid along the world axes.

    Attributes
    ----------
    values : ndarray of float32, shape (X, Y, Z)
        Intensities in [0, 1], zero outside of the brain.
    inside : ndarray of bool, shape (X, Y, Z)
        Where the brain is.
    grid : Grid
        Its axes are the world's, its voxels cubes.
    """

    values: np.ndarray
    inside: np.ndarray
    grid: Grid


def read_scan(
    path: Path, mask: Path | None, *, contrast: str, bias_correction: str, threads: int = 1
) -> tuple[Image, np.ndarray]:
    """Read a scan on its own grid, its bias field corrected inside the brain.

    Parameters
    ----------
    path, mask
        The scan, and a brain mask of it; without one the voxels of a skull-stripped image that are not zero are taken,
        or what deepbet finds in a T1w.
    contrast
        Of the scan.
    bias_correction
        ``n4`` or ``none``.
    threads
        Of deepbet's network.

    Returns
    -------
    image, inside
        The scan (float32), and where its brain is: bool, of its shape.

    Raises
    ------
    InputError
        If a file cannot be used, or it is not known where the brain is.
    """
    image = load_sane(path)
    inside = _inside(path, image, mask, contrast, threads)
    if bias_correction == 'n4':
        with tempfile.TemporaryDirectory(prefix='bidsreg-') as scratch:
            scan_file, mask_file = (str(Path(scratch) / f'{name}.nii') for name in ('scan', 'mask'))
            image.to_filename(scan_file)
            new_image(inside.astype(np.uint8), image).to_filename(mask_file)
            image = correct_bias(scan_file, mask_file)
            image = nb.Nifti1Image(np.array(image.dataobj, np.float32), image.affine)
    data = image.get_fdata(dtype=np.float32)
    return Image(data, Grid(data.shape, image.affine)), inside


def _inside(path: Path, image: nb.Nifti1Image, mask: Path | None, contrast: str, threads: int) -> np.ndarray:
    if mask is not None:
        return fit_mask(str(mask), image, of=str(path))[0]
    data = np.asanyarray(image.dataobj)
    brain, _ = stripped_brain(data, image.affine)
    if brain is not None:
        return brain
    if contrast != 'T1w':
        raise InputError(
            f'{path}: it is not known where the brain is, and deepbet finds it in a T1w alone. Give a brain mask: '
            'those of bidsreg are *_space-T2w_desc-brain_mask.nii.gz in its derivatives.'
        )
    with tempfile.TemporaryDirectory(prefix='bidsreg-') as scratch:
        file = Path(scratch) / 'scan.nii'
        image.to_filename(file)
        here = os.getcwd()
        with contextlib.chdir(scratch):
            try:
                return brain_mask(str(file), mode='force', threads=threads)[0]
            except InputError as error:
                raise InputError(str(error).replace(str(file), os.path.join(here, path))) from error


def to_volume(image: Image, inside: np.ndarray, spacing: float, name: str) -> WorldBrain:
    """Bring a brain onto a grid along the world axes, and scale it to [0, 1].

    Parameters
    ----------
    image : Image
        On any grid.
    inside : ndarray of bool
        Where its brain is, of its shape.
    spacing : float
        mm: size of the voxels.
    name : str
        The file, for the message.

    Returns
    -------
    WorldBrain
        The 0.5th and the 99.5th percentile within the brain are 0 and 1; what lies beyond is cut off. Along axes on
        which the image is finer it is blurred first. Nothing from outside of the brain is mixed in.

    Raises
    ------
    InputError
        If the brain is empty or the same everywhere.
    """
    if not inside.any():
        raise InputError(f'{name}: the brain mask is empty.')
    try:
        scaled = image.standardised(inside)
    except ValueError as error:
        raise InputError(f'{name}: {error}') from error
    grid = world_grid(image.grid, inside, spacing)
    values, weight = (
        resample(_smooth(data, image.grid, spacing), grid)
        for data in (np.clip(scaled.data, 0, 1) * inside, inside.astype(np.float32))
    )
    brain = weight >= HALF
    if not brain.any():
        raise InputError(f'{name}: nothing is left of the brain mask with voxels of {spacing:g} mm.')
    divided = np.divide(values, weight, out=np.zeros_like(values), where=brain)
    return WorldBrain(np.clip(divided, 0, 1).astype(np.float32), brain, grid)


def _smooth(data: np.ndarray, grid: Grid, spacing: float) -> Image:
    return Image(data.astype(np.float32), grid).smoothed_for(np.full(3, spacing))


def world_grid(grid: Grid, inside: np.ndarray, spacing: float) -> Grid:
    """Return a grid of cubes (mm) along the world axes around the voxels of a grid that are inside."""
    voxels = np.argwhere(inside)
    # voxels of the hull would do, but their corners are enough to be found exactly: an affine keeps them outermost
    world = grid.to_world(voxels)
    reach = np.abs(grid.affine[:3, :3]).sum(1) / 2
    low, high = world.min(0) - reach - MARGIN * spacing, world.max(0) + reach + MARGIN * spacing
    shape = np.ceil((high - low) / spacing).astype(int) + 1
    affine = np.diag([spacing] * 3 + [1.0])
    affine[:3, 3] = (low + high) / 2 - spacing * (shape - 1) / 2
    return Grid(tuple(shape), affine)


def from_volume(values: np.ndarray, volume: WorldBrain, grid: Grid, inside: np.ndarray) -> np.ndarray:
    """Bring values on the grid of a volume onto another grid.

    Parameters
    ----------
    values : ndarray, shape (X, Y, Z)
        Known inside the brain of the volume.
    volume : WorldBrain
        Its brain and grid.
    grid, inside
        Where to, and where the brain is there.

    Returns
    -------
    ndarray of float32
        Of the shape of `inside`, zero outside of it. A voxel at the rim gets the mean of the known ones around it, one
        without any the nearest.
    """
    brain = volume.inside.astype(np.float32)
    sums, weight = (resample(Image(data, volume.grid), grid) for data in ((values * brain).astype(np.float32), brain))
    known = inside & (weight > LEAST_WEIGHT)
    out = np.divide(sums, weight, out=np.zeros(grid.shape, np.float32), where=known)
    if (left := inside & ~known).any():
        out[left] = _nearest(out, known, grid)[left]
    return out.astype(np.float32)


def _nearest(values: np.ndarray, known: np.ndarray, grid: Grid) -> np.ndarray:
    from scipy import ndimage as ndi

    places = ndi.distance_transform_edt(~known, sampling=grid.spacing, return_distances=False, return_indices=True)
    return values[tuple(places)]
