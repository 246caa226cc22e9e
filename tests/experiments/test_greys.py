"""Greys turned over: white matter comes out brightest, fluid and bone dark; the head is found in whatever position."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
from greys import folded, head_of, reciprocal, turned

from tests import data

SHAPE = (72, 84, 72)


@pytest.fixture(scope='module')
def painted():
    """A T2w painted on tissues of the test's head, with noise, and which voxels hold one of them alone."""
    affine = data.grid(SHAPE, voxel=(2.5, 2.5, 2.5))
    points = nib.affines.apply_affine(affine, np.moveaxis(np.indices(SHAPE), 0, -1))
    parts = data.fractions(points, seed=1)
    rng = np.random.default_rng(0)
    signal = 300 * parts @ data.CONTRASTS['T2w']
    noise = rng.normal(0, 6, (2, *SHAPE))
    pure = {name: parts[..., k] > 0.95 for k, name in enumerate(data.TISSUES)}
    return np.hypot(signal + noise[0], noise[1]).astype(np.float32), affine, pure


def test_greys_become_those_of_a_t1w(painted):
    values, affine, pure = painted
    found = folded(values, affine)
    assert found.dtype == np.float32
    assert found.shape == values.shape
    assert 0 <= found.min() <= found.max() <= 1
    means = {name: found[where].mean() for name, where in pure.items() if where.any()}
    assert values[pure['wm']].mean() < values[pure['gm']].mean() < values[pure['csf']].mean()
    assert means['wm'] > means['gm'] > means['csf']
    assert means['wm'] > 0.8
    assert max(means['csf'], means['skull'], means['air']) < 0.35


@pytest.mark.parametrize('way', [turned, reciprocal])
def test_greys_turned_over_are_dark_where_they_were_bright(painted, way):
    values, affine, pure = painted
    found = way(values, affine)
    assert found[pure['wm']].mean() > found[pure['gm']].mean() > found[pure['csf']].mean()
    assert found[pure['skull']].mean() > found[pure['wm']].mean()  # which folding avoids
    assert np.median(found[pure['air']]) == 0


def test_the_unit_of_the_values_and_the_order_of_voxels_do_not_matter(painted):
    values, affine, _ = painted
    found = folded(values, affine)
    np.testing.assert_allclose(folded(7 * values, affine), found, atol=1e-5)
    np.testing.assert_array_equal(folded(values.astype(np.int16), affine) > 0.5, folded(np.trunc(values), affine) > 0.5)
    # the same head seen on other axes, up to which voxels the coarse look falls on
    other = affine @ np.diag([-1.0, 1, 1, 1])
    turned = folded(values[::-1].transpose(2, 1, 0), other[:, [2, 1, 0, 3]])
    np.testing.assert_allclose(turned.transpose(2, 1, 0)[::-1], found, atol=0.05)


def test_the_head_is_all_that_is_no_air(painted):
    values, affine, pure = painted
    inside = head_of(values, np.linalg.norm(affine[:3, :3], axis=0))
    for name in ('wm', 'gm', 'csf', 'scalp', 'skull'):
        assert inside[pure[name]].mean() > 0.98, name
    assert inside[pure['air']].mean() < 0.15


def test_slices_of_thick_voxels_are_enough(painted):
    values, affine, pure = painted
    thick = values[:, :, : SHAPE[2] // 2 * 2].reshape(*SHAPE[:2], -1, 2).mean(-1)
    found = folded(thick, affine @ np.diag([1, 1, 2, 1.0]))
    white, fluid = (pure[name][:, :, ::2] & pure[name][:, :, 1::2] for name in ('wm', 'csf'))
    assert found[white].mean() > 0.8
    assert found[fluid].mean() < 0.35


@pytest.mark.parametrize('value', [0.0, 5.0])
def test_a_constant_image_has_no_greys(value):
    with pytest.raises(ValueError, match='all the same'):
        folded(np.full((20, 20, 20), value, np.float32), np.eye(4))


def test_a_hollow_ball_is_no_head():
    away = np.linalg.norm(np.moveaxis(np.indices((48, 48, 48)), 0, -1) - 23.5, axis=-1)
    shell = ((away > 19) & (away < 22)).astype(np.float32)
    with pytest.raises(ValueError, match='as dark as air'):
        folded(shell, np.diag([3.0, 3, 3, 1]))
