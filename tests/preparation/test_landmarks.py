"""Eyes and temporal muscles are found wherever the head lies, and nothing is found where they are not."""

from __future__ import annotations

import dataclasses

import nibabel as nib
import numpy as np
import pytest

from bidsreg.preparation.landmarks import SeenHead, find_eyes, find_muscle, to_template

from .faces import face

NAMES = ('t1w', 't2w', 'inside', 'white')


def found_in(head, template):
    seen = SeenHead(head.t1w, head.t2w, head.inside, head.white, head.affine, template)
    return find_eyes(seen), find_muscle(seen)


@pytest.fixture
def template():
    """The way of the plain head to the template: there is none."""
    return np.eye(4)


@pytest.mark.parametrize(
    'change',
    [
        pytest.param(lambda head: head, id='as it is', marks=pytest.mark.slow),
        pytest.param(lambda head: head.moved((18, -6, 8), (12, -30, 20)), id='nodding', marks=pytest.mark.slow),
        pytest.param(lambda head: head.moved((-15, 5, -9), (0, 4, 60)).flipped(), id='other voxel order'),
    ],
)
def test_both_are_found_where_they_are(change, here):
    head = change(face().scaled((1, 1), noise=0.03))
    template = to_template(nib.Nifti1Image(head.t1w, head.affine), head.inside)
    for found, truth in zip(found_in(head, template), (head.eyes, head.muscle), strict=True):
        assert (truth & found).sum() > 0.98 * found.sum()
        assert (truth & found).sum() > 0.15 * truth.sum()
        middle = nib.affines.apply_affine(template @ head.affine, np.argwhere(found))[:, 0]
        assert 0.3 < (middle > 0).mean() < 0.7


def test_gains_of_the_scanner_do_not_matter(template):
    one, other = (found_in(face().scaled(gains), template) for gains in ((1, 1), (0.013, 250)))
    for here, there in zip(one, other, strict=True):
        assert here.any()
        np.testing.assert_array_equal(here, there)


def test_how_much_of_the_brain_is_fluid_does_not_matter(template):
    """The median of a brain goes with its fluid: where sulci are wide no eye is bright beside it."""
    head = face()
    shrunk = head.shrunk(14.0)
    assert np.median(shrunk.t2w[head.inside]) > 1.8 * np.median(head.t2w[head.inside])
    for here, there in zip(found_in(head, template), found_in(shrunk, template), strict=True):
        assert here.any()
        np.testing.assert_array_equal(here, there)


def test_a_t2w_that_covers_no_white_matter_shows_neither(template):
    head = face()
    eyes, muscle = found_in(head.cut(~head.white), template)
    assert not eyes.any()
    assert not muscle.any()


def test_a_face_that_is_cut_away_has_no_eyes_but_muscle(template):
    head = face()
    front = nib.affines.apply_affine(head.affine, np.moveaxis(np.indices(head.inside.shape), 0, -1))[..., 1] < 48
    eyes, muscle = found_in(head.cut(front | head.inside), template)
    assert not eyes.any()
    assert muscle.any()


def test_a_stripped_head_has_neither(template):
    head = face()
    eyes, muscle = found_in(head.cut(head.inside), template)
    assert not eyes.any()
    assert not muscle.any()


@pytest.mark.parametrize('eye_mm', [6.0, 20.0])
def test_a_ball_of_another_size_is_no_eye(eye_mm, template):
    eyes, _ = found_in(face(eye_mm), template)
    assert not eyes.any()


def test_a_field_of_view_that_ends_above_has_neither(template):
    head = face()
    top = slice(60, None)  # z above 48 mm
    affine = head.affine.copy()
    affine[2, 3] += 2 * 60
    scans = (part[:, :, top] for part in (head.t1w, head.t2w, head.inside, head.white))
    eyes, muscle = found_in(dataclasses.replace(head, **dict(zip(NAMES, scans, strict=True)), affine=affine), template)
    assert not eyes.any()
    assert not muscle.any()


def test_a_t2w_that_covers_the_lower_part_of_the_brain_shows_both(template):
    head = face()
    heights = nib.affines.apply_affine(head.affine, np.moveaxis(np.indices(head.inside.shape), 0, -1))[..., 2]
    above = heights > np.median(heights[head.inside]) - 4
    cut = head.cut(~above)
    assert np.median(cut.t2w[head.inside]) == 0
    partial = found_in(dataclasses.replace(head, t2w=cut.t2w), template)
    for found, whole in zip(partial, found_in(head, template), strict=True):
        assert (found & whole).sum() > 0.9 * whole[~above].sum() > 0
