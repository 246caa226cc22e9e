"""Presets: what they allow, and how they change."""

import dataclasses

import nibabel as nib
import numpy as np
import pytest

from bidsreg.registration import preset, register
from tests import data
from tests.heart import QUICK, loaded


def test_patches_go_with_the_levels_and_the_last_with_the_loosened_stage():
    within = preset('node-mind')
    assert [within.patch(level) for level in (0, 1, 2, -1)] == [1, 1, 1, 0]
    assert [preset('node-mind-fast').patch(level) for level in (0, 1, -1)] == [1, 1, 0]
    assert [preset('node-mind-inter').patch(level) for level in range(5)] == [1, 1, 1, 0, 0]
    few = dataclasses.replace(within, patches=(2, 1))
    assert [few.patch(level) for level in (0, 1, 2, -1)] == [2, 1, 1, 1]


def test_at_most_three_hundred_iterations():
    with pytest.raises(ValueError, match='300'):
        dataclasses.replace(QUICK, levels=((4.0, 200), (2.0, 101)))
    with pytest.raises(ValueError, match='node-mind'):
        preset('nonsense')


@pytest.mark.parametrize('levels', [(), ((1.0, 40), (2.0, 3)), ((4.0, 5), (0.0, 5)), ((4.0, 5), (-2.0, 5))])
def test_levels_go_from_coarse_to_fine(levels):
    with pytest.raises(ValueError, match='levels go from coarse to fine'):
        dataclasses.replace(QUICK, levels=levels)


def test_levels_follow_the_working_resolution():
    assert preset('node-mind').at_resolution(1.5).levels == ((4.0, 10), (2.0, 10), (1.5, 5))
    assert preset('node-mind').at_resolution(4.0).levels == ((4.0, 10),)
    assert preset('node-mind').at_resolution(6.0).levels == ((6.0, 10),)
    assert min(h for h, _ in preset('node-mind').sloppy().levels) == 2


def test_a_loosened_round_goes_through_coarser_levels_down_to_the_finest():
    within = preset('node-mind')
    assert within.rounds == ((0.0045, ((4.0, 20), (2.0, 20), (1.0, 20))),)
    assert within.iterations == 25 + 60
    assert within.at_resolution(2.0).rounds == ((0.0045, ((4.0, 20), (2.0, 40))),)
    assert within.at_resolution(6.0).rounds == ((0.0045, ((6.0, 60),)),)
    assert within.at_resolution(0.5).rounds == ((0.0045, ((4.0, 20), (2.0, 20), (0.5, 20))),)
    assert dataclasses.replace(within, levels=((3.0, 5),)).rounds == ((0.0045, ((4.0, 20), (3.0, 20))),)
    assert within.sloppy().levels == ((4.0, 10), (2.0, 10))
    assert within.sloppy().rounds == ((0.0045, ((4.0, 10), (2.0, 13))),)
    assert dataclasses.replace(within, levels=((2.0, 4),)).sloppy().levels == ((2.0, 4),)
    assert dataclasses.replace(within, loosened=()).iterations == 25
    twice = dataclasses.replace(within, loosened=((0.1, 5), (0.01, 7)))
    assert [levels[-1] for _, levels in twice.rounds] == [(1.0, 5), (1.0, 7)]
    assert twice.iterations == 25 + 45 + 47
    with pytest.raises(ValueError, match='300'):
        dataclasses.replace(within, loosened_levels=((4.0, 256),))
    with pytest.raises(ValueError, match='loosened_levels go from coarse to fine'):
        dataclasses.replace(within, loosened_levels=((2.0, 5), (4.0, 5)))
    with pytest.raises(ValueError, match='above zero'):
        dataclasses.replace(within, loosened_levels=((0.0, 5),))


def test_the_presets_for_one_contrast_are_those_of_their_task_but_for_the_similarity():
    for name, base in (('node-lncc', 'node-mind'), ('node-lncc-inter', 'node-ngf-inter')):
        mine, theirs = preset(name), preset(base)
        assert mine.similarity == 'lncc'
        kept = {'name': mine.name, 'similarity': 'lncc', 'regularity': mine.regularity}
        assert dataclasses.replace(theirs, **kept) == mine
        assert [term for term, _ in mine.regularity] == [term for term, _ in theirs.regularity]
    assert dict(preset('node-lncc-inter').regularity) == pytest.approx({'h1': 0.1, 'divergence': 0.3})


@pytest.mark.parametrize('name', ['node-lncc', 'node-lncc-inter'])
def test_a_t1w_finds_another_t1w(name):
    known = data.truth(1, amplitude=6.0)
    fixed, moving = data.head(seed=1), data.head(seed=1, moved=known, noise=0.03, bias=0.2)
    quick = preset(name).at_resolution(4.0)
    masks = {'fixed_mask': loaded(fixed.mask), 'moving_mask': loaded(moving.mask)}
    found = register(loaded(fixed.scan), loaded(moving.scan), quick, affine=known.matrix, **masks)
    voxels = np.argwhere(np.asarray(fixed.mask.dataobj) > 0)[::37]
    points = nib.affines.apply_affine(fixed.scan.affine, voxels)
    before, after = (
        np.linalg.norm(mapped - known.forward(points), axis=1).mean()
        for mapped in (nib.affines.apply_affine(known.matrix, points), found.deformation.points(points))
    )
    assert before > 1
    assert after < 0.75 * before
    assert found.folds == 0
