"""What all programs share, against other people's readers and with programs that misbehave."""

from __future__ import annotations

import dataclasses
import logging
import os
import sys
import time
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from bidsreg.programs import APP_PROGRAMS, PROGRAMS, ProgramError, base
from bidsreg.registration import Deformation, Grid, Image
from bidsreg.registration.grid import apply_affine
from bidsreg.registration.itk import write_affine
from tests import data

GRIDS = ['oblique', 'left-handed', 'oblique-left-handed', 'thick']


def tilted():
    matrix = np.eye(4)
    matrix[:3, :3] = data.rotation(5, -3, 8) @ np.diag([1.05, 0.97, 1.02])
    matrix[:3, 3] = 4, -7, 2
    return matrix


def smooth_field(grid, amplitude=4.0):
    """mm, another in each direction, vanishing at the border."""
    fade = np.ones(grid.shape)
    for axis, n in enumerate(grid.shape):
        fade = fade * np.sin(np.pi * np.arange(n) / (n - 1)).reshape([-1 if i == axis else 1 for i in range(3)])
    return (fade[..., None] * np.array([amplitude, -amplitude / 2, amplitude / 3])).astype(np.float32)


@pytest.fixture(params=GRIDS)
def grid(request):
    return Grid(*data.GRIDS[request.param])


# ---------------------------------------------------------------------------------------------------- conventions
def test_itk_warps_map_points_as_itk_does(tmp_path, grid):
    field = smooth_field(grid)
    flip = np.diag([-1.0, -1.0, 1.0, 1.0])
    lps = flip @ grid.affine
    image = sitk.GetImageFromArray((field * [-1, -1, 1]).transpose(2, 1, 0, 3).astype(float), isVector=True)
    image.SetOrigin(lps[:3, 3].tolist())
    image.SetSpacing(grid.spacing.tolist())
    image.SetDirection((lps[:3, :3] / grid.spacing).ravel().tolist())
    sitk.WriteImage(image, str(tmp_path / 'warp.nii.gz'))
    write_affine(tmp_path / 'affine.txt', tilted())
    read = base.itk_field(tmp_path / 'warp.nii.gz')
    found = Deformation(tilted(), read, read, grid)
    chain = sitk.CompositeTransform(3)
    chain.AddTransform(sitk.ReadTransform(str(tmp_path / 'affine.txt')))
    chain.AddTransform(sitk.DisplacementFieldTransform(image))
    last = np.array(grid.shape) - 3
    points = grid.to_world(np.random.default_rng(4).uniform(2, last, (50, 3)))
    theirs = np.array([chain.TransformPoint(p.tolist()) for p in points * [-1, -1, 1]]) * [-1, -1, 1]
    np.testing.assert_allclose(found.points(points), theirs, atol=1e-3)


def test_affine_is_taken_off(grid):
    field = smooth_field(grid)
    world = data.world(grid.shape, grid.affine)
    total = apply_affine(tilted(), world + field) - world
    found = base.without_affine(total, Image(np.zeros(grid.shape, np.float32), grid), tilted())
    np.testing.assert_allclose(found, field, atol=1e-4)


def test_files_of_a_job_have_one_grid_for_every_reader(tmp_path, grid):
    """A header whose qform says something else is not handed on."""
    rng = np.random.default_rng(0)
    image = Image(rng.uniform(size=grid.shape).astype(np.float32), grid)
    assert not base.write_pair(tmp_path, image, image, None, None, tilted())
    work = base.Workspace(tmp_path, tilted(), False)
    written = nib.load(work.path('fixed'))
    np.testing.assert_allclose(written.get_qform(), grid.affine, atol=1e-3)
    np.testing.assert_allclose(written.get_sform(), grid.affine, atol=1e-3)
    there = sitk.ReadTransform(str(work.itk_affine))
    point = np.array([3.0, -5.0, 9.0])
    ours = apply_affine(tilted(), point)
    np.testing.assert_allclose(np.array(there.TransformPoint((point * [-1, -1, 1]).tolist())) * [-1, -1, 1], ours)
    np.testing.assert_allclose(np.loadtxt(work.plain_affine), tilted())


def test_masks_are_used_where_there_is_something_outside(tmp_path, heads):
    stripped = {
        end: Image(image.data * (mask.data > 0), image.grid)
        for end, image, mask in (
            ('fixed', heads.fixed, heads.fixed_mask),
            ('moving', heads.moving, heads.moving_mask),
        )
    }
    masks = heads.fixed_mask, heads.moving_mask

    def used(fixed, moving):
        return base.write_pair(tmp_path, fixed, moving, *masks, np.eye(4))

    assert used(heads.fixed, heads.moving)
    assert used(stripped['fixed'], heads.moving)
    assert used(heads.fixed, stripped['moving'])
    assert not used(stripped['fixed'], stripped['moving'])


