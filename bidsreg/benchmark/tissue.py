"""A scan without its bias field, and labels carried to another scan."""

from __future__ import annotations

import numpy as np

from bidsreg.preparation.bias import bias_field
from bidsreg.registration.grid import Grid
from bidsreg.registration.image import Image, resample


def corrected(image: Image, inside: np.ndarray) -> Image:
    """Return an image without its bias field, as N4 estimates it inside a mask (bool, of the image's shape)."""
    return Image(image.data / bias_field(image.data, inside, image.grid.affine), image.grid)


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
