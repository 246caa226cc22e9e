"""Failures and methods at the end of a page."""

from __future__ import annotations

from bidsreg.outcome import Outcome
from bidsreg.reports.record import PairRecord
from bidsreg.reports.texts_end import error_section, errors_section, methods_section
from bidsreg.settings import Settings


def test_a_failure_is_told_with_its_crash_file(tmp_path):
    settings = Settings(bids_dir=tmp_path, output_dir=tmp_path / 'out')
    crash = settings.output_dir / 'logs' / 'crash-1.txt'
    outcome = Outcome('sub-01', '01', None, 'failed', 'n4', 'a & b', crash)
    failed = PairRecord('sub-01', {'subject': '01'}, outcome=outcome, crash='x' * 50_000)
    text = error_section(failed, settings)
    assert '<code>n4</code>' in text
    assert 'a &amp; b' in text
    assert '<code>logs/crash-1.txt</code>' in text
    assert '[...]' in text
    assert len(text) < 40_000
    done = PairRecord('sub-02', {'subject': '02'})
    assert error_section(done, settings) == ''
    assert '<a href="#sub-01">' in errors_section([done, failed])
    assert 'No errors.' in errors_section([done])
    without = PairRecord('sub-02', {'subject': '02'}, qc={'ratio_failure': {'step': 'ratio', 'detail': 'no eyes'}})
    listed = errors_section([done, without])
    assert '<a href="#sub-02">Registration: ratio</a>' in listed
    assert 'no eyes' in listed


def test_markdown_becomes_html():
    text = methods_section('# Head\n\nOne & two\nthree.\n\n- a\n- b\n  c\n')
    assert '<h2>Head</h2>' in text
    assert '<p>One &amp; two three.</p>' in text
    assert '<ul><li>a</li><li>b c</li></ul>' in text
    assert 'data-copy="methods-text"' in text
