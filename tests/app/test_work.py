"""The graphs of a run: what fails, what is tried once more, and what is left alone."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from bidsreg.app import work
from bidsreg.execution import local
from bidsreg.outcome import SENTENCES, Cause
from bidsreg.settings import Settings
from tests import fake_app
from tests.app_fixtures import begun, pairs_of, settings_of


def test_an_emptied_output_is_filled_again_from_the_work_folder(app, tmp_path):
    assert app() == 0
    shutil.rmtree(tmp_path / 'out')
    assert app() == 0
    assert len(begun(tmp_path / 'work')) == 2  # the work itself was kept


@pytest.mark.parametrize('name', ['work.txt', 'result_work.pklz'])
@pytest.mark.parametrize('damage', ['empty', 'cut off', 'zeros', 'missing'])
def test_what_is_damaged_in_the_work_folder_is_done_again(app, capsys, tmp_path, name, damage):
    assert app() == 0
    path = tmp_path / 'work' / 'bidsreg_wf' / 'pair_sub_01' / 'work' / name
    content = path.read_bytes()
    if damage == 'missing':
        path.unlink()
    else:
        path.write_bytes({'empty': b'', 'cut off': content[:-1], 'zeros': bytes(len(content))}[damage])
    shutil.rmtree(tmp_path / 'out')
    capsys.readouterr()
    assert app() == 0
    said = capsys.readouterr()
    assert '2 done' in said.out
    again = (name, damage) == ('result_work.pklz', 'missing')  # then Nipype itself knows that it is not done
    assert ('sub-01: work runs again: in ' in said.err) != again
    assert begun(tmp_path / 'work').count('sub-01') == 2
    assert begun(tmp_path / 'work').count('sub-02') == 1


def test_a_bit_that_turns_while_a_run_is_at_work_becomes_no_result(app, capsys, tmp_path):
    """The step that was to read the file finds it, and the one that made it is done again, in the same run."""
    assert app(fake={'sub-01': 'flip-once'}) == 0
    said = capsys.readouterr()
    assert 'sub-01: once more, alone (in ' in said.err
    assert 'work the content of work.txt has changed since the step that made it ended)' in said.err
    assert 'sub-01: work runs again: in ' in said.err
    assert '2 done' in said.out
    assert begun(tmp_path / 'work').count('sub-01') == 2
    assert begun(tmp_path / 'work').count('sub-02') == 1
    assert not list((tmp_path / 'work').rglob('_damaged'))


def test_clean_workdir(app, tmp_path):
    assert app() == 0
    shutil.rmtree(tmp_path / 'out')
    (tmp_path / 'work' / 'mine.txt').touch()
    assert app('--clean-workdir') == 0
    assert len(begun(tmp_path / 'work')) == 4
    assert (tmp_path / 'work' / 'mine.txt').exists()


@pytest.mark.parametrize(
    ('what', 'step', 'cause'),
    [
        ('raise', 'work', 'ValueError: the work went wrong'),
        ('input', 'work', 'sub-01_T2w.nii.gz: is no good'),
        ('tool', 'work', 'no such weights'),
    ],
)
def test_one_failure_does_not_touch_the_others(app, capsys, raw, tmp_path, what, step, cause):
    assert app(fake={'sub-01': what}) == 1
    text = capsys.readouterr().out
    (line,) = (line for line in text.splitlines() if line.startswith('failed'))
    assert line.startswith(f'failed: sub-01, step {step}: ')
    assert cause in line
    crash = Path(line.rpartition('crash file: ')[2].rstrip(')'))
    assert crash.is_file()
    assert crash.parent.parent == tmp_path / 'out' / 'logs'
    assert '1 done, 1 failed' in text
    assert all(path.is_file() for path in pairs_of(raw, tmp_path / 'out')['sub-02'].values())
    assert 'sub-01 failed' in (tmp_path / 'out' / 'report.txt').read_text()
    assert app() == 0  # repaired, the same command completes
    assert '1 done, 1 already done' in capsys.readouterr().out


def test_a_killed_process_is_named_and_the_others_go_on(app, capsys):
    assert app(fake={'sub-01': 'die'}) == 1
    text = capsys.readouterr().out
    assert f'failed: sub-01, step work: {SENTENCES[Cause.KILLED]}' in text
    assert '1 done, 1 failed' in text


def test_a_process_killed_by_another_signal_is_not_said_to_lack_memory(app, capsys):
    assert app(fake={'sub-01': 'die:24'}) == 1
    text = capsys.readouterr().out
    assert 'failed: sub-01, step work: a process was killed by signal 24' in text
    assert 'memory' not in text
    assert '1 done, 1 failed' in text


def test_a_killed_process_gets_a_second_chance(app, capsys):
    assert app(fake={'sub-01': 'die-once'}) == 0
    said = capsys.readouterr()
    assert 'sub-01: once more, alone' in said.err
    assert '2 done' in said.out


def test_what_ended_a_graph_without_a_failed_step_is_said(app, capsys, monkeypatch):
    """As where a scan is taken away between two stages: Nipype raises before any step begins."""
    end = local.GraphEnd(FileNotFoundError('/data/sub-01_T1w.nii.gz is gone'))
    monkeypatch.setattr(local, 'run_graph', lambda *_: end)
    assert app() == 1
    text = capsys.readouterr().out
    assert (
        f'sub-01, step run: {SENTENCES[Cause.BROKEN_OFF]} (FileNotFoundError: /data/sub-01_T1w.nii.gz is gone' in text
    )


def test_stop_on_first_crash(app, capsys):
    assert app('--stop-on-first-crash', fake={'sub-01': 'raise', 'sub-02': 'slow'}) == 1
    text = capsys.readouterr().out
    assert 'failed: sub-01, step work: ValueError' in text
    assert 'failed: sub-02, step run: not finished, because another step crashed' in text


def test_many_pairs_are_several_graphs(app, capsys, monkeypatch):
    """A failure in one graph leaves the next alone, unless it is to stop everything."""
    graphs = []
    build = fake_app.init_bidsreg_wf

    def counted(*, pairs, **options):
        graphs.append([pair.name for pair in pairs])
        return build(pairs=pairs, **options)

    monkeypatch.setattr(fake_app, 'init_bidsreg_wf', counted)
    monkeypatch.setattr(work, 'graph_size', lambda settings: 1)
    assert app('--stop-on-first-crash', fake={'sub-01': 'raise'}) == 1
    assert graphs == [['sub-01']]
    assert 'failed: sub-02, step run: not begun, because another step crashed' in capsys.readouterr().out
    assert app(fake={'sub-01': 'raise'}) == 1
    assert graphs[1:] == [['sub-01'], ['sub-02']]
    assert '1 done, 1 failed' in capsys.readouterr().out


def test_a_graph_keeps_all_cpus_busy():
    few, many = settings_of('--nprocs', '2'), settings_of('--nprocs', '32')
    assert work.graph_size(few) == 40
    assert work.graph_size(many) == 128
    assert work.graph_size(settings_of('--use-plugin', 'slurm.yml')) == 200
    assert work.graph_size(settings_of('--resource-monitor')) > 10**6  # all in one table


def test_pairs_share_the_threads_that_nobody_asked_for(tmp_path, monkeypatch):
    monkeypatch.setattr('bidsreg.workflows.resources.allowed_threads', lambda asked: asked)
    pairs = [(tmp_path / 'one.nii', tmp_path / 'other.nii')] * 4  # not there: taken for typical ones
    asked = {'bids_dir': tmp_path, 'output_dir': tmp_path / 'out', 'work_dir': tmp_path / 'work', 'mem_gb': 99}
    assert work.sharing_threads(Settings(**asked, nprocs=8), pairs).omp_nthreads == 2
    assert work.sharing_threads(Settings(**asked, nprocs=8), pairs[:1]).omp_nthreads == 8
    settings = Settings(**asked, nprocs=8, omp_nthreads=5)
    assert work.sharing_threads(settings, pairs) == settings
    program = Settings(**asked, nprocs=8, method='ants-syn')  # what it finds may depend on its threads
    assert work.sharing_threads(program, pairs).omp_nthreads == 8


def test_the_graph_of_pairs_is_built_with_shared_threads(tmp_path, monkeypatch):
    built = []
    monkeypatch.setattr('bidsreg.workflows.app.init_bidsreg_wf', lambda settings, **rest: built.append(settings))
    monkeypatch.setattr('bidsreg.workflows.resources.allowed_threads', lambda asked: asked)
    places = {'bids_dir': tmp_path, 'output_dir': tmp_path / 'out', 'work_dir': tmp_path / 'work', 'mem_gb': 99}
    pair = SimpleNamespace(fixed=tmp_path / 'one.nii', moving=tmp_path / 'other.nii')
    work.stage_of_pairs(Settings(**places, nprocs=6)).build([pair] * 3)
    assert [settings.omp_nthreads for settings in built] == [2]
