"""MIND against a plain loop over voxels, and what it must not notice."""

import itertools

import numpy as np
import pytest
import torch

from bidsreg.registration.similarity import descriptors
from bidsreg.registration.similarity.base import Mind

#: Of the patches, by their radius.
WEIGHTS = {0: [1.0], 1: np.array([1, 2, 1]) / 4, 2: np.array([1, 4, 6, 4, 1]) / 16}


def plain_mind(image, offset, floor, radius=1):
    """The definition, voxel by voxel."""
    shape, s = image.shape, offset + radius
    weights, patch = WEIGHTS[radius], range(-radius, radius + 1)
    out = np.zeros((6, *[n - 2 * s for n in shape]))
    for i, j, k in itertools.product(*[range(s, n - s) for n in shape]):
        distances = []
        for axis, sign in itertools.product(range(3), (1, -1)):
            step = np.zeros(3, int)
            step[axis] = sign * offset
            total = 0.0
            for a, b, c in itertools.product(patch, repeat=3):
                here = np.array([i + a, j + b, k + c])
                weight = weights[a + radius] * weights[b + radius] * weights[c + radius]
                total += weight * (image[tuple(here + step)] - image[tuple(here)]) ** 2
            distances.append(total)
        out[:, i - s, j - s, k - s] = np.exp(-np.array(distances) / max(np.mean(distances), floor))
    return out


def tensor(array, dtype=torch.float64):
    return torch.as_tensor(array, dtype=dtype)[None, None]


@pytest.mark.parametrize(('offset', 'radius'), [(1, 1), (2, 1), (1, 0), (1, 2)])
def test_mind_equals_the_plain_loop(offset, radius):
    image = np.random.default_rng(0).normal(size=(9, 8, 10))
    ours = descriptors.mind(tensor(image), offset, floor=1e-4, radius=radius)[0].numpy()
    np.testing.assert_allclose(ours, plain_mind(image, offset, 1e-4, radius), atol=1e-12)


@pytest.mark.parametrize(('gain', 'shift'), [(3.7, -2.0), (-1.0, 5.0), (-0.2, 0.0)])
def test_mind_ignores_affine_intensity_changes_and_inversion(gain, shift):
    image = tensor(np.random.default_rng(1).normal(size=(10, 10, 10)))
    torch.testing.assert_close(descriptors.mind(gain * image + shift, floor=0), descriptors.mind(image, floor=0))


def test_flat_regions_are_finite_and_equal():
    values = descriptors.mind(torch.full((1, 1, 8, 8, 8), 3.0), floor=1e-6)
    assert torch.equal(values, torch.ones_like(values))


def test_gradient_by_finite_differences():
    image = tensor(np.random.default_rng(2).normal(size=(6, 6, 6))).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: descriptors.mind(x, floor=1e-3), image, atol=1e-6)


def test_similarity_is_the_weighted_sum_of_squared_differences():
    rng = np.random.default_rng(3)
    a, b = (tensor(rng.normal(size=(9, 9, 9))) for _ in range(2))
    weight = torch.as_tensor(rng.random((1, 1, 5, 5, 5)))
    mind = Mind()
    mind.floor = 1e-9
    features = mind.features(a)
    wanted = ((features - descriptors.mind(b, floor=1e-9)) ** 2).mean(1, keepdim=True).mul(weight).sum()
    torch.testing.assert_close(mind.sums(features, b, weight), torch.stack([wanted, weight.sum()]))
    assert mind.sums(features, a, weight)[0] < 1e-6 < wanted
    by_hand, gradient = mind.sums_and_gradient(features, b, weight)
    torch.testing.assert_close(by_hand, mind.sums(features, b, weight))
    leaf = b.clone().requires_grad_()
    torch.testing.assert_close(gradient, torch.autograd.grad(mind.sums(features, leaf, weight)[0], leaf)[0])
