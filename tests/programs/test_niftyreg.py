"""NiftyReg, where it is installed: its fields are what its own tools make of its control points."""

from __future__ import annotations

import dataclasses
import itertools
import subprocess

import numpy as np
import pytest

from bidsreg.programs import PROGRAMS, ProgramError, niftyreg, run_program
from bidsreg.programs.niftyreg_install import installed
from bidsreg.registration import Deformation, Grid, Image
from tests import data
from tests.fake_program import executable
from tests.programs.comparison import inside, made_ready, relative_difference, usable


def resampled_by_niftyreg(workspace):
    """What reg_resample makes of the moving image."""
    program = niftyreg.find_binary('reg_resample')
    if program is None:
        pytest.skip('reg_resample is not there')
    files = {'-ref': workspace.path('fixed'), '-flo': workspace.path('moving'), '-trans': workspace.path('control')}
    words = [str(word) for pair in (files | {'-res': workspace.path('theirs')}).items() for word in pair]
    subprocess.run([program, *words, '-inter', '1', '-pad', '0', '-voff'], check=True, capture_output=True)
    return Image.load(workspace.path('theirs')).data


@pytest.mark.parametrize('name', [usable('niftyreg'), usable('niftyreg-vel')])
def test_niftyreg_field_is_what_reg_resample_applies(name, heads, found):
    workspace, fields = found(name)
    assert np.abs(fields.forward).max() > 1
    difference = relative_difference(heads, fields, resampled_by_niftyreg(workspace))
    assert np.percentile(difference, 99.5) < 1e-5
    assert difference.max() < 0.01  # where the rim of the moving image is seen


@pytest.mark.parametrize('name', [usable('niftyreg'), usable('niftyreg-vel')])
def test_niftyregs_own_jacobian_is_ours(name, heads, found):
    """reg_jacobian knows the spline and counts the affine; ours are differences between voxels, without it."""
    from nipype.interfaces.niftyreg import RegJacobian

    workspace, fields = found(name)
    out = workspace.path('jacobian')
    options = {
        'ref_file': str(workspace.path('fixed')),
        'trans_file': str(workspace.path('control')),
        'out_file': str(out),
    }
    if niftyreg.find_binary('reg_jacobian') is None:
        pytest.skip('reg_jacobian is not there')
    run_program(niftyreg.interface_words(RegJacobian, 'reg_jacobian', type='jac', **options), workspace)
    theirs = Image.load(out).data / np.linalg.det(heads.truth.matrix[:3, :3])
    ours = Deformation(heads.truth.matrix, fields.forward, fields.forward, heads.fixed.grid).jacobian().data
    where = inside(heads.fixed.grid)
    assert ours[where].std() > 0.01
    assert np.corrcoef(ours[where], theirs[where])[0, 1] > 0.98
    assert np.median(np.abs(ours - theirs)[where]) < 0.1 * ours[where].std()


@pytest.mark.parametrize('name', [usable('niftyreg-vel')])
def test_niftyreg_inverse_undoes_its_field(name, heads, found):
    _, fields = found(name)
    ours = Deformation(heads.truth.matrix, fields.forward, fields.inverse, heads.fixed.grid)
    points = heads.pair.points[:, :3]
    moved = np.linalg.norm(fields.forward, axis=-1)[inside(heads.fixed.grid)].mean()
    error = np.linalg.norm(ours.inverted().points(ours.points(points)) - points, axis=1)
    assert error.mean() < 0.1 * moved


@pytest.mark.parametrize('axes', ['RAS', 'LPI', 'PSR', 'AIL'])
def test_axes_are_brought_along_others_without_touching_a_voxel(axes, tmp_path):
    rng = np.random.default_rng(0)
    shape = (5, 6, 7)
    before = Image(
        rng.normal(size=shape).astype(np.float32), Grid(shape, data.grid(shape, axes, (5, -4, 3), (2, 3, 4)))
    )
    before.save(tmp_path / 'image.nii')
    wanted = data.grid((9, 9, 9), 'LAS', (-3, 6, 2), 2.5)
    niftyreg.along_axes(tmp_path / 'image.nii', wanted)
    after = Image.load(tmp_path / 'image.nii')
    along = Grid((1, 1, 1), wanted).directions.T @ after.grid.directions
    assert (np.diag(along) > 0.9).all()
    at = before.grid.to_voxels(after.grid.to_world(np.moveaxis(np.indices(after.data.shape), 0, -1)))
    np.testing.assert_allclose(at, np.rint(at), atol=1e-4)
    assert np.array_equal(after.data, before.data[tuple(np.moveaxis(np.rint(at).astype(int), -1, 0))])


@pytest.mark.parametrize(
    ('name', 'there', 'not_there'),
    [
        ('niftyreg', ['--nmi'], ['-vel', '-fmask', '--mindssc']),
        ('niftyreg-vel', ['--nmi', '-vel', '-fmask'], ['--mindssc']),
        ('niftyreg-mind', ['--mindssc'], ['-vel', '--nmi']),
        ('niftyreg-mind-vel', ['--mindssc', '-vel'], ['--nmi']),
    ],
)
def test_f3d_words(name, there, not_there, heads, tmp_path, monkeypatch):
    monkeypatch.setattr(niftyreg, 'find_binary', lambda name: f'/some where/{name}')
    workspace = dataclasses.replace(made_ready(tmp_path / 'a workspace', heads), threads=3)
    words = PROGRAMS[name].words(workspace, workspace.path('control'))
    assert words[0] == '/some where/reg_f3d'
    assert set(there) <= set(words)
    assert not set(not_there) & set(words)
    asked = dict(itertools.pairwise(words))
    assert asked['-omp'] == '3'
    assert asked['-ref'] == str(workspace.path('fixed'))
    assert asked['-aff'] == str(workspace.plain_affine)
    assert asked['-rmask'] == str(workspace.path('fixed_mask'))
    assert asked['-maxit'] == '10'


def test_a_program_that_disappears_half_way_is_a_failure(nowhere, heads):
    """reg_f3d removes reg_transform, as when a disk is unmounted meanwhile."""
    folder = executable(installed(), 'reg_transform')
    gone = f'#!/bin/sh\n[ "$1" = -v ] && exit 0\nrm "{folder}/reg_transform"\n'
    executable(folder, 'reg_f3d', text=gone)
    with pytest.raises(ProgramError, match='reg_transform is not there any more'):
        PROGRAMS['niftyreg'].register(heads.fixed, heads.moving)
