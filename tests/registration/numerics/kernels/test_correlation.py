"""The compiled local correlation against the one by torch."""

import numpy as np
import pytest
import torch

from bidsreg.registration.numerics.kernels import correlation
from bidsreg.registration.similarity.intensity import LocalCorrelation
from tests.comparisons import smooth_noise


def flat(volume, margin, room):
    out = np.zeros(room, np.float32)
    out[margin : room - margin] = np.asarray(volume, np.float32).ravel()
    return out


def by_kernel(similarity, features, image, weight):
    """The sums of a volume, and the gradient; all in double precision at first."""
    x, y, z = image.shape
    edge = correlation.beside(z)
    room = x * y * z + 2 * edge
    fixed = np.stack([flat(channel, edge, room) for channel in features])
    fixed[2] = 1 / np.maximum(fixed[2], similarity.fixed_floor)
    counts = flat(np.pad(weight, correlation.REACH), edge, room)
    left = (np.full(shape, 7, np.float32) for shape in ((5, 3, y * z), (5, 3, y * z), (2, y * z + 2 * edge)))
    around, rows = np.full((3, y * z + 2 * edge), 7, np.float32), np.full((4, y * z), 7, np.float32)
    gradient, floor = np.full(room, 7, np.float32), np.float32(similarity.moving_floor)
    sums = correlation.correlate(
        flat(image, edge, room), fixed, counts, edge, x, y * z, z, floor, *left, around, rows, gradient
    )
    return sums, gradient[edge : room - edge].reshape(image.shape)


def given(shape, flat_part=False):
    image, other = (torch.as_tensor(smooth_noise(shape, seed)) for seed in (1, 2))
    if flat_part:
        image[: shape[0] // 2] = 0.3
    weight = torch.rand([n - 4 for n in shape], generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    weight[weight < 0.2] = 0
    similarity = LocalCorrelation()
    similarity.calibrate(other[None, None], image[None, None], weight[None, None])
    return similarity, similarity.features(other[None, None]), image, weight


@pytest.mark.parametrize('shape', [(5, 5, 5), (6, 5, 40), (5, 13, 6), (20, 17, 21)])
@pytest.mark.parametrize('flat_part', [False, True])
def test_sums_and_gradient_are_those_of_torch(shape, flat_part):
    similarity, features, image, weight = given(shape, flat_part)
    leaf = image[None, None].clone().requires_grad_()
    expected = similarity.sums(features, leaf, weight[None, None])
    (slope,) = torch.autograd.grad(expected[0], leaf)
    sums, gradient = by_kernel(similarity, features[0].numpy(), image.numpy(), weight.numpy())
    np.testing.assert_allclose(sums, expected.detach(), rtol=2e-5)
    # variances are differences of squares in single precision
    np.testing.assert_allclose(gradient, slope[0, 0], rtol=0, atol=5e-3 * slope.abs().max().item() + 1e-6)


def test_without_weight_there_is_nothing():
    similarity, features, image, weight = given((7, 8, 9))
    sums, gradient = by_kernel(similarity, features[0].numpy(), image.numpy(), 0 * weight.numpy())
    assert sums == (0, 0)
    assert (gradient == 0).all()


def test_nan_reaches_the_sum():
    similarity, features, image, weight = given((7, 8, 9))
    image[3, 4, 4] = torch.nan
    assert np.isnan(by_kernel(similarity, features[0].numpy(), image.numpy(), 0 * weight.numpy() + 1)[0][0])


def test_values_are_added_times_a_number():
    to = np.arange(5, dtype=np.float32)
    correlation.add_scaled(np.ones(5, np.float32), np.float32(2), to)
    np.testing.assert_array_equal(to, np.arange(5) + 2)
    correlation.set_scaled(np.ones(5, np.float32), np.float32(3), to)
    np.testing.assert_array_equal(to, np.full(5, 3))


def test_values_of_runs_are_put_where_they_lie():
    to = np.zeros(6, np.float32)
    correlation.unpack(np.arange(1, 4, dtype=np.float32), np.array([[4, 0, 1], [1, 1, 2]]), to)
    np.testing.assert_array_equal(to, [0, 2, 3, 0, 1, 0])
