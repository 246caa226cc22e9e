"""The benchmark of methods judges right: known deformations, other people's readers, and cells that are kept."""

from __future__ import annotations

import itertools
import json
import shutil
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from bidsreg.programs import niftyreg_install
from bidsreg.registration.deformation import Deformation
from bidsreg.registration.grid import Grid, apply_affine
from bidsreg.registration.itk import read_affine
from tests import data

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / 'experiments'))
import pairs as bench
import peers

SHAPE, OBLIQUE = data.GRIDS['oblique']


def smooth_field(grid, amplitude=4.0):
    """mm, vanishing at the border."""
    fade = np.ones(grid.shape)
    for axis, n in enumerate(grid.shape):
        fade = fade * np.sin(np.pi * np.arange(n) / (n - 1)).reshape([-1 if i == axis else 1 for i in range(3)])
    return (fade[..., None] * np.array([amplitude, -amplitude / 2, amplitude / 3])).astype(np.float32)


@pytest.fixture
def tilted():
    matrix = np.eye(4)
    matrix[:3, :3] = data.rotation(5, -3, 8) @ np.diag([1.05, 0.97, 1.02])
    matrix[:3, 3] = 4, -7, 2
    return matrix


# ---------------------------------------------------------------------------------------------------- judging
def test_dice_is_that_of_sets():
    rng = np.random.default_rng(0)
    fixed, moved = rng.integers(0, 5, (2, 6, 7, 8))
    moved[moved == 3] = 9  # one label that is lost, one that is not in the fixed image
    found = bench.dice(fixed, moved)
    sets = [{i: {tuple(v) for v in np.argwhere(labels == i)} for i in range(10)} for labels in (fixed, moved)]
    assert set(found) == {'1', '2', '3', '4'}
    for label in (1, 2, 3, 4):
        one, two = sets[0][label], sets[1][label]
        assert found[str(label)] == pytest.approx(2 * len(one & two) / (len(one) + len(two)))


def test_folds_and_stretching_against_loops():
    rng = np.random.default_rng(1)
    grid = Grid((7, 8, 6), np.diag([1.0, 2.0, 1.5, 1.0]))
    field = rng.normal(0, 0.45, (*grid.shape, 3)).astype(np.float32)
    inside = np.zeros(grid.shape, bool)
    inside[2:5, 2:6, 1:5] = True
    facts = bench.jacobian_facts(Deformation(np.eye(4), field, field, grid), inside)

    def derivative(voxel, axis, scheme):
        there = np.array(voxel)
        low, high = {'central': (-1, 1), 'forward': (0, 1), 'backward': (-1, 0)}[scheme]
        one, two = there.copy(), there.copy()
        one[axis], two[axis] = there[axis] + low, there[axis] + high
        if one[axis] < 0:
            one[axis], two[axis] = 0, 1
        if two[axis] >= grid.shape[axis]:
            one[axis], two[axis] = grid.shape[axis] - 2, grid.shape[axis] - 1
        step = (two[axis] - one[axis]) * grid.spacing[axis]
        return (field[tuple(two)].astype(float) - field[tuple(one)]) / step

    def determinant(voxel, scheme):
        columns = [derivative(voxel, axis, scheme) for axis in range(3)]
        return np.linalg.det(np.eye(3) + np.array(columns).T)

    voxels = list(itertools.product(*map(range, grid.shape)))
    folded = {v for v in voxels if any(determinant(v, s) <= 0 for s in ('central', 'forward', 'backward'))}
    central = np.array([determinant(v, 'central') for v in voxels if inside[v]])
    assert facts['folds'] == len(folded) > 5
    assert facts['folds_in_mask'] == sum(inside[v] for v in folded)
    assert facts['folds_percent'] == pytest.approx(100 * facts['folds_in_mask'] / inside.sum())
    assert facts['sdlogj'] == pytest.approx(np.log(central[central > 0]).std(), rel=1e-4)


def test_errors_at_points(tilted):
    grid = Grid(SHAPE, OBLIQUE)
    field = smooth_field(grid)
    voxels = np.random.default_rng(2).uniform(4, 40, (200, 3))
    fixed = grid.to_world(voxels)
    true = apply_affine(tilted, fixed + data_at(field, voxels))
    points = np.hstack([fixed, true])
    right = bench.target_errors(points, Deformation(tilted, field, -field, grid))
    wrong = bench.target_errors(points, Deformation(tilted, -field, field, grid))
    still = bench.target_errors(points, Deformation(tilted, 0 * field, 0 * field, grid))
    assert right['mean'] < 1e-4
    assert right['worse_percent'] == still['worse_percent'] == 0
    assert wrong['worse_percent'] == 100
    assert wrong['p95'] == pytest.approx(2 * still['p95'], rel=0.05)


