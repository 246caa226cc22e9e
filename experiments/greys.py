"""Ways to turn the greys of a head over, so that a T2w looks like a T1w to a network; t2w_masks.py compares them."""

from __future__ import annotations

import numpy as np

#: mm: voxels on which the head and the greys of its middle are looked for.
COARSE_MM = 3.0
#: mm: the blur under which the head is told from the air.
BLUR_MM = 3.0
#: Regions smaller than this part of the largest one are no part of the head.
SMALL = 0.02
#: What is deeper in the head than this part of its deepest place is its middle: mostly white matter, and ventricles.
MIDDLE = 0.6
#: The percentile of the middle's values that is white matter's, the darkest tissue there in a T2w; and the percentile
#: of the head's values that is as bright as anything. By judgement, on the simulated head 01 and a real session.
WHITE, BRIGHT = 30, 99.5


def turned(data: np.ndarray, affine: np.ndarray) -> np.ndarray:
    """Turn the greys of a head over: what is bright becomes dark, from :data:`BRIGHT` down; air stays dark.

    Parameters, and what is returned, are those of :func:`folded`, but for the unit, which is the image's.
    """
    inside = head_of(data, np.linalg.norm(affine[:3, :3], axis=0))
    top = np.percentile(data[inside], BRIGHT)
    return (np.clip(top - data, 0, None) * inside).astype(np.float32)


def reciprocal(data: np.ndarray, affine: np.ndarray) -> np.ndarray:
    """Turn the greys of a head over by division: its median stays what it is, and bone becomes twice as bright.

    Parameters, and what is returned, are those of :func:`folded`, but for the unit, which is the image's.
    """
    inside = head_of(data, np.linalg.norm(affine[:3, :3], axis=0))
    middle = np.median(data[inside])
    return (inside * 2 * middle**2 / (np.maximum(data, 0) + middle)).astype(np.float32)


def folded(data: np.ndarray, affine: np.ndarray) -> np.ndarray:
    """Fold the greys of a T2w over at those of white matter, which becomes the brightest, as in a T1w.

    What is brighter than white matter (grey matter, then fluid) becomes the darker the brighter it was; what is darker
    (bone, air) stays dark, where turning all greys over would make bone as bright as fat and hide the skull.

    Parameters
    ----------
    data
        The scan's values, 3-D.
    affine
        4x4, voxel to world, mm.

    Returns
    -------
    numpy.ndarray
        float32, from 0 to 1, of the same shape.

    Raises
    ------
    ValueError
        If there is no head: the values are all the same, or nothing but dark in the middle of what is bright.
    """
    from scipy import ndimage

    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    steps = np.maximum(1, np.round(COARSE_MM / spacing)).astype(int)
    coarse = data[tuple(slice(step // 2, None, step) for step in steps)]
    if not coarse.max() > coarse.min():
        raise ValueError('its values are all the same')
    inside = head_of(coarse, spacing * steps)
    depth = ndimage.distance_transform_edt(np.pad(inside, 1), sampling=spacing * steps)[1:-1, 1:-1, 1:-1]
    white = float(np.percentile(coarse[depth > MIDDLE * depth.max()], WHITE)) if inside.any() else 0.0
    if not white > 0:
        raise ValueError('the middle of what is bright is as dark as air')
    bright = max(float(np.percentile(coarse[inside], BRIGHT)), 1.5 * white)
    falling = (bright - data.astype(np.float32)) / np.float32(bright - white)
    return np.minimum(np.maximum(data, 0) / np.float32(white), np.maximum(falling, 0)).astype(np.float32)


def head_of(data: np.ndarray, spacing: np.ndarray) -> np.ndarray:
    """Return where the head is (bool): the regions brighter than air that are not tiny, and the holes in their slices.

    Air ends at Otsu's threshold (1979) of the blurred image's square roots, which bright fluid and fat do not dominate.

    Parameters
    ----------
    data
        The scan's values, 3-D.
    spacing
        mm along each axis, shape (3,).
    """
    from scipy import ndimage

    roots = np.sqrt(np.clip(data, 0, np.percentile(data, 99), dtype=np.float32))
    blurred = ndimage.gaussian_filter(roots, BLUR_MM / 2 / spacing)
    pieces, count = ndimage.label(blurred > _otsu(blurred))
    if count == 0:
        return np.zeros(data.shape, bool)
    sizes = np.bincount(pieces.ravel())
    sizes[0] = 0
    # dark bone may keep the scalp apart from the brain
    inside = (sizes > SMALL * sizes.max())[pieces]
    for axis in range(3):
        inside = np.stack([ndimage.binary_fill_holes(one) for one in np.moveaxis(inside, axis, 0)], axis)
    return np.asarray(inside)


def _otsu(values: np.ndarray) -> float:
    """Return the threshold that divides values into the two classes whose means differ most."""
    counts, edges = np.histogram(values, 256)
    middles, total = (edges[1:] + edges[:-1]) / 2, counts.sum()
    below, sums = np.cumsum(counts)[:-1], np.cumsum(counts * middles)
    between = (sums[-1] * below / total - sums[:-1]) ** 2 / np.maximum(below * (total - below), 1)
    return float(edges[1:-1][between.argmax()])
