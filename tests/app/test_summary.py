"""The last words of a run."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

from bidsreg.app.summary import OutcomeTable, print_verdicts
from bidsreg.bids.pairs import find_pairs
from bidsreg.outcome import SENTENCES, Cause, Failure
from bidsreg.settings import Settings
from tests import fake_study
from tests.planning import dataset

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


def _study(tmp_path, **options):
    """Pretend a study whose pairs are done, but for one that failed and one whose QC file is cut off."""
    out = tmp_path / 'out'
    names = fake_study.write_study(out, fake_study.LEAST)
    raw = dataset(tmp_path / 'raw', *(f'{name}_{contrast}' for name in names for contrast in ('T1w', 'T2w')))
    settings = Settings(bids_dir=raw, output_dir=out, **options)
    pairs, table = find_pairs(settings).pairs, OutcomeTable()
    for pair in pairs:
        table.set_status(pair, 'already done')
    return pairs, table, settings


def test_a_pair_that_is_done_and_a_fail_is_said(tmp_path, capsys):
    pairs, table, settings = _study(tmp_path)
    print_verdicts(pairs, table, settings)
    _, *fails, last = capsys.readouterr().out.splitlines()
    flipped = next(line for line in fails if line.startswith(f'FAIL: sub-{fake_study.FLIPPED:02d}: '))
    assert 'mirror' in flipped
    assert last.startswith('verdicts: ')
    assert last.endswith(f' {len(fails)} FAIL; look at {settings.output_dir}/sub-*.html')


def test_verdicts_are_those_of_the_thresholds_in_force(tmp_path, capsys):
    lenient = tmp_path / 'lenient.toml'
    lenient.write_text(
        '[mirror_margin]\ncheck_below = -5\nfail_below = -6\n[person_margin]\ncheck_below = -5\nfail_below = -6\n'
    )
    print_verdicts(*_study(tmp_path, qc_thresholds=lenient))
    assert f'FAIL: sub-{fake_study.FLIPPED:02d}: ' not in capsys.readouterr().out


def test_what_is_not_done_has_no_verdict(tmp_path, capsys):
    pairs, table, settings = _study(tmp_path)
    for pair in pairs:
        table.set_failure(pair, Failure(Cause.KILLED))
    print_verdicts(pairs, table, settings)
    assert capsys.readouterr().out == ''
