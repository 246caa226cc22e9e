"""Compiled comparisons against NumPy."""

import math

import numpy as np
import pytest

from bidsreg.registration.numerics import information
from bidsreg.registration.numerics.kernels import evidence


def noise(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


@pytest.fixture(autouse=True)
def _several_parts(monkeypatch):
    monkeypatch.setattr(evidence, 'PART', 1300)


N = 5000
COUNTED = np.random.default_rng(8).random(N) > 0.3


def test_mind_differs_as_by_its_formula_for_any_number_of_threads():
    distances, mind = noise(6, N) ** 2, np.exp(-(noise(6, N, seed=1) ** 2))
    variance, floor = distances.mean(0), 0.3
    plain = np.square(np.exp(-distances / np.maximum(variance, floor)) - mind).mean(0)[COUNTED].sum()
    found = evidence.mind_mismatch(distances, variance, floor, mind, COUNTED)
    assert found == pytest.approx(plain, rel=1e-5)
    assert evidence.mind_mismatch(distances, variance, floor, mind, COUNTED, threads=3) == found


@pytest.mark.parametrize('values', [noise(N), np.round(noise(N), 1), np.full(N, 3, np.float32)])
def test_bins_are_those_of_the_edges(values):
    low, high = np.percentile(values, (0.5, 99.5))
    edges = np.linspace(low, high, information.BINS + 1)
    found = evidence.binned(values, edges)
    if high > low:
        np.testing.assert_array_equal(found, information.to_bins(values))
    else:
        assert len(set(found)) == 1
    np.testing.assert_array_equal(evidence.binned(values, edges, threads=3), found)


def test_pairs_are_counted():
    first, second = (np.random.default_rng(n).integers(0, 7, N).astype(np.uint8) for n in (1, 2))
    plain, *_ = np.histogram2d(first[COUNTED], second[COUNTED], bins=7, range=[(0, 7)] * 2)
    np.testing.assert_array_equal(evidence.joint_counts(first, second, COUNTED, 7), plain)


def test_the_correlation_is_that_of_numpy_although_means_are_large():
    first = noise(N) + 1000
    second = (0.3 * first + noise(N, seed=1) - 5000).astype(np.float32)
    found = evidence.correlation(first, second, COUNTED)
    assert found == pytest.approx(np.corrcoef(first[COUNTED], second[COUNTED])[0, 1], rel=1e-5)
    assert evidence.correlation(first, second, COUNTED, threads=3) == found
    assert math.isnan(evidence.correlation(first, np.ones(N, np.float32), COUNTED))
