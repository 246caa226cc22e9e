"""Compiled joint histograms against those of torch."""

import numpy as np
import pytest
import torch

from bidsreg.registration.numerics import parzen
from bidsreg.registration.numerics.kernels.histogram import derivative, joint_histogram

BINS = 12
RANGES = ((0.1, 0.9), (-0.5, 1.5))


def images(count=400):
    """Intensities of which some lie beyond the bins, and weights of which some are zero."""
    rng = np.random.default_rng(4)
    fixed, moving = rng.uniform(-0.2, 1.2, count), rng.uniform(-1, 2, count)
    return [
        values.astype(np.float32) for values in (fixed, moving, rng.uniform(size=count) * (rng.random(count) > 0.3))
    ]


def by_torch(fixed, moving, weight):
    positions = [parzen.bin_positions(v, r, BINS) for v, r in zip((fixed, moving), RANGES, strict=True)]
    return parzen.joint_histograms(*positions, weight, BINS)[0]


def test_histogram_and_derivative_are_those_of_torch():
    given = images()
    scales = [parzen.bins_per_intensity(r, BINS) for r in RANGES]
    fixed, moving, weight = (torch.from_numpy(values).double() for values in given)
    moving.requires_grad_()
    joint = by_torch(fixed, moving, weight)
    np.testing.assert_allclose(joint_histogram(*given, *scales, BINS), joint.detach(), atol=1e-5)
    upstream = torch.from_numpy(np.random.default_rng(5).normal(size=(BINS, BINS)))
    (wanted,) = torch.autograd.grad((joint * upstream).sum(), moving)
    assert (wanted == 0).any()
    np.testing.assert_allclose(derivative(*given, *scales, upstream.numpy()), wanted, atol=1e-4)


@pytest.mark.parametrize('count', [0, 1])
def test_few_voxels(count):
    given = [np.ones(count, np.float32)] * 3
    scales = [parzen.bins_per_intensity(r, BINS) for r in RANGES]
    assert joint_histogram(*given, *scales, BINS).sum() == pytest.approx(count)
    assert len(derivative(*given, *scales, np.ones((BINS, BINS)))) == count
