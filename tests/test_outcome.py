"""Outcomes: the cause for code, a sentence for people, and JSON that keeps both."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bidsreg.errors import ProcessKilledError
from bidsreg.outcome import RETRIED, SENTENCES, Cause, Failure, Outcome, describe_signal, killed_error, signal_of


@pytest.mark.parametrize(('returncode', 'number'), [(-9, 9), (137, 9), (-11, 11), (143, 15), (0, None), (1, None)])
def test_signals(returncode, number):
    assert signal_of(returncode) == number


def test_one_wording_of_killed():
    assert describe_signal(9) == 'was killed by signal 9, most often because memory ran out'
    assert describe_signal(11) == 'was killed by signal 11'
    assert 'killed, most often because memory ran out: ' in SENTENCES[Cause.KILLED]


def test_the_error_for_a_process_that_was_killed():
    killed = killed_error('reg', 9, 'buy more')
    assert type(killed) is ProcessKilledError
    assert str(killed) == 'reg was killed by signal 9, most often because memory ran out: buy more'
    crashed = killed_error('reg', 11, 'buy more')
    assert type(crashed) is RuntimeError
    assert str(crashed) == 'reg was killed by signal 11'


@pytest.mark.parametrize('cause', Cause)
def test_every_cause_can_be_read(cause):
    """By itself, or with what somebody said."""
    assert Failure(cause).message
    assert Failure(cause, 'the disk is gone').message == 'the disk is gone'


@pytest.mark.parametrize('cause', Cause)
def test_a_note_says_what_a_failure_says(cause):
    failure = Failure(cause, 'the disk is gone', 'publish')
    assert Failure.of_note(failure.as_note()) == failure
    assert Failure.of_note({'cause': 3}) == Failure(Cause.FAILED, '', '?')


def test_what_is_tried_again():
    """What ran beside it may have been the reason: not what would fail in the same way."""
    assert {Cause.KILLED, Cause.BROKEN_OFF, Cause.DAMAGED} == RETRIED


@pytest.mark.parametrize('status', ['done', 'already done', 'no pair', 'failed', 'locked'])
def test_what_allows_exit_code_0(status):
    assert Outcome('sub-01', '01', None, status).ok == (status not in ('failed', 'locked'))


@pytest.mark.parametrize(
    'outcome',
    [
        Outcome('sub-01', '01', None, 'done'),
        Outcome('sub-01_ses-1', '01', '1', 'failed', 'n4', 'é <odd>', Path('/logs/crash.txt'), Cause.OUT_OF_MEMORY),
        Outcome('sub-01', '01', None, 'failed', 'run', cause=Cause.KILLED),
    ],
)
def test_json_keeps_everything(outcome):
    assert Outcome.from_dict(json.loads(json.dumps(outcome.as_dict()))) == outcome


@pytest.mark.parametrize(
    ('status', 'cause'),
    [('failed', Cause.FAILED), ('locked', Cause.LOCKED), ('no pair', Cause.NO_PAIR), ('done', None)],
)
def test_a_sentence_for_the_cause_becomes_the_detail(status, cause):
    plain = {'pair_name': 'sub-01', 'subject': '01', 'session': None, 'status': status, 'step': 'register'}
    found = Outcome.from_dict({**plain, 'cause': 'no such weights', 'crash_file': 'logs/crash.txt'})
    assert found == Outcome('sub-01', '01', None, status, 'register', 'no such weights', Path('logs/crash.txt'), cause)
    assert found.message == 'no such weights'


@pytest.mark.parametrize('values', [{}, {'status': 'done', 'cause': ''}, {'detail': '', 'cause': 'a new one'}])
def test_what_is_no_outcome(values):
    with pytest.raises((TypeError, ValueError, KeyError)):
        Outcome.from_dict(values)
