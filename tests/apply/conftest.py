"""A deformation with its inverse, and files of transforms that everybody reads."""

from __future__ import annotations

import nibabel as nb
import numpy as np
import pytest

from bidsreg.registration import Deformation, Grid
from bidsreg.registration.numerics.inversion import invert_displacement
from tests import data
from tests.fields import grid_named, tapered


def deformation(name='oblique-left-handed', seed=0, amplitude=5.0, **options):
    """Known everywhere, on a grid of its own."""
    grid = grid_named(name)
    u = tapered(grid, seed, amplitude)
    matrix = data.truth(seed, scale=(1.04, 0.97, 1.02), **options).matrix
    return Deformation(matrix, u, invert_displacement(u, grid, tolerance=2e-4)[0], grid)


def some_points(grid: Grid, n=300, seed=0, low=0.15):
    unit = np.random.default_rng(seed).uniform(low, 1 - low, (n, 3))
    return grid.to_world(unit * (np.array(grid.shape) - 1))


def write_image(path, values, affine):
    # nibabel wants to be told of 64 bits
    image = (
        nb.Nifti1Image(values, affine, dtype=values.dtype) if values.dtype == np.int64 else data.image(values, affine)
    )
    nb.save(image, path)
    return path


def scattered(shape):
    """Small regions of few labels, which voxels do not tell from a coarse scan."""
    rng = np.random.default_rng(0)
    return np.where(rng.random(shape) > 0.9, rng.integers(1, 10, shape), 0).astype(np.uint8)


@pytest.fixture(scope='session')
def transforms(tmp_path_factory):
    """Two deformations, one after the other: from B to A (as images go), and from C to B; with their inverses."""
    folder = tmp_path_factory.mktemp('transforms')
    found = {}
    for name, one in {
        'ab': deformation(seed=1),
        'bc': deformation('thick', 2, 4.0, turn=(-10, 12, -8), shift=(-6, 3, 4)),
    }.items():
        found[name] = one
        one.save(folder / f'{name}.h5')
        one.inverted().save(folder / f'{name}_inverse.h5')
    found['folder'] = folder
    return found
