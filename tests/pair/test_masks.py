"""Masks that nobody gave: stripped images get one, whole heads do not, and a mask that was given stays."""

from __future__ import annotations

import numpy as np
import pytest

from bidsreg.messages import describe
from bidsreg.pair.masks import TakenForBrain, with_brains
from tests import data
from tests.heart import loaded


@pytest.fixture(scope='module')
def pair():
    return data.pair((40, 46, 40), 2, noise=0.0)


@pytest.fixture(scope='module')
def stripped(pair):
    """The two images with nothing but the brain in them, and the masks of it."""
    masks = [np.asanyarray(mask.dataobj) > 0 for mask in (pair.fixed_mask, pair.moving_mask)]
    scans = [
        loaded(data.image(np.asanyarray(scan.dataobj) * mask, scan.affine))
        for scan, mask in zip((pair.fixed, pair.moving), masks, strict=True)
    ]
    return *scans, *masks


def test_what_is_not_zero_is_the_brain_and_is_said(stripped):
    fixed, moving, *masks = stripped
    inputs, events = with_brains(fixed, moving, {'affine': np.eye(4)})
    assert set(inputs) == {'affine', 'fixed_mask', 'moving_mask'}
    for name, mask, event in zip(('fixed', 'moving'), masks, events, strict=True):
        found = inputs[f'{name}_mask'].data > 0
        assert 2 * (found & mask).sum() / (found.sum() + mask.sum()) > 0.98
        assert describe(event.as_dict()).startswith(f'{name} image: it is skull-stripped')
        assert event.volume_ml == pytest.approx(found.sum() * abs(np.linalg.det(fixed.grid.affine)) / 1000, abs=0.1)


def test_a_mask_that_was_given_stays(stripped):
    fixed, moving, mask, _ = stripped
    given = loaded(data.image(mask.astype(np.uint8), fixed.grid.affine))
    inputs, events = with_brains(fixed, moving, {'fixed_mask': given})
    assert inputs['fixed_mask'] is given
    assert [event.image for event in events] == ['moving']


def test_whole_heads_get_none(pair, stripped):
    heads = loaded(pair.fixed), loaded(pair.moving)
    assert with_brains(*heads, {}) == ({}, ())
    assert [event.image for event in with_brains(heads[0], stripped[1], {})[1]] == ['moving']


def test_the_event_is_plain_values():
    assert TakenForBrain('fixed', 1500.0).as_dict() == {
        'event': 'TakenForBrain',
        'image': 'fixed',
        'volume_ml': 1500.0,
    }
