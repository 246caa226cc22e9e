"""Normalised gradient fields, against a plain loop."""

import numpy as np
import pytest

from tests.comparisons import Comparison, smooth_noise


def gradient_at(image, index):
    return np.array([(image[tuple(index + e)] - image[tuple(index - e)]) / 2 for e in np.eye(3, dtype=int)])


def plain_ngf(fixed, moving, weight, edges):
    total = 0.0
    for index in np.argwhere(weight > 0):
        a, b = (gradient_at(image, index) for image in (fixed, moving))
        a, b = (g / np.sqrt((g**2).sum() + edge**2) for g, edge in zip((a, b), edges, strict=True))
        total += 1 - (a @ b) ** 2
    return total / (weight > 0).sum()


def test_ngf_equals_the_plain_loop():
    fixed, moving = smooth_noise((8, 7, 9), 5), smooth_noise((8, 7, 9), 6)
    weight = np.zeros(fixed.shape)
    weight[1:-1, 1:-1, 2:-1] = np.random.default_rng(7).integers(0, 2, (6, 5, 6))
    edges = [
        np.mean([np.linalg.norm(gradient_at(image, index)) for index in np.argwhere(weight > 0)])
        for image in (fixed, moving)
    ]
    ours = Comparison('ngf', fixed, moving, weight).value().item()
    assert ours == pytest.approx(plain_ngf(fixed, moving, weight, edges), rel=1e-9)


def test_ngf_of_two_slopes_is_known():
    x, y, _ = np.meshgrid(*[np.arange(6.0)] * 3, indexing='ij')
    assert Comparison('ngf', x, -3 * x).value().item() == pytest.approx(1 - (1 / 2) ** 2)  # eta is the slope itself
    assert Comparison('ngf', x, y).value().item() == pytest.approx(1)