def data_at(field, voxels):
    """Linear interpolation by a loop over points."""
    out = []
    for point in voxels:
        low = np.floor(point).astype(int)
        part = point - low
        value = np.zeros(3)
        for corner in itertools.product((0, 1), repeat=3):
            value += np.prod(np.where(corner, part, 1 - part)) * field[tuple(low + corner)]
        out.append(value)
    return np.array(out)


def test_affine_of_points_is_found(tilted):
    points = np.random.default_rng(3).normal(0, 50, (40, 3))
    found = bench.least_squares_affine(points, apply_affine(tilted, points))
    np.testing.assert_allclose(found, tilted, atol=1e-9)


# ---------------------------------------------------------------------------------------------------- running
class Words(peers.Affine):
    def __init__(self, *words):
        self.words = list(words)

    def command(self, pair, out, threads):
        return self.words


def test_memory_and_seconds_are_the_childs_alone(tmp_path):
    here = np.ones(60_000_000)  # 480 MB that a child must not answer for
    code = 'import time; x = bytearray(150_000_000); time.sleep(0.3)'
    facts = bench.run_once(Words(sys.executable, '-S', '-c', code), None, tmp_path, 1)
    assert here[0] == 1
    assert 150 < facts['peak_mb'] < 250
    assert 0.3 < facts['seconds'] < 10
    assert facts['cpu_seconds'] < facts['seconds']


def test_a_failing_command_says_why(tmp_path):
    code = 'import sys; print("no such brain"); sys.exit(3)'
    with pytest.raises(RuntimeError, match=r'ended with 3: .*no such brain'):
        bench.run_once(Words(sys.executable, '-S', '-c', code), None, tmp_path, 1)


def test_a_launcher_that_is_stopped_is_a_failure(tmp_path):
    code = 'import os, signal; os.kill(os.getppid(), signal.SIGTERM)'
    with pytest.raises(RuntimeError, match='stopped from outside'):
        bench.run_once(Words(sys.executable, '-S', '-c', code), None, tmp_path, 1)


@pytest.fixture(scope='module')
def datasets(tmp_path_factory):
    """Folders of one labelled pair and of one head with truth."""
    root = tmp_path_factory.mktemp('data')
    there = data.pair(known=data.truth(1, turn=(0, 0, 0), shift=(0, 0, 0)))
    one = root / 'people/a-b'
    one.mkdir(parents=True)
    for end, contrast in (('fixed', 'T1w'), ('moving', 'T2w')):
        scan, mask = getattr(there, end), getattr(there, f'{end}_mask')
        nib.save(
            data.image(np.asarray(scan.dataobj) * np.asarray(mask.dataobj), scan.affine),
            one / f'{end}_{contrast}.nii.gz',
        )
        nib.save(getattr(there, f'{end}_labels'), one / f'{end}_dseg.nii.gz')
    head = data.pair(seed=2, known=data.truth(2, turn=(3, 2, -4), amplitude=10))
    truth = root / 'heads/derivatives/truth/sub-01/anat'
    truth.mkdir(parents=True)
    data.write_dataset(root / 'heads', images={'sub-01_T1w.nii.gz': head.fixed, 'sub-01_T2w.nii.gz': head.moving})
    nib.save(head.fixed_mask, truth / 'sub-01_desc-brain_mask.nii.gz')
    np.savetxt(truth / 'sub-01_from-T1w_to-T2w_points.tsv', head.points, header='x y z x y z', comments='')
    return root


@pytest.fixture
def run(monkeypatch, capsys, tmp_path):
    def run(*words):
        more = [
            '--bias-correction',
            'none',
            '--threads',
            '1',
            '--work',
            str(tmp_path / 'work'),
            '--out',
            str(tmp_path / 'cells.json'),
        ]
        monkeypatch.setattr(sys, 'argv', ['pairs.py', *map(str, words), *more])
        bench.main()
        return capsys.readouterr(), json.loads((tmp_path / 'cells.json').read_text())

    return run


