"""The data term, worked box by box."""

import dataclasses
import itertools

import numpy as np
import pytest
import torch
from scipy import ndimage as ndi

from bidsreg.registration.numerics.compute import Compute
from bidsreg.registration.similarity import SIMILARITIES, dataterm, descriptors
from tests import data
from tests.comparisons import EVERY, Comparison, core, smooth_noise
from tests.heart import QUICK, solved


@pytest.mark.parametrize('name', EVERY)
def test_boxes_together_are_the_whole_image(name):
    shape = (21, 18, 23)
    weight = (smooth_noise(shape, 60, 2) > 0.4).astype(float)
    compared = Comparison(name, smooth_noise(shape, 61), smooth_noise(shape, 62), weight)
    similarity, warped = compared.similarity, compared.warped()
    reach = 0 if similarity.feature_based else 2 * similarity.support
    margin = 2 * similarity.feature_margin
    size = similarity.block * -(-7 // similarity.block)
    total = 0
    for corner in itertools.product(*[range(0, n, size) for n in compared.weight.shape[2:]]):
        ends = [min(c + size, n) for c, n in zip(corner, compared.weight.shape[2:], strict=True)]
        cut = [tuple(slice(c, e + more) for c, e in zip(corner, ends, strict=True)) for more in (0, margin, reach)]
        total = total + similarity.sums(
            compared.features[(..., *cut[1])], warped[(..., *cut[2])], compared.weight[(..., *cut[0])]
        )
    torch.testing.assert_close(similarity.value(total), compared.value())


@pytest.mark.parametrize('name', EVERY)
def test_voxels_beyond_the_mask_and_its_support_do_not_matter(name, monkeypatch):
    shape = (20, 18, 19)
    weight = np.zeros(shape)
    weight[5:-5, 5:-6, 6:-5] = 1
    for floor in ('variance_floor', 'ssc_variance_floor'):  # that of the fixed image is taken from all of it
        monkeypatch.setattr(descriptors, floor, lambda *images, **more: 1e-9)
    fixed, moving = smooth_noise(shape, 70), smooth_noise(shape, 71)
    near = ndi.binary_dilation(weight, np.ones((2 * SIMILARITIES[name].support + 1,) * 3))
    noise = np.random.default_rng(72).normal(0, 9, (2, *shape)) * ~near
    compared = Comparison(name, fixed, moving, weight)
    noisy = Comparison(name, fixed + noise[0], moving + noise[1], weight)
    torch.testing.assert_close(noisy.value(), compared.value(), rtol=1e-9, atol=0)
    gradient = compared.gradient()[0].abs().amax(0)
    inside = core(near, SIMILARITIES[name].support) if compared.similarity.feature_based else near
    assert gradient[~inside].max() == 0 < gradient.max()


@pytest.mark.parametrize('name', ['gmi', 'mind'])
def test_a_gpu_takes_one_box_after_another_in_every_pass(name, monkeypatch):
    """Pretended: what is asked for is the number of boxes at a time."""
    asked = []
    run = dataterm.in_threads

    def noted(function, items, count):
        asked.append(count)
        return run(function, items, 1)

    monkeypatch.setattr(dataterm, 'in_threads', noted)
    monkeypatch.setattr(Compute, 'at_a_time', property(lambda _: 1))
    pair = data.pair((20, 24, 20), seed=1)
    chosen = dataclasses.replace(QUICK, similarity=name, levels=((8.0, 1),))
    solved(pair, chosen)
    assert len(asked) >= SIMILARITIES[name].passes
    assert set(asked) == {1}
