"""Whole trainings of a few steps: what comes out, going on after an end, and what is refused."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from bidsreg.errors import InputError
from bidsreg.registration.atomic import hidden_name
from bidsreg.translation import fit as fits
from bidsreg.translation.fit import CHECKPOINT, MARKER, MODEL, fit
from bidsreg.translation.model import TranslationModel
from bidsreg.translation.training import Training
from bidsreg.translation.volumes import read_scan

from .conftest import settings_for


@pytest.fixture(autouse=True)
def quick_pictures(monkeypatch):
    """Pictures have tests of their own; here only where they are written."""
    monkeypatch.setattr(fits, 'draw_samples', lambda path, *_: (path.parent.mkdir(exist_ok=True), path.touch()))
    monkeypatch.setattr(fits, 'draw_losses', lambda path, *_: path.touch())


@pytest.fixture(scope='module')
def finished(table, tmp_path_factory):
    """A training that nothing disturbed."""
    folder = tmp_path_factory.mktemp('finished') / 'out'
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fits, '_draw', lambda *_: None)
        fit(settings_for(table, folder), 'cpu')
    return folder


def test_what_a_training_leaves(table, tmp_path):
    out = tmp_path / 'out'
    assert fit(settings_for(table, out), 'cpu') == out / MODEL
    names = {
        path.relative_to(out).as_posix() for path in out.rglob('*') if path.is_file() and '.bidsreg' not in path.parts
    }
    assert names == {
        MODEL,
        MARKER,
        'losses.tsv',
        'losses.png',
        'samples/step-000003.png',
        'samples/step-000006.png',
        *(f'prepared/{number:04d}.safetensors' for number in range(6)),
    }
    lines = (out / 'losses.tsv').read_text().splitlines()
    assert lines[0].split('\t') == ['step', 'adversarial', 'contrast', 'identity', 'discriminator']
    assert [line.split('\t')[0] for line in lines[1:]] == list('123456')
    facts = json.loads((out / MARKER).read_text())
    assert facts['done'] is True
    assert facts['heads'] == {'T2w': 3, 'T1w': 3}
    assert facts['cpu_seconds'] > 0
    model = TranslationModel.load(out / MODEL)
    assert facts['model'] == f'sha256:{model.digest}'


def test_what_is_done_is_not_done_again(table, finished, monkeypatch):
    monkeypatch.setattr(Training, 'run', None)
    before = (finished / MODEL).stat().st_mtime_ns
    fit(settings_for(table, finished, every=99, threads=2), 'cpu')
    assert (finished / MODEL).stat().st_mtime_ns == before


@pytest.mark.parametrize('at', [0, 3, 5])
def test_a_training_that_was_interrupted_ends_with_the_same_model(table, finished, tmp_path, monkeypatch, at):
    settings = settings_for(table, tmp_path / 'out')
    once = Training._step

    def step(self, number):
        if number == at:
            raise KeyboardInterrupt
        once(self, number)

    monkeypatch.setattr(Training, '_step', step)
    with pytest.raises(KeyboardInterrupt):
        fit(settings, 'cpu')
    assert (tmp_path / 'out' / CHECKPOINT).exists() == (at >= 3)
    monkeypatch.setattr(Training, '_step', once)
    read = []
    monkeypatch.setattr(fits, 'read_scan', lambda *args, **more: read.append(1) or read_scan(*args, **more))
    fit(settings, 'cpu')
    assert not read  # the scans were ready
    assert (tmp_path / 'out' / MODEL).read_bytes() == (finished / MODEL).read_bytes()
    assert (tmp_path / 'out' / 'losses.tsv').read_bytes() == (finished / 'losses.tsv').read_bytes()


def test_an_end_after_the_last_checkpoint_leaves_nothing_out(table, finished, tmp_path, monkeypatch):
    settings = settings_for(table, tmp_path / 'out')
    written = fits._write_losses

    def end(training):
        if training.done == 6:
            raise KeyboardInterrupt
        written(training)

    monkeypatch.setattr(fits, '_write_losses', end)
    with pytest.raises(KeyboardInterrupt):
        fit(settings, 'cpu')
    monkeypatch.setattr(fits, '_write_losses', written)
    monkeypatch.setattr(Training, '_step', None)
    fit(settings, 'cpu')
    for name in (MODEL, 'losses.tsv'):
        assert (tmp_path / 'out' / name).read_bytes() == (finished / name).read_bytes()
    assert (tmp_path / 'out' / 'samples' / 'step-000006.png').exists()


@pytest.mark.slow
def test_a_training_that_was_killed_ends_with_the_same_model(table, tmp_path):
    words = [sys.executable, '-m', 'bidsreg.translation', 'fit', str(table)]
    options = (
        '--method cut --source T2w --target T1w --steps 60 --width 2 --spacing 8 --every 10 --threads 1 --device cpu'
    )
    options += ' --bias-correction none'

    def command(out):
        return [*words, str(out), *options.split()]

    subprocess.run(command(tmp_path / 'whole'), check=True)
    process = subprocess.Popen(command(tmp_path / 'out'), env={**os.environ, 'PYTHONUNBUFFERED': '1'})
    deadline = time.monotonic() + 300
    while not (tmp_path / 'out' / CHECKPOINT).exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert not (tmp_path / 'out' / MODEL).exists()
    subprocess.run(command(tmp_path / 'out'), check=True)
    assert (tmp_path / 'out' / MODEL).read_bytes() == (tmp_path / 'whole' / MODEL).read_bytes()


def test_other_trainings_are_kept_apart(table, finished, tmp_path):
    with pytest.raises(InputError, match='belongs to another training: its seed was 5'):
        fit(settings_for(table, finished, seed=6), 'cpu')
    with pytest.raises(InputError, match='its recipe was'):
        fit(settings_for(table, finished, steps=7), 'cpu')
    (tmp_path / 'file').touch()
    with pytest.raises(InputError, match='is a file'):
        fit(settings_for(table, tmp_path / 'file'), 'cpu')
    with pytest.raises(InputError, match='no folder of a training'):
        fit(settings_for(table, tmp_path), 'cpu')


def test_scans_that_changed_are_another_training(table, tmp_path, monkeypatch):
    monkeypatch.setattr(Training, 'run', lambda *_: None)
    settings = settings_for(table, tmp_path / 'out')
    fit(settings, 'cpu')
    scan = table.parent / '02_T2w.nii.gz'
    before = scan.stat()
    os.utime(scan, ns=(0, 0))
    try:
        with pytest.raises(InputError, match='its scans are others, or changed'):
            fit(settings, 'cpu')
    finally:
        os.utime(scan, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_a_broken_checkpoint_is_told(table, tmp_path, monkeypatch):
    settings = settings_for(table, tmp_path / 'out')
    monkeypatch.setattr(Training, 'run', lambda self, tell, save: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        fit(settings, 'cpu')
    (tmp_path / 'out' / CHECKPOINT).write_bytes(b'half of it')
    with pytest.raises(InputError, match=CHECKPOINT):
        fit(settings, 'cpu')


def test_a_broken_prepared_scan_is_made_again(table, finished, tmp_path, monkeypatch):
    settings = settings_for(table, tmp_path / 'out')
    monkeypatch.setattr(Training, 'run', lambda self, tell, save: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        fit(settings, 'cpu')
    monkeypatch.undo()
    (tmp_path / 'out' / 'prepared' / '0001.safetensors').write_bytes(b'half of it')
    monkeypatch.setattr(fits, '_draw', lambda *_: None)
    fit(settings, 'cpu')
    assert (tmp_path / 'out' / MODEL).read_bytes() == (finished / MODEL).read_bytes()


def test_what_a_killed_training_half_wrote_is_cleared_away(table, tmp_path, monkeypatch):
    out = tmp_path / 'out'
    out.mkdir()
    half = [hidden_name(out / MARKER)]  # all that a training leaves which is killed at its very beginning
    half[0].write_bytes(b'half')
    (out / '.keep').touch()
    monkeypatch.setattr(Training, 'run', lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        fit(settings_for(table, out), 'cpu')
    half += [hidden_name(out / name) for name in (CHECKPOINT, 'prepared/0007.safetensors')]
    for path in half[1:]:
        path.write_bytes(b'half')
    monkeypatch.setattr(Training, 'run', lambda *_: None)
    fit(settings_for(table, out), 'cpu')
    assert not any(path.exists() for path in half)
    assert (out / '.keep').exists()


def test_nothing_is_written_into_the_dataset(dataset, tmp_path):
    for place in (dataset, dataset / 'model', dataset / 'derivatives', dataset / 'sub-01' / 'x'):
        with pytest.raises(InputError, match='lies in the dataset'):
            fit(settings_for(dataset, place), 'cpu')
    fits.check_place(settings_for(dataset, dataset / 'derivatives' / 'model'))
    fits.check_place(settings_for(dataset, tmp_path / 'out'))


def test_one_at_a_time(table, tmp_path, monkeypatch):
    monkeypatch.setattr('bidsreg.translation.fit.PairLock.take', lambda *_: False)
    with pytest.raises(InputError, match='Another training is at work'):
        fit(settings_for(table, tmp_path / 'out'), 'cpu')
