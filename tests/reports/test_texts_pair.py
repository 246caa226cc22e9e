"""How a pair stands, in boxes, and what is odd about its headers."""

from __future__ import annotations

import pytest

from bidsreg.outcome import Outcome
from bidsreg.qc.verdict import judge
from bidsreg.reports.record import PairRecord
from bidsreg.reports.texts_pair import anchor, facts_section, header_findings
from bidsreg.settings import Settings
from tests.reports.results import RESULT, RIGID_KEPT

QC = {'result': RESULT, 't1w_findings': ['thick & thin'], 't2w_findings': [], 'mask_method': 'deepbet'}

UNDEFORMED = {**QC, 'result': {**RESULT, 'decision': {'kept': 'affine', 'reason': 'two measures are worse'}}}


def record(status='done', **more) -> PairRecord:
    outcome = Outcome('sub-01_run-1', '01', None, status, 'register', 'no <room>')
    return PairRecord('sub-01_run-1', {'subject': '01', 'run': '1'}, outcome=outcome, **more)


@pytest.mark.parametrize(
    ('made', 'words'),
    [
        (record('failed'), 'This pair failed</b> at <code>register</code>: no &lt;room&gt;'),
        (record('failed', qc=QC), 'What is shown below was known when it failed.'),
        (record('failed', qc=QC, complete=True), 'What is shown below is of an earlier run.'),
        (record('locked'), 'Not done by this run: no &lt;room&gt;.'),
        (record(), 'This pair is not done'),
        (record(qc=QC, complete=True, current=False), 'were made with other settings'),
        (record(qc=QC, complete=True, verdict=judge(QC)), '<b>Kept: the deformation.</b>'),
        (
            record(qc={**QC, 'ratio_failure': {'step': 'ratio', 'detail': 'no <eyes>'}}, complete=True),
            '<b>The ratio T1w/T2w failed</b> at <code>ratio</code>: no &lt;eyes&gt;',
        ),
        (record(qc={**QC, 'sloppy': True}, complete=True, verdict=judge(QC)), 'never for results'),
        (record(qc={**QC, 'linear': RIGID_KEPT}, complete=True), 'which stretches the head by up to 3.1 %'),
        (record(qc={**QC, 'linear': RIGID_KEPT}, complete=True), '0.0238 after the rigid and 0.0258 after the affine'),
        (record(qc={**UNDEFORMED, 'linear': RIGID_KEPT}, complete=True), '<b>Kept: the rigid.</b>'),
        (record(qc=UNDEFORMED, complete=True), '<b>Kept: the affine.</b>'),
    ],
)
def test_how_it_stands_is_said(made, words, tmp_path):
    text = facts_section(made, Settings(bids_dir=tmp_path, output_dir=tmp_path / 'out'))
    assert words in text
    assert ('thick &amp; thin' in text) == bool(made.qc)


def test_only_what_was_made_in_a_hurry_is_said_to_be(tmp_path):
    settings = Settings(bids_dir=tmp_path, output_dir=tmp_path / 'out', sloppy=True)  # of the run that writes the page
    for qc in (QC, {**QC, 'sloppy': False}, {**QC, 'sloppy': 'maybe'}):
        assert '--sloppy' not in facts_section(record(qc=qc, complete=True), settings)


def test_findings_say_whose_they_are():
    assert header_findings(record(qc=QC)) == ['T1w: thick & thin']
    assert anchor(record()) == 'sub-01_run-1'
