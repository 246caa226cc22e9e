"""Every similarity against plain loops over voxels, finite differences, and what it must not notice."""

import itertools

import numpy as np
import pytest
import torch
from scipy import ndimage as ndi
from scipy.interpolate import BSpline

from bidsreg.registration import metrics
from bidsreg.registration.similarity import descriptors
from bidsreg.registration.similarity import histograms as information
from bidsreg.registration.similarity.base import SIMILARITIES, Similarity
from tests import data

EVERY = sorted(SIMILARITIES)
INFORMATION = {'gmi', 'lmi'}
#: Weights of patches along an axis, by their radius.
BINOMIAL = {0: np.ones(1), 1: np.array([1, 2, 1]) / 4, 2: np.array([1, 4, 6, 4, 1]) / 16}


def tensor(array, dtype=torch.float64):
    return torch.as_tensor(np.ascontiguousarray(array), dtype=dtype)[None, None]


def smooth_noise(shape, seed, sigma=0.8):
    values = ndi.gaussian_filter(np.random.default_rng(seed).normal(size=shape), sigma)
    return 0.5 + 0.2 * values / values.std()


def core(array, support):
    return array[tuple(slice(support, n - support) for n in array.shape)]


class Comparison:
    """A similarity calibrated on two arrays, as on one level; `weight` has the shape of the whole images."""

    def __init__(self, name, fixed, moving, weight=None, dtype=torch.float64, radius=1):
        self.similarity = SIMILARITIES[name](radius)
        support = self.similarity.support
        self.weight = tensor(core(np.ones(fixed.shape) if weight is None else weight, support), dtype)
        self.fixed, self.moving = tensor(fixed, dtype), tensor(moving, dtype)
        self.similarity.calibrate(self.fixed, self.moving, self.weight)
        self.features = self.similarity.features(self.fixed)

    def warped(self, moving=None):
        moving = self.moving if moving is None else moving
        return (
            self.similarity.core(self.similarity.moving_features(moving)) if self.similarity.feature_based else moving
        )

    def value(self, moving=None, fixed=None):
        features = self.features if fixed is None else self.similarity.features(fixed)
        return self.similarity.value(self.similarity.sums(features, self.warped(moving), self.weight))

    def gradient(self):
        leaf = self.warped().clone().requires_grad_()
        value = self.similarity.value(self.similarity.sums(self.features, leaf, self.weight))
        return torch.autograd.grad(value, leaf)[0]


# ---------------------------------------------------------------------------------------------------- plain loops
def patch_distance(image, p, q, radius):
    total = 0.0
    for steps in itertools.product(range(-radius, radius + 1), repeat=3):
        weight = np.prod(BINOMIAL[radius][np.array(steps) + radius])
        total += weight * (image[tuple(p + steps)] - image[tuple(q + steps)]) ** 2
    return total


def six_neighbours():
    return [sign * np.eye(3, dtype=int)[axis] for axis in range(3) for sign in (1, -1)]


def plain_mind_ssc(image, floor, radius):
    """The definition: all pairs of the six neighbours that are sqrt(2) apart."""
    pairs = [(p, q) for p, q in itertools.combinations(six_neighbours(), 2) if ((p - q) ** 2).sum() == 2]
    assert len(pairs) == 12
    support = radius + 1
    out = np.zeros((12, *[n - 2 * support for n in image.shape]))
    for index in np.ndindex(*out.shape[1:]):
        here = np.array(index) + support
        distances = np.array([patch_distance(image, here + p, here + q, radius) for p, q in pairs])
        out[(slice(None), *index)] = np.exp(-distances / max(distances.mean(), floor))
    return out, [frozenset((tuple(p), tuple(q))) for p, q in pairs]


def documented_order():
    """The pairs in the order that `ssc_distances` says."""
    unit = np.eye(3, dtype=int)
    return [
        frozenset((tuple(s * unit[a]), tuple(t * unit[b])))
        for a, b in ((0, 1), (0, 2), (1, 2))
        for s, t in ((-1, 1), (1, -1), (1, 1), (-1, -1))
    ]


def gradient_at(image, index):
    return np.array([(image[tuple(index + e)] - image[tuple(index - e)]) / 2 for e in np.eye(3, dtype=int)])


def plain_ngf(fixed, moving, weight, edges):
    total = 0.0
    for index in np.argwhere(weight > 0):
        a, b = (gradient_at(image, index) for image in (fixed, moving))
        a, b = (g / np.sqrt((g**2).sum() + edge**2) for g, edge in zip((a, b), edges, strict=True))
        total += 1 - (a @ b) ** 2
    return total / (weight > 0).sum()


