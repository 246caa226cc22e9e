"""The last words of a run."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

from bidsreg.app.summary import OutcomeTable
from bidsreg.outcome import SENTENCES, Cause, Failure

ONE, TWO, THREE = (SimpleNamespace(name=f'sub-0{k}', subject=f'0{k}', session=None) for k in (1, 2, 3))


def test_one_line_for_each_that_is_not_done_and_then_the_counts(capsys):
    table = OutcomeTable()
    table.set_without_pair('04', 'only T1w')
    table.set_status(ONE, 'done')
    table.set_failure(TWO, Failure(Cause.KILLED, '', 'register', Path('/logs/crash.txt')))
    table.set_failure(THREE, Failure(Cause.LOCKED, step='start'), 'locked')
    assert (table.is_ok(ONE), table.is_ok(TWO), table.all_ok) == (True, False, False)
    table.print_summary()
    assert capsys.readouterr().out.splitlines() == [
        '',
        'no pair: sub-04, step pairing: only T1w',
        f'failed: sub-02, step register: {SENTENCES[Cause.KILLED]} (crash file: /logs/crash.txt)',
        f'locked: sub-03, step start: {SENTENCES[Cause.LOCKED]}',
        '1 done, 1 failed, 1 locked, 1 no pair',
    ]


def test_the_last_word_counts():
    table = OutcomeTable()
    assert table.of(ONE) is None
    assert not table.is_ok(ONE)
    table.set_failure(ONE, Failure(Cause.KILLED))
    assert table.of(ONE).cause is Cause.KILLED
    table.set_status(ONE, 'done')
    assert table.all_ok
    assert table.of(ONE).message == ''
