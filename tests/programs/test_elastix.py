"""elastix, where it is installed: its affine and displacements; test_programs.py has it find a warp."""

from __future__ import annotations

import importlib.metadata

import numpy as np
import pytest

from bidsreg.programs import PROGRAMS
from bidsreg.registration.grid import apply_affine
from tests.programs.comparison import usable


@pytest.mark.parametrize('name', [usable('elastix')])
def test_the_affine_is_elastix_own(name, heads, tmp_path, monkeypatch):
    """Points go where the matrix takes them, once elastix has it."""
    import itk

    from bidsreg.programs.elastix import _affine_parameters, _displacements
    from bidsreg.registration.itk import FLIP

    monkeypatch.chdir(tmp_path)  # it leaves a file where it stands
    matrix = np.eye(4)
    matrix[:3] = [[1.02, 0.03, 0.0, 2.0], [-0.02, 0.98, 0.04, -3.0], [0.01, 0.0, 1.01, 1.5]]
    image = itk.imread(str(heads.paths['fixed']), itk.F)
    parameters = _affine_parameters(matrix)
    size, spacing, origin = itk.size(image), itk.spacing(image), itk.origin(image)
    last = dict(parameters.GetParameterMap(0))
    last |= {
        'Size': tuple(map(str, size)),
        'Spacing': tuple(f'{x:.9g}' for x in spacing),
        'Origin': tuple(f'{x:.9g}' for x in origin),
        'Index': ('0', '0', '0'),
        'Direction': tuple(f'{x:.9g}' for x in itk.array_from_matrix(image.GetDirection()).T.ravel()),
        'ResampleInterpolator': ('FinalLinearInterpolator',),
        'Resampler': ('DefaultResampler',),
    }
    parameters.SetParameterMap(0, last)
    field = np.asarray(_displacements(image, parameters)).transpose(2, 1, 0, 3)
    voxels = np.array([[0, 0, 0], [5, 7, 11], [20, 3, 30]])
    physical = heads.fixed.grid.to_world(voxels) * [-1, -1, 1]
    expected = apply_affine(FLIP @ matrix @ FLIP, physical) - physical
    np.testing.assert_allclose(field[tuple(voxels.T)], expected, atol=1e-3)


def test_itk_alone_is_not_enough(monkeypatch):
    def version(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr('importlib.metadata.version', version)
    assert 'pip install itk-elastix' in PROGRAMS['elastix'].missing()
