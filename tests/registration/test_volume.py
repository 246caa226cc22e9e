"""Volumes: images as tensors."""

import numpy as np
import pytest
import torch

from bidsreg.registration import Grid, Image
from bidsreg.registration.image import resample
from bidsreg.registration.volume import LEAST_SPREAD, Volume
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


def test_compressed_is_the_inverse_hyperbolic_sine_of_the_distance_from_the_median():
    volume = Volume.of(image())
    mask = Volume(volume.data > volume.data.median(), volume.grid)
    inside = volume.data[mask.data].numpy()
    low, middle, high = np.percentile(inside, (25, 50, 75))
    assert high - low > LEAST_SPREAD
    wanted = np.arcsinh(2 * (volume.data.numpy() - middle) / (high - low))
    np.testing.assert_allclose(volume.compressed(mask, 2.0).data, wanted, rtol=1e-4, atol=1e-5)


def test_compressed_does_not_blow_up_the_noise_of_a_flat_image():
    noise = 1e-3 * torch.rand(6, 6, 6, generator=torch.Generator().manual_seed(1))
    flat = Volume(noise, image('ras', (6, 6, 6)).grid)
    everywhere = Volume(torch.ones_like(noise), flat.grid)
    assert flat.compressed(everywhere, 1.0).data.abs().max() < 1.1e-3 / LEAST_SPREAD
