"""The soak: it notices what is lost, and a minute of it loses nothing."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import soak


def lay_out(folder: Path, **files: str) -> Path:
    """Write files below ``sub-1`` of an output folder."""
    for name, text in files.items():
        path = folder / 'sub-1' / 'anat' / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def test_what_differs_is_named(tmp_path):
    one = lay_out(tmp_path / 'one', a='1', b='2', c='3')
    two = lay_out(tmp_path / 'two', a='1', b='other', d='4')
    assert sorted(soak.differences(one, two, real=False)) == [
        'different: sub-1/anat/b',
        'missing: sub-1/anat/d',
        'too many: sub-1/anat/c',
    ]


def test_times_of_real_registrations_may_differ(tmp_path):
    def qc(name, seconds, folds):
        content = {'result': {'seconds': {'total': seconds}, 'folds': folds}, 'seconds_per_step': seconds}
        return lay_out(tmp_path / name, **{'x_qc.json': json.dumps(content)})

    assert list(soak.differences(qc('one', 1, 0), qc('two', 2, 0), real=True)) == []
    assert list(soak.differences(qc('one', 1, 0), qc('two', 1, 3), real=True)) == ['different: sub-1/anat/x_qc.json']
    assert list(soak.differences(qc('one', 1, 0), qc('two', 2, 0), real=False))


def test_all_processes_below_one_are_found():
    code = 'import subprocess, sys; subprocess.run([sys.executable, "-c", "input()"])'
    with subprocess.Popen([sys.executable, '-c', code], stdin=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        end = time.time() + 20
        while not soak.descendants(process.pid):
            assert time.time() < end
            time.sleep(0.05)
        (child,) = soak.descendants(process.pid)
        assert child in soak.descendants(os.getpid())
    assert soak.descendants(process.pid) == []


@pytest.mark.slow  # a minute, and what runs left alone take
def test_nothing_is_lost(tmp_path, capsys):
    words = [str(tmp_path / 'soak'), '--pairs', '16', '--minutes', '1.2', '--longest', '6', '--megabytes', '60']
    assert soak.main([*words, '--random-seed', '1']) == 0
    said = capsys.readouterr().out
    assert 'every file is that of the undisturbed run' in said
    assert 'runs killed: ' in said


@pytest.mark.slow  # two minutes of jobs
@pytest.mark.skipif(
    shutil.which('sinfo') is None
    or 'idle' not in subprocess.run(['sinfo', '-h', '-o', '%T'], capture_output=True, text=True, check=False).stdout,
    reason='no Slurm answers: eval "$(bash tests/execution/batch/slurm.sh env)"',
)
def test_nothing_is_lost_on_slurm(tmp_path, capsys):
    plugin = tmp_path / 'slurm.yml'
    plugin.write_text('plugin: SLURM\nplugin_args: {sbatch_args: "-t 15", poll_seconds: 0.5, grace_seconds: 15}\n')
    words = [str(tmp_path / 'soak'), '--pairs', '4', '--minutes', '1.5', '--longest', '8', '--megabytes', '60']
    assert soak.main([*words, '--random-seed', '3', '--use-plugin', str(plugin)]) == 0
    said = capsys.readouterr().out
    print(said)
    assert 'every file is that of the undisturbed run' in said
    assert 'jobs cancelled: ' in said
