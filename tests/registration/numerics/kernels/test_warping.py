"""The compiled warp of a volume, and its adjoint, against torch."""

import numpy as np
import pytest
import torch

from bidsreg.registration.numerics import separable
from bidsreg.registration.numerics.boxes import whole
from bidsreg.registration.numerics.kernels import warping
from bidsreg.registration.numerics.positions import mapped_axes, mapped_voxels
from bidsreg.registration.numerics.sampling import Sampler
from bidsreg.registration.similarity import compiled_boxes

MARGIN = 40
LONGEST = 32
SHAPE = (5, 6, 23)


def tensor(*shape, seed=0, size=1.0):
    return torch.as_tensor(np.random.default_rng(seed).normal(0, size, shape), dtype=torch.float32)


def matrices(points):
    """Interpolation of as many points along each axis at the voxels of the box."""
    return tuple(
        torch.as_tensor(separable.cubic_weights(np.linspace(0.2, n - 1.3, m), n), dtype=torch.float32)
        for n, m in zip(points, SHAPE, strict=True)
    )


EDGES = (1.5, 0.0), (6.0, 5.5)
"""Lowest and highest positions that are seen, in two ways to weigh voxels."""


class Warped:
    """A volume warped by the kernel in the box of `SHAPE`, plane by plane, and by torch."""

    def __init__(self, volume, matrix, displacement, points, counts=None):
        corner = np.array([1, 0, 2])
        x, y, z = SHAPE
        size, room = y * z, x * y * z + 2 * MARGIN
        part = displacement[(..., *(slice(c, c + n) for c, n in zip(corner, points, strict=True)))]
        interpolation = matrices(points)
        self.bands = compiled_boxes.bands(interpolation)
        axes = mapped_axes(matrix, whole(SHAPE))
        starts = [(p * size + a, min(LONGEST, size - a)) for p in range(x) for a in range(0, size, LONGEST)]
        needed = np.array([(MARGIN + a, n) for a, n in starts])
        weight = tensor(x * size, seed=9).abs().numpy()
        self.image, self.slopes = np.full(room, 7, np.float32), np.full((3, room), 7, np.float32)
        self.seen = np.full((2, x * size), 7, np.float32)
        self.lowest, self.highest = np.full((3, 2), EDGES[0], np.float32), np.full((3, 2), EDGES[1], np.float32)
        warping.warp(
            displacement[0].numpy(),
            corner,
            self.bands.neighbours,
            self.bands.taps,
            tuple(axis.numpy() for axis in axes),
            volume.numpy().ravel(),
            np.array(volume.shape),
            np.zeros(0, np.uint8) if counts is None else counts.astype(np.uint8).ravel(),
            self.lowest,
            self.highest,
            MARGIN,
            needed,
            np.array([(MARGIN + a, a, n) for a, n in starts]),
            weight,
            np.zeros((points[1], z), np.float32),
            np.zeros((3, points[0], size), np.float32),
            np.zeros((4, size), np.float32),
            np.zeros((3, size + LONGEST), np.float32),
            np.zeros((11, LONGEST), np.float32),
            np.zeros(LONGEST, np.int32),
            self.image,
            self.slopes,
            self.seen,
        )
        self.inner = slice(MARGIN, MARGIN + x * size)
        self.at = separable.apply(part, interpolation)[0] + mapped_voxels(matrix, whole(SHAPE))
        self.expected, (self.expected_slopes,) = Sampler(volume[None])(self.at)
        self.weight = torch.as_tensor(weight.reshape(SHAPE))


TURNED = np.array([[0.9, 0.2, -0.1, 1.3], [-0.15, 0.8, 0.1, 2.2], [0.1, -0.1, 0.5, -1.1], [0, 0, 0, 1]])


def made(size=1.0, volume=(7, 9, 8), **more):
    return Warped(tensor(*volume, seed=1), TURNED, tensor(1, 3, 7, 6, 12, seed=2, size=size), (4, 5, 9), **more)


@pytest.mark.parametrize('size', [0.0, 1.0, 8.0])
@pytest.mark.parametrize('volume', [(7, 9, 8), (2, 3, 2)])
def test_values_and_slopes_are_those_of_the_sampler(size, volume):
    warped = made(size, volume)
    np.testing.assert_allclose(warped.image[warped.inner].reshape(SHAPE), warped.expected[0], rtol=0, atol=2e-5)
    # a position that is rounded into the next cell has another slope
    slopes = warped.slopes[:, warped.inner].reshape(3, *SHAPE)
    beside = np.abs(slopes - warped.expected_slopes.numpy()) > 1e-4
    assert beside.mean() < 1e-3


def test_values_between_runs_stay():
    warped = made()
    assert (warped.image[:MARGIN] == 7).all()
    assert (warped.image[warped.inner.stop :] == 7).all()


def test_voxels_that_are_not_seen_or_do_not_count_have_no_weight():
    counts = np.random.default_rng(3).integers(0, 2, (7, 9, 8))
    warped = made(2.0, counts=counts)
    at = warped.at
    shown = Sampler(torch.as_tensor(counts, dtype=torch.float32)[None]).nearest(at)[0] > 0.5
    for low, high, found in zip(*EDGES, warped.seen, strict=True):
        seen = ((at >= low) & (at <= high)).all(0) & shown
        np.testing.assert_array_equal(found.reshape(SHAPE), warped.weight * seen)
        assert 0 < seen.float().mean() < 0.5


def test_nan_positions_stay_in_the_volume_and_give_nan():
    displacement = tensor(1, 3, 7, 6, 12, seed=2)
    displacement[0, 1] = torch.nan
    warped = Warped(tensor(7, 9, 8, seed=1), TURNED, displacement, (4, 5, 9))
    assert np.isnan(warped.image[warped.inner]).all()
    assert (warped.seen == 0).all()


def test_the_gradient_goes_back_to_the_coarse_grid():
    warped = made()
    points = (4, 5, 9)
    by_image = tensor(warped.image.size, seed=5)
    interpolation = matrices(points)
    adjoint = compiled_boxes.bands(tuple(m.T for m in interpolation))
    x, y, z = SHAPE
    planes, found = np.zeros((points[0], y, z), np.float32), np.full((3, *points), 7, np.float32)
    warping.collect(
        by_image.numpy(),
        warped.slopes,
        MARGIN,
        adjoint.neighbours,
        adjoint.taps,
        np.zeros((x, warping.STRIP), np.float32),
        planes.reshape(points[0], y * z),
        planes,
        np.zeros(z, np.float32),
        found,
    )
    product = by_image[warped.inner].view(SHAPE) * torch.as_tensor(warped.slopes[:, warped.inner].reshape(3, *SHAPE))
    expected = separable.apply_transposed(product[None], interpolation)[0]
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5 * expected.abs().max().item())
