"""Tissue classes."""

from __future__ import annotations

import contextlib
import tempfile

import numpy as np
import pytest
from scipy import ndimage as ndi

from bidsreg.preparation.tissue import tissue_classes
from bidsreg.registration import Grid, Image


@pytest.fixture
def tissue():
    """Noisy blocks of three brightnesses, and their classes."""
    rng = np.random.default_rng(0)
    truth = ndi.zoom(rng.integers(1, 4, (6, 6, 6)), 4, order=0)
    return np.array([0, 300, 500, 700])[truth] + rng.normal(0, 3, truth.shape), truth


def test_what_was_cut_away_from_the_scan_is_no_class(tissue):
    values, truth = tissue
    values[:2, :2, :3] = 0  # within the mask, as where a face was removed
    inside = np.ones(truth.shape, bool)
    found = tissue_classes(Image(values.astype(np.float32), Grid(truth.shape, np.eye(4))), inside).data
    assert not found[values == 0].any()
    assert (found == truth)[values > 0].mean() > 0.98


def test_classes_do_not_depend_on_the_unit_of_the_scan(tissue):
    """Scans come in units of a millionth, and in millions."""
    values, truth = tissue
    inside = np.ones(truth.shape, bool)
    grid = Grid(truth.shape, np.eye(4))
    found = [tissue_classes(Image((values * 2.0**k).astype(np.float32), grid), inside).data for k in (-30, 0, 30)]
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_array_equal(found[2], found[1])


def test_one_scan_has_always_the_same_classes(tissue):
    """Also where voxels are undecided, and whatever the time is that Atropos would draw its numbers from."""
    values, truth = tissue
    noisy = values + np.random.default_rng(1).normal(0, 120, truth.shape)
    image = Image(noisy.clip(1).astype(np.float32), Grid(truth.shape, np.eye(4)))
    found = [tissue_classes(image, np.ones(truth.shape, bool)).data for _ in range(5)]
    for other in found[1:]:
        np.testing.assert_array_equal(other, found[0])


@pytest.mark.parametrize('divided', [True, False])
def test_no_files_are_left(tissue, tmp_path, monkeypatch, divided):
    """ANTsPy leaves three images of every division."""
    monkeypatch.setattr(tempfile, 'tempdir', str(tmp_path))
    values = tissue[0].astype(np.float32) if divided else np.full(tissue[0].shape, 7, np.float32)
    image = Image(values, Grid(values.shape, np.eye(4)))
    with contextlib.nullcontext() if divided else pytest.raises(ValueError, match='cannot divide'):
        tissue_classes(image, np.ones(values.shape, bool))
    assert not list(tmp_path.iterdir())
    assert tempfile.tempdir == str(tmp_path)


@pytest.mark.parametrize('value', [0.0, 7.0])
def test_a_brain_without_tissue_is_said(tissue, value):
    image = Image(np.full(tissue[0].shape, value, np.float32), Grid(tissue[0].shape, np.eye(4)))
    with pytest.raises(ValueError, match=r'Atropos cannot divide \d+ voxels of the brain into csf, grey, white'):
        tissue_classes(image, np.ones(tissue[0].shape, bool))


def test_classes_go_from_dark_to_bright_and_vessels_make_none():
    rng = np.random.default_rng(0)
    truth = ndi.zoom(rng.integers(1, 4, (6, 6, 6)), 4, order=0)
    values = np.array([0, 20, 60, 100])[truth] + rng.normal(0, 3, truth.shape)
    values[:2, :2, :2] = 3000
    inside = np.ones(truth.shape, bool)
    inside[-4:] = False
    image = Image(values.astype(np.float32), Grid(truth.shape, np.eye(4)))
    found = tissue_classes(image, inside)
    assert not found.data[~inside].any()
    assert (found.data == truth)[inside].mean() > 0.98
    np.testing.assert_array_equal(tissue_classes(image, inside).data, found.data)
