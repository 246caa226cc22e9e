"""Presets: what they allow, and how they change."""

import dataclasses

import pytest

from bidsreg.registration import preset
from tests.heart import QUICK


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


def test_levels_follow_the_working_resolution():
    assert preset('node-mind').at_resolution(1.5).levels == ((4.0, 30), (2.0, 40), (1.5, 10))
    assert preset('node-mind').at_resolution(4.0).levels == ((4.0, 30),)
    assert preset('node-mind').at_resolution(6.0).levels == ((6.0, 30),)
    assert min(h for h, _ in preset('node-mind').sloppy().levels) == 2
