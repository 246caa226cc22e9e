"""Paired tests and their correction, against enumeration and textbook numbers."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest

from bidsreg.benchmark.statistics import compare, holm, signed_rank


def test_holm_by_hand():
    """Sorted p times 4, 3, 2, 1, never falling, never above 1."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


def test_holm_does_not_count_what_is_unknown():
    found = holm([0.02, float('nan'), 0.03])
    assert found[0] == pytest.approx(0.04)
    assert np.isnan(found[1])
    assert found[2] == pytest.approx(0.04)


def test_signed_rank_agrees_with_enumeration():
    """All 2^n signs are equally likely when there is no difference."""
    differences = np.array([1.1, -0.4, 2.3, 0.9, 3.1, -0.2, 1.7])
    ranks = np.argsort(np.argsort(np.abs(differences))) + 1
    seen = ranks[differences > 0].sum()
    sums = np.array([np.dot(signs, ranks) for signs in itertools.product((0, 1), repeat=len(ranks))])
    middle = ranks.sum() / 2
    assert signed_rank(differences) == pytest.approx((np.abs(sums - middle) >= abs(seen - middle)).mean())


def test_signed_rank_of_nothing_and_of_no_difference():
    assert signed_rank(np.zeros(5)) == 1.0
    assert np.isnan(signed_rank(np.array([])))


def test_compare_takes_pairs_that_both_have_done():
    values = pd.DataFrame({'a': [1.0, 2, 3, 4], 'ref': [0.5, 1.0, np.nan, 2.0], 'b': [np.nan] * 4})
    found = compare(values, 'ref')
    assert list(found) == ['a', 'b']
    assert found['a'] == pytest.approx(0.25)  # of three differences that are all above zero
    assert np.isnan(found['b'])
    assert compare(values, 'absent') == {}
