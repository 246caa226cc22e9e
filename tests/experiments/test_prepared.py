"""Pairs are made ready alike for every method."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import prepared
import pytest

from bidsreg.registration.grid import apply_affine
from bidsreg.registration.itk import read_affine


def test_a_folder_without_pairs_is_refused(tmp_path):
    with pytest.raises(ValueError, match='neither'):
        list(prepared.find_pairs(tmp_path, tmp_path, 'n4'))


def test_bias_goes_and_brightness_stays(datasets, tmp_path, monkeypatch):
    field = np.exp(np.linspace(-0.5, 0.5, 44))[:, None, None]
    monkeypatch.setattr(prepared, 'bias_field', lambda image, inside, affine: field)
    [(pair, prepare)] = prepared.find_pairs(datasets / 'heads', tmp_path, 'n4')
    prepared.make_ready(pair, prepare)
    raw = nib.load(datasets / 'heads/sub-01/anat/sub-01_T1w.nii.gz').get_fdata()
    clean, mask = (nib.load(pair.path(what)).get_fdata() for what in ('fixed', 'fixed_mask'))
    ratio = (raw / field)[raw > 0] / clean[raw > 0]
    assert ratio.std() / ratio.mean() < 1e-5
    assert clean[mask > 0].mean() == pytest.approx(raw[mask > 0].mean())


def test_truth_is_the_start_within_a_head(datasets, tmp_path):
    """The affine is the best there is for the points, and carries the mask onto the other brain."""
    [(pair, prepare)] = prepared.find_pairs(datasets / 'heads', tmp_path, 'none')
    prepared.make_ready(pair, prepare)
    points = np.loadtxt(pair.points)
    error = np.linalg.norm(apply_affine(read_affine(pair.affine), points[:, :3]) - points[:, 3:], axis=1)
    assert error.mean() < 6
    mask = nib.load(pair.path('moving_mask'))
    at = np.rint(nib.affines.apply_affine(np.linalg.inv(mask.affine), points[:, 3:])).astype(int)
    assert np.asarray(mask.dataobj)[tuple(at.T)].mean() > 0.97
    assert [path.name for path in pair.folder.parent.iterdir()] == [pair.folder.name]  # nothing half made


def test_people_start_where_they_lie_with_what_is_no_background_for_a_mask(datasets, tmp_path):
    [(pair, prepare)] = prepared.find_pairs(datasets / 'people', tmp_path, 'none')
    prepared.make_ready(pair, prepare)
    assert (pair.name, pair.task) == ('people/a-b', 'inter')
    np.testing.assert_array_equal(read_affine(pair.affine), np.eye(4))
    image, mask = (np.asarray(nib.load(pair.path(what)).dataobj) for what in ('fixed', 'fixed_mask'))
    assert mask[image > 0].mean() > 0.99
    assert not pair.points.exists()


def test_a_pair_that_fails_leaves_nothing(datasets, tmp_path):
    [(pair, _)] = prepared.find_pairs(datasets / 'people', tmp_path, 'none')
    with pytest.raises(ZeroDivisionError):
        prepared.make_ready(pair, lambda making: (making.folder / 'half').touch() or 1 / 0)
    assert not list(pair.folder.parent.iterdir())
