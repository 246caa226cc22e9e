"""Where mutual information is measured in an image: in its brain, or everywhere, and not in its lesions."""

from __future__ import annotations

from collections.abc import Sequence

import nibabel as nb
import numpy as np

from bidsreg.bids.images import load_image
from bidsreg.preparation.grids import require_same_grid
from bidsreg.preparation.lesions import without_lesion

#: Millimetres by which brain masks grow before mutual information is measured inside them: the brain's edge is in, but
#: hardly any skull, whose edge would pull at the scales of the affine.
DILATION_MM = 1.0


def compared(path: str | None, lesion: str | None, image: nb.Nifti1Image, of: str) -> nb.Nifti1Image | None:
    """Return where to look in an image: in its grown mask, or everywhere, but not in its lesion.

    Parameters
    ----------
    path, lesion
        Files of the brain mask and of the lesion, on the grid of the image; None for none.
    image, of
        The image, and its file for messages.

    Returns
    -------
    nibabel.Nifti1Image or None
        uint8; None for everywhere.

    Raises
    ------
    InputError
        If a mask lies on another grid, or the lesion covers the brain.
    """
    mask = _grown_mask(path, image, of)
    if lesion is None:
        return mask
    inside = np.ones(image.shape[:3], bool) if mask is None else np.asanyarray(mask.dataobj) > 0
    return nb.Nifti1Image(
        without_lesion(inside, load_image(lesion), image, path=lesion, of=of).astype('uint8'), image.affine
    )


def _grown_mask(path: str | None, image: nb.Nifti1Image, of: str) -> nb.Nifti1Image | None:
    if path is None:
        return None
    from scipy import ndimage

    mask = load_image(path)
    require_same_grid(mask, image, what='Mask', path=path, of=of)
    grown = ndimage.binary_dilation(np.asanyarray(mask.dataobj) > 0, _ball(DILATION_MM, image.header.get_zooms()[:3]))
    return nb.Nifti1Image(grown.astype('uint8'), image.affine)


def _ball(radius: float, zooms: Sequence[float]) -> np.ndarray:
    """Return which voxels about one are at most `radius` mm away: bool, an odd number of voxels along each axis."""
    reach = [int(radius / zoom) for zoom in zooms]
    away = np.meshgrid(
        *(np.arange(-n, n + 1) * zoom for n, zoom in zip(reach, zooms, strict=True)), indexing='ij', sparse=True
    )
    return np.asarray(sum(axis**2 for axis in away) <= radius**2)
