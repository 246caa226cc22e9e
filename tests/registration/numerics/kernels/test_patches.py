"""The compiled mismatch of descriptors against the one by torch."""

import numpy as np
import pytest
import torch

from bidsreg.registration.numerics.kernels import patches
from bidsreg.registration.similarity import descriptors
from tests.comparisons import smooth_noise

KINDS = {
    'mind': (descriptors.MIND_STEPS, descriptors.mind, descriptors.mind_mismatch),
    'mind-ssc': (descriptors.SSC_STEPS, descriptors.mind_ssc, descriptors.ssc_mismatch),
}


def by_kernel(image, features, weight, floor, radius, steps):
    """The mismatch of a volume worked row by row, and its gradient."""
    x, y, z = image.shape
    row, plane, count = z, y * z, len(steps)
    margin = plane + row + 1
    room = x * plane + 2 * margin
    to_offset = np.array([plane, row, 1])
    s = radius + 1
    core = np.arange(room).reshape(-1)[margin : margin + x * plane].reshape(x, y, z)[s:-s, s:-s, s:-s]
    length = core.shape[2]
    first = core[..., 0].ravel()
    runs = np.stack([first, np.arange(len(first)) * length, np.full(len(first), length)], 1)
    flat, gradient = np.zeros(room, np.float32), np.zeros(room, np.float32)
    flat[margin : margin + x * plane] = image.ravel()
    value = patches.mismatch(
        flat,
        np.array([step.far for step in steps]) @ to_offset,
        np.array([step.near for step in steps]) @ to_offset,
        np.array([step.places for step in steps]) @ to_offset,
        radius,
        row,
        plane,
        core.min(),
        core.max() + 1,
        np.float32(floor * descriptors.sum_of_weights(radius)),
        np.rint(features.reshape(2 * count, -1) * patches.WHOLE).astype(np.uint16),
        weight.astype(np.float32).ravel(),
        runs,
        np.full((count, room if radius else 0), 7, np.float32),
        np.full((count, room if radius else 0), 7, np.float32),
        np.full(room if radius else 0, 7, np.float32),
        np.zeros((3, patches.CHUNK + 2 * row + 2), np.float32),
        np.zeros((2 * count + 4, length), np.float32),
        gradient,
    )
    return value, gradient[margin : margin + x * plane].reshape(image.shape)


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('radius', [0, 1])
@pytest.mark.parametrize('shape', [(9, 8, 40), (5, 13, 6), (5, 5, 5), (20, 17, 21)])
def test_value_and_gradient_are_those_of_torch(kind, radius, shape):
    steps, describe, mismatch = KINDS[kind]
    image, other = (torch.as_tensor(smooth_noise(shape, seed)) for seed in (1, 2))
    features = describe(other[None, None], floor=1e-4, radius=radius)[0]
    weight = torch.as_tensor(np.random.default_rng(3).integers(0, 2, features.shape[1:]), dtype=torch.float64)
    weight.view(-1)[0] = 1
    # half of the variances lie below this floor
    floor = float((other.diff(dim=0) ** 2).median())
    value, gradient = mismatch(image, features, weight, floor, radius)
    found, slope = by_kernel(image.numpy(), features.numpy(), weight.numpy(), floor, radius, steps)
    # features have 16 bits, which shows where few voxels are compared
    assert found == pytest.approx(value.item(), rel=1e-4)
    np.testing.assert_allclose(slope, gradient.numpy(), rtol=0, atol=1e-4 * gradient.abs().max().item())


def test_a_ratiodecays_as_the_exponential():
    ratio = np.linspace(0, 12, 1000, dtype=np.float32)
    found = np.array([patches.decay.py_func(r) for r in ratio])
    np.testing.assert_allclose(found, np.exp(-ratio.astype(float)), rtol=0, atol=1e-6)
    np.testing.assert_allclose(found, np.exp(-ratio.astype(float)), rtol=1e-2)


def test_nan_of_a_compared_voxel_reaches_the_value():
    shape = (7, 7, 7)
    image = smooth_noise(shape, 1)
    image[3, 3, 3] = np.nan
    features, weight = np.zeros((6, 5, 5, 5)), np.ones((5, 5, 5))
    assert np.isnan(by_kernel(image, features, weight, 1e-3, 0, descriptors.MIND_STEPS)[0])
