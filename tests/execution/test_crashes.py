"""Crash files and tracebacks: the cause as an enum, the detail in one line."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from bidsreg.errors import InputError
from bidsreg.execution.crashes import FailureRecorder, crashes, failure_of, last_crash, read_crash, read_traceback
from bidsreg.outcome import Cause, Failure

#: What Nipype writes of a program that failed.
PROGRAM = 'Cmdline:\n\tx\nStdout:\n\nStderr:\n\t{}\nTraceback:\n\tRuntimeError: subprocess exited with code {}.\n'
LATE = '\n\nWhen creating this crashfile, the results file corresponding\nto the'


@pytest.mark.parametrize(
    ('tail', 'cause', 'detail'),
    [
        ('Traceback:\n  File "x"\nbidsreg.errors.InputError: a.nii: is empty\n', Cause.BAD_INPUT, 'a.nii: is empty'),
        ('ValueError: odd\n', Cause.FAILED, 'ValueError: odd'),
        (PROGRAM.format('one\n\ttwo', 1), Cause.FAILED, 'two'),
        (PROGRAM.format('Killed', -9), Cause.KILLED, ''),
        (PROGRAM.format('', 137), Cause.KILLED, ''),
        (PROGRAM.format('', -11), Cause.FAILED, 'RuntimeError: subprocess exited with code -11.'),
        (PROGRAM.format('', 1), Cause.FAILED, 'RuntimeError: subprocess exited with code 1.'),
        (f'MemoryError: big{LATE}', Cause.OUT_OF_MEMORY, 'MemoryError: big'),
        ('MemoryError\n', Cause.OUT_OF_MEMORY, 'MemoryError'),
        ('bidsreg.errors.GpuFullError: too little\n', Cause.OUT_OF_MEMORY, 'too little'),
        ('bidsreg.errors.DamagedFileError: in n4 a.nii has 0 bytes\n', Cause.DAMAGED, 'in n4 a.nii has 0 bytes'),
        ('torch.OutOfMemoryError: CUDA\n', Cause.OUT_OF_MEMORY, 'torch.OutOfMemoryError: CUDA'),
        ("OSError: [Errno 28] No space left: 'a'", Cause.NO_SPACE, "OSError: [Errno 28] No space left: 'a'"),
        ('OSError: [Errno 122] Disk quota exceeded', Cause.NO_SPACE, 'OSError: [Errno 122] Disk quota exceeded'),
        (PROGRAM.format('ITK ERROR: No space left on device', 1), Cause.NO_SPACE, 'ITK ERROR: No space left on device'),
        (
            'OSError: [Errno 12] Cannot allocate memory',
            Cause.OUT_OF_MEMORY,
            'OSError: [Errno 12] Cannot allocate memory',
        ),
        (
            "RuntimeError: DefaultCPUAllocator: can't allocate memory",
            Cause.OUT_OF_MEMORY,
            "DefaultCPUAllocator: can't allocate memory",
        ),
        (
            'bidsreg.errors.ProcessEndedError: it was killed by signal 15',
            Cause.CANCELLED,
            'bidsreg.errors.ProcessEndedError: it was killed by signal 15',
        ),
        ('OSError: [Errno 2] No such file', Cause.FAILED, 'OSError: [Errno 2] No such file'),
        ('', Cause.FAILED, 'a = b'),
    ],
)
def test_cause_and_detail(tmp_path, tail, cause, detail):
    path = tmp_path / 'crash.txt'
    path.write_text(f'Node: bidsreg_wf.pair_sub_01.register\nWorking directory: /w\n\nNode inputs:\n\na = b\n\n{tail}')
    assert read_crash(path) == ('bidsreg_wf.pair_sub_01.register', Failure(cause, detail, 'register', path))


def traceback_of(code: str) -> str:
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=False)
    assert done.returncode
    return done.stderr


@pytest.mark.parametrize('indent', ['', '\t'])
@pytest.mark.parametrize(
    ('code', 'cause', 'last'),
    [
        (
            'from bidsreg.errors import ProcessKilledError as E\nraise E("its last words\\nit was killed by signal 9")',
            Cause.KILLED,
            'it was killed by signal 9',
        ),
        ('from bidsreg.errors import InputError as E\nraise E("bad\\nworse")', Cause.BAD_INPUT, 'worse'),
        (
            'try:\n  raise MemoryError\nexcept MemoryError as e:\n  raise ValueError("x") from e',
            Cause.FAILED,
            'ValueError: x',
        ),
        ('raise OSError(28, "No space left on device")', Cause.NO_SPACE, 'OSError: [Errno 28] No space left on device'),
        ('raise RuntimeError("MemoryError is what it talks of")', Cause.FAILED, 'MemoryError is what it talks of'),
    ],
)
def test_the_class_of_the_last_exception_decides(code, cause, last, indent):
    """Not the last line, as a message may have many, nor what the message talks of; indented by Nipype or not."""
    lines = [indent + line for line in traceback_of(code).splitlines()]
    assert read_traceback(lines) == Failure(cause, last)


def test_the_error_before_the_results_were_not_found_is_the_cause():
    """Nipype looks for the results of a step that could not even be begun."""
    code = """
