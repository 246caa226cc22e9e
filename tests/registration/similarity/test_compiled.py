"""The compiled data term against the one by torch."""

import numpy as np
import pytest
import torch

from bidsreg.registration.grid import Grid
from bidsreg.registration.image import Image
from bidsreg.registration.numerics import separable
from bidsreg.registration.numerics.compute import Compute
from bidsreg.registration.similarity import SIMILARITIES, compiled_boxes, dataterm
from bidsreg.registration.similarity.dataterm import DataTerm
from tests.comparisons import smooth_noise

CASES = [(name, radius) for name in ('mind', 'mind-ssc') for radius in (0, 1)]
OBLIQUE = np.array([[0.9, 0.2, -0.1, 1.0], [-0.15, 0.8, 0.1, 3.0], [0.1, -0.1, 1.1, -1.0], [0, 0, 0, 1]])


def made(
    name, radius, shape, weight, *, torch_alone=False, counts=None, moving=(19, 23, 21), matrix=OBLIQUE, threads=1
):
    """The data term of two random images; the displacement's grid has half as many points as the level."""
    similarity = SIMILARITIES[name](radius)
    if torch_alone:
        similarity.kernels = ''
    samples = Grid(tuple(n // 2 + 2 for n in shape), np.diag([2.0, 2, 2, 1]))
    grid = Grid(moving, np.eye(4))
    return DataTerm(
        smooth_noise(shape, 1).astype(np.float32),
        weight.astype(np.float32),
        Image(smooth_noise(moving, 2).astype(np.float32), grid),
        None if counts is None else Image(counts.astype(np.float32), grid),
        matrix,
        matrix[:3, :3],
        separable.weights_between(Grid(shape, np.eye(4)), samples),
        similarity,
        Compute(torch.device('cpu'), threads),
    )


def displaced(shape, size, seed=3):
    points = [n // 2 + 2 for n in shape]
    values = np.random.default_rng(seed).normal(0, size, (1, 3, *points))
    return torch.as_tensor(values, dtype=torch.float32)


def inside(shape, seed=4):
    """A random blob that stays away from the border, with a hole or two."""
    weight = smooth_noise(shape, seed, 2.0) > 0.45
    for axis in range(3):
        index = [slice(None)] * 3
        for index[axis] in (slice(0, 2), slice(-2, None)):
            weight[tuple(index)] = False
    return weight


def assert_same(term, reference, displacement):
    value, gradient = term.value_and_gradient(displacement)
    expected, slope = reference.value_and_gradient(displacement)
    # features have 16 bits, which shows where few voxels are compared
    assert value.item() == pytest.approx(expected.item(), rel=1e-5)
    assert slope.abs().max() > 0
    # a position that is rounded into the next cell has another slope
    assert (gradient - slope).norm() < 1e-3 * slope.norm()


@pytest.mark.parametrize(('name', 'radius'), CASES)
@pytest.mark.parametrize('size', [0.0, 0.7, 6.0])
def test_value_and_gradient_are_those_of_torch(name, radius, size, monkeypatch):
    """From the start, amid an optimisation, and with voxels that have left the field of view."""
    monkeypatch.setattr(dataterm, 'COLUMN', (9, 8, 11))
    shape = (20, 17, 22)
    counts = np.random.default_rng(5).integers(0, 4, (19, 23, 21)) > 0
    parts = name, radius, shape, inside(shape)
    term = made(*parts, counts=counts)
    assert isinstance(term.tiles[0], compiled_boxes.CompiledBox)
    assert len(term.tiles) > 4
    assert_same(term, made(*parts, counts=counts, torch_alone=True), displaced(shape, size))


@pytest.mark.parametrize(('name', 'radius'), CASES)
@pytest.mark.parametrize('axis', [0, 1, 2])
def test_boxes_of_one_slice(name, radius, axis):
    shape = (16, 16, 16)
    weight = np.zeros(shape)
    index = [slice(4, 9)] * 3
    index[axis] = 7
    weight[tuple(index)] = 1
    parts = name, radius, shape, weight
    assert_same(made(*parts), made(*parts, torch_alone=True), displaced(shape, 0.5))


def test_one_voxel_and_a_volume_of_one_slice():
    shape = (9, 9, 9)
    weight = np.zeros(shape)
    weight[4, 4, 4] = 1
    flat = np.eye(4)
    flat[:2, 3] = 3
    parts = 'mind', 0, shape, weight
    assert_same(made(*parts), made(*parts, torch_alone=True), displaced(shape, 0.5))
    terms = [made(*parts, moving=(14, 14, 1), matrix=flat, torch_alone=alone) for alone in (False, True)]
    for term in terms:
        # all positions are beyond the only slice
        value, gradient = term.value_and_gradient(displaced(shape, 0.5))
        assert value == 0 == gradient.abs().max()


def test_nothing_to_compare():
    term = made('mind', 0, (9, 9, 9), np.zeros((9, 9, 9)))
    value, gradient = term.value_and_gradient(displaced((9, 9, 9), 1.0))
    assert value == 0 == gradient.abs().max()


def test_nothing_seen():
    shape = (14, 14, 14)
    away = np.eye(4)
    away[0, 3] = 1000
    value, gradient = made('mind-ssc', 1, shape, inside(shape), matrix=away).value_and_gradient(displaced(shape, 1.0))
    assert value == 0 == gradient.abs().max()


def test_nan_reaches_the_value():
    shape = (14, 14, 14)
    term = made('mind', 1, shape, inside(shape))
    displacement = displaced(shape, 1.0)
    displacement[0, 1, 4, 4, 4] = torch.nan
    assert term.value_and_gradient(displacement)[0].isnan()


@pytest.mark.parametrize('radius', [0, 1])
def test_the_same_to_the_last_bit_for_any_number_of_threads(radius, monkeypatch):
    monkeypatch.setattr(dataterm, 'COLUMN', (6, 6, 12))
    shape = (20, 17, 22)
    answers = []
    for threads in (1, 3):
        term = made('mind-ssc', radius, shape, inside(shape), threads=threads)
        for size in (0.3, 2.0):
            answers.append(term.value_and_gradient(displaced(shape, size)))
    for (value, gradient), (again, same) in zip(answers[:2], answers[2:], strict=True):
        assert value == again
        assert torch.equal(gradient, same)
