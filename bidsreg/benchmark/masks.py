"""Where the brain is in an image of a benchmark: masks out of labels, and images with all else removed."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

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