try:
    raise OSError(28, 'No space left on device')
except OSError:
    raise FileNotFoundError('/scratch/pair_1/n4/result_n4.pklz')
"""
    found = read_traceback(traceback_of(code).splitlines())
    assert found == Failure(Cause.NO_SPACE, 'OSError: [Errno 28] No space left on device')
    alone = read_traceback(['FileNotFoundError: /scratch/pair_1/n4/result_n4.pklz'])
    assert alone == Failure(Cause.FAILED, 'FileNotFoundError: /scratch/pair_1/n4/result_n4.pklz')


def test_a_program_of_ours_that_runs_out_of_memory():
    """Its own traceback is in the message of the node that ran it."""
    inner = traceback_of('raise MemoryError("big")')
    outer = traceback_of(f'raise RuntimeError({"level 4 mm" + chr(10) + inner + "bidsreg-pair failed"!r})')
    assert read_traceback(outer.splitlines()) == Failure(Cause.OUT_OF_MEMORY, 'bidsreg-pair failed')


def test_an_exception_in_hand():
    assert failure_of(InputError('no')) == Failure(Cause.BAD_INPUT, 'InputError: no')
    assert failure_of(OSError(28, 'full')).cause is Cause.NO_SPACE
    assert failure_of(ZeroDivisionError('x')) == Failure(Cause.FAILED, 'ZeroDivisionError: x')


def test_the_crashes_of_one_pair(tmp_path):
    for number, (node, folder) in enumerate([('pair_1.n4', 'new'), ('pair_10.n4', 'new'), ('pair_10.rigid', 'old')]):
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / f'crash-{number}.txt').write_text(f'Node: wf.{node}\n\nValueError: {number}\n')
    assert [failure.detail for failure in crashes(tmp_path / 'new', 'pair_10')] == ['ValueError: 1']


def test_the_last_crash_is_that_of_the_last_attempt(tmp_path):
    """In the newest run that the pair crashed in, whatever else was written later."""

    def leave(run, number, node, when):
        path = tmp_path / run / f'crash-{number}.txt'
        path.parent.mkdir(exist_ok=True)
        path.write_text(f'Node: wf.{node}\n\nValueError: {number}\n')
        os.utime(path, (when, when))
        return path

    leave('20260101', 0, 'pair_10.rigid', when=9)  # as a copy of the folder may have it
    last = leave('20260102', 1, 'pair_10.register', when=3)
    leave('20260102', 2, 'pair_10.n4', when=2)
    leave('20260102', 3, 'pair_1.n4', when=4)
    leave('20260103', 4, 'pair_1.n4', when=5)
    (tmp_path / 'CITATION.md').touch()
    assert last_crash(tmp_path, 'pair_10') == Failure(Cause.FAILED, 'ValueError: 1', 'register', last)
    assert last_crash(tmp_path, 'pair_2') is None
    assert last_crash(tmp_path / 'none', 'pair_1') is None


class Plugin:
    """The part of Nipype's plugins that writes crash files."""

    def __init__(self, plugin_args=None):
        self.full = plugin_args['full']

    def _report_crash(self, node, result=None):
        assert isinstance(result['traceback'], list)
        if self.full:
            raise OSError(28, 'No space left on device')
        return f'/logs/{node.fullname}.txt'


class Recorder(FailureRecorder, Plugin):
    """A plugin that remembers failures."""


class Node:
    fullname = 'wf.pair_1.n4'


@pytest.mark.parametrize('full', [False, True])
def test_a_plugin_remembers_failures_whether_or_not_a_crash_file_can_be_written(full, caplog):
    plugin = Recorder(plugin_args={'full': full})
    path = plugin._report_crash(Node, {'traceback': 'Traceback\nMemoryError: big\n'})
    (failure,) = plugin.failures.values()
    assert (failure.cause, failure.detail, failure.step) == (Cause.OUT_OF_MEMORY, 'MemoryError: big', 'n4')
    assert (path is None) == (failure.crash_file is None) == full
    assert ('could not be written' in caplog.text) == full


def test_what_a_batch_system_knows_is_not_read_again_from_the_words():
    plugin = Recorder(plugin_args={'full': False})
    known = Failure(Cause.TIME_LIMIT, 'job 7 ran into its time limit')
    plugin._report_crash(Node, {'traceback': ['MemoryError: of some step'], 'failure': known})
    assert plugin.failures[Node.fullname].cause is Cause.TIME_LIMIT
    assert plugin.failures[Node.fullname].detail == known.detail
