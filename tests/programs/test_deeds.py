"""deedsBCV with a pretended program: what it is asked, and its file of control points."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from bidsreg.programs import PROGRAMS, ProgramError, deeds
from bidsreg.registration import Grid, Image
from tests.fake_program import executable
from tests.programs.comparison import awkward, check_brought, linear_displacement


def as_deeds_writes(path, grid, spacing):
    """Linear displacements in voxels at control points: as its source lays them out, number by number."""
    m, n, o = (size // spacing for size in grid.shape)
    flow = np.zeros(3 * m * n * o, np.float32)
    to_voxels = np.linalg.inv(grid.affine[:3, :3])
    for i, j, k in itertools.product(range(m), range(n), range(o)):
        voxel = np.array([i, j, k]) * np.array(grid.shape) / (m, n, o)
        first, second, third = to_voxels @ linear_displacement(grid.to_world(voxel))
        at = i + j * m + k * m * n
        flow[at], flow[at + m * n * o], flow[at + 2 * m * n * o] = second, first, third
    flow.tofile(path)


def test_its_voxels_become_millimetres_on_an_anisotropic_grid(tmp_path, monkeypatch):
    workspace, fixed, truth = awkward(tmp_path)
    asked = []

    def program(words, given):
        """Check the images, and leave the true displacements."""
        assert given is workspace
        asked.extend(words)
        cubes = Image.load(words[words.index('-F') + 1]).grid
        assert np.ptp(cubes.spacing) < 1e-4
        assert check_brought(words[words.index('-M') + 1], workspace).grid.same_as(cubes)
        as_deeds_writes(f'{words[words.index("-O") + 1]}_displacements.dat', cubes, 4)

    monkeypatch.setattr(deeds, 'run_program', program)
    fields = PROGRAMS['deedsbcv'].run(workspace)
    inner = tuple(slice(0, n - 4) for n in fixed.grid.shape)  # beyond the last control point they go on as they are
    np.testing.assert_allclose(fields.forward[inner], truth[inner], atol=1e-3)
    assert fields.inverse is None
    assert asked[-8:] == ['-a', '1.6', '-G', '8x7x6x5x4', '-L', '8x7x6x5x4', '-Q', '5x4x3x2x1']
    assert all(str(asked[asked.index(option) + 1]).endswith('.nii.gz') for option in ('-F', '-M'))


def test_cubes_stay_as_they_are():
    grid = Grid((8, 9, 10), np.diag([2.0, 2.02, 2.0, 1.0]))
    assert deeds.cubes_of(grid) is grid


def test_a_file_of_another_size_is_an_error(tmp_path, monkeypatch):
    with pytest.raises(ProgramError, match='left no'):
        deeds.control_displacements(tmp_path / 'x.dat', (8, 8, 8), 4)
    np.zeros(5, np.float32).tofile(tmp_path / 'x.dat')
    with pytest.raises(ProgramError, match='holds 5 numbers'):
        deeds.control_displacements(tmp_path / 'x.dat', (8, 8, 8), 4)


def test_it_is_looked_for_on_the_path(tmp_path, monkeypatch):
    monkeypatch.setenv('PATH', '/usr/bin:/bin')
    assert 'deedsBCV is not on the PATH' in PROGRAMS['deedsbcv'].missing()
    monkeypatch.setenv('PATH', f'{executable(tmp_path / "path", "deedsBCV")}:/usr/bin:/bin')
    assert PROGRAMS['deedsbcv'].missing() == ''
