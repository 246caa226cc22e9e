"""What became of each pair, in a card, and every file of a subject in a table."""

from __future__ import annotations

from pathlib import Path

import pytest

from bidsreg.bids.pairs import Left, Plan
from bidsreg.outcome import Outcome
from bidsreg.qc.verdict import judge
from bidsreg.reports.record import PairRecord
from bidsreg.reports.texts_files import files_section
from tests.reports.results import RESULT, RIGID_KEPT

QC = {'result': RESULT, 't1w_findings': ['thick & thin'], 't2w_findings': []}
AFFINE = {**RESULT, 'decision': {'kept': 'affine', 'reason': 'two of three measures are worse'}}


def record(status='done', **more) -> PairRecord:
    outcome = Outcome('sub-01_run-1', '01', None, status, 'register', 'no <room>')
    return PairRecord('sub-01_run-1', {'subject': '01', 'run': '1'}, outcome=outcome, **more)


def section(*records: PairRecord, left: tuple[Left, ...] = ()) -> str:
    return files_section('01', Plan((), left, {}), records)


@pytest.mark.parametrize(
    ('made', 'words'),
    [
        (record('failed'), 'register: no &lt;room&gt;'),
        (record('failed'), 'FAIL'),
        (record('locked'), 'locked'),
        (record(qc=QC, complete=True, verdict=judge(QC)), 'deformation kept, 0 folds, 3 of 4 measures better'),
        (record(qc=QC, complete=True), 'Header: T1w: thick &amp; thin'),
        (
            record(qc={**QC, 'ratio_failure': {'step': 'ratio', 'detail': 'no <eyes>'}}, complete=True),
            'The ratio T1w/T2w failed: ratio: no &lt;eyes&gt;',
        ),
        (record(qc={**QC, 'sloppy': True}, complete=True), 'Made with --sloppy'),
    ],
)
def test_a_card_says_what_became_of_a_pair(made, words):
    assert words in section(made)


def test_measures_of_a_deformation_that_was_not_kept_are_left_out():
    text = section(record(qc={'result': AFFINE}, complete=True))
    assert 'affine kept' in text
    assert 'measures better' not in text


def test_the_linear_alignment_that_was_kept_is_named():
    assert 'rigid kept' in section(record(qc={'result': AFFINE, 'linear': RIGID_KEPT}, complete=True))
    text = section(record(qc={**QC, 'linear': RIGID_KEPT}, complete=True, verdict=judge(QC)))
    assert '3 of 4 measures better than after the rigid' in text


def test_every_file_of_the_subject_and_of_no_other_is_listed():
    left = [Left(Path(f'/raw/sub-{label}_T2w.nii.gz'), label, None, 'so <it> is') for label in ('01', '02')]
    text = section(left=tuple(left))
    assert 'sub-01_T2w.nii.gz' in text
    assert 'so &lt;it&gt; is' in text
    assert 'sub-02' not in text
