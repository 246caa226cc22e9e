"""A pair made ready: what is refused, and how the grids lie."""

import dataclasses

import numpy as np
import pytest
import torch

from bidsreg.registration import Grid, Image
from bidsreg.registration.problem import margin, prepare
from bidsreg.registration.volume import Volume
from tests import data
from tests.heart import QUICK, loaded, solved


def prepared(pair, chosen=QUICK, **changed):
    given = {'fixed': loaded(pair.fixed), 'moving': loaded(pair.moving), 'fixed_mask': loaded(pair.fixed_mask)}
    given |= {'moving_mask': None, 'affine': pair.truth.matrix} | changed
    return prepare(chosen=chosen, **given)


@pytest.mark.parametrize('name', ['ras', 'oblique-left-handed', 'thick', 'sheared'])
def test_the_grids_cover_the_brain(name):
    shape, affine = data.GRIDS[name]
    pair = data.pair(shape=shape, seed=1, fixed_affine=affine, moving_affine=affine, moving_shape=shape)
    problem = prepared(pair)
    mask = loaded(pair.fixed_mask)
    brain = mask.grid.to_world(np.argwhere(mask.data > 0))
    for grid, room in ((problem.brain, QUICK.reach), (problem.velocity, margin(QUICK))):
        assert grid.is_orthogonal()
        spacing = grid.spacing
        at = grid.to_voxels(brain) * spacing
        assert at.min() > room - 1e-3 - spacing.max()
        assert ((np.array(grid.shape) - 1) * spacing - at).min() > room - 1e-3 - spacing.max()
    corners = problem.field.to_voxels(problem.velocity.corners())
    assert corners.min() >= 0
    assert (corners <= np.array(problem.field.shape) - 1).all()
    for coarser in (1, 2):
        np.testing.assert_allclose(problem.velocity_grid(coarser).corners(), problem.velocity.corners(), atol=1e-4)


