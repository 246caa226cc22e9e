"""Brains come onto grids along the world axes, whatever their own, and back, without anything from outside of them."""

from __future__ import annotations

import nibabel as nb
import numpy as np
import pytest

from bidsreg.errors import InputError
from bidsreg.registration.grid import Grid
from bidsreg.registration.image import Image
from bidsreg.translation import volumes
from bidsreg.translation.volumes import from_volume, read_scan, to_volume, world_grid
from tests import data

from .conftest import SHAPE, image_of, inside_of

GRIDS = {name: grid for name, grid in data.GRIDS.items() if name != 'sheared'}
CENTRES = {'far': (120, -340, 260)}


def ramp(points):
    """A smooth function of the place, with a known inverse nowhere."""
    return (100 + points @ (0.4, 0.3, -0.2) + 5 * np.sin(points[..., 0] / 25)).astype(np.float32)


def ball(points, centre):
    return np.linalg.norm((points - np.asarray(centre)) / (55, 70, 50), axis=-1) < 1


@pytest.mark.parametrize('name', GRIDS)
def test_values_keep_their_places_there_and_back(name):
    shape, affine = GRIDS[name]
    points, grid = data.world(shape, affine), Grid(shape, affine)
    inside = ball(points, CENTRES.get(name, (0, 0, 0)))
    image = Image(np.where(inside, ramp(points), 1e4).astype(np.float32), grid)
    volume = to_volume(image, inside, 3.0, name)
    np.testing.assert_allclose(volume.grid.affine[:3, :3], 3 * np.eye(3))
    low, high = np.percentile(image.data[inside], (0.5, 99.5))
    deep = ball(volume.grid.to_world(np.moveaxis(np.indices(volume.grid.shape), 0, -1)), CENTRES.get(name, (0, 0, 0)))
    at = volume.grid.to_world(np.argwhere(volume.inside & deep))
    expected = np.clip((ramp(at) - low) / (high - low), 0, 1)
    error = np.abs(volume.values[volume.inside & deep] - expected)
    assert np.percentile(error, 95) < 0.03
    assert not volume.values[~volume.inside].any()
    back = from_volume(volume.values, volume, grid, inside)
    assert back.shape == shape
    assert not back[~inside].any()
    truth = np.clip((ramp(points[inside]) - low) / (high - low), 0, 1)
    # coarse slices hold the mean over 8 mm
    assert np.percentile(np.abs(back[inside] - truth), 95) < 0.05


def test_a_grid_along_the_world_holds_every_corner_of_every_voxel():
    shape, affine = data.GRIDS['oblique-left-handed']
    inside = np.zeros(shape, bool)
    inside[3:9, 40:44, 20:31] = True
    grid = world_grid(Grid(shape, affine), inside, 2.0)
    corners = np.array([[x, y, z] for x in (2.5, 8.5) for y in (39.5, 43.5) for z in (19.5, 30.5)])
    voxels = grid.to_voxels(nb.affines.apply_affine(affine, corners))
    assert (voxels > 0).all()
    assert (voxels < np.array(grid.shape) - 1).all()


def test_a_voxel_at_the_rim_is_not_darkened_by_what_is_outside():
    grid = Grid((20, 20, 20), np.diag([2.0, 2, 2, 1]))
    inside = np.zeros(grid.shape, bool)
    inside[6:14, 6:14, 6:14] = True
    data_ = np.where(np.indices(grid.shape)[0] < 10, 50, 100).astype(np.float32)
    volume = to_volume(Image(data_, grid), inside, 3.0, 'x')
    values = volume.values[volume.inside]
    assert ((values < 0.05) | (values > 0.95)).mean() >= 0.8  # the border between the two is mixed, the rim is not
    back = from_volume(volume.values, volume, grid, inside)
    assert back[6:8, 6:14, 6:14].max() < 0.05
    assert back[12:14, 6:14, 6:14].min() > 0.95


@pytest.mark.parametrize(
    ('values', 'inside', 'words'),
    [(np.ones, np.ones, 'x.nii: the image is constant'), (np.ones, np.zeros, 'x.nii: the brain mask is empty')],
)
def test_nothing_to_see(values, inside, words):
    grid = Grid((12, 12, 12), np.eye(4))
    with pytest.raises(InputError, match=words):
        to_volume(Image(values(grid.shape, np.float32), grid), inside(grid.shape, bool), 2.0, 'x.nii')


@pytest.fixture
def scan(heads, tmp_path):
    """A T2w and its mask as files."""
    head = heads['T2w']['01']
    paths = tmp_path / 'scan.nii.gz', tmp_path / 'mask.nii.gz'
    nb.save(head.scan, paths[0])
    nb.save(head.mask, paths[1])
    return paths


def test_a_scan_with_its_mask(scan, heads):
    image, inside = read_scan(*scan, contrast='T2w', bias_correction='none')
    head = heads['T2w']['01']
    np.testing.assert_array_equal(inside, inside_of(head))
    np.testing.assert_array_equal(image.data, image_of(head.scan).data)


def test_the_bias_field_is_taken_out(scan, heads, monkeypatch):
    head = heads['T2w']['01']

    def halved(image, mask):
        given, inside = nb.load(image), nb.load(mask)
        np.testing.assert_array_equal(np.asarray(inside.dataobj) > 0, inside_of(head))
        return nb.Nifti1Image(given.get_fdata(dtype=np.float32) / 2, given.affine)

    monkeypatch.setattr(volumes, 'correct_bias', halved)
    image, _ = read_scan(*scan, contrast='T2w', bias_correction='n4')
    np.testing.assert_array_equal(image.data, image_of(head.scan).data / 2)


def test_a_stripped_scan_needs_no_mask(heads, tmp_path):
    shape = (60, 72, 60)
    head = data.head(shape, 1, 'T2w', noise=0)
    stripped = data.image(np.asarray(head.scan.dataobj) * np.asarray(head.mask.dataobj), head.scan.affine)
    nb.save(stripped, tmp_path / 'scan.nii.gz')
    _, inside = read_scan(tmp_path / 'scan.nii.gz', None, contrast='T2w', bias_correction='none')
    assert (inside != inside_of(head)).mean() < 0.01


def test_a_head_without_a_mask(scan, monkeypatch):
    with pytest.raises(InputError, match=r'scan\.nii\.gz: it is not known where the brain is'):
        read_scan(scan[0], None, contrast='T2w', bias_correction='none')

    def nothing(path, **_):
        raise InputError(f'deepbet found no brain in {path} (dark)')

    monkeypatch.setattr(volumes, 'brain_mask', nothing)
    with pytest.raises(InputError, match=r'found no brain in .*scan\.nii\.gz \(dark\)'):
        read_scan(scan[0], None, contrast='T1w', bias_correction='none')
    monkeypatch.setattr(volumes, 'brain_mask', lambda path, **_: (np.ones(SHAPE, bool), 'all'))
    assert read_scan(scan[0], None, contrast='T1w', bias_correction='none')[1].all()
