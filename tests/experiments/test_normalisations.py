"""The kinds of wrong cases do to a head what they say."""

from __future__ import annotations

import json

import nibabel as nib
import normalisations
import numpy as np
import pytest

from tests import data
from tests.qc.test_normalisation import GOOD


@pytest.fixture(scope='module')
def head():
    return data.head((40, 46, 40), 2)


def changed(kind: str, head):
    return normalisations.KINDS[kind].change(head.scan, head.mask)


def volume(mask) -> float:
    return float((np.asarray(mask.dataobj) > 0).sum() * abs(np.linalg.det(mask.affine)))


def test_half_a_brain_is_half_a_brain(head):
    for kind, dark in (('one hemisphere', True), ('mask of one hemisphere', False)):
        image, mask = changed(kind, head)
        assert 0.4 < volume(mask) / volume(head.mask) < 0.6
        lost = (np.asarray(head.mask.dataobj) > 0) & ~(np.asarray(mask.dataobj) > 0)
        assert (np.asarray(image.dataobj)[lost] == 0).all() == dark
    image, mask = changed('front half out of view', head)
    assert image.shape == mask.shape
    assert image.shape[1] < head.scan.shape[1]


def test_sizes_and_noise(head):
    _, mask = changed('an infant', head)
    assert volume(mask) / volume(head.mask) == pytest.approx(0.8**3)
    image, mask = changed('noise for a brain', head)
    inside = np.asarray(mask.dataobj) > 0
    one, other = (np.asarray(each.dataobj)[inside] for each in (image, head.scan))
    assert abs(np.corrcoef(one, other)[0, 1]) < 0.2
    wide, narrow = (normalisations._grown(mm)(head.scan, head.mask)[1] for mm in (6, -6))
    assert volume(narrow) < volume(head.mask) < volume(wide)


def test_the_report_says_what_should_be(capsys):
    bad = json.loads(json.dumps(GOOD))
    bad['overlap']['brain_in_view']['affine'] = 0.4
    cases = {('plain', '02'): GOOD, ('one hemisphere', '02'): bad, ('an animal', '02'): {'refused': 'no | head'}}
    normalisations.report(cases)
    said = capsys.readouterr().out
    assert 'space_in_view 0.4' in said
    assert 'wrong: 0 PASS, 0 CHECK, 1 FAIL, 1 failed' in said
    assert 'good: 1 PASS, 0 CHECK, 0 FAIL' in said


def test_a_coarser_head_lies_where_it_was(head):
    image, mask = normalisations.coarse(head.scan, head.mask, 9.0)
    assert image.shape == mask.shape
    assert min(nib.affines.voxel_sizes(image.affine)) > 7
    assert volume(mask) == pytest.approx(volume(head.mask), rel=0.1)
