"""Whole benchmarks on small heads: what is run, what is kept, what fails and how that is told."""

from __future__ import annotations

import itertools
import json
import re
import shutil
from pathlib import Path

import nibabel as nb
import numpy as np
import pandas as pd
import pytest

from bidsreg.benchmark.cli import main
from bidsreg.benchmark.run import why_failed
from bidsreg.outcome import Cause, Failure
from bidsreg.programs import PROGRAMS
from tests import data

QUICK = ('--prealign', 'none', '--bias-correction', 'none', '--nprocs', '1', '--device', 'cpu')


@pytest.fixture
def figures():
    """For tests that look at the figures."""


@pytest.fixture
def bench(table, tmp_path, request, monkeypatch):
    """Run a benchmark of the table: the exit code. The figures, two thirds of its time, are drawn only on demand."""
    if 'figures' not in request.fixturenames:
        monkeypatch.setattr('bidsreg.benchmark.figures.write_figures', lambda *_: None)

    def run(*words, out='out', source=table):
        labels = () if '--labels' in words else ('--labels', str(table.parent / 'labels.tsv'))
        return main([str(source), str(tmp_path / out), '-w', str(tmp_path / 'work'), *labels, *words])

    return run


def read(out: Path) -> pd.DataFrame:
    return pd.read_csv(out / 'results.tsv', sep='\t', na_values=['n/a']).set_index(['pair', 'method'])


def calls(pretender: Path) -> list[str]:
    """The methods that the solver was started for, in order."""
    if not (pretender / 'calls.txt').exists():
        return []
    lines = (pretender / 'calls.txt').read_text().splitlines()
    return [(words := json.loads(line))[words.index('--method') + 1] for line in lines]


# ---------------------------------------------------------------------------------------------------- what is run
def test_everything_is_there(bench, figures, pretender, tmp_path, heads, capsys):
    assert bench('--methods', 'affine', 'node-mind', *QUICK) == 0
    out = tmp_path / 'out'
    results = read(out)
    assert len(results) == 4
    assert (results['status'] == 'done').all()
    assert sorted(calls(pretender)) == ['node-mind-inter', 'node-mind-inter']
    # the pretender answers with the true affine of the first head, the affine alone with the identity
    first = results.loc['pair-001']
    expected = np.linalg.norm(heads[0].points[:, :3] - heads[0].points[:, 3:], axis=1)
    assert first.loc['affine', 'tre_mean'] == pytest.approx(expected.mean(), abs=1e-3)
    assert first.loc['node-mind-inter', 'tre_mean'] < 0.5 * expected.mean()
    assert first.loc['node-mind-inter', 'dice_mean'] > first.loc['affine', 'dice_mean'] > 0.2
    assert first.loc['node-mind-inter', 'seconds'] == 7  # solving and the inverse
    assert first.loc['node-mind-inter', 'peak_memory_mb'] == 321.5
    # a program that it runs works for .2 s
    assert 0.2 <= first.loc['node-mind-inter', 'cpu_seconds'] < 5
    assert first.loc['affine', ['seconds', 'cpu_seconds']].isna().all()
    labels = pd.read_csv(out / 'labels.tsv', sep='\t', na_values=['n/a'])
    assert len(labels) == 2 * 2 * 3
    ours = labels[(labels['pair'] == 'pair-001') & (labels['method'] == 'affine')]
    assert ours['dice'].mean() == pytest.approx(first.loc['affine', 'dice_mean'], abs=1e-4)
    for name in ('results', 'labels'):
        described = json.loads((out / f'{name}.json').read_text())
        assert list(described) == list(pd.read_csv(out / f'{name}.tsv', sep='\t').columns)
    text = (out / 'table.md').read_text()
    assert 'whose name ends in -inter: node-mind.' in text
    assert 'pretender 1.2' in text
    assert (out / 'table.html').stat().st_size > 1000
    assert r'\toprule' in (out / 'table.tex').read_text()
    for name in ('dice', 'tre', 'dice_by_structure', 'quality_by_seconds', 'quality_by_cpu_seconds', 'example'):
        assert (out / 'figures' / f'{name}.png').read_bytes().startswith(b'\x89PNG'), name
    assert '4 done, 0 failed' in capsys.readouterr().out
    assert not list(out.rglob('.*.nii.gz'))  # nothing half written


