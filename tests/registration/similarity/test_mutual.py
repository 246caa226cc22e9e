"""Mutual information as a similarity, against plain loops."""

import itertools

import numpy as np
import pytest
from scipy.interpolate import BSpline

from bidsreg.registration.numerics import information
from tests.comparisons import Comparison, smooth_noise


def plain_information(a, b, between_a, between_b, bins):
    """Mutual information of two lists of values: a cubic B-spline (SciPy's) around each, bin by bin."""
    window = BSpline.basis_element(np.arange(-2.0, 3.0), extrapolate=False)

    def shares(value, between):
        at = 1 + (np.clip(value, *between) - between[0]) / (between[1] - between[0]) * (bins - 3)
        return np.nan_to_num(window(np.arange(bins) - at))

    joint = np.zeros((bins, bins))
    for x, y in zip(a, b, strict=True):
        joint += np.outer(shares(x, between_a), shares(y, between_b))
    joint /= joint.sum()
    total = 0.0
    for i, j in zip(*np.nonzero(joint), strict=True):
        total += joint[i, j] * np.log(joint[i, j] / (joint[i].sum() * joint[:, j].sum()))
    return total


def plain_range(values):
    ordered = np.sort(values)
    out = int(0.005 * len(ordered))
    return ordered[out], ordered[len(ordered) - 1 - out]


def test_gmi_equals_the_plain_loop():
    fixed = smooth_noise((8, 8, 8), 14)
    moving = (fixed - 0.4) ** 2 + 0.01 * smooth_noise((8, 8, 8), 15)
    weight = np.random.default_rng(16).integers(0, 2, fixed.shape)
    a, b = fixed[weight > 0], moving[weight > 0]
    wanted = plain_information(a, b, plain_range(a), plain_range(b), 32)
    assert Comparison('gmi', fixed, moving, weight).value().item() == pytest.approx(-wanted, rel=1e-9)


def test_lmi_equals_the_plain_loop_over_cubes():
    fixed = smooth_noise((11, 16, 8), 17)
    moving = (fixed - 0.4) ** 2 + 0.01 * smooth_noise(fixed.shape, 18)
    weight = np.random.default_rng(19).integers(0, 2, fixed.shape)
    weight[8:, 8:, 2:] = 0  # leaves the cut cube there fewer than a tenth
    ranges = [plain_range(image[weight > 0]) for image in (fixed, moving)]
    total = count = 0
    ignored = 0
    for i, j in itertools.product((0, 8), (0, 8)):
        cube = np.s_[i : i + 8, j : j + 8]
        inside = weight[cube] > 0
        if inside.sum() < 51.2:
            ignored += 1
            continue
        total += inside.sum() * plain_information(fixed[cube][inside], moving[cube][inside], *ranges, 16)
        count += inside.sum()
    assert ignored == 1
    assert Comparison('lmi', fixed, moving, weight).value().item() == pytest.approx(-total / count, rel=1e-9)


def test_gmi_is_close_to_the_information_of_a_plain_histogram(heads):
    """32 windows four bins wide blur more than 48 sharp bins, so they find a little less: 15 per cent here."""
    fixed, moving, mask = heads['T1w'], heads['T2w'], heads['mask'] > 0
    ours = -Comparison('gmi', fixed, moving, mask).value().item()
    plain = information.information_of_values(fixed[mask], moving[mask])[0]
    assert 0.8 * plain < ours < plain
    shifted = np.roll(moving, 3, 0)
    fall = plain - information.information_of_values(fixed[mask], shifted[mask])[0]
    assert ours + Comparison('gmi', fixed, shifted, mask).value().item() == pytest.approx(fall, rel=0.2)