# ---------------------------------------------------------------------------------------------------- any program
@dataclasses.dataclass(frozen=True)
class Wishes:
    steps: int = 3

    def sloppy(self):
        return Wishes(1)


class Pretended(base.Program):
    """Finds what it is told."""

    name = 'pretended'
    settings = Wishes()

    def __init__(self, *fields, absent=''):
        self.fields, self.absent, self.jobs = fields, absent, []

    def missing(self):
        return self.absent

    def run(self, work):
        self.jobs.append(work)
        assert work.path('fixed').exists()
        return base.Fields(*self.fields)


def folding_field(grid):
    """A block of voxels thrown over its neighbours."""
    field = smooth_field(grid, 1.0)
    field[15:18, 20:23, 15:18, 0] += 25
    return field


def test_a_pair_with_a_known_answer(heads):
    """The truth itself: inverted, judged better than the affine, and nothing left behind."""
    points = data.world(heads.fixed.grid.shape, heads.fixed.grid.affine)
    program = Pretended(heads.truth.displacement(points).astype(np.float32))
    masks = {'fixed_mask': heads.fixed_mask, 'moving_mask': heads.moving_mask}
    found = program.register(heads.fixed, heads.moving, affine=heads.truth.matrix, threads=1, seed=5, **masks)
    brain, there = heads.pair.points[:, :3], heads.pair.points[:, 3:]
    assert np.linalg.norm(found.deformation.points(brain) - there, axis=1).mean() < 0.1
    assert np.linalg.norm(found.deformation.inverted().points(there) - brain, axis=1).mean() < 0.1
    assert found.evidence['diffeo'].mi > 1.05 * found.evidence['affine'].mi > found.evidence['before'].mi
    assert (found.folds, found.iterations, found.history, found.attempts, found.repaired) == (0, None, [], 1, 0)
    assert found.stopped == ['pretended ended by its own rule', 'pretended gives no inverse: the field was inverted']
    [work] = program.jobs
    assert (work.threads, work.seed, work.masked, work.sloppy) == (1, 5, True, False)
    assert not work.folder.exists()


def test_an_inverse_of_its_own_is_taken(heads):
    field = smooth_field(heads.fixed.grid)
    found = Pretended(field, -field).register(heads.fixed, heads.moving)
    assert np.array_equal(found.deformation.inverse, -field)
    assert found.stopped == ['pretended ended by its own rule']
    assert found.mask.data.all()


def test_folds_are_counted_told_and_left(heads, caplog):
    field = folding_field(heads.fixed.grid)
    with caplog.at_level(logging.WARNING):
        found = Pretended(field).register(heads.fixed, heads.moving)
    assert found.folds > 10
    assert np.array_equal(found.deformation.forward, field)
    assert f'folds at {found.folds} voxels' in caplog.text
    assert 'best approximation' in caplog.text
    assert 'and the field has none' in found.stopped[1]
    # away from the fold the inverse is as good as any
    grid = heads.fixed.grid
    quiet = grid.to_world([[8.0, 10, 8], [26, 30, 24]])
    there = found.deformation.points(quiet)
    np.testing.assert_allclose(found.deformation.inverted().points(there), quiet, atol=0.05)


@pytest.mark.parametrize(
    ('field', 'words'),
    [
        (lambda grid: np.full((*grid.shape, 3), np.nan, np.float32), 'NaN or infinite'),
        (lambda grid: np.zeros((4, 5, 6, 3), np.float32), r'shape \(4, 5, 6, 3\)'),
    ],
)
def test_a_field_of_no_use_is_refused(heads, field, words):
    with pytest.raises(ProgramError, match=words):
        Pretended(field(heads.fixed.grid)).register(heads.fixed, heads.moving)


def test_a_missing_program_is_said_before_any_work(heads):
    program = Pretended(absent='it is on the moon')
    with pytest.raises(ProgramError, match='pretended: it is on the moon'):
        program.register(heads.fixed, heads.moving)
    assert program.jobs == []


def on_a_sheared_grid(heads):
    affine = heads.fixed.grid.affine.copy()
    affine[:3, 0] += 0.1 * affine[:3, 1]
    return {'fixed': Image(heads.fixed.data, Grid(heads.fixed.grid.shape, affine))}


@pytest.mark.parametrize(
    ('changed', 'words'),
    [
        (on_a_sheared_grid, 'not at right angles'),
        (lambda h: {'fixed_mask': h.moving_mask}, 'fixed mask lies on another grid'),
        (lambda h: {'moving_mask': Image(0 * h.moving.data, h.moving.grid)}, 'moving mask is empty'),
        (lambda h: {'moving': Image(0 * h.moving.data, h.moving.grid)}, 'moving: the image is constant'),
        (lambda h: {'affine': nib.affines.from_matvec(np.eye(3), [900, 0, 0])}, 'right way round'),
    ],
)
def test_bad_input_is_refused_before_any_work(heads, changed, words):
    program = Pretended()
    given = {'fixed': heads.fixed, 'moving': heads.moving} | changed(heads)
    with pytest.raises(ValueError, match=words):
        program.register(given.pop('fixed'), given.pop('moving'), **given)
    assert program.jobs == []


