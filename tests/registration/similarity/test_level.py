"""The images of a level, and the weighted sum of several similarities of them."""

import numpy as np
import pytest
import torch

from bidsreg.registration.numerics.compute import ON_CPU
from bidsreg.registration.problem import prepare
from bidsreg.registration.similarity import SIMILARITIES
from bidsreg.registration.similarity.level import LevelImages, WeightedTerms
from tests.heart import QUICK, loaded


@pytest.fixture
def problem(pair):
    images = loaded(pair.fixed), loaded(pair.moving)
    return prepare(*images, QUICK, loaded(pair.fixed_mask), None, pair.truth.matrix)


def test_the_sum_is_that_of_its_parts(problem):
    parts = [
        (SIMILARITIES['mind-ssc'](0), 1.0, 8.0),
        (SIMILARITIES['gmi'](), 0.1, 12.0),
        (SIMILARITIES['lncc'](), 0.2, 8.0),
    ]
    whole = WeightedTerms.at(problem, 0, parts, ON_CPU)
    assert not whole.empty
    rng = torch.Generator().manual_seed(1)
    leaf = torch.randn((1, 3, *problem.velocity.shape), generator=rng).requires_grad_()
    value = whole(leaf)
    (slope,) = torch.autograd.grad(value, leaf)
    each = [weight * term(leaf) for term, weight in whole.terms]
    torch.testing.assert_close(value, sum(each))
    wanted = sum(torch.autograd.grad(part, leaf)[0] for part in each)
    torch.testing.assert_close(slope, wanted)
    outside = torch.ones(leaf.shape[2:], dtype=torch.bool).flatten()
    outside[whole.needed] = False
    assert outside.any()
    assert slope.flatten(2)[:, :, outside].abs().max() == 0
    assert torch.equal(whole.needed, whole.needed.unique())


def test_images_for_a_smaller_support_are_the_inner_part(problem):
    wide = LevelImages.of(problem, 8.0, 3, 1, ON_CPU)
    narrow = wide.trimmed(1)
    assert wide.trimmed(3) is wide
    assert narrow.fixed.shape == narrow.grid.shape == tuple(n - 4 for n in wide.grid.shape)
    assert torch.equal(narrow.fixed, wide.fixed[2:-2, 2:-2, 2:-2])
    np.testing.assert_allclose(narrow.grid.to_world(np.zeros(3)), wide.grid.to_world(np.full(3, 2.0)))
    # what is compared has the wider surroundings
    assert narrow.weight.sum() == wide.weight.sum()


def test_nothing_to_compare_is_empty(problem):
    nothing = torch.zeros_like(problem.fixed_mask.data)
    problem.fixed_mask.data.copy_(nothing)
    assert WeightedTerms.at(problem, 0, [(SIMILARITIES['mind'](), 1.0, 8.0)], ON_CPU).empty