def test_the_solver_is_told_to_keep_its_own_answer(bench, pretender, table):
    assert bench('--methods', 'niftyreg' if not PROGRAMS['niftyreg'].missing() else 'ants-syn', *QUICK) == 0
    words = json.loads((pretender / 'calls.txt').read_text().splitlines()[0])
    asked = dict(itertools.pairwise(words))
    assert asked['--keep'] == 'diffeo'
    assert asked['--device'] == 'cpu'
    assert asked['--threads'] == '1'
    assert '--affine' not in words  # --prealign none
    given = nb.load(asked['--fixed-mask'])
    own = nb.load(table.parent / '0' / 'fixed_mask.nii.gz')
    assert np.array_equal(given.get_fdata() > 0, own.get_fdata() > 0)


@pytest.mark.parametrize('correction', [pytest.param('n4', marks=pytest.mark.slow), 'none'])
def test_every_method_gets_the_same_images(bench, pretender, table, correction):
    words = ('--prealign', 'none', '--pairs', '1', '--sloppy', '--nprocs', '1', '--device', 'cpu')
    assert bench('--methods', 'ants-syn', 'node-mind', '--bias-correction', correction, *words) == 0
    asked = [json.loads(line) for line in (pretender / 'calls.txt').read_text().splitlines()]
    first, second = ([*words[:2], words[words.index('--fixed-mask') + 1]] for words in asked)
    assert first == second
    pair = 0 if '/0/' in (table.parent.parent / 'out' / 'results.tsv').read_text() else 1
    for path, name in zip(first, ('fixed', 'moving'), strict=False):
        given, own = (nb.load(file).get_fdata() for file in (path, table.parent / f'{pair}/{name}.nii.gz'))
        assert np.allclose(given, own, rtol=1e-5) == (correction == 'none')


@pytest.mark.slow
def test_a_plugin_of_nipype_runs_it(bench, pretender, tmp_path, monkeypatch):
    from nipype.pipeline.plugins import LinearPlugin

    ran = []
    once = LinearPlugin.run
    monkeypatch.setattr(LinearPlugin, 'run', lambda self, *args, **more: ran.append(1) or once(self, *args, **more))
    (tmp_path / 'plugin.yml').write_text('plugin: Linear\n')
    (pretender / 'fail-node-ngf-inter').touch()
    methods = ('affine', 'node-ngf', 'node-mind')
    assert bench('--methods', *methods, '--use-plugin', str(tmp_path / 'plugin.yml'), *QUICK) == 1
    assert ran
    status = read(tmp_path / 'out')['status'].unstack()
    assert (status['node-ngf-inter'] == 'failed').all()
    assert (status[['affine', 'node-mind-inter']] == 'done').all(axis=None)


@pytest.mark.slow
def test_within_a_head_presets_stay_as_they_are(bench, pretender, tmp_path):
    assert bench('--methods', 'node-mind', '--task', 'intra', *QUICK) == 0
    assert set(calls(pretender)) == {'node-mind'}
    assert 'one head' in (tmp_path / 'out' / 'table.md').read_text()


def test_other_contrasts_are_named_in_all_that_comes_out(bench, pretender, flair, tmp_path):
    words = ('--methods', 'affine', 'node-mind', '--task', 'intra', '--contrasts', 'T1w', 'FLAIR', *QUICK)
    assert bench(*words, source=flair) == 0
    out = tmp_path / 'out'
    assert set(read(out).index.get_level_values('pair')) == {f'sub-0{n}_from-FLAIR_to-T1w' for n in (1, 2)}
    assert 'T1w to FLAIR, one head: 2 pairs of flair' in (out / 'table.md').read_text()
    assert not [name for name in ('table.md', 'table.html', 'table.tex') if 'T2w' in (out / name).read_text()]
    assert json.loads((out / 'results.json').read_text())['moving']['Description'] == 'The FLAIR.'
    names = ('affine_FLAIR', 'affine_dseg', 'fixed_T1w', 'fixed_dseg', 'node-mind_FLAIR', 'node-mind_dseg')
    assert {path.name for path in (out / 'example').iterdir()} == {f'{name}.nii.gz' for name in names}
    # again: nothing is to do
    before = len(calls(pretender))
    assert bench(*words, source=flair) == 0
    assert len(calls(pretender)) == before


