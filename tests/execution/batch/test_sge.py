"""The app on a real Grid Engine, as jobs of its plugin. Skipped where none answers.

``gridengine.sh`` beside this file starts one. Memory is tested where it is enforced as there: h_vmem is consumable.
"""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest

from tests.execution.batch.places import (
    LABELS,
    Place,
    ask,
    fake_place,
    line_of,
    shared_folder,
    troubled_run,
    turns,
    wait_for,
)

PLUGIN = 'plugin: SGE\nplugin_args: {poll_seconds: 0.5, grace_seconds: 30}\n'


def no_grid_engine() -> str:
    """Say why there is no Grid Engine to test on; empty when there is."""
    if shutil.which('qconf') is None:
        return 'there is no qconf here'
    done = subprocess.run(['qstat', '-f'], capture_output=True, text=True, check=False)
    if done.returncode:
        return f'Grid Engine does not answer: {(done.stderr.strip() or "it says nothing").splitlines()[-1]}'
    return '' if ' lx-' in done.stdout else 'no machine of this Grid Engine is up'


WHY_NOT = no_grid_engine()
pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT)]

#: What happens to whom. Nothing happens to 01, 06 needs twice the memory that it gets, and 07 more than that.
TROUBLES = {
    'sub-02': 'slow',
    'sub-03': 'huge',
    'sub-04': 'raise',
    'sub-05': 'late:-l h_rt=20',
    'sub-06': 'hog:1300',
    'sub-07': 'hog:6000',
}
EVERYBODY = tuple(f'{number:02}' for number in range(1, 8))


def jobs(name: str) -> list[str]:
    found = re.findall(
        r'<JB_job_number>(\d+)</JB_job_number>.*?<JB_name>(.*?)</JB_name>', ask('qstat', '-xml'), re.DOTALL
    )
    return [number for number, other in found if other == name]


@pytest.fixture(scope='module')
def troubled(tmp_path_factory):
    def meanwhile(_: Place) -> None:
        ask('qdel', *jobs('bidsreg.sub_02.work'))

    return troubled_run(tmp_path_factory, EVERYBODY, PLUGIN, TROUBLES, meanwhile)


def test_what_happens_to_a_job_happens_to_its_pair_alone(troubled):
    _, code, text = troubled
    assert code == 1
    assert '2 done, 5 failed' in text


def test_a_job_deleted_half_way(troubled):
    said = line_of(troubled[2], 'sub-02')
    assert re.search(r'step work: Grid Engine job \d+ was cancelled or killed: the same command does it again', said)


def test_a_job_that_is_refused(troubled):
    """Its pair asks for 100 TB, which no machine here has."""
    said = line_of(troubled[2], 'sub-03')
    assert re.search('step work: Grid Engine did not take the job .*no suitable queues', said)


def test_a_step_that_fails(troubled):
    said = line_of(troubled[2], 'sub-04')
    assert 'step work: ValueError: the work went wrong (crash file: ' in said


def test_a_job_out_of_time(troubled):
    said = line_of(troubled[2], 'sub-05')
    assert re.search(r'step work: Grid Engine job \d+ ran into its time limit: give more, -l h_rt in qsub_args', said)


def test_a_job_over_its_memory(troubled):
    text = troubled[2]
    assert re.search(r'sub_06.work: Grid Engine job \d+ ran over its \d+ MB of memory; once more with \d+ MB', text)
    assert 'failed: sub-06' not in text
    said = line_of(text, 'sub-07')
    assert re.search(r'step work: Grid Engine job \d+ ran over its \d+ MB of memory: raise memory_factor', said)


def test_the_same_command_completes_all(troubled):
    code, text = troubled[0].run()
    assert code == 0, text
    assert '5 done, 2 already done' in text


def test_an_interrupted_run_takes_its_jobs_along(tmp_path_factory):
    place = fake_place(shared_folder(tmp_path_factory), LABELS[:1], PLUGIN)
    process = place.start(fake={'sub-01': 'slow'})
    wait_for(lambda: place.begun('sub-01'))
    assert jobs('bidsreg.sub_01.work')
    process.terminate()
    assert place.end(process)[0] == 143
    assert not jobs('bidsreg.sub_01.work')


@pytest.mark.skipif('gpu' not in ask('qconf', '-sc') if not WHY_NOT else False, reason='no resource called gpu')
def test_pairs_take_turns_on_one_gpu(tmp_path_factory):
    place = fake_place(shared_folder(tmp_path_factory), LABELS[:2], PLUGIN)
    code, text = place.run('--device', 'cuda')
    assert code == 0, text
    first, second = turns(place)
    assert {first[0], second[0]} == {'sub-01', 'sub-02'}
    assert first[3] <= second[2]
