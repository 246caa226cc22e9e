"""What the page of a subject says of a normalisation: verdict, reasons, numbers; no text of a file is a tag."""

from bidsreg.outcome import Cause, Outcome
from bidsreg.qc.normalisation import judge_normalisation
from bidsreg.reports.space_record import SpaceRecord
from bidsreg.reports.texts_spaces import space_card, space_section
from tests.qc.test_normalisation import GOOD, changed


def record(qc, **more) -> SpaceRecord:
    verdict = judge_normalisation(qc) if qc else None
    return SpaceRecord('sub-01_T1w_to-A', {'subject': '01'}, 'T1w', 'A', qc, verdict, **more)


def test_a_good_one_is_told_with_its_numbers():
    text = space_section(record({**GOOD, 'template': {'origin': 'from <here>'}}))
    assert 'PASS' in text
    assert 'All numbers lie within their thresholds.' in text
    assert 'from &lt;here&gt;' in text
    assert 'Local correlation of edges' in text


def test_a_bad_one_says_why():
    text = space_section(record(changed('overlap.brain_in_view.affine', 0.5)))
    assert 'box bad' in text
    assert 'Only 0.5 of the template' in text.replace('&#39;', "'")


def test_a_failed_one_says_where():
    failed = Outcome('sub-01_T1w_to-A', '01', None, 'failed', 'rigid', '<b>no</b>', cause=Cause.FAILED)
    text = space_section(record({}, outcome=failed))
    assert 'rigid: &lt;b&gt;no&lt;/b&gt;' in text


def test_the_head_of_the_page_tells_the_verdict_and_leads_to_the_section():
    good = space_card(record(GOOD))
    assert 'href="#sub-01_T1w_to-A"' in good
    assert 'T1w to A' in good
    assert 'PASS' in good
    assert 'box bad' in (bad := space_card(record(changed('overlap.brain_in_view.affine', 0.5))))
    assert 'Only 0.5 of the template' in bad.replace('&#39;', "'")
    failed = Outcome('sub-01_T1w_to-A', '01', None, 'failed', 'rigid', '<b>no</b>', cause=Cause.FAILED)
    assert 'failed' in (text := space_card(record({}, outcome=failed)))
    assert 'rigid: &lt;b&gt;no&lt;/b&gt;' in text


def test_what_was_made_in_a_hurry_is_said_to_be():
    assert '--sloppy' not in space_card(record(GOOD))
    assert 'Made with --sloppy' in space_card(record({**GOOD, 'sloppy': True}))


def test_titles_have_what_tells_scans_apart():
    entities = {'subject': '01', 'session': '2', 'run': '1'}
    assert SpaceRecord('sub-01_ses-2_run-1_T2w_to-A+3', entities, 'T2w', 'A+3').title == 'ses-2 run-1 T2w to A+3'