def test_people_from_folders_to_tables(datasets, run, monkeypatch, tmp_path):
    monkeypatch.setenv('PATH', '/nowhere')
    monkeypatch.setattr(niftyreg_install, 'installed', lambda: tmp_path / 'no programs')
    monkeypatch.delenv('NIFTYREGDIR', raising=False)
    said, cells = run(datasets / 'people', '--methods', 'affine', 'niftyreg')
    [cell] = cells.values()
    fixed, moving = (nib.load(datasets / f'people/a-b/{end}_dseg.nii.gz').get_fdata() for end in ('fixed', 'moving'))
    assert cell['dice'] == bench.dice(fixed.astype(int), moving.astype(int))
    assert cell['inverse_consistency_mm']['max'] == cell['folds'] == 0
    assert 'niftyreg: skipped, reg_f3d and reg_transform neither on the PATH nor in NIFTYREGDIR' in said.out
    assert '### Between people (task inter), means over 1' in said.out
    assert '| niftyreg' not in said.out


def test_heads_from_folders_to_tables_once(datasets, run):
    """The preset gets nearer the truth than where it started; a second call runs nothing."""
    words = (datasets / 'heads', '--methods', 'affine', 'node-mind')
    words += ('--pair-options', '--working-resolution 4 --set regularity=h1:0.2')
    said, cells = run(*words)
    still, moved = sorted(cells.values(), key=lambda cell: cell['method'])
    assert moved['tre_mm']['mean'] < 0.95 * still['tre_mm']['mean']  # 4 mm voxels
    assert moved['tre_mm']['worse_percent'] < 50
    assert moved['folds'] == 0
    assert moved['inverse_consistency_mm']['mean'] < 0.05
    assert moved['seconds'] > 0.5
    assert 100 < moved['peak_mb'] < 2000
    assert '### Within a head (task intra), means over 1' in said.out
    said, again = run(*words)
    assert again == cells
    assert said.err == ''


def test_a_failure_is_told_and_the_rest_goes_on(datasets, run):
    options = ('--pair-options', '--working-resolution 99')
    said, cells = run(datasets / 'heads', '--methods', 'node-mind', 'affine', *options)
    done, failed = sorted(cells.values(), key=lambda cell: cell['method'])
    assert '--working-resolution must lie between' in failed['failed']
    assert done['tre_mm']['worse_percent'] == 0
    assert 'node-mind on heads/sub-01 failed: RuntimeError: ended with 2' in said.out


def test_a_folder_without_pairs_is_refused(tmp_path, datasets):
    with pytest.raises(ValueError, match='neither'):
        list(bench.find_pairs(tmp_path, tmp_path, 'n4'))


def test_bias_goes_and_brightness_stays(datasets, tmp_path, monkeypatch):
    field = np.exp(np.linspace(-0.5, 0.5, 44))[:, None, None]
    monkeypatch.setattr(bench, 'bias_field', lambda image, inside, affine: field)
    [(pair, prepare)] = bench.find_pairs(datasets / 'heads', tmp_path, 'n4')
    bench.make_ready(pair, prepare)
    raw = nib.load(datasets / 'heads/sub-01/anat/sub-01_T1w.nii.gz').get_fdata()
    clean, mask = (nib.load(pair.path(what)).get_fdata() for what in ('fixed', 'fixed_mask'))
    ratio = (raw / field)[raw > 0] / clean[raw > 0]
    assert ratio.std() / ratio.mean() < 1e-5
    assert clean[mask > 0].mean() == pytest.approx(raw[mask > 0].mean())


def test_truth_is_the_start_within_a_head(datasets, tmp_path):
    """The affine is the best there is for the points, and carries the mask onto the other brain."""
    [(pair, prepare)] = bench.find_pairs(datasets / 'heads', tmp_path, 'none')
    bench.make_ready(pair, prepare)
    points = np.loadtxt(pair.folder / 'points.tsv')
    error = np.linalg.norm(apply_affine(read_affine(pair.itk_affine), points[:, :3]) - points[:, 3:], axis=1)
    assert error.mean() < 6
    mask = nib.load(pair.path('moving_mask'))
    at = np.rint(nib.affines.apply_affine(np.linalg.inv(mask.affine), points[:, 3:])).astype(int)
    assert np.asarray(mask.dataobj)[tuple(at.T)].mean() > 0.97
    assert [path.name for path in pair.folder.parent.iterdir()] == [pair.folder.name]  # nothing half made
    shutil.rmtree(pair.folder)
