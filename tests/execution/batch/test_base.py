"""The loop over a batch system, with one that lives in this process: ends of jobs, and what they mean."""

from __future__ import annotations

import json
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from nipype.utils.filemanip import savepkl

from bidsreg.execution.batch import BATCH_PLUGINS, base, missing_programs
from bidsreg.execution.batch.base import BatchPlugin
from bidsreg.execution.batch.jobs import JobEnd
from bidsreg.execution.batch.programs import BatchSystemError
from bidsreg.outcome import RETRIED, Cause


class PretendedPlugin(BatchPlugin):
    """A batch system whose jobs do nothing; tests say how they end."""

    title = 'Pretended'
    programs = ('no-such-submit',)
    time_option = '-t'
    resources = '-c {cpus} -m {mem_mb}'
    gpu_resources = resources + ' -g'

    def __init__(self, plugin_args=None):
        super().__init__({'poll_seconds': 0.0, 'grace_seconds': 0.0, **(plugin_args or {})})
        self.jobs, self.sent, self.cancelled, self.end, self.answers = {}, [], [], JobEnd(), True

    def command(self, job, options):
        self.sent.append(list(options))
        number = str(len(self.sent))
        self.jobs[number] = (job.name, 'R')
        return ['echo', number]

    def number_in(self, answer):
        return answer.strip() or None

    def queue(self):
        if not self.answers:
            raise BatchSystemError('nobody is there')
        return self.jobs

    def stuck(self, state):
        return state == 'S'

    def end_of(self, job):
        return self.end

    def cancel(self, numbers):
        self.cancelled += numbers
        for number in numbers:
            self.jobs.pop(number, None)


class Node(SimpleNamespace):
    def is_gpu_node(self):
        return self.gpu

    def output_dir(self):
        return self.folder


@pytest.fixture
def node(tmp_path):
    (tmp_path / 'wf' / 'batch').mkdir(parents=True)
    facts = {'fullname': 'wf.pair_sub_01.work', 'name': 'work', 'mem_gb': 0.5, 'n_procs': 1, 'gpu': False}
    return Node(**facts, plugin_args=None, folder=str(tmp_path / 'node'), base_dir=str(tmp_path))


@pytest.fixture
def plugin():
    return PretendedPlugin({'qsub_args': '-q short'})


def submit(plugin, node) -> int:
    return plugin._submit_batchtask(f'{node.base_dir}/wf/batch/batchscript_pyscript_1.sh', node)


def ended(plugin, task):
    """What comes of a job that has left the queue."""
    plugin.jobs.clear()
    return plugin._get_result(task)


def test_a_job_asks_and_is_waited_for(plugin, node):
    task = submit(plugin, node)
    assert plugin.sent == [['-c', '1', '-m', '620', '-q', 'short']]
    assert plugin.jobs == {'1': ('bidsreg.sub_01.work', 'R')}
    assert plugin._get_result(task) is None
    assert ended(plugin, task)['failure'].cause is Cause.INCOMPLETE


@pytest.mark.parametrize(
    ('end', 'cause', 'said'),
    [
        (JobEnd('X', Cause.CANCELLED), Cause.CANCELLED, 'was cancelled: the same command does it again'),
        (JobEnd('X', Cause.CANCELLED, 'had to go'), Cause.CANCELLED, 'Pretended job 1 had to go'),
        (JobEnd('X', Cause.MACHINE_LOST), Cause.MACHINE_LOST, 'was lost with its machine'),
        (JobEnd('X', Cause.TIME_LIMIT), Cause.TIME_LIMIT, 'give more, -t in qsub_args of the plugin file'),
        (JobEnd('exit 3'), Cause.INCOMPLETE, 'ended (exit 3) without a result: no such weights'),
        (JobEnd(), Cause.INCOMPLETE, 'ended without a result: no such weights'),
    ],
)
def test_what_the_end_of_a_job_means(plugin, node, end, cause, said):
    task = submit(plugin, node)
    plugin._jobs[task].log.write_text('no such weights\n')
    plugin.end = end
    failure = ended(plugin, task)['failure']
    assert failure.cause is cause
    assert said in failure.message
    assert failure.cause not in RETRIED, 'a cluster is not asked twice for what it has refused or ended'


def test_a_job_over_its_memory_is_sent_once_more_with_twice_as_much(plugin, node, caplog):
    task = submit(plugin, node)
    plugin.end = JobEnd('OOM', Cause.OUT_OF_MEMORY)
    assert ended(plugin, task) is None
    assert [words[3] for words in plugin.sent] == ['620', '1240']
    assert 'ran over its 620 MB of memory; once more with 1240 MB' in caplog.text
    failure = ended(plugin, task)['failure']
    assert failure.cause is Cause.OUT_OF_MEMORY
    assert 'ran over its 1240 MB of memory: raise memory_factor' in failure.message
    assert len(plugin.sent) == 2


