"""Similarities that compare MIND descriptors."""

import numpy as np
import pytest
import torch

from bidsreg.registration.similarity import SIMILARITIES, descriptors
from tests.comparisons import Comparison, core, smooth_noise, tensor

#: Weights of patches along an axis, by their radius.
BINOMIAL = {0: np.ones(1), 1: np.array([1, 2, 1]) / 4, 2: np.array([1, 4, 6, 4, 1]) / 16}


@pytest.mark.parametrize(
    ('name', 'descriptor', 'floor'),
    [
        ('mind', descriptors.mind, descriptors.variance_floor),
        ('mind-features', descriptors.mind, descriptors.variance_floor),
        ('mind-ssc', descriptors.mind_ssc, descriptors.ssc_variance_floor),
    ],
)
@pytest.mark.parametrize('radius', BINOMIAL)
def test_descriptors_are_compared_by_the_weighted_mean_square(name, descriptor, floor, radius):
    fixed, moving = smooth_noise((9, 8, 10), 1), smooth_noise((9, 8, 10), 2)
    floors = [floor(tensor(image), radius=radius) for image in (fixed, moving)]
    a, b = (
        descriptor(tensor(image), floor=least, radius=radius)[0].numpy()
        for image, least in zip((fixed, moving), floors, strict=True)
    )
    weight = np.random.default_rng(3).integers(0, 2, fixed.shape)
    inside = core(weight, radius + 1) > 0
    wanted = np.mean([np.mean((a[(slice(None), *p)] - b[(slice(None), *p)]) ** 2) for p in np.argwhere(inside)])
    compared = Comparison(name, fixed, moving, weight, radius=radius)
    if name != 'mind-features':  # its floor is of the whole image, that of the others of the compared voxels
        compared.similarity.floor = floors[1]
    assert compared.value().item() == pytest.approx(wanted, rel=1e-9)


def test_warped_features_have_the_size_of_the_image_and_repeat_its_border():
    image = smooth_noise((7, 8, 9), 4)
    similarity = SIMILARITIES['mind-features']()
    features = similarity.moving_features(tensor(image))
    assert features.shape == (1, 6, 7, 8, 9)
    padded = tensor(np.pad(image, 2, mode='edge'))
    torch.testing.assert_close(features, descriptors.mind(padded, floor=descriptors.variance_floor(padded)))


class ByHand(torch.autograd.Function):
    """A mismatch with a gradient of its own, for gradcheck."""

    @staticmethod
    def forward(ctx, image, mismatch, *known):
        value, gradient = mismatch(image, *known)
        ctx.save_for_backward(gradient)
        return value

    @staticmethod
    def backward(ctx, upstream):
        return upstream * ctx.saved_tensors[0], None, None, None, None, None


@pytest.mark.parametrize(
    ('mismatch', 'descriptor', 'distances'),
    [
        (descriptors.mind_mismatch, descriptors.mind, descriptors.patch_distances),
        (descriptors.ssc_mismatch, descriptors.mind_ssc, descriptors.ssc_distances),
    ],
)
@pytest.mark.parametrize('radius', BINOMIAL)
def test_the_chain_rule_by_hand_is_that_of_autograd(mismatch, descriptor, distances, radius):
    image, other = (tensor(smooth_noise((9, 8, 8), seed)) for seed in (45, 46))
    floor = distances(image, radius=radius).mean(1).median().item() * 1.001  # it holds for half of the voxels
    features = descriptor(other, floor=floor, radius=radius)[0]
    weight = torch.as_tensor(np.random.default_rng(47).random(features.shape[1:]))

    leaf = image.clone().requires_grad_()
    plain = ((descriptor(leaf, floor=floor, radius=radius)[0] - features).square().mean(0) * weight).sum()
    value, gradient = mismatch(image[0, 0], features, weight, floor, radius)
    assert value.item() == pytest.approx(plain.item(), rel=1e-12)
    torch.testing.assert_close(gradient, torch.autograd.grad(plain, leaf)[0][0, 0], rtol=0, atol=1e-12)
    x, y, z = (2 * radius + 2 + extra for extra in (2, 1, 1))
    small = image[0, 0, :x, :y, :z].clone().requires_grad_()
    known = features[:, :2, :1, :1], weight[:2, :1, :1], floor, radius
    assert torch.autograd.gradcheck(lambda x: ByHand.apply(x, mismatch, *known), small, atol=1e-8)
