"""The registry: every translator by the kind of its recipe."""

from __future__ import annotations

from typing import Any

from bidsreg.translation.base import Translator
from bidsreg.translation.cut import Cut
from bidsreg.translation.cyclegan import CycleGan
from bidsreg.translation.recipes import Recipe
from bidsreg.translation.transport import StrongTransport, WeakTransport

TRANSLATORS: dict[str, type[Translator[Any]]] = {
    'cyclegan': CycleGan,
    'cut': Cut,
    'not': StrongTransport,
    'not-weak': WeakTransport,
}
"""The translators by the names of their recipes."""


def translator_for(recipe: Recipe, size: int) -> Translator[Any]:
    """Make the translator of a recipe, untrained, for slices of `size` x `size` voxels."""
    return TRANSLATORS[recipe.name](recipe, size)