def test_a_job_that_is_refused(plugin, node, monkeypatch):
    monkeypatch.setattr(plugin, 'command', lambda job, options: ['sh', '-c', 'echo no such queue >&2; exit 1'])
    failure = plugin._get_result(submit(plugin, node))['failure']
    assert failure.cause is Cause.REFUSED
    assert failure.message == 'Pretended did not take the job (-c 1 -m 620 -q short): no such queue'


def test_an_answer_without_a_number_is_a_refusal(plugin, node, monkeypatch):
    monkeypatch.setattr(plugin, 'number_in', lambda answer: None)
    failure = plugin._get_result(submit(plugin, node))['failure']
    assert failure.cause is Cause.REFUSED
    assert "no job number in '1'" in failure.message


def test_a_batch_system_that_does_not_answer_is_waited_for(plugin, node, caplog):
    task = submit(plugin, node)
    plugin.answers = False
    plugin.jobs.clear()
    assert plugin._get_result(task) is None
    assert 'Pretended does not tell of its jobs (nobody is there); waiting' in caplog.text
    plugin.answers = True
    assert plugin._get_result(task)['failure'].cause is Cause.INCOMPLETE


def test_a_job_that_may_never_start_is_said_once(plugin, node, caplog):
    task = submit(plugin, node)
    plugin.jobs['1'] = ('bidsreg.sub_01.work', 'S')
    for _ in range(2):
        assert plugin._get_result(task) is None
    assert caplog.text.count('waits and may never start (S); it asked for 1 CPU(s) and 620 MB.') == 1


def test_what_a_step_wants_of_its_own_comes_last(plugin, node):
    node.gpu, node.plugin_args = True, {'qsub_args': '-t 5'}
    submit(plugin, node)
    assert plugin.sent == [['-c', '1', '-m', '620', '-g', '-q', 'short', '-t', '5']]


def test_nothing_is_left_when_the_run_ends(plugin, node):
    submit(plugin, node)
    record = next(iter(plugin._jobs.values())).record
    assert json.loads(record.read_text())['number'] == '1'
    plugin.cancel_all()
    assert plugin.cancelled == ['1']
    assert not record.exists()


@pytest.mark.parametrize('listed', ['bidsreg.sub_01.work', 'bidsreg.sub*'])
def test_jobs_of_a_killed_run_are_cancelled_first(plugin, node, listed, caplog):
    """Though a batch system may list no more than the first letters of a name; jobs of others are left alone."""
    submit(plugin, node)
    other = PretendedPlugin()
    other.jobs = {'1': (listed, 'R'), '2': ('thesis', 'R')}
    other._prerun_check(SimpleNamespace(nodes=lambda: [node]))
    assert other.cancelled == ['1']
    assert '1 Pretended job(s) of an earlier run are cancelled first' in caplog.text


def test_a_number_that_somebody_else_has_by_now_is_left_alone(plugin, node):
    submit(plugin, node)
    other = PretendedPlugin()
    other.jobs = {'1': ('thesis', 'R')}
    other._prerun_check(SimpleNamespace(nodes=lambda: [node]))
    assert other.cancelled == []


def test_a_lost_result_is_waited_for(plugin, node, monkeypatch):
    """A shared file system may show files late."""
    plugin._grace = 60.0
    task = submit(plugin, node)
    assert ended(plugin, task) is None
    now = time.time()
    monkeypatch.setattr(base.time, 'time', lambda: now + 61)
    assert plugin._get_result(task)['failure'].cause is Cause.INCOMPLETE


@pytest.fixture
def half(node):
    """Half of a result, which its job has left or which the file system does not show whole yet."""
    file = Path(node.folder) / 'result_work.pklz'
    file.parent.mkdir()

    def leave() -> Path:
        file.write_bytes(b'half')
        return file

    return leave


def test_half_a_result_does_not_hide_the_end_of_its_job(plugin, node, half):
    task = submit(plugin, node)
    half()
    plugin.end = JobEnd('X', Cause.TIME_LIMIT)
    assert ended(plugin, task)['failure'].cause is Cause.TIME_LIMIT


def test_half_a_result_is_waited_for(plugin, node, half, monkeypatch):
    plugin._grace = 60.0
    task = submit(plugin, node)
    file = half()
    assert ended(plugin, task) is None
    now = time.time()
    monkeypatch.setattr(base.time, 'time', lambda: now + 61)
    assert plugin._get_result(task)['failure'].cause is Cause.INCOMPLETE
    savepkl(str(file), {'result': 'whole', 'traceback': None, 'hostname': 'n1'})
    assert plugin._get_result(task)['result'] == 'whole'


def test_programs_that_are_not_here(monkeypatch):
    monkeypatch.setitem(BATCH_PLUGINS, 'PRETENDED', PretendedPlugin)
    assert missing_programs('PRETENDED') == ['no-such-submit']
    assert missing_programs('MultiProc') == []
