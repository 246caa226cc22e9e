"""Names, order and partial results of pairs."""

import json

import pytest

from bidsreg.bids.names import partial_path
from bidsreg.bids.pairs import Plan
from bidsreg.outcome import Outcome
from bidsreg.qc.verdict import read_thresholds
from bidsreg.reports.record import PairRecord, collect, judge_qc, natural, read_partial, recall
from bidsreg.settings import Settings
from tests.planning import plan


def test_a_name_is_taken_apart():
    assert PairRecord('sub-01_ses-a_run-2', {}).title == 'ses-a run-2'
    assert PairRecord('sub-01', {}).title == 'Registration'
    assert PairRecord('sub-01_run-2_from-FLAIR_to-T1w', {}).title == 'run-2 FLAIR to T1w'


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


def test_what_is_no_name_of_a_pair_is_passed_over(tmp_path):
    """A record may hold any text in the place of a name, and name any file as a crash file."""
    name = 'sub-01_ses-1_acq-y+z'
    outcome = Outcome(name, '01', '1', 'failed', 'n4', 'no').as_dict()
    content = dict.fromkeys((name, '<b>', 'sub-02', 'sub-01_acq-<b>', 'sub-01/../x', 'sub-01_'), outcome)
    (tmp_path / 'logs').mkdir()
    (tmp_path / 'logs' / 'sub-01_outcomes.json').write_text(json.dumps(content))
    assert set(recall('01', tmp_path)) == {name}


@pytest.mark.parametrize('path', ['../secret.txt', '/etc/hostname', 'logs/link.txt'])
def test_no_other_file_is_shown_as_a_crash_file(tmp_path, path):
    out = tmp_path / 'out'
    (out / 'logs').mkdir(parents=True)
    (tmp_path / 'secret.txt').write_text('secret')
    (out / 'logs' / 'link.txt').symlink_to(tmp_path / 'secret.txt')
    outcome = Outcome('sub-01', '01', None, 'failed', 'n4', 'no').as_dict() | {'crash_file': path}
    (out / 'logs' / 'sub-01_outcomes.json').write_text(json.dumps({'sub-01': outcome}))
    (record,) = collect('01', Settings(bids_dir=tmp_path, output_dir=out), Plan((), (), {}), ())
    assert record.crash == ''


def test_titles_say_the_contrasts_where_there_are_several(tmp_path):
    files = ('sub-01_T1w', 'sub-01_T2w', 'sub-01_FLAIR', 'sub-02_T1w', 'sub-02_T2w')
    found = plan(tmp_path, *files, modalities=('T2w', 'FLAIR'))
    settings = Settings(bids_dir=tmp_path / 'raw', output_dir=tmp_path / 'out')
    assert [record.title for record in collect('01', settings, found, [])] == ['T2w to T1w', 'FLAIR to T1w']
    assert [record.title for record in collect('02', settings, found, [])] == ['Registration']
