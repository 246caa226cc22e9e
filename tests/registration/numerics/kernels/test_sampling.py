"""Compiled sampling against torch's."""

import numpy as np
import pytest
import torch

from bidsreg.registration.numerics.kernels.sampling import values, values_and_slopes
from bidsreg.registration.numerics.sampling import Sampler


@pytest.mark.parametrize('shape', [(5, 6, 7), (4, 1, 3), (1, 1, 1)])
def test_values_and_slopes_are_torchs_for_any_number_of_threads(shape, monkeypatch):
    monkeypatch.setattr('bidsreg.registration.numerics.kernels.sampling.PART', 100)
    rng = np.random.default_rng(0)
    volumes = rng.normal(size=(2, *shape)).astype(np.float32)
    at = (rng.uniform(-0.5, 1.5, size=(3, 300)) * np.array(shape)[:, None]).astype(np.float32)
    given = volumes.reshape(2, -1), shape, at
    # in double precision nothing is compiled
    reference, there = Sampler(torch.from_numpy(volumes).double()), torch.from_numpy(at).double()[:, :, None, None]
    wanted, slopes = reference(there)
    found = values(*given), *values_and_slopes(*given)
    expected = reference.values(there), wanted, torch.stack(slopes)
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, theirs[..., 0, 0], atol=1e-5)
    again = values(*given, 3), *values_and_slopes(*given, 3)
    for one, three in zip(found, again, strict=True):
        np.testing.assert_array_equal(one, three)


def test_no_positions():
    assert values(np.ones((1, 8), np.float32), (2, 2, 2), np.empty((3, 0), np.float32)).shape == (1, 0)
