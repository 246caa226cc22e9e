"""One job: what it asks for, and what is read of what it leaves."""

from __future__ import annotations

import gzip
import pickle
from types import SimpleNamespace

import pytest

from bidsreg.execution.batch.jobs import LEAST_MEMORY_MB, Job, Request, failed_result, read_record
from bidsreg.outcome import Cause, Failure


def node_of(folder=None, **needs):
    facts = {'mem_gb': 1.0, 'n_procs': 2, 'fullname': 'wf.pair_1.work', **needs}
    return SimpleNamespace(**facts, is_gpu_node=lambda: needs.get('gpu', False), output_dir=lambda: str(folder))


@pytest.mark.parametrize(
    ('needs', 'request_'),
    [
        ({}, Request(2, 1240)),  # 1 GB is 954 MB of 2**20 bytes
        ({'mem_gb': 0.01, 'n_procs': 0}, Request(1, LEAST_MEMORY_MB)),
        ({'gpu': True}, Request(2, 1240, gpu=True)),
    ],
)
def test_a_job_asks_for_what_its_step_declares(needs, request_):
    assert Request.of(node_of(**needs), 1.3) == request_


def test_what_is_filled_in():
    words = Request(4, 1001).fill("-c {cpus} -m {mem_mb} -p {mem_mb_per_cpu} -v {vmem_mb_per_cpu} 'a b'")
    assert words == ['-c', '4', '-m', '1001', '-p', '251', '-v', '501', 'a b']


@pytest.fixture
def job(tmp_path):
    return Job(node_of(tmp_path / 'out'), Request(1, 400), tmp_path / 'batchscript_pyscript_7.sh', 'bidsreg.work', '12')


def test_a_record_says_that_it_lives(job, tmp_path):
    job.write_record()
    assert read_record(job.record) == {'number': '12', 'name': 'bidsreg.work', 'node': 'wf.pair_1.work'}
    assert read_record(tmp_path / 'none') == {}
    job.record.write_text('{"number"')
    assert read_record(job.record) == {}


def test_the_last_line_of_its_output(job):
    assert job.last_line() == ''
    job.log.write_text('one\n two \n\n')
    assert job.last_line() == 'two'


def test_a_crash_that_it_left_is_read_once(job, tmp_path):
    crash = tmp_path / 'crashdump_7.pklz'
    assert job.read_result() is None
    left = {'result': None, 'traceback': ['ValueError: odd'], 'hostname': 'n1', 'node': 'more'}
    crash.write_bytes(gzip.compress(pickle.dumps(left)))
    assert job.read_result() == {'result': None, 'traceback': ['ValueError: odd'], 'hostname': 'n1'}
    assert job.read_result() is None  # must not be taken for that of the next job


def test_half_a_result_is_none_until_all_of_it_is_there(job, tmp_path):
    whole = gzip.compress(pickle.dumps({'result': None, 'traceback': ['ValueError: odd'], 'hostname': 'n1'}))
    (tmp_path / 'crashdump_7.pklz').write_bytes(whole[: len(whole) // 2])
    assert job.read_result() is None
    (tmp_path / 'crashdump_7.pklz').write_bytes(whole)
    assert job.read_result()['traceback'] == ['ValueError: odd']


def test_results_of_an_earlier_job_are_removed(job, tmp_path):
    (tmp_path / 'out').mkdir()
    (tmp_path / 'out' / 'result_work.pklz').touch()
    job.remove_results()
    assert not list((tmp_path / 'out').iterdir())


def test_what_nipype_takes_for_a_failure():
    failure = Failure(Cause.TIME_LIMIT, 'job 7 ran into its time limit')
    result = failed_result(failure, 'before\n')
    assert result['traceback'] == ['before\n', 'job 7 ran into its time limit\n']
    assert result['failure'] is failure
