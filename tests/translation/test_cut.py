"""CUT: PatchNCE against its definition, places inside the brain."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from bidsreg.translation.cut import Cut, draw_places, patch_nce
from bidsreg.translation.training import noise_of

from .conftest import SIZE, tiny


def test_patch_nce_is_what_its_definition_says():
    rng = np.random.default_rng(0)
    queries, keys = rng.normal(size=(2, 3, 5, 4))
    queries, keys = (part / np.linalg.norm(part, axis=-1, keepdims=True) for part in (queries, keys))
    losses = []
    for mine, theirs in zip(queries, keys, strict=True):  # negatives are of the same slice
        for number, query in enumerate(mine):
            likeness = np.exp(theirs @ query / 0.07)
            losses.append(-np.log(likeness[number] / likeness.sum()))
    found = patch_nce(*(torch.from_numpy(part) for part in (queries, keys)), 0.07)
    assert float(found) == pytest.approx(np.mean(losses))


def test_patch_nce_is_least_where_patches_belong_together():
    unit = torch.eye(6)[None]
    assert float(patch_nce(unit, unit, 0.07)) < 1e-4
    assert float(patch_nce(unit, unit.roll(1, 1), 0.07)) > 10
    assert float(patch_nce(unit * 0, unit, 0.07)) == pytest.approx(np.log(6))


def test_places_lie_in_the_brain_and_none_twice():
    inside = torch.zeros(2, 1, 32, 32)
    inside[0, :, 8:24, 8:24] = 1
    inside[1, :, :8, :8] = 1
    places = draw_places(inside, (16, 16), 16, noise_of(0, 0))
    assert places.shape == (2, 16)
    where = torch.nn.functional.avg_pool2d(inside, 2).flatten(1)
    assert where.gather(1, places).min() == 1
    assert all(len(set(row.tolist())) == 16 for row in places)
    # a level that is smaller gives all that it has
    assert sorted(draw_places(inside, (4, 4), 256, noise_of(0, 0))[0].tolist()) == list(range(16))


def test_the_identity_is_a_matter_of_the_recipe(sampler):
    torch.manual_seed(0)
    for identity in (True, False):
        translator = Cut(dataclasses.replace(tiny('cut'), identity=identity), SIZE)
        optimisers = {name: torch.optim.Adam(list(part), 1e-3) for name, part in translator.parts().items()}
        losses = translator.step(sampler.draw(0, 2), 0, optimisers, noise_of(0, 0))
        assert (float(losses['identity']) > 0) == identity


def test_patches_learn_to_know_one_another(sampler):
    torch.manual_seed(0)
    translator = Cut(tiny('cut', width=3), SIZE)
    optimisers = {name: torch.optim.Adam(list(part), 5e-3) for name, part in translator.parts().items()}
    losses = [float(translator.step(sampler.draw(n, 2), n, optimisers, noise_of(0, n))['contrast']) for n in range(20)]
    assert sum(losses[-5:]) < 0.8 * sum(losses[:5])