def test_lesions_are_left_out_with_what_looks_at_them(pair):
    moving = loaded(pair.moving)
    assert prepared(pair).moving_counts(4.0, 2) is None
    lesion = np.zeros_like(moving.data)
    lesion[tuple(np.array(moving.grid.shape) // 2)] = 1
    problem = prepared(pair, moving_lesion=Image(lesion, moving.grid))
    counts = problem.moving_counts(4.0, 2)
    out = counts.grid.to_world(np.argwhere(counts.data.numpy() < 0.5))
    marked = problem.moving_lesion.grid.to_world(np.argwhere(problem.moving_lesion.data.numpy() > 0))
    assert len(marked) == 27, 'the voxels that touch it belong to it'
    far = np.linalg.norm(out[:, None] - marked, axis=2).min(1)
    assert 0 < far.max() <= 2 * 4.0 + 1e-3
    assert len(out) > len(marked)


@pytest.mark.parametrize(
    ('side', 'words'),
    [
        ('fixed_mask', 'the fixed mask lies on another grid'),
        ('moving_mask', 'the moving mask lies on another grid'),
        ('fixed_lesion', 'the fixed lesion mask lies on another grid'),
        ('moving_lesion', 'the moving lesion mask lies on another grid'),
    ],
)
def test_masks_on_other_grids_are_refused(pair, side, words):
    elsewhere = Image(np.ones((9, 9, 9), np.float32), Grid((9, 9, 9), np.diag([7.0, 7.0, 7.0, 1.0])))
    with pytest.raises(ValueError, match=words):
        prepared(pair, **{side: elsewhere})


def test_lengths_that_are_no_millimetres_are_refused_before_any_work(pair):
    images = {
        name: Image(image.data, Grid(image.grid.shape, np.diag([1e3, 1e3, 1e3, 1]) @ image.grid.affine))
        for name in ('fixed', 'moving')
        for image in [loaded(getattr(pair, name))]
    }
    with pytest.raises(ValueError, match=r'wide where it is to be compared.*header millimetres'):
        prepared(pair, **images, fixed_mask=None, affine=np.eye(4))


def test_an_image_that_is_constant_inside_its_mask_is_refused(pair):
    moving = loaded(pair.moving)
    with pytest.raises(ValueError, match='moving'):
        prepared(pair, moving=Image(np.full_like(moving.data, 7), moving.grid))


OUTLINED = dataclasses.replace(QUICK, outline=1.5)


def test_an_outline_is_what_lies_outside_of_both_masks(pair):
    masks = {'moving_mask': loaded(pair.moving_mask)}
    plain, outlined = prepared(pair, **masks), prepared(pair, OUTLINED, **masks)
    for end in ('fixed', 'moving'):
        before, after = getattr(plain, end), getattr(outlined, end)
        inside = loaded(getattr(pair, f'{end}_mask'))
        at = np.round(inside.grid.to_voxels(after.grid.to_world(np.argwhere(after.data.numpy() < 10)))).astype(int)
        within = inside.data[tuple(at.T)].reshape(after.data.shape) > 0
        np.testing.assert_array_equal(after.data.numpy()[within], before.data.numpy()[within])
        assert (~within).any()
        assert (after.data.numpy()[~within] == -1.5).all()


def test_with_an_outline_a_whole_head_is_as_good_as_a_stripped_one(pair):
    whole = {
        f'{end}{part}': loaded(getattr(pair, f'{end}{part}')) for end in ('fixed', 'moving') for part in ('', '_mask')
    }
    stripped = dict(whole)
    for end in ('fixed', 'moving'):
        image, mask = whole[end], whole[f'{end}_mask']
        stripped[end] = Image(image.data * (mask.data > 0), image.grid)
    one, other = (prepared(pair, OUTLINED, **ends) for ends in (whole, stripped))
    np.testing.assert_array_equal(one.fixed.data, other.fixed.data)
    np.testing.assert_array_equal(one.moving.data, other.moving.data)


COMPRESSED = dataclasses.replace(QUICK, compression=2.0)


def test_compressed_within_both_masks_intensities_keep_their_order_and_their_scale(pair):
    masks = {'moving_mask': loaded(pair.moving_mask)}
    plain, compressed = prepared(pair, **masks), prepared(pair, COMPRESSED, **masks)
    for end in ('fixed', 'moving'):
        before, after = getattr(plain, end).data.flatten(), getattr(compressed, end).data.flatten()
        assert (after[before.argsort()].diff() >= 0).all()
        assert not torch.allclose(after, before, atol=0.02)
        inside = Volume.of(loaded(getattr(pair, f'{end}_mask'))).resampled(getattr(plain, end).grid, order=0) > 0
        ends = np.percentile(after[inside.flatten()].numpy(), (0.5, 99.5))
        np.testing.assert_allclose(ends, (0, 1), atol=0.02)


def test_one_mask_alone_compresses_nothing(pair):
    plain, asked = prepared(pair), prepared(pair, COMPRESSED)
    np.testing.assert_array_equal(asked.fixed.data, plain.fixed.data)
    np.testing.assert_array_equal(asked.moving.data, plain.moving.data)


def test_one_mask_alone_gives_no_outline(pair):
    plain, asked = prepared(pair), prepared(pair, OUTLINED)
    np.testing.assert_array_equal(asked.fixed.data, plain.fixed.data)
    np.testing.assert_array_equal(asked.moving.data, plain.moving.data)


def test_the_volume_is_that_of_the_mask_grown_by_the_reach(pair):
    small, wide = (prepared(pair, dataclasses.replace(QUICK, reach=reach)).volume for reach in (0.0, 8.0))
    mask = loaded(pair.fixed_mask)
    assert small == pytest.approx((mask.data > 0).sum() * abs(np.linalg.det(mask.grid.affine[:3, :3])), rel=1e-6)
    assert wide > 1.3 * small


def test_moving_mask_elsewhere_is_refused(pair):
    moving = loaded(pair.moving)
    corner = np.zeros_like(moving.data)
    corner[:2, :2, :2] = 1
    with pytest.raises(ValueError, match='right way round'):
        solved(pair, moving_mask=Image(corner, moving.grid))
