"""Coarser copies of images: blocks of voxels are averaged, so that nothing finer is left to alias."""

from __future__ import annotations

import nibabel as nb
import numpy as np

from bidsreg.frame import sizes


def thinned(image: nb.Nifti1Image, size_mm: float) -> nb.Nifti1Image:
    """Average blocks of voxels so that each is about ``size_mm`` wide, with eight of them left along an axis."""
    factors = np.clip(np.round(size_mm / sizes(image.affine)), 1, np.maximum(np.array(image.shape) // 8, 1)).astype(int)
    shape = np.array(image.shape) // factors
    # sums are rounded in the order of the memory, which is that of the file where axes were turned about
    values = np.ascontiguousarray(image.get_fdata(dtype=np.float32))
    data = values[tuple(slice(0, end) for end in shape * factors)]
    blocks = data.reshape([size for pair in zip(shape, factors, strict=True) for size in pair])
    affine = image.affine.copy()
    affine[:3, :3] *= factors
    affine[:3, 3] += image.affine[:3, :3] @ ((factors - 1) / 2)
    return nb.Nifti1Image(blocks.mean(axis=(1, 3, 5)), affine)


def thinned_mask(mask: nb.Nifti1Image, size_mm: float) -> nb.Nifti1Image:
    """Thin out a mask: half of a block in it is enough."""
    thin = thinned(mask, size_mm)
    return nb.Nifti1Image((thin.get_fdata() >= 0.5).astype('uint8'), thin.affine)


def thinned_both(
    image: nb.Nifti1Image, mask: nb.Nifti1Image | None, size_mm: float
) -> tuple[nb.Nifti1Image, nb.Nifti1Image | None]:
    """Thin out an image, and its mask where it has one."""
    return thinned(image, size_mm), None if mask is None else thinned_mask(mask, size_mm)
