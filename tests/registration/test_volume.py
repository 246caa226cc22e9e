"""Volumes: images as tensors."""

import numpy as np
import pytest
import torch

from bidsreg.registration import Grid, Image
from bidsreg.registration.image import resample
from bidsreg.registration.volume import Volume
from tests import data


def image(name='oblique-left-handed', shape=(12, 10, 11)):
    values = np.random.default_rng(2).normal(size=shape).astype(np.float32)
    return Image(values, Grid(shape, data.GRIDS[name][1]))


def test_there_and_back():
    scan = image()
    volume = Volume.of(scan)
    assert Volume.of(volume).data is volume.data
    back = volume.image()
    assert np.array_equal(back.data, scan.data)
    assert back.grid is scan.grid
    assert Volume.of(Image(scan.data > 0, scan.grid)).data.dtype == torch.float32


def test_the_same_as_an_image_does():
    scan, onto = image(), image('ras', (9, 9, 9)).grid
    volume = Volume.of(scan)
    np.testing.assert_allclose(volume.resampled(onto), resample(scan, onto), atol=1e-6)
    coarse = 2.5 * scan.grid.spacing
    np.testing.assert_allclose(volume.smoothed_for(coarse).data, scan.smoothed_for(coarse).data, atol=1e-5)
    assert volume.smoothed_for(scan.grid.spacing) is volume
    mask = Image((scan.data > 0).astype(np.float32), scan.grid)
    wanted = scan.standardised(mask.data > 0).data
    np.testing.assert_allclose(volume.standardised(Volume.of(mask)).data, wanted, atol=1e-5)
    with pytest.raises(ValueError, match='constant inside the mask'):
        Volume.of(mask).standardised(Volume.of(mask))


def test_cropped_and_marked():
    volume = Volume.of(image())
    part = volume.cropped(np.array([2, 1, 3]), np.array([5, 6, 7]))
    assert torch.equal(part.data, volume.data[2:5, 1:6, 3:7])
    np.testing.assert_allclose(part.grid.to_world(np.zeros(3)), volume.grid.to_world(np.array([2, 1, 3])))
    marked = volume.binary()
    assert torch.equal(marked.data, (volume.data > 0).float())
    assert torch.equal(marked.dilated(0.0).data, marked.data)
    assert marked.dilated(float(volume.grid.spacing.max())).data.sum() > marked.data.sum()