def test_a_table_of_other_contrasts_is_another_benchmark(bench, tmp_path, capsys):
    one, other = (('--contrasts', 'FLAIR', 'T1w'), ())
    for out, first, then, message in (
        ('a', one, other, 'its contrasts were FLAIR T1w, not T1w T2w'),
        ('b', other, one, 'its contrasts were T1w T2w, not FLAIR T1w'),
    ):
        assert bench('--methods', 'affine', '--pairs', '1', *QUICK, *first, out=out) == 0
        assert bench('--methods', 'affine', '--pairs', '1', *QUICK, *then, out=out) == 2
        assert message in capsys.readouterr().err
    assert 'FLAIR to T1w, two people' in (tmp_path / 'a' / 'table.md').read_text()
    assert 'T1w to T2w, two people' in (tmp_path / 'b' / 'table.md').read_text()


def test_bids_between_people(bench, pretender, bids, tmp_path):
    assert bench('--methods', 'affine', '--pairs', '2', *QUICK, source=bids) == 0
    results = read(tmp_path / 'out')
    assert len(results) == 2
    assert all(re.fullmatch(r'sub-0\d-T1w_sub-0\d-T2w', pair) for pair, _ in results.index)
    assert results['dice_mean'].notna().all()
    assert results['tre_mean'].isna().all()


# ---------------------------------------------------------------------------------------------------- again
@pytest.mark.slow
def test_done_cells_are_not_run_again(bench, pretender, tmp_path):
    assert bench('--methods', 'affine', 'node-mind', *QUICK) == 0
    before = (tmp_path / 'out' / 'results.tsv').read_bytes()
    assert bench('--methods', 'affine', 'node-mind', *QUICK) == 0
    assert len(calls(pretender)) == 2
    assert (tmp_path / 'out' / 'results.tsv').read_bytes() == before
    # another method joins; those of before stay in the table
    assert bench('--methods', 'node-ngf', *QUICK) == 0
    assert calls(pretender)[2:] == ['node-ngf-inter'] * 2
    assert set(read(tmp_path / 'out').index.get_level_values('method')) == {
        'affine', 'node-mind-inter', 'node-ngf-inter',
    }  # fmt:skip


@pytest.mark.slow
def test_a_lost_cell_comes_back_from_the_work_folder(bench, pretender, tmp_path):
    assert bench('--methods', 'node-mind', *QUICK) == 0
    lost = tmp_path / 'out' / 'cells' / 'pair-002' / 'node-mind-inter.json'
    before = lost.read_text()
    lost.unlink()
    assert bench('--methods', 'node-mind', *QUICK) == 0
    assert lost.read_text() == before
    assert len(calls(pretender)) == 2


@pytest.mark.slow
def test_a_changed_image_is_run_again(bench, pretender, table, tmp_path):
    assert bench('--methods', 'node-mind', *QUICK) == 0
    path = table.parent / '1' / 'moving.nii.gz'
    image = nb.load(path)
    nb.save(nb.Nifti1Image(np.asanyarray(image.dataobj) + np.int16(1), image.affine), path)
    assert bench('--methods', 'node-mind', *QUICK) == 0
    assert len(calls(pretender)) == 3


# ---------------------------------------------------------------------------------------------------- failures
def test_a_failing_method_is_told_and_the_rest_goes_on(bench, figures, pretender, tmp_path, capsys):
    (pretender / 'fail-node-ngf-inter').touch()
    assert bench('--methods', 'affine', 'node-ngf', 'node-mind', *QUICK) == 1
    results = read(tmp_path / 'out')
    failed = results.xs('node-ngf-inter', level='method')
    assert (failed['status'] == 'failed').all()
    assert failed['reason'].str.contains('the program has vanished').all()
    assert (results.drop('node-ngf-inter', level='method')['status'] == 'done').all()
    text = (tmp_path / 'out' / 'table.md').read_text()
    assert '| node-ngf-inter | 0/2 |' in text
    assert 'failed: node-ngf-inter on pair-001: ' in text
    assert 'failed: node-ngf-inter on pair-002: ' in capsys.readouterr().out
    # the next run tries again what failed, and only that
    (pretender / 'fail-node-ngf-inter').unlink()
    done = len(calls(pretender))
    assert bench('--methods', 'affine', 'node-ngf', 'node-mind', *QUICK) == 0
    assert calls(pretender)[done:] == ['node-ngf-inter'] * 2
    assert (read(tmp_path / 'out')['status'] == 'done').all()


