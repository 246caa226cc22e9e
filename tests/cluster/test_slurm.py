"""The app on a real Slurm: as jobs of its plugin, and as an array. Skipped where no Slurm answers.

Anyone's Slurm will do; the default partition is used, unless SBATCH_PARTITION names another.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import pytest

from tests import data, fake_app

ROOT = Path(__file__).resolve().parents[2]
PAIR = {None: ['T1w', 'T2w']}
LABELS = ('01', '02', '03')
PLUGIN = 'plugin: SLURM\nplugin_args: {sbatch_args: "-t 15", poll_seconds: 0.5, grace_seconds: 20}\n'
PROGRAM = {'fake': ['-m', 'tests.fake_app'], 'real': ['-m', 'bidsreg']}


def ask(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout


def no_slurm() -> str:
    """Say why there is no Slurm to test on; empty when there is."""
    if shutil.which('sbatch') is None:
        return 'there is no sbatch here'
    done = subprocess.run(['sinfo', '-h', '-o', '%T'], capture_output=True, text=True, check=False)
    if done.returncode:
        return f'Slurm does not answer: {done.stderr.strip().splitlines()[-1]}'
    return '' if re.search('idle|mixed|allocated', done.stdout) else 'no machine of this Slurm is up'


WHY_NOT = no_slurm()
pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT)]


def enforces_memory() -> bool:
    config = ask('scontrol', 'show', 'config')
    constrained = re.search(r'ConstrainRAMSpace\s*=\s*yes', config) and 'task/cgroup' in config
    return bool(constrained) or 'OverMemoryKill' in config


@pytest.fixture
def raw(shared):
    return data.write_dataset(shared / 'raw', dict.fromkeys(LABELS, PAIR))


@pytest.fixture
def shared(tmp_path_factory):
    """A folder that the machines of the cluster see: BIDSREG_TEST_SHARED, else a temporary one."""
    place = os.environ.get('BIDSREG_TEST_SHARED')
    if place is None:
        return tmp_path_factory.mktemp('cluster')
    return Path(ask('mktemp', '-d', '-p', place).strip())


@pytest.fixture
def start(raw, shared):
    """Start the app on the plugin; without LOGNAME, as in many a container."""
    (shared / 'slurm.yml').write_text(PLUGIN)

    def begin(fake: dict | None = None, program: str = 'fake', bids: Path = raw) -> subprocess.Popen:
        words = [bids, shared / 'out', 'participant', '-w', shared / 'work', '--use-plugin', shared / 'slurm.yml']
        words += ['--skip-bids-validation', '--sloppy', '--device', 'cpu', '--omp-nthreads', '1']
        environment = {**os.environ, fake_app.VARIABLE: json.dumps(fake or {})}
        environment['PYTHONPATH'] = f'{ROOT}:{environment.get("PYTHONPATH", "")}'
        environment.pop('LOGNAME', None)
        return subprocess.Popen(
            [sys.executable, *PROGRAM[program], *map(str, words)],
            cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip

    return begin


@pytest.fixture
def app(start):
    """Run it to its end; exit code and what it said."""

    def run(fake: dict | None = None, **options) -> tuple[int, str]:
        process = start(fake, **options)
        text = process.communicate(timeout=1200)[0]
        return process.returncode, text

    return run


def jobs(name: str) -> list[str]:
    return ask('squeue', '-h', '-n', name, '-o', '%A').split()


def wait_for(condition: Callable[[], object], seconds: float = 120) -> None:
    end = time.time() + seconds
    while not condition():
        assert time.time() < end, 'it took too long'
        time.sleep(0.3)


def completes(app) -> None:
    """The same command does what is missing, and leaves the rest alone."""
    code, text = app()
    assert code == 0, text
    assert '1 done, 2 already done' in text


def test_three_pairs_and_a_job_cancelled_half_way(start, app, shared):
    process = start({'sub-02': 'slow'})
    begun = shared / 'work' / 'begun.txt'
    wait_for(lambda: begun.exists() and 'sub-02' in begun.read_text())
    (number,) = jobs('bidsreg.sub_02.work')
    ask('scancel', number)
    text = process.communicate(timeout=300)[0]
    assert process.returncode == 1
    assert f'failed: sub-02, step work: Slurm job {number} was cancelled: the same command does it again' in text
    assert '2 done, 1 failed' in text
    completes(app)


def test_a_job_asks_for_what_its_step_declares(start, shared):
    process = start({'sub-02': 'slow'})
    wait_for(lambda: jobs('bidsreg.sub_02.work'))
    facts = ask('scontrol', '-o', 'show', 'job', jobs('bidsreg.sub_02.work')[0])
    process.terminate()
    process.communicate(timeout=120)
    assert process.returncode == 143
    assert 'TimeLimit=00:15:00' in facts  # of the plugin file
    assert 'CPUs/Task=1' in facts
    assert 'MinMemoryNode=400M' in facts
    assert not jobs('bidsreg.sub_02.work')  # an interrupted run takes its jobs along


def test_a_job_that_is_refused(app):
    """Its pair asks for 100 TB, which no machine here has."""
    code, text = app({'sub-02': 'huge'})
    assert code == 1
    assert 'failed: sub-02, step work: Slurm did not take the job (--cpus-per-task=1' in text
    assert 'Memory specification can not be satisfied' in text or 'node configuration is not available' in text
    assert '2 done, 1 failed' in text
    completes(app)


@pytest.mark.skipif(not WHY_NOT and not enforces_memory(), reason='this Slurm lets jobs take more memory than they ask')
def test_a_job_over_its_memory(app):
    """400 MB is what it gets: 600 is enough when asked for twice as much, 2000 is not."""
    code, text = app({'sub-01': 'hog:500', 'sub-02': 'hog:2000'})
    assert code == 1
    assert re.search(r'bidsreg.sub_01.work: Slurm job \d+ ran over its 400 MB of memory; once more with 800 MB', text)
    assert re.search(
        r'failed: sub-02, step work: Slurm job \d+ ran over its 800 MB of memory: raise memory_factor', text
    )
    assert '2 done, 1 failed' in text
    completes(app)


def test_jobs_of_a_killed_run_are_cancelled_by_the_next(start, app, shared):
    process = start({'sub-02': 'slow'})
    begun = shared / 'work' / 'begun.txt'
    wait_for(lambda: begun.exists() and 'sub-02' in begun.read_text())
    process.kill()
    process.communicate()
    left = jobs('bidsreg.sub_02.work')
    assert left  # the cluster goes on without us
    code, text = app()
    assert code == 0, text
    assert 'of an earlier run are cancelled first' in text
    state = ask('scontrol', '-o', 'show', 'job', left[0])
    assert 'JobState=CANCELLED' in state


def test_a_step_that_fails(app):
    code, text = app({'sub-02': 'raise'})
    assert code == 1
    assert 'failed: sub-02, step work: ValueError: the work went wrong (crash file: ' in text
    completes(app)


def real_heads(folder: Path) -> Path:
    """Three small heads, with masks beside them, so that no step needs long."""
    images = {}
    for number, label in enumerate(LABELS):
        pair = data.pair((40, 46, 40), number, known=data.truth(number, amplitude=1.0))
        images[f'sub-{label}_T1w.nii.gz'], images[f'sub-{label}_T2w.nii.gz'] = pair.fixed, pair.moving
    root = data.write_dataset(folder, dict.fromkeys(LABELS, PAIR), images=images)
    for number, label in enumerate(LABELS):
        name = f'sub-{label}_desc-brain_mask.nii.gz'
        nib.save(data.head((40, 46, 40), number).mask, root / f'sub-{label}' / 'anat' / name)
    return root


def test_the_real_app_as_jobs(app, shared):
    code, text = app(program='real', bids=real_heads(shared / 'heads'))
    assert code == 0, text
    assert '3 done' in text
    assert len(list((shared / 'out').glob('sub-*.html'))) == len(LABELS)
    assert not list((shared / 'work').rglob('*.job'))


# ------------------------------------------------------------------------------------------------------------- array
@pytest.fixture
def array(raw, shared):
    """Submit the array and wait for the study; the states of its jobs by index, and what the study's job said."""

    def run(fake: dict | None = None, program: str = 'fake', bids: Path = raw, meanwhile=lambda number: None):
        python = f'{sys.executable} {" ".join(PROGRAM[program])}'
        environment = {**os.environ, fake_app.VARIABLE: json.dumps(fake or {}), 'BIDSREG': python}
        environment |= {'SBATCH_ARGS': '--mem=1500M -t 15', 'GROUP_ARGS': '--mem=1500M -t 15'}
        environment['PYTHONPATH'] = f'{ROOT}:{environment.get("PYTHONPATH", "")}'
        words = ['bash', ROOT / 'docs/clusters/array.sh', bids, shared / 'out', '--sloppy', '--device', 'cpu']
        done = subprocess.run(
            list(map(str, words)), cwd=ROOT, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        first, study = re.search(r'array job (\d+), then the study: job (\d+)', done.stdout).groups()
        meanwhile(first)
        wait_for(lambda: not ask('squeue', '-h', '-u', str(os.getuid()), '-o', '%A').split().count(study), 1200)
        states = re.findall(r'ArrayTaskId=(\d+) .*?JobState=(\w+)', ask('scontrol', '-o', 'show', 'job', first))
        return dict(states), (shared / 'out' / 'logs' / 'slurm' / f'{study}.out').read_text()

    return run


def test_an_array_with_a_job_cancelled_half_way(array, shared):
    begun = shared / 'out-work' / 'begun.txt'

    def cancel(number: str) -> None:
        wait_for(lambda: begun.exists() and 'sub-02' in begun.read_text())
        ask('scancel', f'{number}_2')

    states, said = array({'sub-02': 'slow'}, meanwhile=cancel)
    assert states == {'1': 'COMPLETED', '2': 'CANCELLED', '3': 'COMPLETED'}
    assert '2' in said
    states, said = array()
    assert set(states.values()) == {'COMPLETED'}
    assert (shared / 'out' / 'logs' / 'pairs.tsv').read_text().count('register') == len(LABELS)


@pytest.mark.skipif(not WHY_NOT and not enforces_memory(), reason='this Slurm lets jobs take more memory than they ask')
def test_an_array_with_a_job_over_its_memory(array):
    assert array({'sub-02': 'hog:2500'})[0]['2'] in ('OUT_OF_MEMORY', 'FAILED')
    assert set(array()[0].values()) == {'COMPLETED'}


def test_the_real_app_as_an_array(array, shared):
    states, said = array(program='real', bids=real_heads(shared / 'heads'))
    assert states == dict.fromkeys('123', 'COMPLETED'), said
    assert len(list((shared / 'out').glob('sub-*.html'))) == len(LABELS)
    assert (shared / 'out' / 'index.html').exists() or list((shared / 'out').glob('group*')), said
