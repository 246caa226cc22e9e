"""Whole runs of the app, from its command line to its exit code; the registration itself is pretended."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from bidsreg.cli import main
from bidsreg.settings import read_toml
from tests import data, fake_app
from tests.app_fixtures import ROOT, begun, fails, pairs_of, settings_of, start, wait_for


def test_tables_that_are_not_used_and_an_earlier_release_are_told(app, raw, tmp_path, capsys):
    (raw / 'sub-01' / 'sub-01_scans.tsv').write_text('nonsense')
    old = tmp_path / 'out' / 'sub-01' / 'anat' / 'sub-01_space-T1w_desc-jacobian_T2w.nii.gz'
    old.parent.mkdir(parents=True)
    old.touch()
    assert app() == 0
    said = capsys.readouterr().err
    assert 'sub-01_scans.tsv is not used' in said
    assert '1 pair(s) of an earlier release' in said
    assert 'done anew' in said
    assert not old.exists()
    assert 'sub-01_scans.tsv is not used' in (tmp_path / 'out' / 'logs' / 'pairs.tsv').read_text()


def test_run_and_run_again(app, capsys, raw, tmp_path):
    before = data.files_below(raw)
    assert app('--mem', '4GB') == 0
    said = capsys.readouterr()
    assert '2 done, 1 no pair' in said.out
    assert 'no pair: sub-03, step pairing: only T1w, no T2w' in said.out
    assert 'memory 4 GB' in said.err
    out = tmp_path / 'out'
    files = data.files_below(out)
    for paths in pairs_of(raw, out).values():
        assert all(path.is_file() for path in paths.values())
    assert (out / 'report.txt').read_text().splitlines() == ['03 no pair', 'sub-01 done', 'sub-02 done']
    assert app() == 0
    assert '2 already done' in capsys.readouterr().out
    assert len(begun(tmp_path / 'work')) == 2
    again = data.files_below(out)
    assert {name: again[name] for name in files if name.startswith('sub-')} == {
        name: content for name, content in files.items() if name.startswith('sub-')
    }
    assert data.files_below(raw) == before
    logs = [path for path in (out / 'logs').iterdir() if path.is_dir()]
    assert len(logs) == 2
    for folder in logs:
        assert read_toml(folder / 'config.toml')['bids_dir'] == raw
        assert 'sub-01 register' in (folder / 'bidsreg.log').read_text()
    assert 'Heinrich' in (out / 'logs' / 'CITATION.md').read_text()


def test_the_study_after_the_pairs(app, raw, tmp_path, capsys):
    """Both levels in one command, then the second alone, without the raw data: pairs that failed are rows, too."""
    assert app(levels=('participant', 'group'), fake={'sub-02': 'raise'}) == 1
    table = tmp_path / 'out' / 'group_registration.tsv'
    first = table.read_text()
    status = {line.split('\t')[0]: line.split('\t')[4:6] for line in first.splitlines()}
    assert status['sub-01'][0] == 'done'
    assert status['sub-02'][0] == 'not done'  # the pretended reports keep no record of what failed
    assert re.search(r'an earlier run left logs/.*/crash-', status['sub-02'][1])
    assert status['sub-03'] == ['no pair', 'only T1w, no T2w']
    table.unlink()
    raw.rename(tmp_path / 'away')
    capsys.readouterr()
    assert main([str(raw), str(tmp_path / 'out'), 'group', '--dry-run']) == 0
    assert not table.exists()
    assert main([str(raw), str(tmp_path / 'out'), 'group']) == 0
    assert '3 pair(s): 0 PASS, 0 CHECK, 0 FAIL, 3 without a verdict' in capsys.readouterr().out
    assert table.read_text() == first


def test_other_settings_do_it_again(app, capsys, tmp_path):
    assert app() == 0
    assert app('--random-seed', '1', '--participant-label', '01') == 0
    assert '1 done' in capsys.readouterr().out


def test_output_in_derivatives_is_fine(app, raw):
    assert app('--participant-label', '01', out=raw / 'derivatives' / 'bidsreg') == 0


def test_the_whole_way_with_another_program(app, tmp_path):
    """The methods text names the program and whom to cite, and the results are another run's than the default's."""
    assert app('--method', 'ants-syn', '--participant-label', '01') == 0
    text = ' '.join((tmp_path / 'out/logs/CITATION.md').read_text().split())  # lines are broken anywhere
    assert 'method ants-syn, version ' in text
    assert text.count('10.1016/j.media.2007.06.004') == text.count('10.1109/TMI.2003.809072') == 1
    assert 'ordinary differential' not in text
    assert settings_of('--method', 'ants-syn').fingerprint() != settings_of().fingerprint()


def test_a_bad_header_fails_its_pair_only(app, capsys, raw):
    image = nib.Nifti1Image(np.ones((16, 16, 16, 4), 'float32'), np.eye(4))
    image.to_filename(raw / 'sub-01' / 'anat' / 'sub-01_T2w.nii.gz')
    (raw / 'sub-02' / 'anat' / 'sub-02_acq-x_T2w.nii.gz').touch()
    assert app() == 1
    text = capsys.readouterr().out
    assert 'failed: sub-01, step check: sub-01_T2w.nii.gz: is 4-D' in text
    assert 'failed: sub-02_acq-x, step check: sub-02_acq-x_T2w.nii.gz: is empty (0 bytes)' in text
    assert '1 done, 2 failed' in text


def test_a_small_mask_is_no_reason_to_warn(app, raw, caplog):
    """What a header check finds odd about a scan says nothing about a mask."""
    scan = raw / 'sub-01' / 'anat' / 'sub-01_T1w.nii.gz'
    shutil.copy(scan, scan.with_name('sub-01_desc-brain_mask.nii.gz'))
    with caplog.at_level('WARNING', logger='bidsreg'):
        assert app() == 0
    assert 'sub-01_T1w.nii.gz: ' in caplog.text
    assert 'mask.nii.gz: ' not in caplog.text


@pytest.mark.parametrize('space', ['', 'space-T2w_'])
def test_a_mask_that_cannot_be_read_fails_its_pair_before_any_work(app, capsys, raw, tmp_path, space):
    (raw / 'sub-01' / 'anat' / f'sub-01_{space}desc-brain_mask.nii.gz').touch()
    assert app() == 1
    text = capsys.readouterr().out
    assert f'failed: sub-01, step check: sub-01_{space}desc-brain_mask.nii.gz: is empty (0 bytes)' in text
    assert '1 done, 1 failed' in text
    assert begun(tmp_path / 'work') == ['sub-02']


def test_a_lesion_that_cannot_be_left_out_fails_its_pair_only(app, capsys, raw):
    """A segmentation whose table is missing, before any work; an empty file of another pair is read by its step."""
    scan = raw / 'sub-01' / 'anat' / 'sub-01_T1w.nii.gz'
    shutil.copy(scan, scan.with_name('sub-01_label-lesion_dseg.nii.gz'))
    shutil.copy(scan, scan.parents[2] / 'sub-02/anat/sub-02_label-lesion_mask.nii.gz')
    assert app() == 1
    text = ' '.join(capsys.readouterr().out.split())
    assert 'failed: sub-01, step check: ' in text
    assert 'sub-01_label-lesion_dseg.nii.gz: there is no lookup table' in text
    assert '1 done, 1 failed' in text


def test_a_program_that_cannot_leave_a_lesion_out_fails_its_pair_before_any_work(app, capsys, raw, monkeypatch):
    monkeypatch.setattr('bidsreg.programs.niftyreg.NiftyReg.missing', lambda self: '')
    scan = raw / 'sub-01' / 'anat' / 'sub-01_T2w.nii.gz'
    shutil.copy(scan, scan.with_name('sub-01_space-T2w_label-lesion_mask.nii.gz'))
    assert app('--method', 'niftyreg') == 1
    text = ' '.join(capsys.readouterr().out.split())
    assert 'step check: --method niftyreg takes no mask of the moving image' in text
    assert '1 done, 1 failed' in text


def test_verdicts_that_cannot_be_told_cost_no_summary(app, capsys, monkeypatch, caplog):
    monkeypatch.setattr('bidsreg.app.run.print_verdicts', lambda *_: 1 / 0)
    with caplog.at_level('ERROR', logger='bidsreg'):
        assert app() == 0
    assert '2 done, 1 no pair' in capsys.readouterr().out
    assert 'division by zero' in caplog.text


def test_a_report_that_fails_is_exit_code_1(app, capsys, monkeypatch, tmp_path):
    def broken(*_):
        raise RuntimeError('no ink')

    monkeypatch.setattr('bidsreg.reports.write_reports', broken)
    assert app(levels=('participant', 'group')) == 1
    said = capsys.readouterr()
    assert 'no ink' in said.err
    assert '2 done' in said.out
    assert (tmp_path / 'out' / 'group_registration.html').is_file(), 'the study does not depend on the pages'


def test_a_graph_that_cannot_be_built_is_told(app, capsys, monkeypatch, tmp_path):
    def broken(**_):
        raise RuntimeError('no such room')

    monkeypatch.setattr(fake_app, 'init_bidsreg_wf', broken)
    assert app() == 1
    assert 'failed: sub-01, step run: RuntimeError: no such room' in capsys.readouterr().out
    assert (tmp_path / 'out' / 'report.txt').is_file()


def test_reports_only(app, capsys, tmp_path):
    assert app(fake={'sub-02': 'raise'}) == 1
    (tmp_path / 'out' / 'report.txt').unlink()
    capsys.readouterr()
    assert app('--reports-only', '--random-seed', '5') == 1
    text = capsys.readouterr().out
    assert '1 already done, 1 failed' in text
    assert 'step work: ValueError: the work went wrong (crash file: ' in text  # of the earlier run
    assert (tmp_path / 'out' / 'report.txt').is_file()
    assert len(begun(tmp_path / 'work')) == 2


def test_reports_only_still_knows_a_bad_scan(app, capsys, raw):
    (raw / 'sub-02' / 'anat' / 'sub-02_T2w.nii.gz').write_bytes(b'')
    assert app() == 1
    capsys.readouterr()
    assert app('--reports-only') == 1
    assert 'failed: sub-02, step check: sub-02_T2w.nii.gz: is empty (0 bytes)' in capsys.readouterr().out


def test_read_only_bids_folder(app, raw, tmp_path):
    if os.geteuid() == 0:
        target = tmp_path / 'ro'
        target.mkdir()
        if subprocess.run(['mount', '--bind', raw, target], capture_output=True, check=False).returncode:
            pytest.skip('no permission to mount')
        try:
            subprocess.run(['mount', '-o', 'remount,ro,bind', target], check=True)
            with pytest.raises(OSError, match='Read-only'):
                (target / 'x').touch()
            assert app(bids=target) == 0
        finally:
            subprocess.run(['umount', target], check=True)
    else:
        folders = [path for path in (raw, *raw.rglob('*')) if path.is_dir()]
        for path in folders:
            path.chmod(0o500)
        try:
            assert app() == 0
        finally:
            for path in folders:
                path.chmod(0o700)


def test_paths_with_spaces_and_accents(app, raw, tmp_path):
    bids = raw.rename(tmp_path / 'données brutes')
    assert app(bids=bids, out=tmp_path / 'sortie été', work=tmp_path / 'travail à faire ünd') == 0


@pytest.fixture
def small_disk(tmp_path):
    """Mount a file system of 4 MB."""
    place = tmp_path / 'disk'
    place.mkdir()
    mount = ['mount', '-t', 'tmpfs', '-o', 'size=4m', 'tmpfs', place]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip('no permission to mount a small tmpfs')
    yield place
    subprocess.run(['umount', '-l', place], check=True)


def test_full_disk(app, capsys, raw, small_disk):
    out = small_disk / 'out'
    ballast = small_disk / 'ballast'
    free = shutil.disk_usage(small_disk).free
    ballast.write_bytes(b'0' * (free - 80_000))
    assert app(out=out) == 1
    text = capsys.readouterr().out
    assert text.count('failed: ') == 2
    assert 'No space left' in text
    assert not [path for path in out.rglob('*') if path.suffix == '.gz' and path.stat().st_size == 0]
    ballast.unlink()
    assert app(out=out) == 0
    for paths in pairs_of(raw, out).values():
        assert all(path.stat().st_size for path in paths.values())


def test_disk_full_from_the_start(app, capsys, small_disk):
    (small_disk / 'ballast').write_bytes(b'0' * shutil.disk_usage(small_disk).free)
    fails(app, capsys, 'No space left', out=small_disk / 'out')


def test_a_full_work_folder_is_the_cause(app, capsys, small_disk):
    """From the start or in the middle: what Nipype stumbles over afterwards is not what a user reads."""
    work, ballast = small_disk / 'work', small_disk / 'ballast'
    ballast.write_bytes(b'0' * (shutil.disk_usage(small_disk).free - 30_000))
    assert app(work=work) == 1
    text = capsys.readouterr().out
    assert text.count(f'the work folder {work} is full (') == 2
    assert 'FileNotFoundError' not in text
    ballast.unlink()
    assert app(work=work) == 0


def test_a_full_folder_for_temporary_files_is_said(app, capsys, small_disk, monkeypatch, tmp_path):
    """Python takes another one without a word; where there is none, nothing begins."""
    (small_disk / 'ballast').write_bytes(b'0' * shutil.disk_usage(small_disk).free)
    monkeypatch.setenv('TMPDIR', str(small_disk))
    monkeypatch.setattr(tempfile, 'tempdir', None)
    assert app('--participant-label', '01') == 0
    assert f'TMPDIR={small_disk} cannot be used (No space left on device)' in capsys.readouterr().err
    monkeypatch.setattr(tempfile, 'tempdir', None)
    monkeypatch.setattr(tempfile, '_candidate_tempdir_list', lambda: [str(small_disk)])
    fails(app, capsys, 'No folder for temporary files can be written', out=tmp_path / 'out2')


# --------------------------------------------------------------------------------- several processes, and signals
def marker(tmp_path: Path, name: str) -> Path:
    return tmp_path / 'out' / name / 'anat' / f'{name}_desc-registration_qc.json'


def workers_of(pid: int) -> list[int]:
    """List the living children of a process."""
    found = []
    for path in Path('/proc').glob('[0-9]*/stat'):
        try:
            fields = path.read_text().rpartition(')')[2].split()
        except OSError:
            continue
        if int(fields[1]) == pid and fields[0] != 'Z':
            found.append(int(path.parent.name))
    return found


def alive(pid: int) -> bool:
    try:
        return Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()[0] != 'Z'
    except OSError:
        return False


def test_sigkill_then_the_same_command_completes(app, capsys, raw, tmp_path):
    process = start(raw, tmp_path, {'sub-02': 'slow'})
    try:
        wait_for(lambda: marker(tmp_path, 'sub-01').exists() and 'sub-02' in begun(tmp_path / 'work'), process)
        children = workers_of(process.pid)
        assert children
    finally:
        process.kill()
        process.communicate()
    end = time.time() + 10
    while any(alive(pid) for pid in children) and time.time() < end:
        time.sleep(0.05)
    assert not any(alive(pid) for pid in children)  # no orphan goes on working
    assert not marker(tmp_path, 'sub-02').exists()
    assert app() == 0
    assert '1 done, 1 already done' in capsys.readouterr().out
    undisturbed = tmp_path / 'undisturbed'
    assert app(out=undisturbed, work=tmp_path / 'work2') == 0
    one, two = (
        {name: content for name, content in data.files_below(out).items() if name.startswith('sub-')}
        for out in (tmp_path / 'out', undisturbed)
    )
    assert one == two


@pytest.mark.parametrize('number', [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)])
def test_asked_to_end_it_ends_and_says_so(raw, tmp_path, number):
    process = start(raw, tmp_path, {'sub-02': 'slow'})
    wait_for(lambda: marker(tmp_path, 'sub-01').exists() and 'sub-02' in begun(tmp_path / 'work'), process)
    children = workers_of(process.pid)
    process.send_signal(number)
    text = process.communicate(timeout=20)[0]
    assert process.returncode == 128 + number
    assert 'the same command goes on from here' in text
    assert 'failed: sub-02, step run: interrupted' in text
    assert '1 done, 1 failed' in text
    assert 'Traceback' not in text
    assert not any(alive(pid) for pid in children)


def test_what_had_failed_before_it_was_asked_to_end_is_not_interrupted(raw, tmp_path):
    process = start(raw, tmp_path, {'sub-01': 'raise', 'sub-02': 'slow'})
    crashes = (tmp_path / 'out' / 'logs').glob
    wait_for(lambda: list(crashes('*/crash-*')) and 'sub-02' in begun(tmp_path / 'work'), process)
    time.sleep(0.2)  # the plugin notes what it has written
    process.terminate()
    text = process.communicate(timeout=20)[0]
    assert process.returncode == 128 + signal.SIGTERM
    assert 'failed: sub-01, step work: ValueError: the work went wrong' in text
    assert 'failed: sub-02, step run: interrupted' in text
    assert (tmp_path / 'out' / 'logs' / 'sub-01_partial.json').is_file()


def test_a_locale_of_ascii_is_no_obstacle(raw, tmp_path):
    """A path with another letter, in the locale that some containers and batch systems have."""
    place = tmp_path / 'Köln'
    place.mkdir()
    shutil.move(raw, place / 'raw')
    command = [
        sys.executable,
        '-m',
        'tests.fake_app',
        place / 'raw',
        place / 'out',
        'participant',
        '-w',
        place / 'work',
    ]
    environment = {**os.environ, 'PYTHONUTF8': '0', 'PYTHONCOERCECLOCALE': '0', 'LC_ALL': 'C'}
    done = subprocess.run(
        list(map(str, command)), cwd=ROOT, env=environment, capture_output=True, encoding='utf-8', check=False
    )
    assert done.returncode == 0, done.stderr
    assert '2 done' in done.stdout
    assert 'Köln' in (place / 'out' / 'logs' / next(os.walk(place / 'out' / 'logs'))[1][0] / 'config.toml').read_text()


@pytest.mark.slow
def test_two_runs_into_one_output(app, capsys, raw, tmp_path):
    process = start(raw, tmp_path, {'sub-01': 'slow'}, '--participant-label', '01')
    try:
        wait_for(lambda: (tmp_path / 'work' / 'begun.txt').exists(), process)
        assert app() == 1
        text = capsys.readouterr().out
        assert 'locked: sub-01, step start: another run is working on it' in text
        assert '1 done, 1 locked' in text
    finally:
        process.kill()
        process.communicate()
    assert app() == 0
