"""The app on a real Slurm: as jobs of its plugin, and as an array. Skipped where no Slurm answers.

Anyone's Slurm will do; the default partition is used, unless SBATCH_PARTITION names another. ``slurm.sh`` beside this
file starts one.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from bidsreg.reports.study import STEM
from tests.execution.batch.places import (
    LABELS,
    PROGRAM,
    ROOT,
    Place,
    ask,
    environment,
    fake_place,
    line_of,
    real_heads,
    shared_folder,
    troubled_run,
    turns,
    wait_for,
)

PLUGIN = 'plugin: SLURM\nplugin_args: {sbatch_args: "-t 15", poll_seconds: 0.5, grace_seconds: 20}\n'


def no_slurm() -> str:
    """Say why there is no Slurm to test on; empty when there is."""
    if shutil.which('sbatch') is None:
        return 'there is no sbatch here'
    done = subprocess.run(['sinfo', '-h', '-o', '%T'], capture_output=True, text=True, check=False)
    if done.returncode:
        return f'Slurm does not answer: {done.stderr.strip().splitlines()[-1]}'
    return '' if re.search('idle|mixed|allocated', done.stdout) else 'no machine of this Slurm is up'


def enforces_memory() -> bool:
    config = ask('scontrol', 'show', 'config')
    constrained = re.search(r'ConstrainRAMSpace\s*=\s*yes', config) and 'task/cgroup' in config
    return bool(constrained) or 'OverMemoryKill' in config


WHY_NOT = no_slurm()
ENFORCES = not WHY_NOT and enforces_memory()
GPUS = '' if WHY_NOT else ask('sinfo', '-h', '-o', '%G')
pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT)]
needs_limits = pytest.mark.skipif(not ENFORCES, reason='this Slurm lets jobs take more memory than they ask')
needs_gpu = pytest.mark.skipif('gpu' not in GPUS, reason='this Slurm has no GPU, not even a pretended one')


def jobs(name: str) -> list[str]:
    return ask('squeue', '-h', '-n', name, '-o', '%A').split()


def facts(number: str) -> str:
    return ask('scontrol', '-o', 'show', 'job', number)


@pytest.fixture
def place(tmp_path_factory):
    return fake_place(shared_folder(tmp_path_factory), LABELS[:2], PLUGIN)


# ---------------------------------------------------------------------------------------- everything that goes wrong
#: What happens to whom. Nothing happens to 01, 07 needs twice the memory that it gets, and 08 more than that.
TROUBLES = {
    'sub-02': 'slow',
    'sub-03': 'huge',
    'sub-04': 'raise',
    'sub-05': 'late:-t 1',
    'sub-06': 'wide',
    **({'sub-07': 'hog:500', 'sub-08': 'hog:2000'} if ENFORCES else {}),
}
EVERYBODY = tuple(f'{number:02}' for number in range(1, 9))


@pytest.fixture(scope='module')
def troubled(tmp_path_factory):
    def meanwhile(place: Place) -> None:
        ask('scancel', *jobs('bidsreg.sub_02.work'))
        wait_for(lambda: 'may never start' in place.log.read_text())
        ask('scancel', *jobs('bidsreg.sub_06.work'))

    return troubled_run(tmp_path_factory, EVERYBODY, PLUGIN, TROUBLES, meanwhile)


def test_what_happens_to_a_job_happens_to_its_pair_alone(troubled):
    _, code, text = troubled
    assert code == 1
    assert ('3 done, 5 failed' if not ENFORCES else '2 done, 6 failed') in text
    assert len(re.findall('^failed: ', text, re.MULTILINE)) == (6 if ENFORCES else 5)


def test_a_job_cancelled_half_way(troubled):
    said = line_of(troubled[2], 'sub-02')
    assert re.search(r'step work: Slurm job \d+ was cancelled: the same command does it again', said)


def test_a_job_that_is_refused(troubled):
    """Its pair asks for 100 TB, which no machine here has."""
    said = line_of(troubled[2], 'sub-03')
    assert 'step work: Slurm did not take the job (--cpus-per-task=1' in said
    assert 'Memory specification can not be satisfied' in said or 'node configuration is not available' in said


def test_a_step_that_fails(troubled):
    said = line_of(troubled[2], 'sub-04')
    assert 'step work: ValueError: the work went wrong (crash file: ' in said


def test_a_job_out_of_time(troubled):
    said = line_of(troubled[2], 'sub-05')
    assert re.search(r'step work: Slurm job \d+ ran into its time limit: give more, -t in sbatch_args', said)


def test_a_job_that_can_never_start(troubled):
    """Its pair asks for a thousand CPUs, which Slurm takes for something that may come."""
    text = troubled[2]
    said = r'sub_06.work: Slurm job (\d+) waits and may never start \((\w+)\); it asked for 1000 CPU\(s\) and 400 MB'
    ((number, reason),) = re.findall(said, text)
    assert reason in ('PartitionConfig', 'BadConstraints')
    assert f'Slurm job {number} was cancelled' in line_of(text, 'sub-06')


@needs_limits
def test_a_job_over_its_memory(troubled):
    """400 MB is what it gets: 500 is enough when asked for twice as much, 2000 is not."""
    text = troubled[2]
    assert re.search(r'bidsreg.sub_07.work: Slurm job \d+ ran over its 400 MB of memory; once more with 800 MB', text)
    assert 'failed: sub-07' not in text
    said = line_of(text, 'sub-08')
    assert re.search(r'step work: Slurm job \d+ ran over its 800 MB of memory: raise memory_factor', said)


def test_the_same_command_completes_all(troubled):
    place, _, before = troubled
    already = int(re.search(r'(\d) done, \d failed', before)[1])
    code, text = place.run()
    assert code == 0, text
    assert f'{len(EVERYBODY) - already} done, {already} already done' in text


# ---------------------------------------------------------------------------------------------------- ends of the app
def test_an_interrupted_run_takes_its_jobs_along(place):
    """And a job asks for what its step declares."""
    process = place.start('--participant-label', '02', '--device', 'cpu', fake={'sub-02': 'slow'})
    wait_for(lambda: place.begun('sub-02'))
    (number,) = jobs('bidsreg.sub_02.work')
    asked = facts(number)
    process.terminate()
    assert place.end(process)[0] == 143
    assert 'TimeLimit=00:15:00' in asked  # of the plugin file
    assert 'CPUs/Task=1' in asked
    assert 'MinMemoryNode=400M' in asked
    assert 'gpu' not in asked
    assert 'JobState=CANCELLED' in facts(number)


def test_jobs_of_a_killed_run_are_cancelled_by_the_next(place):
    process = place.start('--participant-label', '02', '--device', 'cpu', fake={'sub-02': 'slow'})
    wait_for(lambda: place.begun('sub-02'))
    process.kill()
    process.wait()
    (left,) = jobs('bidsreg.sub_02.work')  # the cluster goes on without us
    code, text = place.run()
    assert code == 0, text
    assert 'of an earlier run are cancelled first' in text
    assert 'JobState=CANCELLED' in facts(left)


# ----------------------------------------------------------------------------------------------------- lost machines
@contextlib.contextmanager
def lost_machine(number: str) -> Iterator[None]:
    """Let the machine of a job fail, as far as Slurm knows, and come back in the end; skips who may not say so."""
    machine = re.search(r' NodeList=(\S+)', facts(number))[1]
    update = ['scontrol', 'update', f'NodeName={machine}']
    if subprocess.run([*update, 'State=DOWN', 'Reason=test'], capture_output=True, check=False).returncode:
        ask('scancel', number)
        pytest.skip('this user may not set machines of this Slurm down')
    try:
        yield
    finally:
        ask(*update, 'State=RESUME')


def test_a_job_of_a_lost_machine_is_told_and_done_by_the_same_command(tmp_path_factory):
    """Its pair alone fails; the other's job waits for the machine."""
    plugin = PLUGIN.replace('-t 15', '-t 15 --no-requeue')
    place = fake_place(shared_folder(tmp_path_factory), LABELS[:2], plugin)
    process = place.start(fake={'sub-02': 'slow'})
    wait_for(lambda: place.begun('sub-02'))
    (number,) = jobs('bidsreg.sub_02.work')
    with lost_machine(number):
        wait_for(lambda: number not in jobs('bidsreg.sub_02.work'))
    code, text = place.end(process)
    assert code == 1, text
    assert f'Slurm job {number} was lost with its machine: the same command does it again' in line_of(text, 'sub-02')
    assert text.count('failed: ') == 1
    code, text = place.run()
    assert code == 0, text
    assert '1 done, 1 already done' in text


