"""The settings of a training: what is refused, and recipes to JSON and back."""

from __future__ import annotations

import dataclasses
import json

import pytest

from bidsreg.errors import InputError
from bidsreg.translation.recipes import RECIPES
from bidsreg.translation.settings import as_dict, recipe_from, size_for

from .conftest import settings_for


@pytest.mark.parametrize(
    ('changes', 'words'),
    [
        ({'spacing': 0.1}, '--spacing must lie between'),
        ({'spacing': float('inf')}, 'spacing'),
        ({'bias_correction': 'n3'}, '--bias-correction'),
        ({'device': 'gpu'}, '--device'),
        ({'every': 0}, '--every'),
        ({'seed': -1}, '--seed'),
        ({'threads': -2}, '--threads'),
    ],
)
def test_values_that_cannot_be(tmp_path, changes, words):
    with pytest.raises(InputError, match=words):
        settings_for(tmp_path, tmp_path, **changes)


def test_one_contrast_is_no_translation(tmp_path):
    with pytest.raises(InputError, match='both T1w'):
        dataclasses.replace(settings_for(tmp_path, tmp_path), source='T1w')


@pytest.mark.parametrize(('spacing', 'size'), [(2.0, 96), (1.0, 192), (8.0, 32), (3.0, 64), (2.5, 80)])
def test_slices_hold_a_brain_and_can_be_halved(spacing, size):
    assert size_for(spacing) == size
    assert size * spacing >= 192
    assert size % 16 == 0


@pytest.mark.parametrize('name', RECIPES)
def test_recipes_to_json_and_back(name):
    recipe = dataclasses.replace(RECIPES[name], width=5, learning_rate=1e-3)
    assert recipe_from(json.loads(json.dumps(as_dict(recipe)))) == recipe


@pytest.mark.parametrize(
    'values',
    [
        None,
        [],
        {},
        {'name': 'nosuch'},
        {'name': ['cut']},
        {'name': 'cut'},
        {**as_dict(RECIPES['cut']), 'more': 1},
        {**as_dict(RECIPES['cut']), 'width': 10**8},
        {**as_dict(RECIPES['cut']), 'betas': 'ab'},
    ],
)
def test_recipes_that_are_none(values):
    with pytest.raises(InputError):
        recipe_from(values)


def test_identity_tells_what_decides_the_model(tmp_path):
    one = settings_for(tmp_path, tmp_path)
    for other in (
        dataclasses.replace(one, seed=6),
        dataclasses.replace(one, spacing=4.0),
        dataclasses.replace(one, recipe=dataclasses.replace(one.recipe, steps=7)),
    ):
        assert other.identity() != one.identity()
    assert dataclasses.replace(one, every=9, threads=2, verbose=1).identity() == one.identity()
