"""Mutual information as a similarity, against plain loops."""

import itertools

import numpy as np
import pytest
import torch
from scipy.interpolate import BSpline

from bidsreg.registration.numerics import information
from bidsreg.registration.similarity import SIMILARITIES
from tests.comparisons import Comparison, smooth_noise


def plain_information(a, b, between_a, between_b, bins):
    """Mutual information of two lists of values: a cubic B-spline (SciPy's) around each, bin by bin."""
    window = BSpline.basis_element(np.arange(-2.0, 3.0), extrapolate=False)

    def shares(value, between):
        at = 1 + (np.clip(value, *between) - between[0]) / (between[1] - between[0]) * (bins - 3)
        return np.nan_to_num(window(np.arange(bins) - at))

    joint = np.zeros((bins, bins))
    for x, y in zip(a, b, strict=True):
        joint += np.outer(shares(x, between_a), shares(y, between_b))
    joint /= joint.sum()
    total = 0.0
    for i, j in zip(*np.nonzero(joint), strict=True):
        total += joint[i, j] * np.log(joint[i, j] / (joint[i].sum() * joint[:, j].sum()))
    return total


def plain_range(values):
    ordered = np.sort(values)
    out = int(0.005 * len(ordered))
    return ordered[out], ordered[len(ordered) - 1 - out]


def test_gmi_equals_the_plain_loop():
    fixed = smooth_noise((8, 8, 8), 14)
    moving = (fixed - 0.4) ** 2 + 0.01 * smooth_noise((8, 8, 8), 15)
    weight = np.random.default_rng(16).integers(0, 2, fixed.shape)
    a, b = fixed[weight > 0], moving[weight > 0]
    wanted = plain_information(a, b, plain_range(a), plain_range(b), 32)
    assert Comparison('gmi', fixed, moving, weight).value().item() == pytest.approx(-wanted, rel=1e-9)


def test_lmi_equals_the_plain_loop_over_cubes():
    fixed = smooth_noise((11, 16, 8), 17)
    moving = (fixed - 0.4) ** 2 + 0.01 * smooth_noise(fixed.shape, 18)
    weight = np.random.default_rng(19).integers(0, 2, fixed.shape)
    weight[8:, 8:, 2:] = 0  # leaves the cut cube there fewer than a tenth
    ranges = [plain_range(image[weight > 0]) for image in (fixed, moving)]
    total = count = 0
    ignored = 0
    for i, j in itertools.product((0, 8), (0, 8)):
        cube = np.s_[i : i + 8, j : j + 8]
        inside = weight[cube] > 0
        if inside.sum() < 51.2:
            ignored += 1
            continue
        total += inside.sum() * plain_information(fixed[cube][inside], moving[cube][inside], *ranges, 16)
        count += inside.sum()
    assert ignored == 1
    assert Comparison('lmi', fixed, moving, weight).value().item() == pytest.approx(-total / count, rel=1e-9)


def test_gmi_is_close_to_the_information_of_a_plain_histogram(heads):
    """32 windows four bins wide blur more than 48 sharp bins, so they find a little less: 15 per cent here."""
    fixed, moving, mask = heads['T1w'], heads['T2w'], heads['mask'] > 0
    ours = -Comparison('gmi', fixed, moving, mask).value().item()
    plain = information.information_of_values(fixed[mask], moving[mask])[0]
    assert 0.8 * plain < ours < plain
    shifted = np.roll(moving, 3, 0)
    fall = plain - information.information_of_values(fixed[mask], shifted[mask])[0]
    assert ours + Comparison('gmi', fixed, shifted, mask).value().item() == pytest.approx(fall, rel=0.2)


def test_products_of_matrices_as_a_gpu_takes_them_give_the_same():
    similarity = SIMILARITIES['gmi']()
    rng = torch.Generator().manual_seed(3)
    fixed, warped = (torch.rand((1, 1, 6, 5, 7), generator=rng, dtype=torch.float64) for _ in range(2))
    weight = (torch.rand(fixed.shape, generator=rng, dtype=torch.float64) > 0.3).double()
    similarity.fixed_range, similarity.moving_range = (0.1, 0.95), (0.05, 0.9)
    leaf = warped.clone().requires_grad_()
    sums = similarity.sums(fixed, leaf, weight)
    torch.testing.assert_close(similarity._dense_totals(fixed, warped, weight), sums.detach())
    upstream = torch.randn(sums.shape, generator=rng, dtype=torch.float64)
    (wanted,) = torch.autograd.grad(upstream @ sums, leaf)
    found = similarity._dense_gradient(fixed, warped, weight, upstream)
    torch.testing.assert_close(found.view(warped.shape), wanted)


@pytest.mark.parametrize('name', ['gmi', 'lmi'])
def test_an_outline_is_in_the_lowest_bin_and_widens_none(name):
    fixed, warped = (torch.as_tensor(smooth_noise((12, 12, 12), seed))[None, None] for seed in (20, 21))
    brain = torch.zeros(fixed.shape, dtype=torch.bool)
    brain[..., 3:9, 3:9, 3:9] = True
    both = [one.where(brain, torch.tensor(-1.0, dtype=one.dtype)) for one in (fixed.abs(), warped.abs())]
    weight = torch.ones_like(fixed)
    plain, outlined = SIMILARITIES[name](), SIMILARITIES[name]()
    outlined.outlined = True
    plain.calibrate(*both, brain.to(fixed.dtype))
    outlined.calibrate(*both, weight)
    assert (outlined.fixed_range, outlined.moving_range) == (plain.fixed_range, plain.moving_range)
    joint = outlined.histograms(both[0], both[1], weight)[0]
    assert joint.sum() == pytest.approx(weight.sum().item())
    assert joint[:3, :3].sum() >= (~brain).sum()
