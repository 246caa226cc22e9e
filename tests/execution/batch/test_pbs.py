"""The PBS plugin with pretended programs of PBS (``pbs.py`` beside this file): Debian has no PBS to be tested on."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import pytest

from tests.execution.batch.places import LABELS, fake_place, line_of, shared_folder, turns, wait_for

PLUGIN = 'plugin: PBS\nplugin_args: {qsub_args: "-q workq", poll_seconds: 0.2, grace_seconds: 10}\n'
#: What happens to whom; nothing happens to 01, and 05 needs twice the memory that it gets.
TROUBLES = {'sub-02': 'slow', 'sub-03': 'huge', 'sub-04': 'late:-l walltime=5', 'sub-05': 'hog:500'}
EVERYBODY = tuple(f'{number:02}' for number in range(1, 6))


@pytest.fixture(scope='module')
def programs(tmp_path_factory):
    """Put the pretended programs on the PATH; a function that runs one."""
    folder = tmp_path_factory.mktemp('pbs')
    for name in ('qsub', 'qstat', 'qdel'):
        path = folder / name
        path.write_text(f'#!/bin/sh\nexec {sys.executable} {Path(__file__).with_name("pbs.py")} {name} "$@"\n')
        path.chmod(0o755)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('PATH', f'{folder}:{os.environ["PATH"]}')
        patch.setenv('PRETENDED_PBS', str(folder))
        yield folder


def numbers(folder: Path, name: str) -> list[str]:
    """List the jobs of a name that have not ended."""
    texts = {path.stem: path.read_text() for path in folder.glob('*.json')}
    return [number for number, text in texts.items() if f'"{name}"' in text and '"state": "F"' not in text]


@pytest.fixture(scope='module')
def troubled(programs, tmp_path_factory):
    """One run with a trouble of each kind at once: its place, its exit code, and what it said."""
    place = fake_place(shared_folder(tmp_path_factory), EVERYBODY, PLUGIN)
    process = place.start(fake=TROUBLES)
    wait_for(lambda: place.begun('sub-02'))
    os.system(f'qdel {numbers(programs, "bidsreg.sub_02")[0]}')
    return place, *place.end(process)


def test_what_happens_to_a_job_happens_to_its_pair_alone(troubled):
    _, code, text = troubled
    assert code == 1
    assert '2 done, 3 failed' in text
    said = line_of(text, 'sub-02')
    assert re.search(r'step work: PBS job \d+ was cancelled or killed: the same command does it again', said)
    assert 'did not take the job (-l select=1:ncpus=1:mem=' in line_of(text, 'sub-03')
    assert 'qsub: Job violates queue and/or server resource limits' in line_of(text, 'sub-03')
    assert 'ran into its time limit: give more, -l walltime in qsub_args' in line_of(text, 'sub-04')
    assert re.search(r'bidsreg.sub_05: PBS job \d+ ran over its 400 MB of memory; once more with 800 MB', text)


def test_the_same_command_completes_all(troubled):
    code, text = troubled[0].run()
    assert code == 0, text
    assert '3 done, 2 already done' in text


def test_jobs_of_a_killed_run_are_cancelled_by_the_next(programs, tmp_path_factory):
    """Though qstat lists no more than the first letters of a job's name."""
    place = fake_place(shared_folder(tmp_path_factory), LABELS[:1], PLUGIN)
    process = place.start(fake={'sub-01': 'slow'})
    wait_for(lambda: place.begun('sub-01'))
    process.kill()
    process.wait()
    assert numbers(programs, 'bidsreg.sub_01')
    code, text = place.run()
    assert code == 0, text
    assert 'of an earlier run are cancelled first' in text


def test_pairs_take_turns_on_one_gpu(programs, tmp_path_factory):
    place = fake_place(shared_folder(tmp_path_factory), LABELS[:2], PLUGIN)
    code, text = place.run('--device', 'cuda')
    assert code == 0, text
    first, second = turns(place)
    assert first[3] <= second[2]