def test_a_job_that_slurm_requeues_is_waited_for(place):
    """As Slurm does by itself, where its settings allow: the job begins anew under its number, and its pair is done."""
    if 'JobRequeue              = 1' not in ask('scontrol', 'show', 'config'):
        pytest.skip('this Slurm does not requeue jobs')
    process = place.start('--participant-label', '02', '--device', 'cpu', fake={'sub-02': 'slow'})
    wait_for(lambda: place.begun('sub-02'))
    (number,) = jobs('bidsreg.sub_02.work')
    with lost_machine(number):
        wait_for(lambda: 'JobState=PENDING' in facts(number))
        time.sleep(3)  # Slurm starts nothing twice within a second
        assert process.poll() is None
    ask('scontrol', 'update', f'JobId={number}', 'StartTime=now')  # it waits two minutes otherwise
    wait_for(lambda: place.times_begun('sub-02') == 2)
    code, text = place.end(process)
    assert code == 0, text
    assert 'Restarts=1' in facts(number)


# --------------------------------------------------------------------------------------------------------------- GPUs
@needs_gpu
def test_pairs_take_turns_on_one_gpu(place):
    """Each job gets a GPU from Slurm, and no other job has it meanwhile."""
    code, text = place.run('--device', 'cuda')
    assert code == 0, text
    first, second = turns(place)
    assert {first[0], second[0]} == {'sub-01', 'sub-02'}
    assert first[1].isdigit()
    assert second[1].isdigit()
    if GPUS.strip() == 'gpu:1':
        assert first[3] <= second[2]


