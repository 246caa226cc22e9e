"""Skull-stripped images are recognised, and whole heads never taken for them."""

from __future__ import annotations

import nibabel as nb
import numpy as np
import pytest
from scipy import ndimage

from bidsreg.stripped import nonzero_mask, region_ml, stripped_already
from tests import data

SHAPE = (44, 52, 44)


@pytest.fixture(scope='module', params=['T1w', 'T2w'])
def head(request):
    """A whole head, its brain alone, the mask of that, and the affine."""
    found = data.head(SHAPE, 3, request.param, noise=0.0)
    whole = np.asanyarray(found.scan.dataobj).astype(np.float32)
    mask = np.asanyarray(found.mask.dataobj) > 0
    return whole, whole * mask, mask, found.scan.affine


def dice(one, other) -> float:
    return 2 * (one & other).sum() / (one.sum() + other.sum())


def around(brain, what):
    """A stripped image with what programs leave around the brain."""
    rng, largest = np.random.default_rng(0), brain.max()
    if what == 'nothing':
        return brain
    if what == 'undershoot':
        return np.where(brain == 0, rng.uniform(-0.001, 0.001, brain.shape) * largest, brain)
    if what == 'noise':
        return brain + rng.normal(0, 0.003 * largest, brain.shape)
    if what == 'positive noise':
        return brain + np.abs(rng.normal(0, 0.002 * largest, brain.shape))
    return ndimage.shift(brain, (0.5, 0.3, -0.4), order=3)


@pytest.mark.parametrize('what', ['nothing', 'undershoot', 'noise', 'positive noise', 'ringing'])
def test_a_brain_alone_is_recognised_whatever_is_left_around_it(head, what):
    _, brain, mask, affine = head
    values = around(brain, what)
    found, why = stripped_already(values, affine)
    assert found, why
    assert f'{region_ml(nonzero_mask(values), affine):.0f} ml' in why
    assert dice(nonzero_mask(values), mask) > 0.93  # ringing comes with a shift by half a voxel of 4 mm


@pytest.mark.parametrize('what', ['nothing', 'undershoot', 'noise'])
def test_the_brain_is_what_is_not_zero_also_where_its_mean_was_taken_off(head, what):
    _, brain, mask, _ = head
    values = around(np.where(mask, (brain - brain[mask].mean()) / brain[mask].std(), 0), what)
    assert dice(nonzero_mask(values), mask) > 0.98


def test_a_brain_that_fills_its_field_of_view_is_recognised(head):
    _, brain, mask, affine = head
    where = np.nonzero(mask)
    box = tuple(slice(axis.min(), axis.max() + 1) for axis in where)
    assert stripped_already(brain[box], affine)[0]


def with_neck(whole, affine, scale=1.0):
    """A head with a neck that reaches the lowest slice, of another size: image and affine."""
    world = data.world(whole.shape, affine)
    neck = (np.hypot(world[..., 0], world[..., 1] + 10) < 50) & (world[..., 2] < -20)
    values = np.where(neck & (whole == 0), 0.4 * np.percentile(whole[whole > 0], 90), whole)
    return values, affine @ np.diag([scale, scale, scale, 1.0])


def defaced(whole, affine):
    """A head without a face: zeros before and below the brain."""
    world = data.world(whole.shape, affine)
    return np.where((world[..., 1] > 45) & (world[..., 2] < 0), 0, whole), affine


def padded(values, affine, room=8):
    """The same in a wide margin of zeros."""
    moved = affine.copy()
    moved[:3, 3] -= affine[:3, :3] @ np.full(3, room)
    return np.pad(values, room), moved


@pytest.mark.parametrize(
    'make',
    [
        pytest.param(lambda w, a: (w, a), id='air of zero'),
        pytest.param(with_neck, id='with a neck'),
        pytest.param(lambda w, a: with_neck(w, a, 0.7), id="an infant's"),
        pytest.param(lambda w, a: padded(*with_neck(w, a, 0.7)), id="an infant's in a margin of zeros"),
        pytest.param(lambda w, a: padded(*defaced(*with_neck(w, a, 0.75))), id='defaced, in a margin of zeros'),
        pytest.param(defaced, id='defaced'),
        pytest.param(lambda w, a: (w[8:-8, 6:-6, 6:-6], a), id='a cropped field'),
        pytest.param(lambda w, a: padded(w[:, :, 14:30], a), id='a slab in a margin of zeros'),
        pytest.param(lambda w, a: (w + 1, a), id='a background that is not zero'),
    ],
)
def test_a_whole_head_is_never_taken_for_a_brain(head, make):
    values, affine = make(*[head[0], head[3]])
    found, why = stripped_already(values, affine)
    assert not found, why


def test_the_air_of_a_scan_is_not_quiet(head):
    _, brain, _, affine = head
    values = brain + np.abs(np.random.default_rng(0).normal(0, 0.015 * brain.max(), brain.shape))
    assert not stripped_already(values, affine)[0]


def test_what_is_no_brain():
    affine = np.diag([4.0, 4, 4, 1])
    two = np.zeros((76, 76, 76), np.float32)
    for centre in (22, 54):
        two += np.linalg.norm(np.indices(two.shape) - centre, axis=0) < 17.5
    assert 'several' in stripped_already(two, affine)[1]
    one = (np.linalg.norm(np.indices((60, 60, 60)) - 30, axis=0) < 19.5).astype(np.float32)
    assert stripped_already(one, affine)[0]
    assert 'no brain alone' in stripped_already(one, affine / 2)[1]
    for empty in (np.zeros((9, 9, 9)), np.ones((9, 9, 9))):
        assert not stripped_already(empty, affine)[0]
    assert not nonzero_mask(np.zeros((9, 9, 9))).any()


def test_the_volume_is_that_of_sheared_voxels():
    region = np.ones((10, 10, 10), bool)
    assert region_ml(region, data.grid((10, 10, 10), voxel=2.0, shear=0.3, turn=(9, 4, 2))) == pytest.approx(8.0)
    assert region_ml(region, nb.affines.from_matvec(np.diag([-1.0, 2, 3]))) == pytest.approx(6.0)