def test_a_failing_pair_is_told_and_the_rest_goes_on(bench, pretender, table, tmp_path):
    """Cells of a broken image fail with its reason: here one whose data end early, which its header does not show."""
    path = table.parent / '1' / 'moving.nii.gz'
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    columns, first, second = (line.split('\t') for line in table.read_text().splitlines())
    second[columns.index('moving_mask')] = ''  # a mask is looked at together with its image before any work
    table.write_text('\n'.join('\t'.join(row) for row in (columns, first, second)))
    assert bench('--methods', 'affine', 'node-mind', *QUICK) == 1
    results = read(tmp_path / 'out')
    assert (results.loc['pair-001', 'status'] == 'done').all()
    assert (results.loc['pair-002', 'status'] == 'failed').all()
    assert results.loc['pair-002', 'reason'].str.contains('moving.nii.gz').all()


def test_when_everything_fails_there_still_is_a_table(bench, figures, pretender, tmp_path):
    (pretender / 'fail-node-mind-inter').touch()
    assert bench('--methods', 'node-mind', *QUICK) == 1
    text = (tmp_path / 'out' / 'table.md').read_text()
    assert '| node-mind-inter | 0/2 |' in text
    assert 'the program has vanished' in text
    assert not list((tmp_path / 'out').rglob('*.png'))


def test_figures_that_fail_cost_no_numbers(bench, figures, pretender, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr('bidsreg.benchmark.figures.save', lambda *_: 1 / 0)
    assert bench('--methods', 'affine', *QUICK) == 1
    assert 'The figures could not be drawn (division by zero)' in caplog.text
    assert (read(tmp_path / 'out')['status'] == 'done').all()


def test_a_disk_that_was_full_costs_no_figure_for_good(bench, figures, pretender, tmp_path, monkeypatch):
    """Half of the fixed scan was left beside the figures, and taken for the whole from then on."""
    write = nb.Nifti1Image.to_filename

    def full(image, path, **options):
        if 'fixed_T1w' not in str(path):
            return write(image, path, **options)
        path.write_bytes(b'half')
        raise OSError('no space left')

    with monkeypatch.context() as patch:
        patch.setattr(nb.Nifti1Image, 'to_filename', full)
        assert bench('--methods', 'affine', *QUICK, '--pairs', '1') == 1
    assert bench('--methods', 'affine', *QUICK, '--pairs', '1') == 0
    assert (tmp_path / 'out' / 'figures' / 'example.png').is_file()


def test_why_failed_asks_what_a_cell_needs():
    nodes = ['pair_1.register_a', 'pair_1.evaluate_a', 'image_fixed_x', 'image_moving_y', 'pair_1']
    failure = Failure(Cause.FAILED, 'the disk is gone')
    assert why_failed({'b.pair_1.register_a': failure}, nodes) is failure
    assert why_failed({'b.pair_1.register_b': failure}, nodes) is None  # of another method
    assert why_failed({'b.pair_1.register_a_b': failure}, nodes) is None
    assert why_failed({'b.pair_2.affine': failure}, nodes) is None  # of another pair
    assert why_failed({'b.image_moving_y.n4': failure}, nodes) is failure  # its image
    assert why_failed({'b.pair_1.prealign_wf.rigid': failure}, nodes) is failure  # its alignment


def test_a_killed_cell_gets_a_second_chance(bench, pretender, tmp_path, caplog):
    (pretender / 'kill-once-node-mind-inter').touch()
    assert bench('--methods', 'node-mind', *QUICK, '--pairs', '1') == 0
    assert 'lost with a process that was killed: once more' in caplog.text
    assert calls(pretender) == ['node-mind-inter'] * 2
    assert (read(tmp_path / 'out')['status'] == 'done').all()


# ---------------------------------------------------------------------------------------------------- refused
@pytest.mark.parametrize(
    ('words', 'message'),
    [
        (('--methods', 'nodemind'), "Did you mean 'node-mind'"),
        (('--methods', 'affine', 'affine'), 'listed twice'),
        (('--methods', 'affine', '--reference', 'best'), '--reference best: there is no such method'),
        (('--methods', 'affine', '--labels', 'nowhere.tsv'), 'nowhere.tsv cannot be read'),
        (('--methods', 'affine', '--pairs', '3'), 'only 2 pairs'),
        (('--methods', 'affine', '--pairs', '0'), 'at least 1'),
        (('--methods', 'affine', '--mem', 'much'), 'amount of memory'),
        (('--methods', 'affine', '--device', 'tpu'), '--device'),
        (('--methods', 'affine', '--use-plugin', 'none.yml'), 'none.yml cannot be read'),
    ],
)
def test_bad_words_are_refused_before_any_work(bench, tmp_path, capsys, words, message):
    assert bench(*words) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / 'out').exists()
    assert not (tmp_path / 'work').exists()


