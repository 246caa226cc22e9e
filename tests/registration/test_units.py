"""Millimetres are millimetres: the same anatomy on another grid moves by the same displacement."""

import dataclasses
import functools

import numpy as np
import pytest

from bidsreg.registration import Grid, Image, preset, register
from tests import data

KNOWN = data.truth(1, amplitude=6.0)
FIELD_OF_VIEW = {'R': 150.0, 'L': 150.0, 'A': 176.0, 'P': 176.0, 'S': 150.0, 'I': 150.0}
#: Grids of the fixed image, of about as many voxels each: axes, degrees, voxel sizes and centre in units of `size` mm.
GRIDS = {
    'even': ('RAS', (0, 0, 0), (1.0, 1.0, 1.0), (0, 0, 0)),
    'shifted': ('RAS', (0, 0, 0), (1.0, 1.0, 1.0), (0.33, -0.42, 0.22)),
    'thick': ('RAS', (0, 0, 0), (0.8, 0.8, 2.0), (0, 0, 0)),
    'oblique': ('LPI', (-8, 12, 17), (0.875, 0.875, 0.875), (0, 0, 0)),
}


def laid(name, size):
    """Shape and matrix of one of `GRIDS`."""
    axes, turn, voxel, centre = GRIDS[name]
    voxel = np.array(voxel) * size
    shape = tuple(round(FIELD_OF_VIEW[axis] / v) for axis, v in zip(axes, voxel, strict=True))
    return shape, data.grid(shape, axes, turn, voxel, np.array(centre) * size)


def loaded(image):
    return Image(np.asarray(image.dataobj, np.float32), Grid(image.shape, image.affine))


def quick(size):
    """Three levels down to `size` mm, stiff enough for the weight to matter."""
    levels = ((4 * size, 20), (2 * size, 20), (size, 20))
    return dataclasses.replace(
        preset('node-mind'),
        levels=levels,
        patches=(1,),  # single voxels of these heads without noise see rounding errors
        regularity=(('h1', 1.0),),
        loosened=(),
        velocity_spacing=8.0,
        learning_rate=0.02,
        reach=3.0,  # farther out these heads without noise have nothing but rounding errors to compare
    )


@functools.cache
def scanned(name, size):
    moving_shape, moving_affine = laid('even', 0.8 * size)
    shape, affine = laid(name, size)
    return data.pair(
        shape,
        1,
        moving_shape=moving_shape,
        fixed_affine=affine,
        moving_affine=moving_affine,
        known=KNOWN,
        noise=0,
    )


@functools.cache
def points(size):
    return scanned('even', size).points[:, :3]


def without_affine(deformation):
    return dataclasses.replace(deformation, affine=np.eye(4))


@functools.cache
def displacement(name, size):
    """What the registration with the fixed image on one grid gives at points of the brain, mm."""
    pair = scanned(name, size)
    mask = loaded(pair.fixed_mask)
    result = register(loaded(pair.fixed), loaded(pair.moving), quick(size), fixed_mask=mask, affine=pair.truth.matrix)
    assert result.folds == 0
    return without_affine(result.deformation).points(points(size)) - points(size)


def compared(name, size):
    """Mean distance in mm between the displacements on a grid and on the even one, and how long they are by them."""
    even, other = displacement('even', size), displacement(name, size)
    return np.linalg.norm(even - other, axis=1).mean(), (even * other).sum() / (even**2).sum()


@pytest.mark.parametrize(
    'name', ['oblique', *(pytest.param(name, marks=pytest.mark.slow) for name in ('shifted', 'thick'))]
)
def test_the_same_head_moves_by_the_same_millimetres_on_any_grid(name):
    distance, ratio = compared(name, 4.0)  # .32, .29 and .43 mm; ratios .86, .88 and .72: coarse voxels lose anatomy
    assert distance < 0.6
    assert 0.6 < ratio < 1.4


@pytest.mark.slow  # half a minute
@pytest.mark.parametrize('name', ['shifted', 'oblique', 'thick'])
def test_the_finer_the_grids_the_more_alike(name):
    distance, ratio = compared(name, 2.0)  # .07, .15 and .17 mm; ratios .99, .98 and .93
    assert distance < 0.3
    assert 0.85 < ratio < 1.15
    assert np.linalg.norm(KNOWN.displacement(points(2.0)), axis=1).mean() > 1.5


def test_a_turned_world_turns_the_displacement_and_nothing_else():
    """The same voxels, the world about them turned and moved: the answer in the new world is the old one, turned."""
    pair = scanned('oblique', 4.0)
    turn = np.eye(4)
    turn[:3, :3] = data.rotation(25, -40, 63) @ np.diag([-1, 1, 1])  # and mirrored
    turn[:3, 3] = (12, -30, 45)

    def turned(image):
        return Image(loaded(image).data, Grid(image.shape, turn @ image.affine))

    result = register(
        turned(pair.fixed),
        turned(pair.moving),
        quick(4.0),
        fixed_mask=turned(pair.fixed_mask),
        affine=turn @ pair.truth.matrix @ np.linalg.inv(turn),
    )
    at = points(4.0) @ turn[:3, :3].T + turn[:3, 3]
    moved = without_affine(result.deformation).points(at) - at
    difference = np.linalg.norm(moved - displacement('oblique', 4.0) @ turn[:3, :3].T, axis=1)
    assert difference.max() < 0.05
