"""Joint histograms and mutual information, against plain loops and known tables."""

import numpy as np
import pytest
import torch
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


def test_information_of_known_histograms():
    joint = torch.stack([torch.eye(8), torch.ones(8, 8), torch.zeros(8, 8)]).double()
    found = information.mutual_information(joint)
    torch.testing.assert_close(found, torch.tensor([np.log(8), 0, 0], dtype=torch.float64), atol=1e-9, rtol=0)
    binary = torch.tensor([[0.4, 0.1], [0.1, 0.4]], dtype=torch.float64)
    wanted = np.log(2) + 0.8 * np.log(0.8) + 0.2 * np.log(0.2)  # a binary symmetric channel
    assert information.mutual_information(7 * binary).item() == pytest.approx(wanted)


def test_windows_add_up_to_one_and_histograms_to_the_weight():
    position = torch.linspace(1, 14, 131, dtype=torch.float64)
    first, weights = information.cubic_windows(position, 16)
    torch.testing.assert_close(weights.sum(0), torch.ones(131, dtype=torch.float64))
    assert first.min() == 0
    assert first.max() == 12
    torch.testing.assert_close((weights * (first + torch.arange(4)[:, None])).sum(0), position)  # centred
    weight = torch.rand(131, dtype=torch.float64)
    group = torch.arange(131, dtype=torch.int32) % 3
    joint = information.joint_histograms(position, position.flip(0), weight, 16, group, 3)
    torch.testing.assert_close(joint.sum((1, 2)), torch.stack([weight[k::3].sum() for k in range(3)]))


def test_range_leaves_out_the_tails_and_the_unweighted():
    values = torch.cat([torch.randperm(1000).double(), torch.full((500,), -1e6)])
    weight = (values >= 0).double()
    assert information.value_range(values, weight) == (5.0, 994.0)
    assert information.value_range(values, torch.zeros_like(values)) == (0.0, 1.0)
    assert information.value_range(torch.full((9,), 3.0), torch.ones(9)) == (3.0, 3.0)


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
