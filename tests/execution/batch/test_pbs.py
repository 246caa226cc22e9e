"""The PBS plugin with pretended programs of PBS (``pbs.py`` beside this file): Debian has no PBS to be tested on."""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path

import pytest

from tests.execution.batch.places import (
    LABELS,
    Place,
    fake_place,
    line_of,
    shared_folder,
    troubled_run,
    turns,
    wait_for,
)

PLUGIN = 'plugin: PBS\nplugin_args: {qsub_args: "-q workq", poll_seconds: 0.5, grace_seconds: 10}\n'
#: What happens to whom; nothing happens to 01, and 05 needs twice the memory that it gets.
TROUBLES = {'sub-02': 'slow', 'sub-03': 'huge', 'sub-04': 'late:-l walltime=5', 'sub-05': 'hog:500'}
EVERYBODY = tuple(f'{number:02}' for number in range(1, 6))


@pytest.fixture(scope='module')
def programs(tmp_path_factory):
    """Put the pretended programs on the PATH; the folder that they work in."""
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
    def meanwhile(_: Place) -> None:
        os.system(f'qdel {numbers(programs, "bidsreg.sub_02")[0]}')

    return troubled_run(tmp_path_factory, EVERYBODY, PLUGIN, TROUBLES, meanwhile)


@pytest.mark.slow  # a whole run
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


@pytest.mark.slow  # three whole runs
def test_the_same_command_completes_all_and_cancels_what_a_killed_run_left(programs, troubled):
    """Though qstat lists no more than the first letters of a job's name."""
    place = troubled[0]
    begun = place.times_begun('sub-02')
    process = place.start('--device', 'cpu', '--participant-label', '02', fake={'sub-02': 'slow'})
    wait_for(lambda: place.times_begun('sub-02') > begun)
    process.kill()
    process.wait()
    assert numbers(programs, 'bidsreg.sub_02')
    code, text = place.run()
    assert code == 0, text
    assert 'of an earlier run are cancelled first' in text
    assert '3 done, 2 already done' in text


@pytest.mark.slow  # a whole run
def test_the_step_that_can_use_a_gpu_asks_for_one(programs, tmp_path_factory):
    place = fake_place(shared_folder(tmp_path_factory), LABELS[:1], PLUGIN)
    before = set(programs.glob('*.json'))
    code, text = place.run('--device', 'cuda')
    assert code == 0, text
    jobs = [json.loads(path.read_text()) for path in sorted(set(programs.glob('*.json')) - before)]
    assert [job['gpu'] for job in jobs] == [True, False]  # the work, and what publishes it
    assert len(turns(place)) == 1
