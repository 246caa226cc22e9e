"""Bias field correction: the field of the coils is estimated by N4 and taken out of an image."""

from __future__ import annotations

from collections.abc import Sequence

import nibabel as nb
import numpy as np

from bidsreg.bids.images import load_image
from bidsreg.errors import InputError
from bidsreg.frame import sizes
from bidsreg.preparation.ants import load_ants, new_image, to_ants
from bidsreg.preparation.grids import canonical, require_same_grid
from bidsreg.preparation.lesions import without_lesion

#: Voxel size (mm) to which an image is thinned out before the field, which is smoother by far, is estimated.
COARSE_MM = 5.0
#: The field is estimated as far as this (mm) around the mask; beyond, it goes on as it is at the border.
MARGIN_MM = 8.0

#: Iterations on each level, coarse to fine: a level never converges by N4's own rule.
ITERATIONS: Sequence[int] = (20, 20, 20, 20)
#: Those of a sloppy run.
SLOPPY_ITERATIONS: Sequence[int] = (20, 20)
#: The largest part of a brain that may be below zero. By judgement: between what splines leave in dark fluid, hardly a
#: voxel in a hundred, and an image whose mean was taken off, about half.
LARGEST_BELOW_ZERO = 0.1


def correct_bias(path: str, mask_path: str, *, lesion: str | None = None, sloppy: bool = False) -> nb.Nifti1Image:
    """Correct the bias field of an image inside a mask by N4 (Tustison et al. 2010); the mean inside is kept.

    Splines 200 mm apart on the coarsest of four levels, as the fMRIPrep family has them. The field is estimated on
    the voxels of a grid of about :data:`COARSE_MM` mm around the mask (N4's own shrinking takes all axes alike, which
    leaves hardly a slice of a thick-sliced scan, and its time grows with every voxel, seen or not), on one thread, so
    that one image always gives the same bits, in whatever order its voxels are stored and wherever its header puts it.

    Parameters
    ----------
    path, mask_path
        The image, conformed, and a brain mask on its grid; the field is estimated inside.
    lesion
        A mask on this grid of what the field must not be estimated from.
    sloppy
        As for :func:`bias_field`.

    Returns
    -------
    nibabel.Nifti1Image
        float32, on the grid of the image.

    Raises
    ------
    InputError
        If the mask is empty or lies on another grid, a lesion covers it, or the image is zero everywhere inside, or
        below zero in more than :data:`LARGEST_BELOW_ZERO` of it: a field multiplies what is measured from zero.
    """
    image, mask = load_image(path), load_image(mask_path)
    require_same_grid(mask, image, what='Mask', path=mask_path, of=path)
    # where the coarse grid begins depends on the order of the voxels
    turned, where = canonical(image), canonical(mask)
    data = turned.get_fdata(dtype=np.float32)
    inside = np.asanyarray(where.dataobj) > 0
    if not inside.any():
        raise InputError(f'Mask {mask_path} is empty: there is no brain in {path} to correct.')
    if not data[inside].any():
        raise InputError(f'{path} is zero everywhere inside the mask {mask_path}: there is no brain to correct.')
    below = float((data[inside] < 0).mean())
    if below > LARGEST_BELOW_ZERO:
        raise InputError(
            f'{path} is below zero in {100 * below:.0f} % of the brain, and a bias field multiplies what is measured '
            'from zero. Give the scan before its mean was taken off (or correct scl_inter in its header), or say '
            '--bias-correction none.'
        )
    if lesion is not None:
        inside = without_lesion(inside, canonical(load_image(lesion)), turned, path=lesion, of=path)
    corrected = data / bias_field(data, inside, turned.affine, sloppy=sloppy)
    corrected *= data[inside].mean() / corrected[inside].mean()
    back = nb.orientations.ornt_transform(nb.orientations.axcodes2ornt('RAS'), nb.io_orientation(image.affine))
    return new_image(nb.orientations.apply_orientation(corrected, back), image)


def bias_field(data: np.ndarray, inside: np.ndarray, affine: np.ndarray, *, sloppy: bool = False) -> np.ndarray:
    """Estimate the smooth field by which an image was multiplied.

    Parameters
    ----------
    data
        The image, float.
    inside
        bool, of the same shape: where to look.
    affine
        Voxel to world, mm.
    sloppy
        :data:`SLOPPY_ITERATIONS` rather than :data:`ITERATIONS`.

    Returns
    -------
    numpy.ndarray
        float32, positive, of the same shape.
    """
    # which way the head lies in the world, and the rounding of headers, do not matter to a field
    zooms = sizes(affine)
    factors = np.maximum(1, np.round(COARSE_MM / zooms)).astype(int)
    margin = np.ceil(MARGIN_MM / zooms).astype(int)
    where = np.nonzero(inside)
    starts = np.maximum(np.array([axis.min() for axis in where]) - margin, 0)
    stops = np.array([axis.max() for axis in where]) + margin + 1
    thin = tuple(slice(*bounds) for bounds in zip(starts, stops, factors, strict=True))
    coarse = np.diag([*(zooms * factors), 1.0])
    floor = 1e-4 * max(float(data[inside].mean()), 1e-6)  # N4 takes logarithms
    field = load_ants().n4_bias_field_correction(
        to_ants(nb.Nifti1Image(np.maximum(data[thin], floor), coarse)),
        # N4 reads its mask as floats whatever it is given: one of bytes would be read beyond its end
        mask=to_ants(nb.Nifti1Image(inside[thin].astype(np.float32), coarse)),
        shrink_factor=1,
        convergence={'iters': list(SLOPPY_ITERATIONS if sloppy else ITERATIONS), 'tol': 1e-7},
        spline_param=200,
        return_bias_field=True,
    )
    logarithm = np.log(np.maximum(field.numpy(), 1e-3))
    for axis, (size, start, factor) in enumerate(zip(data.shape, starts, factors, strict=True)):
        logarithm = _refine(logarithm, axis, (np.arange(size) - start) / factor)
    return np.exp(logarithm).astype(np.float32)


def _refine(values: np.ndarray, axis: int, positions: np.ndarray) -> np.ndarray:
    """Interpolate along one axis with a cubic spline, at positions counted in samples; the ends go on as they are."""
    from scipy.interpolate import make_interp_spline

    count = values.shape[axis]
    if count == 1:
        return np.repeat(values, len(positions), axis)
    weights = make_interp_spline(np.arange(count), np.eye(count), k=min(3, count - 1))(positions.clip(0, count - 1))
    return np.moveaxis(np.tensordot(weights.astype(np.float32), values, (1, axis)), 0, axis)
