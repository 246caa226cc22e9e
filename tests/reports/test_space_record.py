"""What is known of the normalisations of an output folder, damaged files among them."""

from __future__ import annotations

import json

import pytest

from bidsreg.bids.normalisations import normalisation_outputs
from bidsreg.outcome import Cause, Outcome
from bidsreg.reports.space_record import collect_spaces
from tests.reports.spaces import make_normalised


@pytest.fixture
def normalised(tmp_path):
    return make_normalised(tmp_path)


def test_everybody_is_collected_with_a_verdict(normalised):
    records = collect_spaces(normalised.settings)
    assert [(record.name, record.judgement) for record in records] == [
        ('sub-01_T1w_to-A', 'PASS'),
        ('sub-02_T1w_to-A', 'PASS'),
        ('sub-03_T2w_to-A', 'PASS'),
    ]
    assert records[2].figure_entities == {'subject': '03', 'space': 'A'}
    assert [record.name for record in collect_spaces(normalised.settings, subject='02')] == ['sub-02_T1w_to-A']


def test_any_contrast_may_be_the_reference(normalised):
    failed = Outcome('sub-01_run-2_FLAIR_to-B', '01', None, 'failed', 'rigid', 'it broke', cause=Cause.FAILED)
    (record,) = [one for one in collect_spaces(normalised.settings, [failed]) if one.space == 'B']
    assert (record.contrast, record.entities) == ('FLAIR', {'subject': '01', 'run': '2'})


def test_a_failure_of_this_run_is_a_record_and_one_that_was_mended_is_none(normalised):
    failed = [
        Outcome(name, subject, None, 'failed', 'register', 'it broke', cause=Cause.FAILED)
        for name, subject in (('sub-01_ses-1_T1w_to-B+2', '01'), ('sub-02_T1w_to-A', '02'))
    ]
    records = {record.name: record for record in collect_spaces(normalised.settings, failed)}
    assert len(records) == 4
    new = records['sub-01_ses-1_T1w_to-B+2']
    assert (new.judgement, new.reason) == ('FAIL', 'register: it broke')
    assert new.figure_entities == {'subject': '01', 'session': '1', 'space': 'B', 'cohort': '2'}
    assert records['sub-02_T1w_to-A'].judgement == 'PASS'


@pytest.mark.parametrize(
    'text',
    ['', '[]', '{}', '{"normalisation": "<script>"}', '{"normalisation": "sub-99_T1w_to-A"}', '{"normalisation": 3}'],
)
def test_a_damaged_file_costs_its_own_record(normalised, text):
    path = normalisation_outputs(normalised.units[0], normalised.settings.output_dir)['qc']
    path.write_text(text)
    assert [record.name for record in collect_spaces(normalised.settings)] == ['sub-02_T1w_to-A', 'sub-03_T2w_to-A']


def test_numbers_of_another_type_are_no_verdict(normalised):
    path = normalisation_outputs(normalised.units[0], normalised.settings.output_dir)['qc']
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, 'affine': {'stretches': 'wide'}}))
    record = collect_spaces(normalised.settings)[0]
    assert (record.verdict, record.judgement) == (None, 'CHECK')
