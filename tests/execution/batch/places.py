"""What the tests of every batch system share: a place in which the app runs on a plugin, and what it says there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import pytest

from tests import data, fake_app

ROOT = Path(__file__).resolve().parents[3]
PAIR = {None: ['T1w', 'T2w']}
LABELS = ('01', '02', '03')
PROGRAM = {'fake': ['-m', 'tests.fake_app'], 'real': ['-m', 'bidsreg']}


def ask(*command: str) -> str:
    """Run a program; what it wrote."""
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout


def shared_folder(factory: pytest.TempPathFactory) -> Path:
    """A folder that the machines of the cluster see: in BIDSREG_TEST_SHARED, else a temporary one."""
    place = os.environ.get('BIDSREG_TEST_SHARED')
    return factory.mktemp('cluster') if place is None else Path(ask('mktemp', '-d', '-p', place).strip())


def environment(fake: dict | None = None, **more: str) -> dict[str, str]:
    """The environment of the app and its jobs; without LOGNAME, as in many a container."""
    found = {**os.environ, fake_app.VARIABLE: json.dumps(fake or {}), **more}
    found['PYTHONPATH'] = f'{ROOT}:{found.get("PYTHONPATH", "")}'
    found.pop('LOGNAME', None)
    return found


def wait_for(condition: Callable[[], object], seconds: float = 240) -> None:
    """Wait until something is so, and no longer than that many seconds."""
    end = time.time() + seconds
    while not condition():
        assert time.time() < end, 'it took too long'
        time.sleep(0.3)


@dataclass
class Place:
    """A folder with a dataset, in which the app runs on the plugin."""

    folder: Path
    bids: Path
    #: Text of the plugin file.
    plugin: str

    @property
    def log(self) -> Path:
        """What the app says."""
        return self.folder / 'said.txt'

    def times_begun(self, name: str) -> int:
        """Count how often the pretended work of a pair has begun."""
        path = self.folder / 'work' / 'begun.txt'
        return path.read_text().split().count(name) if path.exists() else 0

    def begun(self, name: str) -> bool:
        """Tell whether the pretended work of a pair has begun."""
        return self.times_begun(name) > 0

    def start(self, *options: str, fake: dict | None = None, program: str = 'fake') -> subprocess.Popen:
        """Start the app with these options [on the CPU]."""
        (self.folder / 'plugin.yml').write_text(self.plugin)
        words = [self.bids, self.folder / 'out', 'participant', '-w', self.folder / 'work']
        words += ['--use-plugin', self.folder / 'plugin.yml', '--skip-bids-validation', '--sloppy']
        words += ['--omp-nthreads', '1', *(options or ('--device', 'cpu'))]
        with self.log.open('w') as stream:
            return subprocess.Popen(
                [sys.executable, *PROGRAM[program], *map(str, words)],
                cwd=ROOT, env=environment(fake), stdout=stream, stderr=subprocess.STDOUT,
            )  # fmt: skip

    def end(self, process: subprocess.Popen) -> tuple[int, str]:
        """Wait for the app; exit code and what it said."""
        process.wait(timeout=1200)
        return process.returncode, self.log.read_text()

    def run(self, *options: str, **more) -> tuple[int, str]:
        """Run the app to its end; exit code and what it said."""
        return self.end(self.start(*options, **more))


def troubled_run(
    factory: pytest.TempPathFactory,
    labels: tuple[str, ...],
    plugin: str,
    troubles: dict[str, str],
    meanwhile: Callable[[Place], object],
) -> tuple[Place, int, str]:
    """Run the app with a trouble of each kind at once.

    When the work of sub-02 has begun, ``meanwhile`` does something to it.

    Returns
    -------
    tuple
        The place, the exit code of the app, and what it said.
    """
    place = fake_place(shared_folder(factory), labels, plugin)
    process = place.start(fake=troubles)
    wait_for(lambda: place.begun('sub-02'))
    meanwhile(place)
    return place, *place.end(process)


def fake_place(folder: Path, labels: tuple[str, ...], plugin: str = '') -> Place:
    """Make a place with a dataset for pretended work."""
    return Place(folder, data.write_dataset(folder / 'raw', dict.fromkeys(labels, PAIR)), plugin)


def real_heads(folder: Path, labels: tuple[str, ...]) -> Path:
    """Small heads, with masks beside them, so that no step needs long."""
    images = {}
    for number, label in enumerate(labels):
        pair = data.pair((40, 46, 40), number, known=data.truth(number, amplitude=1.0))
        images[f'sub-{label}_T1w.nii.gz'], images[f'sub-{label}_T2w.nii.gz'] = pair.fixed, pair.moving
    root = data.write_dataset(folder, dict.fromkeys(labels, PAIR), images=images)
    for number, label in enumerate(labels):
        name = f'sub-{label}_desc-brain_mask.nii.gz'
        nib.save(data.head((40, 46, 40), number).mask, root / f'sub-{label}' / 'anat' / name)
    return root


def line_of(text: str, name: str) -> str:
    """Find the one line of the summary about a pair that failed."""
    (found,) = [line for line in text.splitlines() if line.startswith(f'failed: {name},')]
    return found


def turns(place: Place) -> list[tuple[str, str, float, float]]:
    """Who had a GPU, which, from when to when; the first comes first."""
    lines = [line.split() for line in (place.folder / 'work' / 'gpu.txt').read_text().splitlines()]
    return sorted(((name, gpu, float(start), float(end)) for name, gpu, start, end in lines), key=lambda turn: turn[2])