def test_a_missing_program(bench, pretender, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(type(PROGRAMS['niftyreg']), 'missing', lambda self: 'reg_f3d is not there.')
    assert bench('--methods', 'affine', 'niftyreg', *QUICK) == 2
    assert 'niftyreg: reg_f3d is not there.' in capsys.readouterr().err
    assert not (tmp_path / 'out').exists()
    assert bench('--methods', 'affine', 'niftyreg', '--skip-missing', *QUICK) == 0
    assert 'Left out, as it cannot be run here: niftyreg: reg_f3d' in (tmp_path / 'out' / 'table.md').read_text()


def test_a_missing_peer_is_skipped_with_a_note(bench, pretender, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(type(PROGRAMS['greedy']), 'missing', lambda self: 'pip install picsl_greedy')
    assert bench('--methods', 'affine', 'greedy', *QUICK) == 0
    note = 'Left out, as it cannot be run here: greedy: pip install picsl_greedy'
    assert note in caplog.text
    assert note in (tmp_path / 'out' / 'table.md').read_text()
    assert calls(pretender) == []


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (lambda text: text.replace('moving_labels\t', 'moving_label\t'), "'moving_label' is not known"),
        (lambda text: text.replace('\t', ','), "no column 'fixed'"),
        (lambda text: text.replace('1/fixed_labels', '1/nowhere'), 'line 3: fixed_labels'),
        (lambda text: text + text.splitlines()[1] + '\n', 'line 4: this pair is listed already in line 2'),
        (lambda text: text.replace('0/moving_labels', '0/cut'), 'cut.nii.gz has 36x42x35 voxels, but'),
    ],
)
def test_a_bad_table_is_refused_before_any_work(bench, pretender, table, tmp_path, capsys, change, message):
    labels = nb.load(table.parent / '0' / 'moving_labels.nii.gz')
    nb.save(labels.slicer[:, :, 1:], table.parent / '0' / 'cut.nii.gz')
    table.write_text(change(table.read_text()))
    assert bench('--methods', 'affine', 'node-mind', *QUICK) == 2
    assert message in capsys.readouterr().err
    assert calls(pretender) == []
    assert not (tmp_path / 'out').exists()
    assert not (tmp_path / 'work').exists()


def test_another_benchmarks_folder(bench, pretender, tmp_path, capsys):
    assert bench('--methods', 'affine', *QUICK) == 0
    before = (tmp_path / 'out' / 'table.md').read_bytes()
    words = ['--methods', 'affine', '--prealign', 'none', '--nprocs', '1']
    assert bench(*words, '--bias-correction', 'n4') == 2
    assert "its bias correction was 'none', not 'n4'" in capsys.readouterr().err
    assert bench('--methods', 'affine', *QUICK, '--pairs', '1') == 2
    assert 'its pairs are others (2 there, 1 now)' in capsys.readouterr().err
    assert bench('--methods', 'affine', *QUICK, '--task', 'intra') == 2
    assert 'belongs to another benchmark: its task' in capsys.readouterr().err
    assert (tmp_path / 'out' / 'table.md').read_bytes() == before


def test_somebody_elses_folder(bench, tmp_path, capsys):
    (tmp_path / 'out').mkdir()
    (tmp_path / 'out' / 'thesis.txt').write_text('precious')
    assert bench('--methods', 'affine', *QUICK) == 2
    assert 'is not empty, and no folder of a benchmark' in capsys.readouterr().err
    assert [path.name for path in (tmp_path / 'out').iterdir()] == ['thesis.txt']


def test_nothing_is_written_into_the_dataset(bids, tmp_path, capsys):
    for out in (bids, bids / 'results', bids / 'derivatives'):
        assert main([str(bids), str(out), '--methods', 'affine', '-w', str(tmp_path / 'work')]) == 2
        assert 'lies in the dataset' in capsys.readouterr().err


