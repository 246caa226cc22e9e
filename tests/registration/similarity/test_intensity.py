"""Similarities for one contrast, against plain loops."""

import numpy as np
import pytest

from tests.comparisons import Comparison, smooth_noise


def plain_lncc(fixed, moving, weight):
    total = 0.0
    for i, j, k in np.argwhere(weight > 0):
        window = np.s_[i - 2 : i + 3, j - 2 : j + 3, k - 2 : k + 3]
        total += 1 - np.corrcoef(fixed[window].ravel(), moving[window].ravel())[0, 1] ** 2
    return total / (weight > 0).sum()


def test_lncc_equals_the_plain_loop():
    fixed, moving = smooth_noise((8, 9, 7), 8), smooth_noise((8, 9, 7), 9)
    moving += 0.5 * fixed
    weight = np.zeros(fixed.shape)
    weight[2:-2, 2:-2, 2:-2] = np.random.default_rng(10).integers(0, 2, (4, 5, 3))
    ours = Comparison('lncc', fixed, moving, weight).value().item()
    assert 0.1 < ours < 0.9
    assert ours == pytest.approx(plain_lncc(fixed, moving, weight), rel=1e-9)


def test_ssd_equals_numpy():
    fixed, moving = smooth_noise((5, 6, 7), 11), smooth_noise((5, 6, 7), 12)
    weight = np.random.default_rng(13).integers(0, 2, fixed.shape)
    wanted = ((fixed - moving) ** 2)[weight > 0].mean()
    assert Comparison('ssd', fixed, moving, weight).value().item() == pytest.approx(wanted)
