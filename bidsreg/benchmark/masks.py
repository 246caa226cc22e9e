"""Where the brain is in an image of a benchmark: masks out of labels, and images with all else removed."""

from __future__ import annotations

from collections.abc import Iterable

import nibabel as nb
import numpy as np

from bidsreg.benchmark.files import PathLike
from bidsreg.bids.images import load_image
from bidsreg.preparation.ants import new_image
from bidsreg.preparation.grids import require_same_grid

#: Gaps between labels of up to twice as many voxels are closed.
CLOSING_VOXELS = 2


def filled_union(labels: np.ndarray, values: Iterable[int]) -> np.ndarray:
    """Return where any of the labels is, closed over gaps of two voxels on either side and with its holes filled.

    Parameters
    ----------
    labels : ndarray of int, shape (X, Y, Z)
        A label image.
    values : iterable of int
        The labels that lie in the brain.

    Returns
    -------
    ndarray of bool, shape (X, Y, Z)
    """
    from scipy import ndimage as ndi

    margin = CLOSING_VOXELS + 1  # so that closing does not wear off what touches the border
    union = np.pad(np.isin(labels, list(values)), margin)
    inner = (slice(margin, -margin),) * 3
    return ndi.binary_fill_holes(ndi.binary_closing(union, iterations=CLOSING_VOXELS))[inner]


def brain_alone(image: PathLike, mask: PathLike) -> nb.Nifti1Image:
    """Set an image to zero outside of its mask.

    Returns
    -------
    nibabel.Nifti1Image
        float32, on the grid of the image.

    Raises
    ------
    InputError
        If the mask lies on another grid.
    """
    head, inside = load_image(image), load_image(mask)
    require_same_grid(inside, head, what='Mask', path=str(mask), of=str(image))
    data = head.get_fdata(dtype=np.float32) * (np.asanyarray(inside.dataobj) > 0)
    return new_image(data, head)
