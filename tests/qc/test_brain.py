"""Masks that are wrong on purpose are told by the head around them; right ones, and stripped scans, are not."""

from __future__ import annotations

import numpy as np
import pytest
from nibabel.affines import voxel_sizes
from scipy import ndimage as ndi

from bidsreg.bids.headers import head_of
from bidsreg.preparation import bias
from bidsreg.qc import brain
from bidsreg.qc.symmetry import CoarseHead
from bidsreg.qc.verdict import CHECKS, read_thresholds
from tests import data

SHAPE = (52, 62, 52)
VOXEL = data.FIELD_OF_VIEW[0] / SHAPE[0]


@pytest.fixture(scope='module')
def head():
    """T1w, mask, T2w that is aligned, all on one grid; the head and its plane."""
    one = data.head(SHAPE, 2, noise=0.03)
    coarse = CoarseHead(one.scan)
    return one.scan, one.mask, data.t2w(SHAPE, 2, noise=0.03), coarse, coarse.midplane()


def evidence(head, change=lambda inside: inside, second=None):
    scan, mask, t2w, coarse, plane = head
    inside = change(np.asarray(mask.dataobj) > 0)
    return brain.mask_evidence(scan, data.image(inside.astype(np.uint8), scan.affine), t2w, coarse, plane, second)


def shifted(*mm):
    return lambda inside: ndi.shift(inside.astype(float), np.array(mm) / VOXEL, order=0) > 0.5


