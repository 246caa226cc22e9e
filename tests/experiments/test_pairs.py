"""Methods are compared by the judge's numbers; cells are kept, and failures told."""

from __future__ import annotations

import json
import shlex

import nibabel as nib
import numpy as np
import pairs as bench
import pytest

from bidsreg.benchmark import judge
from bidsreg.programs import niftyreg_install
from bidsreg.registration.image import Image


@pytest.fixture
def run(capsys, tmp_path):
    def run(*words):
        more = ('--bias-correction', 'none', '--threads', '1', '--work', tmp_path / 'work')
        bench.main([str(word) for word in (*words, *more, '--out', tmp_path / 'cells.json')])
        return capsys.readouterr(), json.loads((tmp_path / 'cells.json').read_text())

    return run


def test_people_from_folders_to_tables(datasets, run, monkeypatch, tmp_path):
    monkeypatch.setenv('PATH', '/nowhere')
    monkeypatch.setattr(niftyreg_install, 'installed', lambda: tmp_path / 'no programs')
    monkeypatch.delenv('NIFTYREGDIR', raising=False)
    said, cells = run(datasets / 'people', '--methods', 'affine', 'niftyreg', '--labels', datasets / 'labels.tsv')
    [cell] = cells.values()
    fixed, moving = (nib.load(datasets / f'people/a-b/{end}_dseg.nii.gz').get_fdata() for end in ('fixed', 'moving'))
    overlap = judge.dice(fixed.astype(int), moving.astype(int), (1, 2, 4))
    assert {label: values['dice'] for label, values in cell['labels'].items()} == {
        str(label): pytest.approx(value) for label, value in overlap.items()
    }
    assert cell['dice_mean'] == pytest.approx(np.mean(list(overlap.values())))
    assert cell['inverse_consistency_p99_mm'] == cell['folds'] == 0
    assert 'niftyreg: skipped, reg_f3d and reg_transform neither on the PATH nor in NIFTYREGDIR' in said.out
    assert '### Between people (task inter), means over 1' in said.out
    assert f'| 4 | {overlap[4]:.3f} |' in said.out
    assert '| niftyreg' not in said.out


@pytest.mark.slow  # the real solver
def test_heads_from_folders_to_tables_once(datasets, run):
    """The preset gets nearer the truth than where it started; a second call runs nothing."""
    words = (datasets / 'heads', '--methods', 'affine', 'node-mind')
    words += ('--pair-options', '--working-resolution 4 --set levels=8:20,4:10 --set regularity=h1:0.2')
    said, cells = run(*words)
    still, moved = sorted(cells.values(), key=lambda cell: cell['method'])
    assert moved['tre_mean'] < 0.95 * still['tre_mean']  # 4 mm voxels
    assert 0 < moved['worse_percent'] < 50
    assert still['worse_percent'] == 0
    assert moved['folds'] == 0
    assert moved['inverse_consistency_mm'] < 0.05
    assert moved['seconds'] > 0.5
    assert 100 < moved['peak_mb'] < 2000
    assert moved['settings']['options'] == shlex.split(words[-1])
    assert '### Within a head (task intra), means over 1' in said.out
    assert f'| {moved["tre_mean"]:.3f} | {moved["tre_p95"]:.3f} |' in said.out
    said, again = run(*words)
    assert again == cells
    assert said.err == ''


@pytest.mark.slow
def test_a_failure_is_told_and_the_rest_goes_on(datasets, run):
    options = ('--pair-options', '--working-resolution 99')
    said, cells = run(datasets / 'heads', '--methods', 'node-mind', 'affine', *options)
    done, failed = sorted(cells.values(), key=lambda cell: cell['method'])
    assert '--working-resolution must lie between' in failed['failed']
    assert done['worse_percent'] == 0
    assert 'node-mind on heads/sub-01 failed: RuntimeError: ended with 2' in said.out


def test_between_people_presets_take_their_form_and_options(datasets, tmp_path, monkeypatch):
    """Options are the presets' alone, and another setting makes another cell."""
    asked = []

    def measured(command, folder, *, threads):
        asked.append(command)
        raise RuntimeError('not today')

    monkeypatch.setattr(bench, 'run_measured', measured)
    words = [str(datasets / 'people'), '--methods', 'node-mind', 'ants-syn', '--bias-correction', 'none']
    words += ['--work', str(tmp_path), '--out', str(tmp_path / 'cells.json')]
    for options in ('--seed 1', '--seed 2'):
        bench.main([*words, '--pair-options', options])
    methods = [command[command.index('--method') + 1] for command in asked]
    assert methods == ['node-mind-inter', 'ants-syn'] * 2
    assert ['--seed' in command for command in asked] == [True, False] * 2
    cells = json.loads((tmp_path / 'cells.json').read_text())
    assert sorted(key.split('|')[1] for key in cells) == ['ants-syn', 'node-mind-inter', 'node-mind-inter']


def test_seconds_are_medians_of_the_repeats(datasets, tmp_path, monkeypatch):
    times = iter((5.0, 1.0, 3.0))
    found = judge.Deformation.identity(Image.load(datasets / 'people/a-b/fixed_T1w.nii.gz').grid)
    monkeypatch.setattr(bench, 'run_method', lambda *_: (found, {'seconds': next(times), 'iterations': 7}))
    words = f'{datasets}/people --methods node-mind --repeats 3 --bias-correction none --out {tmp_path}/cells.json'
    bench.main(shlex.split(words))
    [cell] = json.loads((tmp_path / 'cells.json').read_text()).values()
    assert (cell['seconds'], cell['iterations'], cell['repeats']) == (3, 7, 3)


def test_columns_are_empty_where_a_pair_lacks_the_number():
    column = bench.CellColumn('t', 'x', '.1f')
    assert column.text([{'x': 1}, {'x': 2}]) == '1.5'
    assert column.text([{'x': 1}, {}]) == '-'
    assert column.text([{'x': None}]) == column.text([{'x': float('nan')}]) == column.text([]) == '-'
    assert bench.FOLDS.text([{'folds': 3}, {'folds': 4}]) == '7'
