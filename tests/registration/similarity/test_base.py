"""What holds for every similarity of the registry."""

import numpy as np
import pytest
import torch

from bidsreg.registration.similarity import SIMILARITIES, Similarity
from tests.comparisons import EVERY, INFORMATION, Comparison, small, smooth_noise, tensor


def six_neighbours():
    return [sign * np.eye(3, dtype=int)[axis] for axis in range(3) for sign in (1, -1)]


@pytest.mark.parametrize('name', SIMILARITIES)
def test_what_is_warped_is_the_image_itself_unless_features_are(name):
    image, similarity = tensor(smooth_noise((7, 8, 9), 4)), SIMILARITIES[name]()
    warped = similarity.moving_features(image)
    assert (warped is image) != similarity.feature_based


def test_a_similarity_must_say_what_it_sums():
    with pytest.raises(TypeError, match='sums'):
        Similarity()


@pytest.mark.parametrize('name', sorted(INFORMATION))
def test_an_image_tells_more_of_itself_than_of_its_shuffled_voxels(name):
    image = smooth_noise((16, 16, 16), 20)
    shuffled = np.random.default_rng(21).permutation(image.ravel()).reshape(image.shape)
    itself, other = Comparison(name, image, image).value(), Comparison(name, image, shuffled).value()
    assert -np.log(SIMILARITIES[name].bins) <= itself < other - 0.5
    assert other <= 0


@pytest.mark.parametrize('name', EVERY)
def test_gradient_by_finite_differences(name):
    compared = Comparison(name, *small(name, 30))
    similarity = compared.similarity
    leaf = (0.99 * compared.warped() + 0.003).requires_grad_()  # the extremes off the ends of the range, a kink
    assert compared.gradient().abs().max() > 1e-5
    assert torch.autograd.gradcheck(
        lambda warped: similarity.value(similarity.sums(compared.features, warped, compared.weight)), leaf, atol=1e-7
    )


@pytest.mark.parametrize('name', EVERY)
def test_gradient_box_by_box_is_that_of_the_value(name):
    compared = Comparison(name, *small(name, 40))
    # the extremes off the ends of the range, a kink
    similarity, warped = compared.similarity, 0.99 * compared.warped() + 0.003
    leaf = warped.clone().requires_grad_()
    whole = similarity.value(similarity.sums(compared.features, leaf, compared.weight))
    (wanted,) = torch.autograd.grad(whole, leaf)
    totals = similarity.sums(compared.features, warped, compared.weight).requires_grad_()
    slope = torch.autograd.grad(similarity.value(totals), totals)[0]
    if similarity.passes == 1:
        sums, gradient = similarity.sums_and_gradient(compared.features, warped, compared.weight)
        gradient, close = gradient * slope[0], {'atol': 1e-9, 'rtol': 1e-6}
    else:
        sums = similarity.totals(compared.features, warped, compared.weight)
        gradient = similarity.gradient(compared.features, warped, compared.weight, slope)
        # kernels are given single precision
        close = {'atol': 1e-5 * wanted.abs().max().item(), 'rtol': 1e-4}
    torch.testing.assert_close(sums, totals.detach(), atol=1e-4, rtol=1e-5)
    torch.testing.assert_close(gradient, wanted, **close)


@pytest.mark.parametrize(('gain', 'shift'), [(3.7, -2.0), (-1.0, 5.0), (-0.2, 0.0)])
@pytest.mark.parametrize('name', [name for name in EVERY if name != 'ssd'])
def test_affine_intensity_changes_and_inversion_go_unnoticed(name, gain, shift):
    fixed, moving = smooth_noise((12, 11, 10), 50), smooth_noise((12, 11, 10), 51)
    as_it_is, changed = (Comparison(name, fixed, image).value() for image in (moving, gain * moving + shift))
    torch.testing.assert_close(changed, as_it_is, rtol=1e-6, atol=0)
    both = Comparison(name, gain * fixed + shift, moving).value()
    torch.testing.assert_close(both, as_it_is, rtol=1e-6, atol=0)


@pytest.mark.parametrize('name', EVERY)
@pytest.mark.parametrize('flat', ['fixed', 'moving', 'both', 'unmasked'])
def test_flat_images_and_empty_masks_give_finite_values_and_slopes(name, flat):
    shape = (10, 9, 11)
    varied, plain = smooth_noise(shape, 80), np.full(shape, 0.37)
    fixed = plain if flat in {'fixed', 'both'} else varied
    moving = plain if flat in {'moving', 'both'} else varied[::-1]
    compared = Comparison(
        name, fixed, moving, np.zeros(shape) if flat == 'unmasked' else np.ones(shape), dtype=torch.float32
    )
    assert compared.value().isfinite()
    assert compared.gradient().isfinite().all()


@pytest.mark.parametrize('name', EVERY)
def test_single_precision_agrees_with_double_and_the_range_is_kept(name):
    fixed, moving = smooth_noise((24, 26, 25), 90, 1.5), smooth_noise((24, 26, 25), 91, 1.5)
    single, double = (Comparison(name, fixed, moving, dtype=dtype) for dtype in (torch.float32, torch.float64))
    assert single.value().dtype is torch.float32
    assert single.value().item() == pytest.approx(double.value().item(), rel=1e-4)
    assert torch.nn.functional.cosine_similarity(single.gradient().flatten(), double.gradient().flatten(), 0) > 0.9999
    low, high = (-np.log(SIMILARITIES[name].bins), 0) if name in INFORMATION else (0, 1)
    assert low <= double.value().item() <= high


@pytest.mark.parametrize('name', EVERY)
def test_aligned_heads_are_more_alike_than_shifted_ones(name, heads):
    moving = heads['T1w again' if name in {'ssd', 'lncc'} else 'T2w']
    values = {
        shift: Comparison(name, heads['T1w'], np.roll(moving, shift, (0, 1, 2)), heads['mask'], torch.float32)
        .value()
        .item()
        for shift in [(0, 0, 0), *map(tuple, six_neighbours()), (3, 0, 0), (0, -3, 0)]
    }
    aligned = values.pop((0, 0, 0))
    assert aligned < min(values.values())
    assert values[3, 0, 0] > values[1, 0, 0]
