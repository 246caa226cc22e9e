"""The app with pretended work, in this process and in one of its own, and what tests ask of it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bidsreg.bids.names import pair_outputs
from bidsreg.bids.pairs import find_pairs
from bidsreg.cli import main, parse_settings
from bidsreg.settings import Settings
from tests import data, fake_app

ROOT = Path(__file__).resolve().parents[1]
PAIR = {None: ['T1w', 'T2w']}


@pytest.fixture(scope='module')
def two_subjects(tmp_path_factory):
    return data.write_dataset(tmp_path_factory.mktemp('data') / 'raw', {'01': PAIR, '02': PAIR, '03': {None: ['T1w']}})


@pytest.fixture
def raw(two_subjects, tmp_path):
    return Path(shutil.copytree(two_subjects, tmp_path / 'raw'))


@pytest.fixture
def app(raw, tmp_path, monkeypatch):
    """Run the pretended app in this process: ``app('--sloppy', fake={...}, levels=['participant'])``."""
    monkeypatch.setattr('bidsreg.reports.write_reports', fake_app.write_reports, raising=False)
    monkeypatch.setitem(sys.modules, 'bidsreg.workflows.app', fake_app)
    monkeypatch.setattr('bidsreg.execution.local.POLL_SECONDS', 0.05)
    monkeypatch.chdir(tmp_path)

    def run(*options, fake=None, bids=raw, out=tmp_path / 'out', work=tmp_path / 'work', levels=('participant',)):
        monkeypatch.setenv(fake_app.VARIABLE, json.dumps(fake or {}))
        fast = ['-w', str(work), '--nprocs', '2', '--skip-bids-validation']
        return main([str(bids), str(out), *levels, *fast, *map(str, options)])

    return run


def settings_of(*options: str) -> Settings:
    return parse_settings(['raw', 'out', 'participant', *options])


def pairs_of(raw: Path, out: Path):
    settings = Settings(bids_dir=raw, output_dir=out)
    return {pair.name: pair_outputs(pair, out) for pair in find_pairs(settings).pairs}


def begun(work: Path) -> list[str]:
    return (work / 'begun.txt').read_text().split()


def fails(app, capsys, message: str, *options, **places) -> None:
    assert app(*options, **places) == 2
    error = capsys.readouterr().err
    assert 'bidsreg: error: ' in error
    assert message in error
    assert 'Traceback' not in error


def start(raw: Path, tmp_path: Path, fake: dict, *options: str) -> subprocess.Popen:
    command = [sys.executable, '-m', 'tests.fake_app', raw, tmp_path / 'out', 'participant', '-w', tmp_path / 'work']
    command += ['--nprocs', '2', '--skip-bids-validation', *options]
    environment = {**os.environ, fake_app.VARIABLE: json.dumps(fake)}
    pipes = {'stdout': subprocess.PIPE, 'stderr': subprocess.STDOUT, 'text': True}
    return subprocess.Popen(list(map(str, command)), cwd=ROOT, env=environment, **pipes)


def wait_for(condition, process: subprocess.Popen, seconds: float = 30) -> None:
    end = time.time() + seconds
    while not condition():
        assert process.poll() is None, process.communicate()[0]
        assert time.time() < end, 'it took too long'
        time.sleep(0.05)
