"""MIND against a plain loop over voxels, and what it must not notice."""

import itertools

import numpy as np
import pytest
import torch

from bidsreg.registration.similarity import descriptors
from bidsreg.registration.similarity.mind import Mind
from tests.comparisons import tensor

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


#: Weights of patches along an axis, by their radius.
BINOMIAL = {0: np.ones(1), 1: np.array([1, 2, 1]) / 4, 2: np.array([1, 4, 6, 4, 1]) / 16}


def patch_distance(image, p, q, radius):
    total = 0.0
    for steps in itertools.product(range(-radius, radius + 1), repeat=3):
        weight = np.prod(BINOMIAL[radius][np.array(steps) + radius])
        total += weight * (image[tuple(p + steps)] - image[tuple(q + steps)]) ** 2
    return total


def six_neighbours():
    return [sign * np.eye(3, dtype=int)[axis] for axis in range(3) for sign in (1, -1)]


def plain_mind_ssc(image, floor, radius):
    """The definition: all pairs of the six neighbours that are sqrt(2) apart."""
    pairs = [(p, q) for p, q in itertools.combinations(six_neighbours(), 2) if ((p - q) ** 2).sum() == 2]
    assert len(pairs) == 12
    support = radius + 1
    out = np.zeros((12, *[n - 2 * support for n in image.shape]))
    for index in np.ndindex(*out.shape[1:]):
        here = np.array(index) + support
        distances = np.array([patch_distance(image, here + p, here + q, radius) for p, q in pairs])
        out[(slice(None), *index)] = np.exp(-distances / max(distances.mean(), floor))
    return out, [frozenset((tuple(p), tuple(q))) for p, q in pairs]


def documented_order():
    """The pairs in the order that `ssc_distances` says."""
    unit = np.eye(3, dtype=int)
    return [
        frozenset((tuple(s * unit[a]), tuple(t * unit[b])))
        for a, b in ((0, 1), (0, 2), (1, 2))
        for s, t in ((-1, 1), (1, -1), (1, 1), (-1, -1))
    ]


@pytest.mark.parametrize('radius', BINOMIAL)
def test_mind_ssc_equals_the_plain_loop(radius):
    image = np.random.default_rng(0).normal(size=(7, 8, 9))
    plain, pairs = plain_mind_ssc(image, 1e-4, radius)
    order = documented_order()
    assert set(order) == set(pairs)
    ours = descriptors.mind_ssc(tensor(image), floor=1e-4, radius=radius)[0].numpy()
    np.testing.assert_allclose(ours, plain[[pairs.index(pair) for pair in order]], atol=1e-12)


def test_the_floor_is_a_fraction_of_the_mean_variance():
    variance, weight = torch.tensor([1.0, 3.0, 50.0]), torch.tensor([True, True, False])
    assert descriptors.floor_of(variance, weight, 0.1) == pytest.approx(0.2)
    assert descriptors.floor_of(variance, None, 0.1) == pytest.approx(1.8)
    assert descriptors.floor_of(torch.zeros(3)) == 1e-12
