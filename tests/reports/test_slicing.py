"""Where heads are cut, whatever grid they lie on."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest

from bidsreg.reports import slicing
from tests import data
from tests.reports.heads import GRIDS, scan_on


@pytest.mark.parametrize('name', GRIDS)
def test_slices_are_where_the_brain_is_and_do_not_depend_on_the_grid(name):
    head = scan_on(name)
    centre = np.array([120, -340, 260]) if name == 'far' else np.zeros(3)
    rows = slicing.choose_planes(head.mask)
    assert [len(row) for row in rows] == [slicing.COLUMNS] * 3
    for row, axis, radius in zip(rows, (2, 1, 0), (58, 78, 62), strict=True):
        places = np.array([plane.points[0, 0, axis] for plane in row]) - centre[axis]
        assert np.abs(places).max() < radius
        assert places.max() - places.min() > radius
    pictures = slicing.slices(head.scan, rows)
    reference = slicing.slices(scan_on('ras').scan, slicing.choose_planes(scan_on('ras').mask))
    middle = slicing.COLUMNS // 2
    for row, other in zip(pictures, reference, strict=True):
        a, b = row[middle], other[middle]
        height, width = min(a.shape[0], b.shape[0]) // 2, min(a.shape[1], b.shape[1]) // 2

        def core(picture, height=height, width=width):
            y, x = (n // 2 for n in picture.shape)
            return picture[y - height : y + height, x - width : x + width].ravel()

        assert np.corrcoef(core(a), core(b))[0, 1] > 0.8


def test_right_is_on_the_side_that_says_right(tmp_path):
    """A bright blob in the right hemisphere is found on the left of the axial and coronal slices, which says R."""
    shape, affine = data.GRIDS['oblique-left-handed']
    points = data.world(shape, affine)
    brain = (np.linalg.norm(points / [62, 78, 58], axis=-1) < 1).astype(np.uint8)
    blob = (np.linalg.norm(points - [35, 0, 0], axis=-1) < 12).astype(np.float32)
    rows = slicing.choose_planes(nib.Nifti1Image(brain, affine))
    pictures = slicing.slices(nib.Nifti1Image(blob, affine), rows)
    for row, planes in zip(pictures[:2], rows[:2], strict=True):
        picture = row[slicing.COLUMNS // 2]
        assert picture[:, : picture.shape[1] // 2].sum() > 10 * picture[:, picture.shape[1] // 2 :].sum()
        assert (planes[0].left, planes[0].right) == ('R', 'L')
    assert (rows[2][0].left, rows[2][0].right) == ('A', 'P')


def test_a_place_in_the_world_is_a_pixel_of_its_slice():
    rows = slicing.choose_planes(scan_on('oblique').mask)
    for plane in (rows[0][3], rows[1][3], rows[2][3]):
        np.testing.assert_allclose(plane.pixels(plane.points[5, 9]), (9, 5), atol=1e-3)


def test_the_ends_of_a_large_mask_are_those_of_all_its_voxels(monkeypatch):
    mask = scan_on('oblique').mask
    monkeypatch.setattr(slicing, 'MOST_POINTS', 10**9)
    full = slicing._extent(mask)
    monkeypatch.setattr(slicing, 'MOST_POINTS', np.asanyarray(mask.dataobj).sum() // 7)
    voxel = nib.affines.voxel_sizes(mask.affine).max()
    np.testing.assert_allclose(slicing._extent(mask), full, atol=voxel)


@pytest.mark.parametrize('kind', [np.uint8, np.int16, np.int64, np.float32])
def test_a_mask_chooses_as_it_stands_on_disk_and_is_read_once(kind, tmp_path):
    head = scan_on('ras')
    data_there = (np.asanyarray(head.mask.dataobj) > 0).astype(kind)
    path = tmp_path / 'mask.nii.gz'
    nib.save(nib.Nifti1Image(data_there, head.mask.affine, dtype=kind), path)
    found = slicing.brain(path, head.scan)
    path.unlink()
    assert np.array_equal(np.asanyarray(found.dataobj), data_there)
    assert np.array_equal(found.affine, head.mask.affine)


@pytest.mark.parametrize('value', [0, np.nan])
def test_without_a_mask_the_foreground_chooses(value):
    head = scan_on('ras')
    empty = nib.Nifti1Image(np.full(head.scan.shape, value, np.float32), head.scan.affine)
    expected = slicing.foreground(head.scan)
    for mask in (None, empty):
        assert np.array_equal(np.asanyarray(slicing.brain(mask, head.scan).dataobj) > 0, expected)
