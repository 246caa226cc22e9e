"""convexAdam: what it is handed, and how its voxels become millimetres."""

from __future__ import annotations

import dataclasses
import inspect
import json

import numpy as np
import pytest

from bidsreg.programs import PROGRAMS, convexadam
from bidsreg.registration import Deformation, Image
from tests.programs.comparison import inside, made_ready, usable


def test_it_works_in_voxels_on_the_fixed_grid(heads, tmp_path, monkeypatch):
    workspace = made_ready(tmp_path, heads)
    grid, matrix = heads.fixed.grid, heads.truth.matrix

    def child(program, words, given):
        """Find the true displacements, in voxels."""
        assert (program, given) == ('convexadam', workspace)
        fixed, resampled, out, threads, options = words
        assert fixed == workspace.path('fixed')
        brought = Deformation.from_affine(matrix, grid).apply(heads.moving, grid)
        apart = np.abs(Image.load(resampled).data - brought.data)[inside(grid)]  # they end otherwise at the rim
        assert np.percentile(apart, 99) < 1e-4 * brought.data.max()
        assert (threads, json.loads(options)) == ('1', {'selected_niter': 10})
        np.save(out, heads.displacement() @ np.linalg.inv(grid.affine[:3, :3]).T)

    monkeypatch.setattr(convexadam, 'run_python', child)
    fields = PROGRAMS['convexadam'].run(workspace)
    np.testing.assert_allclose(fields.forward, heads.displacement(), atol=1e-4)
    assert fields.inverse is None


@pytest.mark.parametrize('name', [usable('convexadam')])
def test_settings_are_options_of_the_package(name):
    from convexAdam.convex_adam_MIND import convex_adam_pt

    options = dataclasses.asdict(PROGRAMS[name].used_settings(sloppy=True))
    assert set(options) < set(inspect.signature(convex_adam_pt).parameters)
