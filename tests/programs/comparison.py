"""How the fields of a program are compared with what its own tools make of them."""

from __future__ import annotations

import numpy as np
import pytest

from bidsreg.programs import PROGRAMS, Workspace
from bidsreg.programs.exchange import world_points, write_pair
from bidsreg.registration import Deformation, Grid, Image
from bidsreg.registration.grid import apply_affine
from tests import data


def usable(name):
    why = PROGRAMS[name].missing()
    return pytest.param(name, marks=pytest.mark.skipif(bool(why), reason=why))


def made_ready(folder, heads):
    """A workspace on the heads, with masks and the true affine, which leaves the distortion."""
    folder.mkdir(exist_ok=True)
    images = heads.fixed, heads.moving, heads.fixed_mask, heads.moving_mask
    masked = write_pair(folder, *images, heads.truth.matrix)
    return Workspace(folder, heads.truth.matrix, masked, sloppy=True, quiet=True)


def inside(grid):
    """Voxels whose deformed positions no tool sees at the rim of the moving image."""
    out = np.zeros(grid.shape, bool)
    out[6:-6, 6:-6, 6:-6] = True
    return out


def relative_difference(heads, fields, theirs):
    """Between our resampling of the moving image and the program's, where both see it, of its largest value."""
    found = Deformation(heads.truth.matrix, fields.forward, fields.forward, heads.fixed.grid)
    ours = found.apply(heads.moving, heads.fixed.grid)
    return np.abs(ours.data - theirs)[inside(heads.fixed.grid)] / ours.data.max()


SLOPE = np.array([[0.06, -0.03, 0.02], [0.04, -0.05, 0.03], [-0.02, 0.01, 0.07]])
"""Displacements that grow linearly: any program's grid between voxels holds them exactly."""


def awkward(folder):
    """A workspace on oblique, left-handed, anisotropic grids, an affine with shear; and the displacements to be found.

    The moving image's values are a linear function of the world, `moving_value`.
    """
    folder.mkdir(exist_ok=True)
    shape, affine = (26, 24, 15), data.grid((26, 24, 15), 'LPI', (-8, 12, 17), (3.0, 3.2, 5.0))
    other_shape, other_affine = (40, 40, 40), data.grid((40, 40, 40), 'RAS', (14, -9, 7), (4.0, 3.5, 3.0))
    matrix = np.eye(4)
    matrix[:3] = [[1.02, 0.03, 0.0, 2.0], [-0.02, 0.98, 0.04, -3.0], [0.01, 0.0, 1.01, 1.5]]
    fixed = Image(np.random.default_rng(1).uniform(1, 2, shape).astype(np.float32), Grid(shape, affine))
    grid = Grid(other_shape, other_affine)
    values = moving_value(grid.to_world(np.moveaxis(np.indices(other_shape), 0, -1)))
    masked = write_pair(folder, fixed, Image(values.astype(np.float32), grid), None, None, matrix)
    return Workspace(folder, matrix, masked, quiet=True), fixed, linear_displacement(world_points(fixed))


def moving_value(points):
    """The moving image of `awkward` at world points."""
    return 500 + points @ [1.0, 0.5, -0.7]


def linear_displacement(points):
    """The displacements of `awkward` at world points, mm."""
    return points @ SLOPE.T + [1.0, -2.0, 0.5]


def check_brought(path, workspace):
    """The moving image lies on that grid of the fixed world as the affine takes it there."""
    image = Image.load(path)
    seen = image.data > 0
    assert seen.mean() > 0.9
    inner = tuple(slice(2, -2) for _ in range(3))
    expected = moving_value(apply_affine(workspace.affine, world_points(image)))
    np.testing.assert_allclose(image.data[inner], expected[inner], atol=0.01)
    return image