# ---------------------------------------------------------------------------------------------------- for real
@pytest.mark.slow
def test_real_methods_on_small_heads(bench, figures, table, tmp_path):
    """N4, prealignment and two methods, quickly: the deformation is better than nothing, on points nobody has seen."""
    head = data.pair((44, 52, 44), 5, known=data.truth(5, (2, -1, 2), (2, -1, 1), amplitude=8.0))
    head.save(table.parent / '0')
    np.savetxt(table.parent / '0' / 'points.tsv', head.points, delimiter='\t', header='\t'.join('abcdef'), comments='')
    table.write_text('\n'.join(table.read_text().splitlines()[:2]))
    words = ('--task', 'intra', '--nprocs', '1', '--device', 'cpu')
    assert bench('--methods', 'affine', 'node-mind-fast', 'ants-syn', *words) == 0
    results = read(tmp_path / 'out')
    assert (results['status'] == 'done').all()
    means = results.groupby('method')[['tre_mean', 'dice_mean', 'folds', 'ndv_percent']].mean()
    assert means.loc['node-mind-fast', 'tre_mean'] < 0.85 * means.loc['affine', 'tre_mean'] < 5
    assert means.loc['node-mind-fast', 'dice_mean'] > means.loc['affine', 'dice_mean']
    assert means.loc['node-mind-fast', 'folds'] == means.loc['node-mind-fast', 'ndv_percent'] == 0
    ran = results[results.index.get_level_values('method') != 'affine']
    assert (ran['seconds'] > 0).all()
    assert (ran['seconds_total'] > ran['seconds']).all()
    assert (ran['peak_memory_mb'] > 50).all()


@pytest.mark.slow
def test_a_program_that_disappears_half_way(bench, figures, tmp_path, monkeypatch):
    """It is there when it is looked for, and removes itself when it is first called."""
    folder = tmp_path / 'niftyreg'
    folder.mkdir()
    for name in ('reg_f3d', 'reg_transform', 'reg_resample', 'reg_jacobian'):
        text = '#!/bin/sh\n[ "$1" = -v ] && echo 1.5.58 && exit 0\nrm -- "$0"\necho the disk is gone\nexit 1\n'
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    monkeypatch.setenv('NIFTYREGDIR', str(folder))
    monkeypatch.setenv('PATH', str(folder), prepend=':')
    if PROGRAMS['niftyreg'].missing():
        pytest.fail('the pretended programs are not found')
    assert bench('--methods', 'affine', 'niftyreg', *QUICK) == 1
    assert not (folder / 'reg_f3d').exists()
    results = read(tmp_path / 'out')
    assert (results.xs('affine', level='method')['status'] == 'done').all()
    failed = results.xs('niftyreg', level='method')
    assert (failed['status'] == 'failed').all()
    assert 'reg_f3d ended with 1: the disk is gone' in failed.loc['pair-001', 'reason']
    # where another NiftyReg is installed, the second pair gets that one's reg_f3d, and then the reg_transform of here
    assert re.search(r'reg_f3d neither on the PATH|reg_transform ended with 1', failed.loc['pair-002', 'reason'])


@pytest.mark.slow
def test_heads_between_people_without_masks_of_their_own(bids, tmp_path):
    """The brains are where the labels are; prealignment works between people."""
    root = tmp_path / 'raw'
    shutil.copytree(bids, root)
    for mask in root.rglob('*_mask.nii.gz'):
        mask.unlink()
    away = data.truth(1, turn=(0, 0, 8), shift=(14, -9, 6), amplitude=0.0).matrix
    for path in [*root.rglob('*_T2w.nii.gz'), *root.rglob('*_space-T2w_dseg.nii.gz')]:
        image = nb.load(path)
        nb.save(data.image(np.asanyarray(image.dataobj), away @ image.affine), path)
    labels = tmp_path / 'labels.tsv'
    labels.write_text('index\tname\n1\tWhite\n2\tGrey\n4\tDeep\n')
    words = ['--methods', 'affine', '--pairs', '2', '--sloppy', '--nprocs', '1', '--labels', str(labels)]
    assert main([str(root), str(tmp_path / 'out'), '-w', str(tmp_path / 'work'), *words]) == 0
    aligned = read(tmp_path / 'out')['dice_mean']
    words += ['--prealign', 'none', '--bias-correction', 'none']
    assert main([str(root), str(tmp_path / 'as-is'), '-w', str(tmp_path / 'work'), *words]) == 0
    assert (aligned > 0.1 + read(tmp_path / 'as-is')['dice_mean']).all()


