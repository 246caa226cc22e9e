"""Kernels of the similarities, alone and together, against torch."""

import numpy as np
import pytest
import torch

from bidsreg.registration.grid import Grid
from bidsreg.registration.image import Image
from bidsreg.registration.numerics import separable
from bidsreg.registration.numerics.compute import Compute
from bidsreg.registration.similarity import SIMILARITIES, compiled_boxes, compiled_members, dataterm
from bidsreg.registration.similarity.combined import CombinedSimilarity
from bidsreg.registration.similarity.dataterm import DataTerm
from tests.comparisons import smooth_noise
from tests.registration.similarity.test_compiled import OBLIQUE, displaced, inside

CASES = ['gmi', 'lncc', 'both', 'three']
MOVING = (19, 23, 21)


def similarity(name):
    parts = [(SIMILARITIES['gmi'](), 0.1), (SIMILARITIES['lncc'](), 0.3)]
    if name == 'three':
        return CombinedSimilarity([(SIMILARITIES['mind-ssc'](0), 1.0), *parts])
    return CombinedSimilarity(parts) if name == 'both' else SIMILARITIES[name]()


def made(name, shape, weight, *, counts=None, matrix=OBLIQUE, threads=1, torch_alone=False):
    """The data term of two random images; the displacement's grid has half as many points as the level."""
    chosen = similarity(name)
    if torch_alone:
        chosen.members[0].kernels = ''
    samples = Grid(tuple(n // 2 + 2 for n in shape), np.diag([2.0, 2, 2, 1]))
    grid = Grid(MOVING, np.eye(4))
    return DataTerm(
        smooth_noise(shape, 1).astype(np.float32),
        weight.astype(np.float32),
        Image(smooth_noise(MOVING, 2).astype(np.float32), grid),
        None if counts is None else Image(counts.astype(np.float32), grid),
        matrix,
        matrix[:3, :3],
        separable.weights_between(Grid(shape, np.eye(4)), samples),
        chosen,
        Compute(torch.device('cpu'), threads),
    )


def assert_same(term, reference, displacement):
    assert isinstance(term.tiles[0], compiled_boxes.CompiledBox)
    assert not isinstance(reference.tiles[0], compiled_boxes.CompiledBox)
    value, gradient = term.value_and_gradient(displacement)
    expected, slope = reference.value_and_gradient(displacement)
    assert value.item() == pytest.approx(expected.item(), rel=2e-5)
    assert slope.abs().max() > 0
    # a position that is rounded into the next cell has another slope
    assert (gradient - slope).norm() < 2e-3 * slope.norm()


@pytest.mark.parametrize('name', CASES)
@pytest.mark.parametrize('size', [0.0, 0.7, 6.0])
def test_value_and_gradient_are_those_of_torch(name, size, monkeypatch):
    """From the start, amid an optimisation, and with voxels that have left the field of view."""
    monkeypatch.setattr(dataterm, 'COLUMN', (9, 8, 11))
    shape = (20, 17, 22)
    counts = np.random.default_rng(5).integers(0, 4, MOVING) > 0
    parts = name, shape, inside(shape)
    term = made(*parts, counts=counts)
    assert len(term.tiles) > 4
    assert_same(term, made(*parts, counts=counts, torch_alone=True), displaced(shape, size))
    # what earlier passes have left in memory does not count
    assert_same(term, made(*parts, counts=counts, torch_alone=True), displaced(shape, size, seed=6))


@pytest.mark.parametrize('name', CASES)
@pytest.mark.parametrize('axis', [0, 1, 2])
def test_boxes_of_one_slice(name, axis):
    shape = (16, 16, 16)
    weight = np.zeros(shape)
    index = [slice(4, 9)] * 3
    index[axis] = 7
    weight[tuple(index)] = 1
    parts = name, shape, weight
    assert_same(made(*parts), made(*parts, torch_alone=True), displaced(shape, 0.5))


@pytest.mark.parametrize('name', CASES)
def test_nothing_to_compare_and_nothing_seen(name):
    value, gradient = made(name, (9, 9, 9), np.zeros((9, 9, 9))).value_and_gradient(displaced((9, 9, 9), 1.0))
    assert value == 0 == gradient.abs().max()
    shape, away = (14, 14, 14), np.eye(4)
    away[0, 3] = 1000
    value, gradient = made(name, shape, inside(shape), matrix=away).value_and_gradient(displaced(shape, 1.0))
    assert value == 0 == gradient.abs().max()


@pytest.mark.parametrize('name', CASES)
def test_nan_reaches_the_value_and_does_not_stay(name):
    shape = (14, 14, 14)
    term = made(name, shape, inside(shape))
    displacement = displaced(shape, 1.0)
    before = term.value_and_gradient(displacement)
    broken = displacement.clone()
    broken[0, 1, 4, 4, 4] = torch.nan
    assert term.value_and_gradient(broken)[0].isnan() or name == 'gmi'
    for one, other in zip(before, term.value_and_gradient(displacement), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize('name', CASES)
def test_the_same_to_the_last_bit_for_any_number_of_threads(name, monkeypatch):
    monkeypatch.setattr(dataterm, 'COLUMN', (6, 6, 12))
    shape = (20, 17, 22)
    answers = []
    for threads in (1, 2, 4):
        term = made(name, shape, inside(shape), threads=threads)
        answers.append([term.value_and_gradient(displaced(shape, size)) for size in (0.3, 2.0)])
    for other in answers[1:]:
        for (value, gradient), (again, same) in zip(answers[0], other, strict=True):
            assert value == again
            assert torch.equal(gradient, same)


def test_every_name_of_kernels_is_known_and_what_is_derived_has_none_of_its_base():
    named = {kind.kernels for kind in SIMILARITIES.values()} - {''}
    assert named == set(compiled_members.MEMBERS)
    assert not SIMILARITIES['lmi'].kernels
