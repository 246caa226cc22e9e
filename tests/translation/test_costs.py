"""Costs of a translation, against brute force: inverted contrasts cost nothing where they should not."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from bidsreg.translation.costs import COSTS, FLOOR, InvertedCost, plane_mind


def cost_of(name, source, target):
    cost = COSTS[name]()
    cost.calibrate(source.numpy().ravel(), target.numpy().ravel())
    return float((cost.of_source(source) - cost.of_target(target)).square().mean())


@pytest.fixture(scope='module')
def slices():
    values = torch.from_numpy(np.random.default_rng(0).uniform(0.05, 0.95, (2, 1, 20, 22)).astype(np.float32))
    return torch.nn.functional.avg_pool2d(values, 3, 1, 1)


def test_an_inverted_slice_is_far_by_its_intensities_alone(slices):
    inverted = 1 - slices
    assert cost_of('intensity', slices, inverted) > 0.01
    assert cost_of('inverted', slices, inverted) < 1e-4
    assert cost_of('mind', slices, inverted) < 1e-10
    assert cost_of('intensity', slices, slices) == 0


def test_anatomy_that_moves_costs_something(slices):
    moved = 1 - torch.roll(slices, 3, -1)
    for name in ('inverted', 'mind'):
        assert cost_of(name, slices, moved) > 30 * cost_of(name, slices, 1 - slices) + 1e-3


def test_the_match_gives_the_source_the_histogram_of_the_target_upside_down():
    rng = np.random.default_rng(1)
    source, target = rng.beta(2, 5, 20000), rng.beta(3, 1, 20000)
    cost = InvertedCost()
    cost.calibrate(source, target)
    mapped = cost.of_source(torch.from_numpy(source.astype(np.float32))).numpy()
    ranks = np.argsort(source)
    assert (np.diff(mapped[ranks]) <= 1e-6).all()
    wanted = (0.05, 0.25, 0.5, 0.75, 0.95)
    np.testing.assert_allclose(np.quantile(mapped, wanted), np.quantile(target, wanted), atol=0.02)
    assert float(cost.of_source(torch.zeros(1))) == 0  # what is outside of the brain stays outside
    assert 'knots' in cost.state_dict()


def brute_mind(plane):
    weights = np.outer((1, 2, 1), (1, 2, 1)) / 16
    out = np.zeros((4, plane.shape[0] - 4, plane.shape[1] - 4))
    for i in range(2, plane.shape[0] - 2):
        for j in range(2, plane.shape[1] - 2):
            patch = plane[i - 1 : i + 2, j - 1 : j + 2]
            distances = [
                (weights * (plane[i - 1 + a : i + 2 + a, j - 1 + b : j + 2 + b] - patch) ** 2).sum()
                for a, b in ((1, 0), (-1, 0), (0, 1), (0, -1))
            ]
            out[:, i - 2, j - 2] = np.exp(-np.array(distances) / max(np.mean(distances), FLOOR))
    return out


def test_mind_is_what_its_definition_says(slices):
    found = plane_mind(slices).numpy()
    for plane, own in zip(slices.numpy()[:, 0], found, strict=True):
        np.testing.assert_allclose(own, brute_mind(plane.astype(float)), atol=2e-5)


def test_flat_slices_have_no_structure():
    assert torch.equal(plane_mind(torch.full((1, 1, 9, 9), 0.4)), torch.ones(1, 4, 5, 5))
