"""Compiled convolutions against torch's, with gradients."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from bidsreg.registration.numerics.kernels.convolution import by_input, by_weight, convolved, padded


@pytest.mark.parametrize('shape', [(5, 6, 7), (4, 1, 3), (1, 1, 1)])
def test_convolutions_and_gradients_are_torchs_for_any_number_of_threads(shape):
    rng = np.random.default_rng(0)
    volumes, upstream = (rng.normal(size=(n, *shape)).astype(np.float32) for n in (3, 2))
    weight = rng.normal(size=(2, 3, 3, 3, 3)).astype(np.float32)
    given, by = torch.from_numpy(volumes)[None].requires_grad_(), torch.from_numpy(weight).requires_grad_()
    out = F.conv3d(given, by, padding=1)
    out.backward(torch.from_numpy(upstream)[None])
    expected = out[0].detach(), given.grad[0], by.grad

    def found(threads):
        bordered, pulls = padded(volumes), padded(upstream)
        return (
            convolved(bordered, weight, threads),
            by_input(pulls, weight, threads),
            by_weight(bordered, pulls, threads),
        )

    for ours, again, theirs in zip(found(1), found(3), expected, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-4)
        np.testing.assert_array_equal(ours, again)
