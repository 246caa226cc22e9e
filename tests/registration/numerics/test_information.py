"""Mutual information by plain bins, against known tables and a plain histogram."""

import numpy as np
import pytest
from scipy.stats import entropy

from bidsreg.registration.numerics import information
from tests.comparisons import plain_histogram_information


def test_mutual_information_of_known_tables():
    rng = np.random.default_rng(0)
    a = rng.integers(0, 4, 40_000).astype(float)
    mi, nmi = information.information_of_values(a, -3 * a)
    assert mi == pytest.approx(entropy(np.bincount(a.astype(int)) / a.size), rel=1e-6)
    assert nmi == pytest.approx(2)
    mi, nmi = information.information_of_values(a, rng.integers(0, 4, a.size).astype(float))
    assert mi == pytest.approx(0, abs=1e-3)
    assert nmi == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize('kind', ['float64', 'float32', 'whole numbers', 'scaled whole numbers'])
def test_mutual_information_is_that_of_a_histogram(kind):
    """Whole numbers lie on the edges of bins, where rounding must not decide."""
    rng = np.random.default_rng(0)
    a = rng.normal(size=40_000)
    b = a**2 + 0.5 * rng.normal(size=a.size)
    if 'whole' in kind:
        a, b = np.round(a * 40), np.round(b * 30)
    if 'scaled' in kind:
        a, b = (a / 160).astype(np.float32), (b / 97).astype(np.float32)
    if kind == 'float32':
        a, b = a.astype(np.float32), b.astype(np.float32)
    assert information.information_of_values(a, b) == pytest.approx(plain_histogram_information(a, b), rel=1e-9)


def test_constant_values_tell_nothing():
    values = np.random.default_rng(1).normal(size=1000)
    mi, nmi = information.information_of_values(np.full(1000, 3.0), values)
    assert mi == pytest.approx(0, abs=1e-12)
    assert nmi == pytest.approx(1)