# ---------------------------------------------------------------------------------------------------- any program
@pytest.fixture
def work(tmp_path):
    return base.Workspace(tmp_path, np.eye(4), False, threads=3)


def python(code):
    return [sys.executable, '-S', '-c', code]


def test_a_program_gets_its_threads_and_its_folder(work):
    words = python(
        f'import os; open("told.txt", "w").write(repr([os.environ.get(n) for n in {base.THREAD_VARIABLES}]))'
    )
    base.run_program(words, work)
    assert (work.folder / 'told.txt').read_text() == repr(['3'] * len(base.THREAD_VARIABLES))


def test_what_a_program_says_reaches_stderr_unless_quiet(work, capfd):
    base.run_program(python('print("level one")'), work)
    assert 'level one' in capfd.readouterr().err
    base.run_program(python('print("level one")'), dataclasses.replace(work, quiet=True))
    assert capfd.readouterr().err == ''


@pytest.mark.parametrize(
    ('words', 'said'),
    [
        (python('print("no such brain"); import sys; sys.exit(3)'), 'ended with 3: no such brain'),
        (python('import os; os.kill(os.getpid(), 9)'), 'signal 9, most often because memory ran out'),
        (['/nowhere/reg_f3d'], 'cannot be started: No such file'),
    ],
)
def test_a_program_that_fails_says_why(work, words, said):
    with pytest.raises(ProgramError, match=said):
        base.run_program(words, work)


def test_a_program_that_writes_nothing_is_a_failure(work):
    with pytest.raises(ProgramError, match=r'left no warp\.nii'):
        base.itk_field(work.path('warp'))
    nib.save(nib.Nifti1Image(np.zeros((4, 5, 6), np.float32), np.eye(4)), work.path('warp'))
    with pytest.raises(ProgramError, match='holds no displacements'):
        base.itk_field(work.path('warp'))


def test_a_program_ends_with_the_process_that_started_it(tmp_path):
    """A node that is killed leaves no program behind that works on."""
    inner = f'import os, time; open({str(tmp_path / "pid")!r}, "w").write(str(os.getpid())); time.sleep(60)'
    code = f"""
import sys; from pathlib import Path; import numpy as np
from bidsreg.programs import base
base.run_program([sys.executable, '-S', '-c', {inner!r}], base.Workspace(Path({str(tmp_path)!r}), np.eye(4), False))
"""
    import subprocess

    outer = subprocess.Popen([sys.executable, '-c', code], cwd=Path(__file__).parents[2])
    until(lambda: (tmp_path / 'pid').exists() and (tmp_path / 'pid').read_text())
    pid = int((tmp_path / 'pid').read_text())
    assert alive(pid)
    outer.kill()
    outer.wait()
    until(lambda: not alive(pid))


def until(true, seconds=20):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.05)


def alive(pid):
    try:
        return Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()[0] not in 'ZX'
    except OSError:
        return False


# ---------------------------------------------------------------------------------------------------- the registry
def test_engines_are_listed_without_their_libraries():
    """Command lines stay quick, and torch and ANTs out of the app's own process."""
    import subprocess

    code = (
        'import sys; from bidsreg.programs import PROGRAMS; '
        '[program.missing() for name, program in PROGRAMS.items() if not name.startswith("nifty")]; '
        'print([m for m in ("torch", "ants", "nipype", "nibabel", "picsl_greedy") if m in sys.modules])'
    )
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True, env=os.environ)
    assert done.stdout.strip() == '[]'


def test_every_engine_describes_itself():
    assert {'ants-syn', 'ants-syn-cc', 'niftyreg', 'niftyreg-vel', 'niftyreg-mind', 'niftyreg-mind-vel'} == set(
        APP_PROGRAMS
    )
    assert {'greedy', 'convexadam', 'fireants'} == set(PROGRAMS) - set(APP_PROGRAMS)
    for name, program in PROGRAMS.items():
        assert program.name == name
        assert program.description
        assert program.as_dict()['name'] == name
        assert program.as_dict(sloppy=True) != program.as_dict()
    assert len({str(program.as_dict()) for program in PROGRAMS.values()}) == len(PROGRAMS)
    for program in APP_PROGRAMS.values():
        assert program.sentence
        assert program.references


def test_an_absent_package_is_named_with_how_to_get_it(monkeypatch):
    monkeypatch.setattr(base.importlib.util, 'find_spec', lambda name: None)
    assert 'pip install convexAdam' in PROGRAMS['convexadam'].missing()
