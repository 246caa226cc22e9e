"""Names, order and partial results of pairs."""

import json

from bidsreg.bids.names import partial_path
from bidsreg.qc.verdict import read_thresholds
from bidsreg.reports.record import PairRecord, judge_qc, natural, parse_name, read_partial


def test_a_name_is_taken_apart():
    assert parse_name('sub-01_ses-a_run-2') == {'subject': '01', 'session': 'a', 'run': '2'}
    assert PairRecord('sub-01_ses-a_run-2', {}).title == 'ses-a run-2'
    assert PairRecord('sub-01', {}).title == 'Registration'


def test_two_comes_before_ten():
    assert sorted(['sub-10', 'sub-2', 'sub-2_run-1'], key=natural) == ['sub-2', 'sub-2_run-1', 'sub-10']


def test_partial_results_are_those_of_their_pair(tmp_path):
    path = partial_path('sub-01', tmp_path)
    assert read_partial('sub-01', tmp_path) == {}
    path.parent.mkdir()
    path.write_text(json.dumps({'pair': 'sub-01', 'mask_method': 'x'}))
    assert read_partial('sub-01', tmp_path)['mask_method'] == 'x'
    path.write_text(json.dumps({'pair': 'sub-02'}))
    assert read_partial('sub-01', tmp_path) == {}


def test_without_numbers_there_is_no_verdict():
    assert judge_qc({}, read_thresholds()) is None
    assert judge_qc({'result': {'jacobian': {'sdlogj': 0.1}}}, read_thresholds()).status == 'PASS'
