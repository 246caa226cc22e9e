"""Tissue classes of a T1w by Atropos, and labels carried to another scan."""

from __future__ import annotations

import nibabel as nb
import numpy as np

from bidsreg.preparation.ants import load_ants, to_ants
from bidsreg.preparation.bias import bias_field
from bidsreg.registration.grid import Grid
from bidsreg.registration.image import Image, resample

CLASSES = ('csf', 'grey', 'white')
#: Percentile of a brain's values above which they are vessels, and no tissue.
VESSELS = 99.5


def corrected(image: Image, inside: np.ndarray) -> Image:
    """Return an image without its bias field, as N4 estimates it inside a mask (bool, of the image's shape)."""
    return Image(image.data / bias_field(image.data, inside, image.grid.affine), image.grid)


def tissue_classes(image: Image, inside: np.ndarray) -> Image:
    """Divide the brain of a T1w into :data:`CLASSES`, by Atropos from three k-means with a Markov random field.

    Parameters
    ----------
    image : Image
        T1w without bias field.
    inside : ndarray of bool, of the image's shape
        The brain.

    Returns
    -------
    Image
        1, 2 and 3 (uint8) from the darkest class to the brightest; 0 outside.
    """
    clipped = np.minimum(image.data, np.percentile(image.data[inside], VESSELS))
    scan, mask = (to_ants(nb.Nifti1Image(data, image.grid.affine)) for data in (clipped, inside.astype(np.float32)))
    found = load_ants().atropos(a=scan, x=mask, i=f'kmeans[{len(CLASSES)}]', m='[0.1,1x1x1]', c='[8,0]')
    classes = found['segmentation'].numpy().astype(int) * inside
    means = [image.data[classes == value].mean() for value in range(1, len(CLASSES) + 1)]
    ranks = np.zeros(len(CLASSES) + 1, np.uint8)
    ranks[1 + np.argsort(means)] = np.arange(1, len(CLASSES) + 1)
    return Image(ranks[classes], image.grid)


def carried(image: Image, matrix: np.ndarray, grid: Grid, order: int = 1) -> np.ndarray:
    """Sample an image, by default linearly, on a grid from whose world a matrix leads to the image's."""
    return resample(Image(image.data, Grid(image.grid.shape, np.linalg.inv(matrix) @ image.grid.affine)), grid, order)


def carried_labels(labels: Image, matrix: np.ndarray, grid: Grid) -> np.ndarray:
    """Sample labels as :func:`carried`: each voxel (uint8) gets the label, or the background, that weighs most."""
    values = np.unique(labels.data)
    heaviest, best = np.zeros(grid.shape, np.float32), np.zeros(grid.shape, np.uint8)
    for value in values[values > 0]:
        weight = carried(Image((labels.data == value).astype(np.float32), labels.grid), matrix, grid)
        best[weight > heaviest] = value
        np.maximum(heaviest, weight, out=heaviest)
    background = 1 - carried(Image((labels.data > 0).astype(np.float32), labels.grid), matrix, grid)
    best[background > heaviest] = 0
    return best
