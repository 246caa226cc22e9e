"""A volume is translated slice by slice and comes out in its place; how far its structure moved is measured."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from bidsreg.registration.grid import Grid
from bidsreg.translation.model import TranslationModel
from bidsreg.translation.slices import worthwhile
from bidsreg.translation.stacks import mind_distance, translate_stack, translate_volume
from bidsreg.translation.volumes import WorldBrain


@pytest.fixture
def model(model_file, monkeypatch):
    """A model that inverts every slice."""
    monkeypatch.setattr(TranslationModel, 'translate', lambda self, values, inside: (1 - values) * inside)
    return TranslationModel.load(model_file)


@pytest.mark.parametrize('shape', [(20, 17, 23), (40, 33, 18), (5, 50, 70)])
def test_every_voxel_stays_in_its_place(model, shape):
    rng = np.random.default_rng(0)
    inside = rng.random(shape) > 0.3
    values = (rng.random(shape) * inside).astype(np.float32)
    volume = WorldBrain(values, inside, Grid(shape, np.diag([8.0, 8, 8, 1])))
    expected = (1 - values) * inside
    for axis in range(3):
        np.testing.assert_array_equal(translate_stack(model, volume, axis), expected)
    np.testing.assert_allclose(translate_volume(model, volume), expected, atol=1e-6)


def test_the_three_stacks_are_averaged_but_slices_with_hardly_any_brain_count_little(model_file, monkeypatch):
    # each stack says another number: how large its slices are
    shape = (20, 24, 28)
    inside = np.ones(shape, bool)
    inside[0] = False
    inside[0, :2, :2] = True  # hardly any of this slice across the first axis
    volume = WorldBrain(inside.astype(np.float32), inside, Grid(shape, np.diag([8.0, 8, 8, 1])))
    model = TranslationModel.load(model_file)
    said = iter((0.1, 0.2, 0.6))
    monkeypatch.setattr('bidsreg.translation.stacks.translate_stack', lambda *_: np.full(shape, next(said), np.float32))
    assert worthwhile(inside, 0).tolist() == [False] + [True] * 19
    found = translate_volume(model, volume)
    np.testing.assert_allclose(found[5, 5, 5], 0.3, atol=1e-6)
    np.testing.assert_allclose(found[0, 0, 0], 0.4, atol=1e-3)
    assert not found[~inside].any()


def test_slices_are_as_wide_as_those_of_the_training(model_file, brains):
    seen = []

    class Watched(TranslationModel):
        def translate(self, values, inside):
            seen.append(tuple(values.shape[1:]))
            return values

    model = TranslationModel.load(model_file)
    watched = Watched(**{field.name: getattr(model, field.name) for field in dataclasses.fields(model)})
    translate_volume(watched, brains['T2w']['01'][0])
    assert set(seen) == {(1, 32, 32)}
    assert max(n for n in brains['T2w']['01'][0].values.shape) <= 32


def test_structure_that_stays_and_structure_that_moves(brains):
    volume = brains['T2w']['01'][0]
    inverted = ((1 - volume.values) * volume.inside).astype(np.float32)
    same = mind_distance(volume, volume.values)
    assert same == 0
    # only the border to what is outside is another
    upside_down, moved = mind_distance(volume, inverted), mind_distance(volume, np.roll(volume.values, 2, 1))
    assert upside_down < moved
    assert 0 < moved < 1
    assert not torch.is_grad_enabled() or np.isfinite(moved)
