"""UNIT1 images: noise in the air goes, the head stays."""

from __future__ import annotations

import nibabel as nb
import numpy as np
import pytest

from bidsreg.errors import InputError
from bidsreg.preparation.mp2rage import FULL_RANGE, clean_uni
from tests import data

SHAPE = (44, 52, 44)


def signal(uni, inv2):
    """The first inversion that gives this ratio with the second one: the smaller root of the quadratic equation."""
    safe = np.where(np.abs(uni) < 1e-6, 1e-6, uni)
    return inv2 * (1 - np.sqrt(np.maximum(1 - 4 * safe**2, 0))) / (2 * safe)


@pytest.fixture(scope='module')
def mp2rage():
    """A head with the contrast of a T1w as ratio, and its two inversions with noise; the ratio of noise in the air."""
    head = data.head(SHAPE, 1, noise=0.0)
    rng = np.random.default_rng(0)
    inside = np.asanyarray(head.labels.dataobj) > 0
    t1w = np.asanyarray(head.scan.dataobj).astype(float)
    true = np.where(inside, np.clip(t1w / t1w.max(), 0.02, 0.98) - 0.5, 0)
    second = np.where(inside, 400.0, 0) + rng.normal(0, 6, SHAPE)
    first = np.where(inside, signal(true, 400.0), 0) + rng.normal(0, 6, SHAPE)
    ratio = first * second / (first**2 + second**2)
    images = [nb.Nifti1Image(np.abs(x).astype(np.int16), head.scan.affine) for x in (first, second)]
    return true, ratio, inside, images


@pytest.mark.parametrize('scale', ['scanner', 'ratio', 'unit'])
@pytest.mark.parametrize('with_inversions', [True, False])
def test_the_air_is_dark_and_the_head_stays(mp2rage, scale, with_inversions):
    true, ratio, inside, inversions = mp2rage
    stored = {'scanner': np.round((ratio + 0.5) * FULL_RANGE), 'ratio': ratio, 'unit': ratio + 0.5}[scale]
    image = nb.Nifti1Image(stored.astype(np.int16 if scale == 'scanner' else np.float32), inversions[0].affine)
    cleaned, words = clean_uni(image, inversions if with_inversions else ())
    values = np.asanyarray(cleaned.dataobj) / FULL_RANGE
    assert ('both inversion images' in words) == with_inversions
    far = np.zeros(SHAPE, bool)
    far[:4], far[-4:] = True, True
    far &= ~inside
    noisy = (ratio + 0.5)[far]
    assert noisy.std() > 0.2
    assert np.abs(values[far]).mean() < 0.1
    deep = np.asanyarray(data.head(SHAPE, 1).mask.dataobj) > 0
    assert np.corrcoef(values[deep], (true + 0.5)[deep])[0, 1] > 0.95
    lost = (values[deep] < 0.01) & ((ratio + 0.5)[deep] > 0.1)
    assert lost.mean() < 0.005


def test_inversions_of_another_grid_are_not_used(mp2rage):
    _, ratio, _, inversions = mp2rage
    small = nb.Nifti1Image(np.asanyarray(inversions[0].dataobj)[:-1], inversions[0].affine)
    image = nb.Nifti1Image(ratio.astype(np.float32), inversions[0].affine)
    _, words = clean_uni(image, [small, small])
    assert 'told by its noise' in words


def test_coarse_voxels_are_no_noise(mp2rage):
    """Of a head with voxels of twice the size the brain stays whole: its folds are no noise."""
    true, _, inside, inversions = mp2rage
    rng = np.random.default_rng(1)
    noise = 0.5 * np.sin(rng.uniform(0, 2 * np.pi, SHAPE))
    coarse = np.where(inside, true, noise)[::2, ::2, ::2]
    affine = inversions[0].affine @ np.diag([2.0, 2, 2, 1])
    cleaned, words = clean_uni(nb.Nifti1Image(coarse.astype(np.float32), affine))
    assert 'set to zero' in words
    values = np.asanyarray(cleaned.dataobj) / FULL_RANGE - 0.5
    brain = np.asanyarray(data.head(SHAPE, 1).mask.dataobj)[::2, ::2, ::2] > 0
    np.testing.assert_allclose(values[brain], coarse[brain], atol=1e-5)
    assert (values[:2] == -0.5).mean() > 0.9


def test_an_image_without_noise_stays_as_it_is(mp2rage):
    true, _, inside, inversions = mp2rage
    quiet = np.where(inside, true, -0.5)
    cleaned, words = clean_uni(nb.Nifti1Image(quiet.astype(np.float32), inversions[0].affine))
    assert 'no noise' in words
    np.testing.assert_allclose(np.asanyarray(cleaned.dataobj) / FULL_RANGE - 0.5, quiet, atol=1e-5)


def test_noise_alone_is_refused():
    """There is no head in it, and the remedy is said."""
    noise = 0.5 * np.sin(np.random.default_rng(0).uniform(0, 2 * np.pi, SHAPE))
    noise[20:24, 20:24, 20:24] = 0.3
    with pytest.raises(InputError, match='inv-1 and inv-2'):
        clean_uni(nb.Nifti1Image(noise.astype(np.float32), np.diag([4.0, 4, 4, 1])))
