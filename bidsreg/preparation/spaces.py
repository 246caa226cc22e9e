"""Images in the space of a template: cut out for the alignment, and brought there with one interpolation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import nibabel as nb
import numpy as np

from bidsreg.bids.images import load_image, mask_centre
from bidsreg.preparation.ants import new_image
from bidsreg.preparation.grids import require_same_grid
from bidsreg.registration.deformation import Deformation
from bidsreg.registration.grid import Grid
from bidsreg.registration.image import Image
from bidsreg.registration.itk import read_composite


def cut_out(path: str, mask_path: str) -> nb.Nifti1Image:
    """Return an image that is zero outside of its mask (float32).

    A template without a skull is aligned to a brain, not to a head, whose skull would be taken for its cortex.

    Raises
    ------
    InputError
        If the mask is on another grid.
    """
    image, mask = load_image(path), load_image(mask_path)
    require_same_grid(mask, image, what='Mask', path=mask_path, of=path)
    inside = np.asanyarray(mask.dataobj) > 0
    return new_image(np.where(inside, np.asarray(image.dataobj, np.float32), np.float32(0)), image)


def scaling(template_mask: nb.Nifti1Image, scan_mask: nb.Nifti1Image) -> np.ndarray:
    """Return the scaling about the middle of a scan's brain that makes a brain as large as the template's that one.

    The rigid alignment takes place with brains of one size: that of an infant to a template of adults finds no right
    turn, and the affine that begins there no right size.

    Parameters
    ----------
    template_mask, scan_mask
        The two brains; the scale is the cube root of their volumes' ratio.

    Returns
    -------
    numpy.ndarray
        4x4, mm, RAS+: from the world in which the scan's brain is as large as the template's to that of the scan.
    """
    volumes = [
        np.count_nonzero(np.asanyarray(mask.dataobj) > 0) * abs(np.linalg.det(mask.affine[:3, :3]))
        for mask in (template_mask, scan_mask)
    ]
    scale, middle = (volumes[1] / volumes[0]) ** (1 / 3), mask_centre(scan_mask)
    found = np.eye(4)
    found[:3, :3] *= scale
    found[:3, 3] = (1 - scale) * middle
    return found


def sized(image: nb.Nifti1Image, scaled: np.ndarray) -> nb.Nifti1Image:
    """Return the same voxels in the world from which a matrix of :func:`scaling` leads to that of the image."""
    return new_image(np.asanyarray(image.dataobj), nb.Nifti1Image(image.dataobj, np.linalg.inv(scaled) @ image.affine))


def pulling(forward: str | Path) -> Deformation:
    """Read one composite transform as what images are pulled through; its inverse is not read, and not to be used."""
    affine, displacement, grid, first = read_composite(forward)
    if first:
        raise ValueError(f'{forward} brings images the other way: give the transform onto the grid that is wanted')
    return Deformation(affine, displacement, displacement, grid)


def bring(way: Deformation, image: nb.Nifti1Image, reference: nb.Nifti1Image, threads: int = 1) -> nb.Nifti1Image:
    """Bring an image onto the grid of a reference, float32, linear; zero outside its field of view."""
    moved = way.apply(_image(image), _grid(reference), threads=threads)
    return new_image(moved.data, reference)


def bring_mask(way: Deformation, mask: nb.Nifti1Image, reference: nb.Nifti1Image, threads: int = 1) -> nb.Nifti1Image:
    """Bring a mask onto the grid of a reference, uint8: where at least half of a voxel lies in it."""
    inside = nb.Nifti1Image((np.asanyarray(mask.dataobj) > 0).astype(np.float32), mask.affine)
    moved = bring(way, inside, reference, threads)
    return new_image((np.asanyarray(moved.dataobj) >= 0.5).astype(np.uint8), reference)


def bring_map(way: Deformation, image: nb.Nifti1Image, reference: nb.Nifti1Image, threads: int = 1) -> nb.Nifti1Image:
    """Bring a map that is zero where it has no value onto the grid of a reference, float32, linear.

    Only voxels with a value are averaged, so that its rim is not darkened by what lies beyond it; there is one where at
    least half of the weights are of such voxels.
    """
    data = np.asarray(image.dataobj, np.float32)
    known = np.isfinite(data) & (data != 0)
    values, weights = (
        np.asarray(bring(way, nb.Nifti1Image(part, image.affine), reference, threads).dataobj)
        for part in (np.where(known, data, np.float32(0)), known.astype(np.float32))
    )
    inside = weights >= 0.5
    return new_image(np.where(inside, values / np.where(inside, weights, 1), 0).astype(np.float32), reference)


def bring_labels(
    way: Deformation, labels: nb.Nifti1Image, reference: nb.Nifti1Image, threads: int = 1
) -> nb.Nifti1Image:
    """Bring labels onto the grid of a reference, each voxel that of the nearest one; the image's type stays."""
    moved = way.apply(Image(np.asanyarray(labels.dataobj), _grid(labels)), _grid(reference), order=0, threads=threads)
    return new_image(moved.data, reference)


#: How an image is brought into a space, by what it is: a scan, a map that is zero where it has no value, or labels.
BRINGING: Mapping[str, Callable[..., nb.Nifti1Image]] = {'scan': bring, 'map': bring_map, 'labels': bring_labels}


def chain(first: tuple[Path, Path], then: tuple[Path, Path], forward: Path, inverse: Path, threads: int = 1) -> None:
    """Write two registrations that follow each other as one, in both directions.

    Parameters
    ----------
    first
        Forward and inverse transform (.h5) of the registration whose fixed image is wanted.
    then
        Those of the one whose fixed image is the first one's moving image.
    forward, inverse
        The files to write: they bring the second one's moving image onto the first one's fixed image, and back.
    threads
        How many compose and pack the files.
    """
    both = Deformation.load(*first).compose(Deformation.load(*then), threads)
    both.save(forward, threads)
    both.inverted().save(inverse, threads)


def _image(image: nb.Nifti1Image) -> Image:
    return Image(np.asarray(image.dataobj, np.float32), _grid(image))


def _grid(image: nb.Nifti1Image) -> Grid:
    x, y, z = image.shape[:3]
    return Grid((x, y, z), image.affine)
