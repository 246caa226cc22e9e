"""The recipes: their values, what is refused, and that listing them needs no torch."""

from __future__ import annotations

import dataclasses
import importlib.util
import itertools
import subprocess
import sys

import pytest

from bidsreg.errors import InputError
from bidsreg.translation import recipes
from bidsreg.translation.costs import COSTS
from bidsreg.translation.recipes import RECIPES, CutRecipe, TransportRecipe, WeakTransportRecipe
from bidsreg.translation.registry import TRANSLATORS


def test_every_recipe_has_a_translator_and_every_cost_a_name():
    assert list(RECIPES) == list(TRANSLATORS)
    assert all(name == recipe.name for name, recipe in RECIPES.items())
    assert tuple(COSTS) == recipes.COST_NAMES


def test_learning_rate_falls_to_nearly_zero_over_the_second_half():
    recipe = CutRecipe(name='cut', steps=100, learning_rate=1.0)
    rates = [recipe.rate(step) for step in range(100)]
    assert set(rates[:50]) == {1.0}
    assert all(a > b > 0 for a, b in itertools.pairwise(rates[50:]))
    assert rates[-1] == pytest.approx(2 / 101)
    assert {TransportRecipe(name='not', steps=9).rate(step) for step in range(9)} == {1e-4}


def test_gamma_rises_over_the_first_quarter():
    recipe = WeakTransportRecipe(name='not-weak', steps=100)
    assert [recipe.gamma(step) for step in (0, 5, 25, 99)] == pytest.approx([0, 0.132, 0.66, 0.66])


@pytest.mark.parametrize(
    ('name', 'changes', 'words'),
    [
        ('cut', {'steps': 0}, '--steps'),
        ('cut', {'width': 10**9}, '--width must be at most'),
        ('cut', {'batch_size': 10**6}, '--batch-size must be at most'),
        ('cut', {'learning_rate': float('nan')}, 'learning_rate'),
        ('cut', {'steps': 'many'}, 'steps should be of type int'),
        ('not', {'cost': 'wasserstein'}, '--cost'),
        ('not', {'inner': 0}, '--inner'),
        ('not-weak', {'draws': 1}, 'draws'),
        ('not-weak', {'draws': 10**9}, 'draws'),
    ],
)
def test_values_that_cannot_be(name, changes, words):
    with pytest.raises(InputError, match=words):
        dataclasses.replace(RECIPES[name], **changes)


def test_what_is_missing_is_told_with_the_remedy(monkeypatch):
    assert recipes.missing() == ''
    monkeypatch.setattr(importlib.util, 'find_spec', lambda name: None if name == 'monai' else True)
    assert recipes.missing() == "the Python package monai is not installed; pip install 'bidsreg[translation]'"
    monkeypatch.setattr(importlib.util, 'find_spec', lambda name: None)
    assert 'packages monai and safetensors are' in recipes.missing()


def test_command_lines_do_not_wait_for_torch():
    code = (
        'import sys, bidsreg.translation.cli as c; c.build_parser(); assert not {"torch", "monai"} & set(sys.modules)'
    )
    subprocess.run([sys.executable, '-c', code], check=True)