def plain_lncc(fixed, moving, weight):
    total = 0.0
    for i, j, k in np.argwhere(weight > 0):
        window = np.s_[i - 2 : i + 3, j - 2 : j + 3, k - 2 : k + 3]
        total += 1 - np.corrcoef(fixed[window].ravel(), moving[window].ravel())[0, 1] ** 2
    return total / (weight > 0).sum()


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


@pytest.mark.parametrize('radius', BINOMIAL)
def test_mind_ssc_equals_the_plain_loop(radius):
    image = np.random.default_rng(0).normal(size=(7, 8, 9))
    plain, pairs = plain_mind_ssc(image, 1e-4, radius)
    order = documented_order()
    assert set(order) == set(pairs)
    ours = descriptors.mind_ssc(tensor(image), floor=1e-4, radius=radius)[0].numpy()
    np.testing.assert_allclose(ours, plain[[pairs.index(pair) for pair in order]], atol=1e-12)


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


@pytest.mark.parametrize('name', SIMILARITIES)
def test_what_is_warped_is_the_image_itself_unless_features_are(name):
    image, similarity = tensor(smooth_noise((7, 8, 9), 4)), SIMILARITIES[name]()
    warped = similarity.moving_features(image)
    assert (warped is image) != similarity.feature_based


def test_a_similarity_must_say_what_it_sums():
    with pytest.raises(TypeError, match='sums'):
        Similarity()


def test_ngf_equals_the_plain_loop():
    fixed, moving = smooth_noise((8, 7, 9), 5), smooth_noise((8, 7, 9), 6)
    weight = np.zeros(fixed.shape)
    weight[1:-1, 1:-1, 2:-1] = np.random.default_rng(7).integers(0, 2, (6, 5, 6))
    edges = [
        np.mean([np.linalg.norm(gradient_at(image, index)) for index in np.argwhere(weight > 0)])
        for image in (fixed, moving)
    ]
    ours = Comparison('ngf', fixed, moving, weight).value().item()
    assert ours == pytest.approx(plain_ngf(fixed, moving, weight, edges), rel=1e-9)


def test_ngf_of_two_slopes_is_known():
    x, y, _ = np.meshgrid(*[np.arange(6.0)] * 3, indexing='ij')
    assert Comparison('ngf', x, -3 * x).value().item() == pytest.approx(1 - (1 / 2) ** 2)  # eta is the slope itself
    assert Comparison('ngf', x, y).value().item() == pytest.approx(1)


def test_lncc_equals_the_plain_loop():
    fixed, moving = smooth_noise((8, 9, 7), 8), smooth_noise((8, 9, 7), 9)
    moving += 0.5 * fixed
    weight = np.zeros(fixed.shape)
    weight[2:-2, 2:-2, 2:-2] = np.random.default_rng(10).integers(0, 2, (4, 5, 3))
    ours = Comparison('lncc', fixed, moving, weight).value().item()
    assert 0.1 < ours < 0.9
    assert ours == pytest.approx(plain_lncc(fixed, moving, weight), rel=1e-9)


def test_ssd_equals_numpy():
    fixed, moving = smooth_noise((5, 6, 7), 11), smooth_noise((5, 6, 7), 12)
    weight = np.random.default_rng(13).integers(0, 2, fixed.shape)
    wanted = ((fixed - moving) ** 2)[weight > 0].mean()
    assert Comparison('ssd', fixed, moving, weight).value().item() == pytest.approx(wanted)


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


# ---------------------------------------------------------------------------------------------------- information
def test_information_of_known_histograms():
    joint = torch.stack([torch.eye(8), torch.ones(8, 8), torch.zeros(8, 8)]).double()
    found = information.mutual_information(joint)
    torch.testing.assert_close(found, torch.tensor([np.log(8), 0, 0], dtype=torch.float64), atol=1e-9, rtol=0)
    binary = torch.tensor([[0.4, 0.1], [0.1, 0.4]], dtype=torch.float64)
    wanted = np.log(2) + 0.8 * np.log(0.8) + 0.2 * np.log(0.2)  # a binary symmetric channel
    assert information.mutual_information(7 * binary).item() == pytest.approx(wanted)


def test_windows_add_up_to_one_and_histograms_to_the_weight():
    position = torch.linspace(1, 14, 131, dtype=torch.float64)
    first, weights = information.cubic_windows(position, 16)
    torch.testing.assert_close(weights.sum(0), torch.ones(131, dtype=torch.float64))
    assert first.min() == 0
    assert first.max() == 12
    torch.testing.assert_close((weights * (first + torch.arange(4)[:, None])).sum(0), position)  # centred
    weight = torch.rand(131, dtype=torch.float64)
    group = torch.arange(131, dtype=torch.int32) % 3
    joint = information.joint_histograms(position, position.flip(0), weight, 16, group, 3)
    torch.testing.assert_close(joint.sum((1, 2)), torch.stack([weight[k::3].sum() for k in range(3)]))


