"""Masks that are spoilt on purpose are what their names say, and the table counts them."""

from __future__ import annotations

import numpy as np
import own_masks
import pytest
from nibabel.affines import voxel_sizes
from scipy import ndimage as ndi

from bidsreg.bids.headers import head_of
from bidsreg.qc.symmetry import CoarseHead
from tests import data


@pytest.fixture(scope='module')
def pair():
    shape = (52, 62, 52)
    one = data.head(shape, 2, noise=0.03)
    values = np.asarray(one.scan.dataobj, np.float32)
    fixed = data.image(values, one.scan.affine)
    coarse = CoarseHead(fixed)
    whole = ndi.binary_fill_holes(head_of(values, voxel_sizes(fixed.affine)))
    t2w = data.t2w(shape, 2, noise=0.03)
    return own_masks.Scans(fixed, one.mask, t2w, t2w, np.eye(4), coarse, coarse.midplane(), whole)


def test_wrong_masks_are_told_without_a_second_one_and_right_ones_pass(pair):
    found = [own_masks.judge_mask(pair, name, np.random.default_rng(0)) for name in own_masks.KINDS]
    wrong = {name: wrong for name, (wrong, _) in own_masks.KINDS.items()}
    beside = {'with the neck', 'with the eyes'}  # these heads have little of either
    assert {one.kind: one.status != 'PASS' for one in found if one.kind not in beside} == {
        name: value for name, value in wrong.items() if name not in beside
    }, found
    lines = list(own_masks.table(found))
    assert len(lines) == 1 + len(wrong)
    assert lines[1].startswith('| as it is (right) | 1 | 1 | 0 | 0 | 0 |')


@pytest.mark.parametrize('name', ['with the face', 'with the neck', 'grown by 12 mm'])
def test_these_hold_the_mask_and_more(pair, name):
    inside = np.asarray(pair.mask.dataobj) > 0
    changed = own_masks.KINDS[name][1](pair.mask, pair.whole, np.random.default_rng(0))
    assert (changed & inside).sum() == inside.sum()
    assert changed.sum() > 1.01 * inside.sum()
