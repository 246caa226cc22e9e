"""How the fields of a program are compared with what its own tools make of them."""

from __future__ import annotations

import numpy as np
import pytest

from bidsreg.programs import PROGRAMS, Workspace
from bidsreg.programs.exchange import write_pair
from bidsreg.registration import Deformation


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
