"""Margins of one value around what was measured: cut away where no mask is given, and nothing else is."""

from __future__ import annotations

import itertools

import nibabel as nib
import numpy as np
import pytest

from bidsreg.messages import describe
from bidsreg.pair.cli import main
from bidsreg.pair.margins import MarginLeftOut, measured, without_margins
from bidsreg.registration import Deformation, Grid, Image
from tests import data

WIDTHS = ((2, 0), (3, 1), (0, 4))


def _scan(seed=0, shape=(12, 14, 10)):
    values = np.random.default_rng(seed).uniform(1, 2, shape).astype(np.float32)
    return Image(values, Grid(shape, data.grid(shape, 'LPI', (10, -5, 3), (2, 3, 4))))


def _padded(image, value=0.0, widths=WIDTHS):
    values = np.pad(image.data, widths, constant_values=value)
    before = np.array([low for low, _ in widths])
    return Image(values, image.grid.cropped(-before, -before + values.shape))


@pytest.mark.parametrize('value', [0.0, -1024.0])
def test_what_was_measured_comes_back_on_its_grid_with_its_lesion(value):
    fixed, moving = _scan(0), _scan(1)
    lesion = Image((fixed.data > 1.9).astype(np.float32), fixed.grid)
    found, other, inputs, events = without_margins(
        _padded(fixed, value), moving, {'fixed_lesion': _padded(lesion), 'affine': np.eye(4)}
    )
    assert other is moving
    for cut, whole in ((found, fixed), (inputs['fixed_lesion'], lesion)):
        np.testing.assert_array_equal(cut.data, whole.data)
        assert cut.grid.same_as(whole.grid, 1e-9)
    assert [event.image for event in events] == ['fixed']
    assert events[0].percent == pytest.approx(100 * (1 - fixed.data.size / _padded(fixed).data.size), abs=0.06)
    assert '% of its voxels' in describe(events[0].as_dict())


def test_an_image_with_a_mask_stays_and_a_lesion_on_another_grid_too():
    image = _padded(_scan())
    mask, lesion = Image(np.ones_like(image.data), image.grid), _scan(2)
    found, other, inputs, events = without_margins(image, image, {'fixed_mask': mask, 'moving_lesion': lesion})
    assert found is image
    assert inputs['fixed_mask'] is mask
    assert other is not image
    assert inputs['moving_lesion'] is lesion
    assert [event.image for event in events] == ['moving']


def test_a_side_that_ends_by_itself_stays():
    at = np.indices((20, 22, 18)).astype(float)
    ball = sum((axis - n / 2) ** 2 for axis, n in zip(at, (20, 22, 18), strict=True)) < 36
    assert measured(ball * _scan(0, (20, 22, 18)).data) == (slice(0, 20), slice(0, 22), slice(0, 18))


@pytest.mark.parametrize('constant', [0.0, 3.0])
def test_an_image_of_one_value_stays_to_be_refused_by_its_name(constant):
    assert measured(np.full((4, 5, 6), constant)) == (slice(0, 4), slice(0, 5), slice(0, 6))


def test_the_box_goes_along_with_every_order_of_the_voxels():
    scan = _padded(_scan()).data
    expected = np.sort(scan[measured(scan)], axis=None)
    for order, signs in itertools.product(itertools.permutations(range(3)), itertools.product((1, -1), repeat=3)):
        turned = scan[tuple(slice(None, None, sign) for sign in signs)].transpose(order)
        np.testing.assert_array_equal(np.sort(turned[measured(turned)], axis=None), expected)


@pytest.mark.slow
def test_the_transform_is_that_of_the_scans_before_they_were_padded(tmp_path):
    pair = data.pair((36, 42, 36), 1, known=data.truth(1, turn=(0, 0, 0), shift=(1, 2, -1)))
    widths = ((9, 3), (4, 10), (6, 6))

    def mapped(name, change):
        paths = {side: tmp_path / f'{name}_{side}.nii' for side in ('fixed', 'moving')}
        for side, path in paths.items():
            nib.save(change(getattr(pair, side)), path)
        settings = ['--sloppy', '--working-resolution', '6', '--threads', '1', '--device', 'cpu', '--keep', 'diffeo']
        out = tmp_path / name
        assert main([*map(str, paths.values()), '--out', str(out), '-q', *settings]) == 0
        assert nib.load(out / 'warped.nii.gz').shape == change(pair.fixed).shape
        return Deformation.load(out / 'forward.h5', out / 'inverse.h5').points(pair.points[:, :3])

    def padded(image):
        wide = _padded(Image(np.asanyarray(image.dataobj), Grid(image.shape, image.affine)), 0, widths)
        return data.image(wide.data, wide.grid.affine)

    plain = mapped('plain', lambda image: image)
    assert np.linalg.norm(plain - pair.points[:, :3], axis=1).max() > 0.1
    # headers hold places as 32 bits: 1e-5 mm; with the margin compared it was mm
    np.testing.assert_allclose(mapped('padded', padded), plain, atol=1e-3)


def test_the_event_is_plain_values():
    assert MarginLeftOut('moving', 12.5).as_dict() == {'event': 'MarginLeftOut', 'image': 'moving', 'percent': 12.5}