def half(inside):
    kept = inside.copy()
    kept[: len(inside) // 2] = False
    return kept


def shrunk(inside):
    depth = ndi.distance_transform_edt(inside)
    return depth > np.quantile(depth[inside], 1 - 825 / 1872)


def status(found, name):
    names = {check.value.path: key for key, check in CHECKS.items() if hasattr(check.value, 'path')}
    return read_thresholds()[names[f'mask_evidence.{name}']].status(found[name])


def test_a_right_mask_passes(head):
    found = evidence(head, second=head[1])
    assert found['both_halves'] > 0.9
    assert (found['second_dice'], found['second_beyond']) == (1, 0)
    assert {status(found, name) for name in found} == {'PASS'}


@pytest.mark.parametrize(
    ('change', 'names'),
    [
        (half, ('both_halves', 'width_share', 'second_dice')),
        (shrunk, ('width_share', 'brain_around', 'second_dice')),
        (shifted(24, 0, 0), ('both_halves', 'second_dice')),
        (shifted(0, 24, 0), ('second_dice',)),
        (shifted(0, 0, -24), ('second_dice',)),
        (lambda inside: ndi.binary_dilation(inside, iterations=4), ('second_dice',)),
    ],
)
def test_a_wrong_mask_is_told_by_more_than_itself(head, change, names):
    found = evidence(head, change, second=head[1])
    assert {name: status(found, name) != 'PASS' for name in names} == dict.fromkeys(names, True), found


def told(head, change=lambda inside: inside, t2w_is_fixed=False, view=slice(None)):
    scan, mask, t2w, *_ = head
    inside = change(np.asarray(mask.dataobj) > 0)
    one, other = (t2w, scan) if t2w_is_fixed else (scan, t2w)
    seen = other.slicer[:, :, view]
    blank = np.zeros(other.shape, np.float32)
    blank[:, :, view] = np.asarray(seen.dataobj)
    warped = data.image(blank, other.affine)
    mask = data.image(inside.astype(np.uint8), scan.affine)
    return brain.mask_tissues(one, mask, warped, seen, np.eye(4), t2w_is_fixed)


def whole_head(head):
    scan = head[0]
    return ndi.binary_fill_holes(head_of(np.asarray(scan.dataobj), voxel_sizes(scan.affine)))


def with_face(head):
    """A mask that has grown over what lies in front of the brain and below."""
    face = whole_head(head)
    middle = np.argwhere(np.asarray(head[1].dataobj) > 0).mean(0).astype(int)
    face[:, : middle[1]] = False
    face[:, :, middle[2] - 3 :] = False
    return lambda inside: inside | face


def without(axis, share=0.3):
    """A mask that lacks the upper end of an axis."""

    def cut(inside):
        places = np.flatnonzero(inside.any(tuple({0, 1, 2} - {axis})))
        kept = inside.copy()
        kept[(slice(None),) * axis + (slice(int(places[-1] - share * np.ptp(places)), None),)] = False
        return kept

    return cut


@pytest.mark.parametrize('t2w_is_fixed', [False, True])
def test_tissues_of_a_right_mask_pass(head, t2w_is_fixed):
    for width in (-4, 0, 4):  # mm; no two people draw the edge in one place
        found = told(head, lambda inside, width=width: depth(inside) > -width, t2w_is_fixed)
        assert {status(found, name) for name in found} == {'PASS'}, (width, found)


def depth(inside):
    return VOXEL * (ndi.distance_transform_edt(inside) - ndi.distance_transform_edt(~inside))


@pytest.mark.parametrize('t2w_is_fixed', [False, True])
def test_a_mask_that_has_grown_over_other_tissue_is_told_by_the_t2w(head, t2w_is_fixed):
    for change in (with_face(head), lambda inside: depth(inside) > -12, lambda inside: whole_head(head)):
        found = told(head, change, t2w_is_fixed)
        assert status(found, 'dark_inside') == 'CHECK', found


@pytest.mark.parametrize('t2w_is_fixed', [False, True])
@pytest.mark.parametrize('change', [half, without(1), without(2), lambda inside: without(1)(inside[:, ::-1])[:, ::-1]])
def test_a_mask_that_lacks_a_piece_has_brain_beside_it(head, change, t2w_is_fixed):
    found = told(head, change, t2w_is_fixed)
    assert status(found, 'beside_mm') == 'CHECK', found
    assert status(found, 'dark_inside') == 'PASS'


def test_what_the_moving_scan_does_not_show_is_not_dark(head):
    """The brain that was not scanned is another check's."""
    found = told(head, view=slice(14, 40))
    assert {status(found, name) for name in found} == {'PASS'}, found


def test_a_mask_too_thin_for_a_core_says_nothing(head):
    assert told(head, lambda inside: depth(inside) > depth(inside).max() - 3) == {
        'dark_inside': None,
        'beside_mm': None,
    }


@pytest.mark.parametrize('which', [0, 1])
def test_a_scan_whose_mean_was_taken_off_says_nothing_that_is_relative_to_zero(head, which):
    """The same scan, of which half of the brain would be as dark as bone."""
    inside = np.asarray(head[1].dataobj) > 0
    scans = [np.asarray(one.dataobj, np.float32) for one in (head[0], head[2])]
    scans[which] = scans[which] - scans[which][inside].mean()
    t1w, t2w = (data.image(values, head[0].affine) for values in scans)
    found = brain.mask_tissues(t1w, head[1], t2w, t2w, np.eye(4))
    before = told(head)
    assert found['beside_mm'] == pytest.approx(before['beside_mm'], abs=0.1)
    assert found['dark_inside'] == (before['dark_inside'] if which == 0 else None)
    assert brain.depth_contrast(t1w, head[1], t2w) is None
    assert brain.tissue_contrast(t1w, head[1], t2w) is None


def test_tissues_do_not_depend_on_the_order_of_voxels_or_the_place_of_the_grid(head):
    """Left-handed, turned about and moved, mm stay mm."""
    scan, mask, t2w, *_ = head
    inside = without(2)(np.asarray(mask.dataobj) > 0)
    images = [scan, data.image(inside.astype(np.uint8), scan.affine), t2w]
    here = brain.mask_tissues(*images, t2w, np.eye(4))
    turned = [one.as_reoriented(np.array([[1, -1], [2, 1], [0, -1]])) for one in images]
    assert brain.mask_tissues(*turned, turned[2], np.eye(4)) == pytest.approx(here, abs=0.3)


def test_a_stripped_scan_has_nothing_around(head):
    scan, mask, t2w, *_ = head
    inside = np.asarray(mask.dataobj) > 0
    scan, t2w = (data.image(np.asarray(one.dataobj) * inside, one.affine) for one in (scan, t2w))
    coarse = CoarseHead(scan)
    found = evidence((scan, mask, t2w, coarse, coarse.midplane()), second=mask)
    assert found['brain_around'] == 0
    assert found['width_share'] == pytest.approx(1, abs=0.06)
    assert {status(found, name) for name in found} == {'PASS'}


def test_a_mask_that_ends_with_the_grid(head):
    scan, mask, t2w, coarse, plane = head
    cut = [one.slicer[:, :, 22:36] for one in (scan, mask, t2w)]
    found = brain.mask_evidence(*cut, coarse, plane)
    assert status(found, 'on_grid_edge') == 'CHECK'
    assert found['second_dice'] is found['second_beyond'] is None


def test_a_second_mask_in_which_there_is_nothing(head):
    empty = data.image(np.zeros(SHAPE, np.uint8), head[0].affine)
    found = evidence(head, second=empty)
    assert (found['second_dice'], found['second_beyond']) == (0, 1)


def test_a_piece_that_a_mask_lacks_is_told_and_an_edge_that_lies_elsewhere_is_not():
    ball = np.linalg.norm(np.moveaxis(np.indices((60, 60, 60)), 0, -1) - 30, axis=-1)  # 3 mm: a radius of 75 mm
    affine = np.diag([3.0, 3.0, 3.0, 1.0])

    def share(one, other):
        return brain.beyond(*(data.image(inside.astype(np.uint8), affine) for inside in (one, other)))

    whole = ball < 25
    assert share(whole, ball < 28) < 0.001  # 9 mm wider
    y = np.indices(ball.shape)[1]
    cut = whole & (y < 44)
    deep = (whole & (y > 43 + 10 / 3)).sum() / whole.sum()  # 10 mm beyond the cut; at its edge a little less
    assert share(cut, whole) == share(whole, cut) == pytest.approx(deep, rel=0.1)
    assert share(cut, whole) > read_thresholds()['second_beyond'].check
    assert brain.dice(cut, whole) > read_thresholds()['second_mask'].check


def test_dice_against_counting():
    one, other = (np.random.default_rng(k).random((9, 9, 9)) > 0.5 for k in range(2))
    assert brain.dice(one, other) == pytest.approx(2 * (one & other).sum() / (one.sum() + other.sum()), abs=1e-5)


def test_white_matter_tells_which_scan_is_which(head):
    scan, mask, t2w, *_ = head
    right = brain.depth_contrast(scan, mask, t2w)
    assert right > 0.1
    assert brain.depth_contrast(t2w, mask, scan) == pytest.approx(-right, abs=1e-4)
    gain = np.exp(-np.linalg.norm(data.world(SHAPE, scan.affine), axis=-1) / 60)  # brighter in the middle: of one coil
    biased = [data.image(np.asarray(one.dataobj) * gain, one.affine) for one in (scan, t2w)]
    assert brain.depth_contrast(biased[0], mask, biased[1]) == pytest.approx(right, abs=0.1)
    thin = data.image((half(np.asarray(mask.dataobj) > 0) & (np.arange(SHAPE[2]) == 25)).astype(np.uint8), scan.affine)
    assert brain.depth_contrast(scan, thin, t2w) is None


@pytest.fixture(scope='module')
def tissues():
    """Mask, labels of fluid (0), grey (1) and white (2) matter, and what a coil does to scans, voxels of 2.5 mm."""
    shape, affine = (60, 70, 56), np.diag([2.5, 2.5, 2.5, 1])
    noise = ndi.gaussian_filter(np.random.default_rng(5).normal(size=shape), 2)
    labels = np.digitize(noise, np.quantile(noise, (0.3, 0.65)))
    places = (np.moveaxis(np.indices(shape), 0, -1) - np.array(shape) / 2) * 2.5
    gain = np.exp(places[..., 0] / 200 - places[..., 2] / 250)
    return np.linalg.norm(places, axis=-1) < 65, labels, gain, affine


def painted(tissues, greys, seed, noise=0.05, biased=False):
    _, labels, gain, affine = tissues
    values = np.array(greys)[labels] + np.random.default_rng(seed).normal(0, noise, labels.shape)
    return data.image((values * (gain if biased else 1)).clip(0.01).astype(np.float32), affine)


@pytest.mark.parametrize('biased', [False, True])
@pytest.mark.parametrize(
    ('greys', 'low', 'high'),
    [
        ((2.5, 1.3, 1.0), -1.0, -0.6),  # T2w
        ((0.2, 1.25, 1.0), -1.0, -0.6),  # FLAIR: dark fluid
        ((0.2, 0.65, 1.0), 0.6, 0.99),  # another T1w
    ],
)
def test_tissue_tells_a_t1w_from_all_others(tissues, greys, low, high, biased):
    t1w = painted(tissues, (0.2, 0.65, 1.0), 0, biased=biased)
    other = painted(tissues, greys, 1, biased=biased)
    mask = data.image(tissues[0].astype(np.uint8), tissues[-1])
    assert low < brain.tissue_contrast(t1w, mask, other) < high
    assert brain.tissue_contrast(t1w, mask, t1w) == pytest.approx(1)
    scaled = data.image(np.asarray(other.dataobj) * 40, other.affine)
    assert brain.tissue_contrast(t1w, mask, scaled) == brain.tissue_contrast(t1w, mask, other)


def test_no_tissue_has_no_contrast(tissues):
    t1w, affine = painted(tissues, (0.2, 0.65, 1.0), 0), tissues[-1]
    mask, small = (data.image(inside.astype(np.uint8), affine) for inside in (tissues[0], tissues[1] > 9))
    flat, dark = (data.image(np.full(tissues[1].shape, value, np.float32), affine) for value in (1, 0))
    assert brain.tissue_contrast(t1w, mask, flat) is None
    assert brain.tissue_contrast(t1w, mask, dark) is None
    assert brain.tissue_contrast(dark, mask, t1w) is None
    assert brain.tissue_contrast(t1w, small, t1w) is None


def test_a_scan_counts_from_zero_for_the_verdict_as_for_the_bias_field():
    """What N4 refuses, and what the verdict leaves out, are the same scans."""
    assert brain.LARGEST_BELOW_ZERO == bias.LARGEST_BELOW_ZERO
