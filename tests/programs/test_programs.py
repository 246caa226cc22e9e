"""Every program, where it is installed, finds a known warp; a second look at what its own tests say."""

from __future__ import annotations

import numpy as np
import pytest

from bidsreg.programs import PROGRAMS
from bidsreg.registration import Grid, Image
from tests import data
from tests.programs.comparison import usable


@pytest.mark.slow
@pytest.mark.parametrize('name', [usable(name) for name in PROGRAMS])
def test_a_known_warp_is_found(name, tmp_path):
    """A blob that lies off by another amount in each direction is brought back, between very different grids."""
    shift = np.array([6.0, -4.0, 2.5])
    shape, affine = (42, 38, 40), data.grid((42, 38, 40), 'LPI', (-8, 12, 17), 2.5)
    other_shape, other_affine = (40, 40, 38), data.grid((40, 40, 38), 'RAS', (14, -9, 7), 2.6)

    def blob(shape, affine, centre):
        """Layers of an ellipsoid, contrast inverted in none: every method can see it."""
        at = (data.world(shape, affine) - centre) / [28, 22, 18]
        radius = np.sqrt((at**2).sum(-1))
        texture = np.sin(at @ [7.0, 3, 2]) + np.sin(at @ [-2.0, 6, 4]) + np.sin(at @ [3.0, -4, 8])
        rng = np.random.default_rng(0)
        values = 100 * (radius < 1) * (2 + np.cos(4 * radius) + 0.5 * texture) + rng.normal(0, 2, shape)
        return Image(values.astype(np.float32), Grid(shape, affine))

    fixed, moving = blob(shape, affine, 0), blob(other_shape, other_affine, shift)
    sloppy = name in ('ants-syn-cc', 'fireants', 'syntx')  # minutes otherwise
    found = PROGRAMS[name].register(fixed, moving, threads=1, sloppy=sloppy).deformation
    points = np.random.default_rng(1).uniform(-9, 9, (100, 3))
    before = np.linalg.norm(shift)
    assert np.linalg.norm(found.points(points) - points - shift, axis=1).mean() < 0.6 * before
    assert np.linalg.norm(found.inverted().points(points + shift) - points, axis=1).mean() < 0.6 * before
