"""The tables of a pair: what is known is in them, and nothing else."""

from __future__ import annotations

import copy

from bidsreg.qc.verdict import judge
from bidsreg.reports.record import PairRecord
from bidsreg.reports.texts_numbers import numbers_section
from tests.reports.finished import RATIO
from tests.reports.results import RESULT, RIGID_KEPT

QC = {
    'result': RESULT,
    'edge_lncc': {'before': 0.1234, 'affine': 0.2345, 'registered': 0.3456},
    'affine': {'rotation_deg': [4.0, -3.0, 5.0], 'translation_mm': [3.0, -4.25, 2.0]},
    'seconds_per_step': {'masking': {'n4': 20.0}, 'registration': {'register': 61.5}},
}


def section(qc) -> str:
    return numbers_section(PairRecord('sub-01', {'subject': '01'}, qc=qc, verdict=judge(qc)))


def test_all_tables_are_there():
    text = section(QC)
    for caption in (
        'Do the scans agree?',
        'What the verdict looks at',
        'The deformation',
        'The affine alignment, from T1w to T2w',
        'The solver',
        'How long the steps took',
    ):
        assert f'<caption>{caption}</caption>' in text
    assert 'The rigid alignment' not in text
    assert '<td class=n>0.3456</td>' in text
    assert '<td>masking n4</td><td class=n>20.0</td>' in text
    assert '<b>81.5</b>' in text


def test_the_one_matrix_that_was_kept_is_there_once():
    rigid = {'linear': RIGID_KEPT, 'rigid': QC['affine']}
    text = section(QC | rigid)
    assert '<caption>The rigid alignment, which was kept, from T1w to T2w</caption>' in text
    assert 'The affine alignment' not in text
    assert 'The affine alignment' in section(QC | rigid | {'linear': {**RIGID_KEPT, 'kept': 'affine'}})


def test_a_deformation_that_was_not_kept_has_no_correlation_of_edges():
    qc = copy.deepcopy(QC)
    qc['result']['decision']['kept'] = 'affine'
    text = section(qc)
    assert '0.3456' not in text
    assert '0.2345' in text


def test_of_nothing_there_is_nothing():
    assert numbers_section(PairRecord('sub-01', {'subject': '01'})) == ''


def test_a_ratio_is_told_with_its_calibration():
    text = section({**QC, 'ratio': RATIO})
    assert '<caption>The ratio T1w/T2w</caption>' in text
    for word in (
        'calibrated',
        '1.02',
        '0.31',
        'cerebrospinal fluid and grey matter',
        'eyes and temporal muscles not found',
    ):
        assert word in text
    assert 'The ratio' not in section(QC)