def test_range_leaves_out_the_tails_and_the_unweighted():
    values = torch.cat([torch.randperm(1000).double(), torch.full((500,), -1e6)])
    weight = (values >= 0).double()
    assert information.value_range(values, weight) == (5.0, 994.0)
    assert information.value_range(values, torch.zeros_like(values)) == (0.0, 1.0)
    assert information.value_range(torch.full((9,), 3.0), torch.ones(9)) == (3.0, 3.0)


@pytest.mark.parametrize('name', sorted(INFORMATION))
def test_an_image_tells_more_of_itself_than_of_its_shuffled_voxels(name):
    image = smooth_noise((16, 16, 16), 20)
    shuffled = np.random.default_rng(21).permutation(image.ravel()).reshape(image.shape)
    itself, other = Comparison(name, image, image).value(), Comparison(name, image, shuffled).value()
    assert -np.log(SIMILARITIES[name].bins) <= itself < other - 0.5
    assert other <= 0


def test_gmi_is_close_to_the_information_of_a_plain_histogram(heads):
    """32 windows four bins wide blur more than 48 sharp bins, so they find a little less: 15 per cent here."""
    fixed, moving, mask = heads['T1w'], heads['T2w'], heads['mask'] > 0
    ours = -Comparison('gmi', fixed, moving, mask).value().item()
    plain = metrics.mutual_information(fixed[mask], moving[mask])[0]
    assert 0.8 * plain < ours < plain
    shifted = np.roll(moving, 3, 0)
    fall = plain - metrics.mutual_information(fixed[mask], shifted[mask])[0]
    assert ours + Comparison('gmi', fixed, shifted, mask).value().item() == pytest.approx(fall, rel=0.2)


# ---------------------------------------------------------------------------------------------------- all of them
def small(name, seed):
    """Two images as small as the similarity takes, and a mask."""
    shape = (9, 8, 8) if name == 'lmi' else (7, 6, 7)
    weight = np.random.default_rng(seed).integers(0, 2, shape)
    return smooth_noise(shape, seed + 1), smooth_noise(shape, seed + 2), weight


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
    similarity, warped = compared.similarity, compared.warped()
    totals = similarity.sums(compared.features, warped, compared.weight).requires_grad_()
    slope = torch.autograd.grad(similarity.value(totals), totals)[0]
    if similarity.passes == 1:
        sums, gradient = similarity.sums_and_gradient(compared.features, warped, compared.weight)
        gradient = gradient * slope[0]
    else:
        sums, gradient = similarity.sums_and_gradient(compared.features, warped, compared.weight, slope)
    torch.testing.assert_close(sums, totals.detach())
    torch.testing.assert_close(gradient, compared.gradient(), atol=1e-9, rtol=1e-6)


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
    x, y, z = (2 * radius + 2 + extra for extra in (3, 2, 2))
    small = image[0, 0, :x, :y, :z].clone().requires_grad_()
    known = features[:, :3, :2, :2], weight[:3, :2, :2], floor, radius
    assert torch.autograd.gradcheck(lambda x: ByHand.apply(x, mismatch, *known), small, atol=1e-8)


@pytest.mark.parametrize(('gain', 'shift'), [(3.7, -2.0), (-1.0, 5.0), (-0.2, 0.0)])
@pytest.mark.parametrize('name', [name for name in EVERY if name != 'ssd'])
def test_affine_intensity_changes_and_inversion_go_unnoticed(name, gain, shift):
    fixed, moving = smooth_noise((12, 11, 10), 50), smooth_noise((12, 11, 10), 51)
    as_it_is, changed = (Comparison(name, fixed, image).value() for image in (moving, gain * moving + shift))
    torch.testing.assert_close(changed, as_it_is, rtol=1e-6, atol=0)
    both = Comparison(name, gain * fixed + shift, moving).value()
    torch.testing.assert_close(both, as_it_is, rtol=1e-6, atol=0)


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


@pytest.fixture(scope='module')
def heads():
    """A T1w and a T2w of one head in the same place, and another T1w of it with noise of its own, about [0, 1]."""
    scans = {contrast: data.head(contrast=contrast) for contrast in ('T1w', 'T2w')}
    mask = np.asarray(scans['T1w'].mask.dataobj) > 0
    found = {contrast: np.asarray(scan.scan.dataobj, float) for contrast, scan in scans.items()}
    found['T1w again'] = found['T1w'] + np.random.default_rng(0).normal(0, 20, mask.shape)
    for contrast, values in found.items():
        low, high = np.percentile(values[mask], (0.5, 99.5))
        found[contrast] = (values - low) / (high - low)
    return found | {'mask': mask.astype(float)}


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
