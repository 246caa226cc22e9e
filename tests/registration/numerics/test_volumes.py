"""Operations on volumes: those of torch, for a GPU, against SciPy's."""

import numpy as np
import pytest
import torch
from scipy import ndimage as ndi

from bidsreg.registration.numerics import volumes

RNG = np.random.default_rng(5)
VALUES = RNG.normal(size=(9, 7, 8)).astype(np.float32)
OBLIQUE = np.array([[0.9, -0.2, 0.05, 0.413], [0.15, 1.1, 0, -1.317], [0.1, 0, -0.8, 6.529], [0, 0, 0, 1]])


@pytest.mark.parametrize('order', [0, 1])
@pytest.mark.parametrize('matrix', [OBLIQUE, np.eye(4), np.diag([0.5, 0.5, 2.0, 1.0])])
def test_torch_resamples_as_scipy_does(matrix, order):
    volume = torch.from_numpy(VALUES)
    wanted = volumes.resampled(volume, matrix, (8, 9, 7), order)
    assert wanted.abs().sum() > 0
    found = volumes._resampled_by_torch(volume, matrix, (8, 9, 7), order)
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-5)


@pytest.mark.parametrize('shape', [(9, 7, 8), (9, 7, 1)])
def test_blurred_as_scipy_does(shape):
    values = np.ascontiguousarray(VALUES[:, :, : shape[2]])
    sigma = np.array([1.2, 0.0, 2.5])
    wanted = ndi.gaussian_filter(values, sigma, mode='nearest', truncate=3)
    np.testing.assert_allclose(volumes.blurred(torch.from_numpy(values), sigma), wanted, atol=1e-5)


@pytest.mark.parametrize('mm', [0.0, 1.0, 2.9, 40.0])
def test_torch_dilates_as_the_distance_says(mm):
    spacing, mask = np.array([1.0, 0.7, 2.5]), torch.from_numpy((VALUES > 2).astype(np.float32))
    assert 0 < mask.sum() < mask.numel()
    assert torch.equal(volumes._dilated_by_torch(mask, mm, spacing), volumes.dilated(mask, mm, spacing))


def test_grown_and_eroded_by_cubes():
    marked = VALUES > 0.2
    found = torch.from_numpy(marked)
    for reach in (0, 1, 2):
        size = 2 * reach + 1
        assert np.array_equal(volumes.grown(found, reach), ndi.maximum_filter(marked, size, mode='constant'))
        assert torch.equal(volumes._grown_by_torch(found, reach), volumes.grown(found, reach))
        wanted = ndi.minimum_filter(marked, size, mode='constant', cval=0)
        assert np.array_equal(volumes.eroded(found, reach), wanted)


def test_torch_finds_the_percentiles_of_numpy():
    shares = (0.5, 33, 99.5, 100)
    values = torch.from_numpy(VALUES)
    assert volumes._percentiles_by_torch(values, shares) == pytest.approx(volumes.percentiles(values, shares), abs=1e-6)
