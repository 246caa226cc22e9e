"""Several similarities in one."""

import torch

from bidsreg.registration.similarity import SIMILARITIES
from bidsreg.registration.similarity.combined import CombinedSimilarity
from tests.comparisons import Comparison, smooth_noise

SHAPE = (12, 13, 11)
WEIGHTS = {'lncc': 0.3, 'gmi': 0.2, 'ssd': 2.0}


def given(similarity):
    """What a similarity is given of two images whose compared voxels lie two from the border."""
    fixed, warped = (torch.from_numpy(smooth_noise(SHAPE, seed))[None, None] for seed in (3, 4))
    room = 2 - similarity.support
    cut = (..., *(slice(room, n - room) for n in SHAPE))
    rng = torch.Generator().manual_seed(5)
    weight = (torch.rand((1, 1, *(n - 4 for n in SHAPE)), generator=rng, dtype=fixed.dtype) > 0.2).to(fixed.dtype)
    similarity.calibrate(fixed[cut], warped[cut], weight)
    return similarity.features(fixed[cut]), warped[cut], weight.expand(1, len(similarity.margins), -1, -1, -1)


def test_value_and_gradient_are_the_weighted_sums():
    whole = CombinedSimilarity([(SIMILARITIES[name](), weight) for name, weight in WEIGHTS.items()])
    assert (whole.support, whole.passes) == (2, 2)
    features, warped, weight = given(whole)
    sums, kept = whole.first_pass(features, warped, weight)
    torch.testing.assert_close(sums, whole.sums(features, warped, weight), rtol=1e-4, atol=1e-4)
    leaf = sums.clone().requires_grad_()
    value = whole.value(leaf)
    (upstream,) = torch.autograd.grad(value, leaf)
    found = whole.second_pass(features, warped, weight, upstream, kept)
    wanted, total = torch.zeros_like(warped), 0.0
    for name, share in WEIGHTS.items():
        alone = SIMILARITIES[name]()
        own_features, own_warped, own_weight = given(alone)
        image = own_warped.clone().requires_grad_()
        own = share * alone.value(alone.sums(own_features, image, own_weight))
        (slope,) = torch.autograd.grad(own, image)
        room = 2 - alone.support
        wanted[(..., *(slice(room, n - room) for n in SHAPE))] += slope
        total += own.item()
    assert value.item() == torch.tensor(total, dtype=value.dtype).item() or abs(value.item() - total) < 1e-4 * abs(
        total
    )
    torch.testing.assert_close(found, wanted, rtol=1e-3, atol=1e-5 * wanted.abs().max().item())


def test_a_flat_image_has_finite_slopes():
    whole = CombinedSimilarity([(SIMILARITIES[name](), weight) for name, weight in WEIGHTS.items()])
    features, warped, weight = given(whole)
    flat = torch.full_like(warped, 0.3)
    sums, kept = whole.first_pass(features, flat, weight)
    leaf = sums.clone().requires_grad_()
    (upstream,) = torch.autograd.grad(whole.value(leaf), leaf)
    assert whole.second_pass(features, flat, weight, upstream, kept).isfinite().all()
    assert Comparison('lncc', smooth_noise(SHAPE, 1), smooth_noise(SHAPE, 2)).value() > 0