# ---------------------------------------------------------------------------------------------------- translations
@pytest.fixture
def translator(monkeypatch, tmp_path):
    """A translator that answers with the image itself, and writes down what it was asked."""
    log = tmp_path / 'translations.txt'

    def pretend(words, threads):
        with log.open('a') as stream:
            stream.write(json.dumps(list(words)) + '\n')
        if words[0] == 'fit':
            Path(words[2]).mkdir()
            (Path(words[2]) / 'model.safetensors').write_text(json.dumps(list(words)))
            (Path(words[2]) / 'fit.json').write_text('{"cpu_seconds": 33.0}')
        else:
            out, image = Path(words[words.index('-o') + 1]), nb.load(words[2])
            # another model, another translation
            changed = image.get_fdata() + len(Path(words[1]).read_text())
            nb.save(nb.Nifti1Image(changed.astype(np.float32), image.affine), out)
            out.with_name(out.name.replace('.nii.gz', '.json')).write_text('{"MindDistance": 0.04}')

    monkeypatch.setattr('bidsreg.benchmark.translating.translate', pretend)
    return lambda: [json.loads(line) for line in log.read_text().splitlines()]


def test_translations_are_trained_on_others_and_judged_like_any_method(bench, pretender, translator, tmp_path):
    methods = ('affine', 'cut', 'cut+mind', 'node-mind')
    assert bench('--methods', *methods, '--translation-steps', '12', *QUICK) == 0
    asked = translator()
    assert sorted(words[0] for words in asked) == ['apply', 'apply', 'fit', 'fit']
    for words in asked:
        if words[0] == 'fit':
            assert words[words.index('--steps') + 1] == '12'
            lines = [line.split('\t') for line in Path(words[1]).read_text().splitlines()[1:]]
            assert sorted(contrast for _, contrast, _, _ in lines) == ['fixed', 'moving']
            assert len({Path(subject).parent for subject, _, _, _ in lines}) == 1  # the other pair's
    assert set(calls(pretender)) == {'node-lncc-inter', 'node-mind-inter'}
    results = read(tmp_path / 'out')
    for method in ('cut', 'cut+mind'):
        own = results.xs(method, level='method')
        assert (own['training_cpu_seconds'] == 33).all()
        assert (own['translation_mind'] == 0.04).all()
        assert (own['seconds'] > 7).all()  # the pretender's own, and the translation
    assert results.xs('node-mind-inter', level='method')['translation_mind'].isna().all()
    table = (tmp_path / 'out' / 'table.md').read_text()
    assert '*Translation, then NODE*' in table
    assert 'on 2 heads: 4 heads in 4 groups' in table
    assert 'Steps of the training: cut 12.' in table
    assert 'then registered by: cut: node-lncc-inter, cut+mind: node-mind-inter.' in table
    # other steps are another translation, and touch nothing else
    before = len(calls(pretender))
    assert bench('--methods', *methods, '--translation-steps', '113', *QUICK) == 0
    assert calls(pretender)[before:].count('node-mind-inter') == 2
    assert len(calls(pretender)) == before + 4


def test_a_training_that_fails_is_why_its_cells_fail(bench, pretender, tmp_path, monkeypatch):
    def fail(words, threads):
        raise RuntimeError('bidsreg-translate fit failed (return code 1): it diverged')

    monkeypatch.setattr('bidsreg.benchmark.translating.translate', fail)
    assert bench('--methods', 'affine', 'not', *QUICK) == 1
    results = read(tmp_path / 'out')
    assert set(results.xs('affine', level='method')['status']) == {'done'}
    failed = results.xs('not', level='method')
    assert set(failed['status']) == {'failed'}
    assert failed['reason'].str.contains('it diverged').all()


def test_too_few_heads_for_a_translation_are_told_before_any_work(bench, table, tmp_path, capsys):
    lines = table.read_text().splitlines()
    table.write_text('\n'.join(lines[:2]) + '\n')
    assert bench('--methods', 'cut', *QUICK) == 2
    assert 'too few heads are left' in capsys.readouterr().err
    assert not (tmp_path / 'out').exists()