def test_which_gpu_is_for_slurm_to_say(place):
    code, text = place.run('--device', 'cuda:1')
    assert code == 2
    assert '--device cuda:1: with SLURM use --device cuda; it says which GPU a job gets' in text


@needs_gpu
def test_the_real_app_as_jobs(tmp_path_factory):
    """On a GPU that is none: the job gets it, PyTorch does not see it, the user reads so; a CPU then does the rest."""
    folder = shared_folder(tmp_path_factory)
    place = Place(folder, real_heads(folder / 'heads', LABELS[:1]), PLUGIN)
    process = place.start('--device', 'cuda', program='real')
    wait_for(lambda: process.poll() is not None or jobs('bidsreg.sub_01.register'), 600)
    (number,) = jobs('bidsreg.sub_01.register')
    asked = facts(number)
    assert 'TresPerNode=gres:gpu:1' in asked
    assert 'CPUs/Task=1' in asked
    code, text = place.end(process)
    assert code == 1, text
    assert re.search('failed: sub-01, step register: .*(CUDA|cuda)', text)

    code, text = place.run('--device', 'auto', program='real')
    assert code == 0, text
    assert '1 done' in text
    assert len(list((folder / 'out').glob('sub-*.html'))) == 1
    assert not list((folder / 'work').rglob('*.job'))


# -------------------------------------------------------------------------------------------------------------- array
@dataclass
class Array:
    """A folder with a dataset, over which the app runs as an array."""

    folder: Path
    bids: Path

    def run(self, fake: dict | None = None, program: str = 'fake', meanwhile=lambda number: None):
        """Submit it and wait for the study; states of the jobs by index, and what the study's job said."""
        python = f'{sys.executable} {" ".join(PROGRAM[program])}'
        limits = '--mem=1500M -t 15'
        words = ['bash', ROOT / 'docs/clusters/array.sh', self.bids, self.folder / 'out', '--sloppy', '--device', 'cpu']
        done = subprocess.run(
            list(map(str, words)), cwd=ROOT, capture_output=True, text=True, check=False,
            env=environment(fake, BIDSREG=python, SBATCH_ARGS=limits, GROUP_ARGS=limits),
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        first, study = re.search(r'array job (\d+), then the study: job (\d+)', done.stdout).groups()
        meanwhile(first)
        wait_for(lambda: not ask('squeue', '-h', '-u', str(os.getuid()), '-o', '%A').split().count(study), 1200)
        states = re.findall(r'ArrayTaskId=(\d+) .*?JobState=(\w+)', facts(first))
        return dict(states), (self.folder / 'out' / 'logs' / 'slurm' / f'{study}.out').read_text()


def test_an_array_with_jobs_cancelled_and_over_their_memory(tmp_path_factory):
    folder = shared_folder(tmp_path_factory)
    array = Array(folder, fake_place(folder, LABELS).bids)
    begun = folder / 'out-work' / 'begun.txt'

    def cancel(number: str) -> None:
        wait_for(lambda: begun.exists() and 'sub-02' in begun.read_text())
        ask('scancel', f'{number}_2')

    states, said = array.run({'sub-02': 'slow', **({'sub-03': 'hog:2500'} if ENFORCES else {})}, meanwhile=cancel)
    assert states['1'] == 'COMPLETED'
    assert states['2'] == 'CANCELLED'
    assert states['3'] in (('OUT_OF_MEMORY', 'FAILED') if ENFORCES else ('COMPLETED',))
    assert '3 pair(s)' in said  # the study has all of them, whatever became of their jobs
    states, said = array.run()
    assert set(states.values()) == {'COMPLETED'}
    assert (folder / 'out' / 'logs' / 'pairs.tsv').read_text().count('register') == len(LABELS)


def test_the_real_app_as_an_array(tmp_path_factory):
    folder = shared_folder(tmp_path_factory)
    array = Array(folder, real_heads(folder / 'heads', LABELS[:2]))
    states, said = array.run(program='real')
    assert states == dict.fromkeys('12', 'COMPLETED'), said
    assert len(list((folder / 'out').glob('sub-*.html'))) == 2
    assert (folder / 'out' / f'{STEM}.html').exists(), said
