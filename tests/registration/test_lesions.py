"""Lesions in one scan alone: painted over, and left out of what is compared."""

import dataclasses

import numpy as np
import pytest
import torch

from bidsreg.registration import Grid, Image, lesions
from bidsreg.registration.problem import prepare
from tests import data
from tests.heart import QUICK, loaded, solved

ANISOTROPIC = Grid((9, 8, 7), data.grid((9, 8, 7), 'LPS', (10, -5, 7), (1.0, 2.0, 3.5)))


def image_of(values):
    return Image(np.asarray(values, np.float32), ANISOTROPIC)


@pytest.mark.parametrize('box', [np.s_[3:6, 2:5, 2:5], np.s_[:4, :3, 5:], np.s_[:, :, :3]])
def test_a_lesion_shows_the_nearest_voxel_beside_it(box):
    rng = np.random.default_rng(0)
    values = rng.normal(size=ANISOTROPIC.shape).astype(np.float32)
    marked = np.zeros(ANISOTROPIC.shape)
    marked[box] = 1
    found = lesions.painted_over(image_of(values), image_of(marked)).data
    outside = np.argwhere(marked == 0)
    np.testing.assert_array_equal(found[marked == 0], values[marked == 0])
    places = ANISOTROPIC.to_world(outside)
    for voxel in np.argwhere(marked):
        away = np.linalg.norm(places - ANISOTROPIC.to_world(voxel[None]), axis=1)
        nearest = {values[tuple(outside[k])] for k in np.flatnonzero(away < away.min() + 1e-4)}
        assert found[tuple(voxel)] in nearest


def test_the_image_that_was_given_stays():
    values = np.random.default_rng(1).normal(size=ANISOTROPIC.shape)
    given, marked = image_of(values), image_of(np.zeros(ANISOTROPIC.shape))
    marked.data[4, 4, 4] = 1
    before = given.data.copy()
    assert (lesions.painted_over(given, marked).data != before).sum() == 1
    np.testing.assert_array_equal(given.data, before)


def test_voxels_that_touch_a_lesion_belong_to_it():
    marked = image_of(np.zeros(ANISOTROPIC.shape))
    marked.data[4, 4, 0] = 7
    found = lesions.grown(marked).data
    assert set(np.unique(found)) == {0, 1}
    assert found.sum() == 3 * 3 * 2
    assert found[3:6, 3:6, :2].all()


@pytest.mark.parametrize('end', ['fixed', 'moving'])
@pytest.mark.parametrize('masked', [True, False])
def test_a_mask_of_the_brain_is_no_mask_of_a_lesion(end, masked, pair):
    brain = loaded(getattr(pair, f'{end}_mask'))
    everywhere = Image(np.ones_like(brain.data), brain.grid)
    masks = {'fixed_mask': loaded(pair.fixed_mask), 'moving_mask': loaded(pair.moving_mask)} if masked else {}
    masks = {'fixed_mask': None, 'moving_mask': None, **masks}
    given = {f'{end}_lesion': brain if masked else everywhere}
    with pytest.raises(ValueError, match=f'the {end} lesion mask covers 100 % of the {"brain" if masked else "field"}'):
        prepare(loaded(pair.fixed), loaded(pair.moving), QUICK, affine=pair.truth.matrix, **masks, **given)


def test_half_of_the_brain_may_be_missing(pair):
    brain = loaded(pair.fixed_mask)
    half = Image(brain.data * (np.arange(brain.data.shape[0]) < brain.data.shape[0] / 2)[:, None, None], brain.grid)
    lesions.check_lesion('fixed', half, brain)


def test_a_map_of_probabilities_is_refused(pair):
    brain = loaded(pair.fixed_mask)
    with pytest.raises(ValueError, match=r'the moving lesion mask has values between whole numbers.*threshold'):
        lesions.check_lesion('moving', Image(brain.data * 0.3, brain.grid), None)


# ------------------------------------------------------------------------------------------------ a registration
@pytest.fixture(scope='module')
def healthy():
    return data.pair(seed=3, known=data.truth(3, amplitude=5.0), n_points=2000)


def error(result, lesion):
    """Mean error (mm) at the points beside a lesion."""
    found = result.deformation.points(lesion.pair.points[:, :3])
    return lesion.pair.error(found)[lesion.around].mean()


def kept(result, plain, lesion):
    """The lesion's volume beyond a warp, relative to that beyond another one: Jacobians integrated."""
    here = loaded(lesion.masks['fixed'])
    first, second = (one.deformation.jacobian(here.grid).data[here.data > 0].sum() for one in (result, plain))
    return first / second


@pytest.mark.parametrize('end', ['fixed', 'moving'])
def test_40_ml_in_one_contrast_do_not_pull_at_what_lies_around_once_they_are_masked(healthy, end):
    lesion = data.with_lesion(healthy, end)
    mask = loaded(lesion.masks[end])
    volume = mask.data.sum() * mask.grid.spacing.prod() / 1000
    assert volume == pytest.approx(40, rel=0.05)
    plain_result, ill_result = solved(healthy), solved(lesion.pair)
    result = solved(lesion.pair, **{f'{end}_lesion': mask})
    plain, ill, masked = (error(one, lesion) for one in (plain_result, ill_result, result))
    assert ill > 1.1 * plain
    assert masked < plain + 0.3 * (ill - plain)
    # its volume as the warp makes it is what it is without the lesion; the lesion itself changes it
    assert kept(result, plain_result, lesion) == pytest.approx(1, abs=0.03)
    if end == 'moving':
        assert abs(kept(ill_result, plain_result, lesion) - 1) > 0.1


@pytest.mark.parametrize('end', ['fixed', 'moving'])
def test_what_stands_in_a_lesion_changes_no_bit(healthy, end):
    lesion, chosen = data.with_lesion(healthy, end), dataclasses.replace(QUICK, levels=((8.0, 5),))
    given = {f'{end}_lesion': loaded(lesion.masks[end])}
    one, other = (solved(pair, chosen, **given) for pair in (lesion.pair, healthy))
    np.testing.assert_array_equal(one.deformation.forward, other.deformation.forward)
    assert one.evidence == other.evidence


def test_lesions_are_left_out_alike_whoever_works(healthy, monkeypatch):
    """By kernels or by torch, on one thread or three."""
    lesion, chosen = data.with_lesion(healthy, 'moving'), dataclasses.replace(QUICK, levels=((8.0, 6),))
    given = {f'{end}_lesion': loaded(lesion.masks[end]) for end in ('fixed', 'moving')}

    def found(threads):
        before = torch.get_num_threads()
        torch.set_num_threads(threads)
        try:
            return solved(lesion.pair, chosen, **given)
        finally:
            torch.set_num_threads(before)

    one, three = found(1), found(3)
    np.testing.assert_array_equal(one.deformation.forward, three.deformation.forward)
    assert one.evidence == three.evidence
    monkeypatch.setattr('bidsreg.registration.similarity.dataterm.DataTerm._kernels', lambda *_: None)
    by_torch = found(1)
    np.testing.assert_allclose(by_torch.deformation.forward, one.deformation.forward, atol=0.02)
    first = [result.history[0]['similarity'] for result in (one, by_torch)]
    assert first[0] == pytest.approx(first[1], rel=1e-4)
