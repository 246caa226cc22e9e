"""Awkward grids, and smooth displacements on them."""

import numpy as np
from hypothesis import strategies as st

from bidsreg.registration import Grid
from tests import data

#: Axes of the grids of the property tests, with voxel sizes in mm; each has about 130 mm along every axis.
AXES = {
    'ras': ('RAS', (0, 0, 0), (4.0, 4.0, 4.0)),
    'left-handed': ('LAS', (0, 0, 0), (4.0, 4.0, 4.0)),
    'oblique-left-handed': ('LPI', (-8, 12, 17), (4.2, 4.2, 4.2)),
    'thick': ('PSR', (9, 0, -6), (3.2, 8.0, 3.2)),
}


SEEDS = st.integers(0, 10_000)


def grid_named(name, centre=(0, 0, 0)):
    axes, turn, voxel = AXES[name]
    shape = tuple(round(130 / h) for h in voxel)
    return Grid(shape, data.grid(shape, axes, turn, voxel, centre))


def tapered(grid, seed=0, amplitude=5.0):
    """A smooth displacement (mm) that vanishes at the border of the grid."""
    u = data.truth(seed, amplitude=amplitude).displacement(data.world(grid.shape, grid.affine))
    for axis, n in enumerate(grid.shape):
        to_end = np.minimum(np.arange(n), np.arange(n)[::-1]) * grid.spacing[axis]
        window = np.sin(np.clip(to_end / 30, 0, 1) * np.pi / 2) ** 2
        u = u * window.reshape([-1 if a == axis else 1 for a in range(3)] + [1])
    return u.astype(np.float32)
