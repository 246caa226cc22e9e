"""What the page of a subject says of a normalisation: verdict, reasons, numbers; no text of a file is a tag."""

from bidsreg.outcome import Cause, Outcome
from bidsreg.qc.normalisation import judge_normalisation
from bidsreg.reports.space_record import SpaceRecord
from bidsreg.reports.texts_spaces import space_section
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
