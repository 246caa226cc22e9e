"""Draws: of other heads in the two domains, along all axes, and the same for the same seed and step."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from bidsreg.registration.grid import Grid
from bidsreg.translation.slices import SliceSampler, framed, worthwhile
from bidsreg.translation.volumes import WorldBrain

from .conftest import SIZE


def test_no_draw_has_one_head_in_both_domains(sampler):
    seen = set()
    for step in range(60):
        draw = sampler.draw(step, 4)
        assert not set(draw.source.heads) & set(draw.target.heads)
        seen |= {(one, other) for one in draw.source.heads for other in draw.target.heads}
    assert len(seen) == 6  # every ordered pair of three


@pytest.mark.parametrize(
    ('source', 'target'),
    [('a', 'b'), ('ab', 'b'), ('a', 'ab'), ('ab', 'ab'), ('abc', 'a'), ('a', 'abc'), ('abc', 'de')],
)
def test_however_few_have_both(brains, source, target):
    some = next(iter(brains['T1w'].values()))
    sampler = SliceSampler(dict.fromkeys(source, some), dict.fromkeys(target, some), size=SIZE, seed=0)
    draws = [sampler.draw(step, 3) for step in range(40)]
    assert not any(set(draw.source.heads) & set(draw.target.heads) for draw in draws)
    if set(source) != set(target):
        return
    assert {head for draw in draws for head in draw.source.heads} == set(source)


def test_a_draw_follows_from_seed_and_step_alone(brains, sampler):
    again = SliceSampler(brains['T2w'], brains['T1w'], size=SIZE, seed=3)
    sampler.draw(0, 2)
    one, other = sampler.draw(7, 2), again.draw(7, 2)
    assert torch.equal(one.source.values, other.source.values)
    assert torch.equal(one.target.values, other.target.values)
    assert not torch.equal(one.source.values, again.draw(8, 2).source.values)
    elsewhere = SliceSampler(brains['T2w'], brains['T1w'], size=SIZE, seed=4).draw(7, 2)
    assert not torch.equal(one.source.values, elsewhere.source.values)


def test_what_is_drawn(sampler):
    batch = sampler.draw(1, 5).source
    assert batch.values.shape == batch.inside.shape == (5, 1, SIZE, SIZE)
    assert batch.values.dtype == torch.float32
    assert 0 <= batch.values.min() <= batch.values.max() <= 1
    assert not batch.values[batch.inside == 0].any()
    assert set(batch.inside.unique().tolist()) == {0.0, 1.0}
    assert (batch.inside.flatten(1).sum(1) > 0).all()


def test_slices_of_all_three_axes():
    # values tell the place along each axis: constant in a slice is the one that it is cut across
    shape = (20, 20, 20)
    inside = np.ones(shape, bool)
    found = set()
    for axis in range(3):
        values = (np.indices(shape)[axis] / 20 + 0.01).astype(np.float32)
        volume = WorldBrain(values, inside, Grid(shape, np.eye(4)))
        sampler = SliceSampler({'a': [volume]}, {'b': [volume]}, size=SIZE, seed=1)
        flat = [np.ptp(cut[cut > 0]) == 0 for step in range(30) for cut in sampler.draw(step, 1).source.values.numpy()]
        assert 3 <= sum(flat) <= 20
        found.add(axis)
    assert found == {0, 1, 2}


def test_slices_with_hardly_any_brain_are_left_out():
    inside = np.zeros((10, 10, 10), bool)
    inside[2:8] = True
    inside[1, 0, :9], inside[8, 0, :] = True, True
    assert np.flatnonzero(worthwhile(inside, 0)).tolist() == [2, 3, 4, 5, 6, 7, 8]


@pytest.mark.parametrize(('have', 'want'), [((4, 6), (8, 8)), ((8, 8), (4, 6)), ((5, 4), (5, 9)), ((9, 3), (4, 8))])
def test_frames_there_and_back(have, want):
    plane = np.arange(1, have[0] * have[1] + 1).reshape(have)
    out = framed(plane, want)
    assert out.shape == want
    common = np.minimum(have, want)
    np.testing.assert_array_equal(np.sort(out[out > 0]), np.sort(framed(plane, common).ravel()))
    if (np.array(want) >= have).all():
        np.testing.assert_array_equal(framed(out, have), plane)


def test_frames_shift():
    plane = np.ones((2, 2), int)
    np.testing.assert_array_equal(np.argwhere(framed(plane, (6, 6), (1, -2)))[0], (3, 0))
    np.testing.assert_array_equal(framed(plane, (4, 4), (2, 0)), np.pad(plane[:1], ((3, 0), (1, 1))))
