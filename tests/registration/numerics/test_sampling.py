"""Trilinear interpolation with slopes, against SciPy and finite differences."""

import numpy as np
import torch

from bidsreg.registration.grid import Grid
from bidsreg.registration.image import Image, resample
from bidsreg.registration.numerics.sampling import Sampler, interpolate


def test_sampling_agrees_with_scipy_on_an_oblique_pair_of_grids():
    rng = np.random.default_rng(2)
    source = Grid((8, 9, 7), np.array([[0, -1.1, 0.1, 2], [0.9, 0, 0, -3], [0.1, 0, 2.0, 1], [0, 0, 0, 1]]))
    target = Grid(
        (11, 10, 12), np.diag([1.0, 0.8, 1.2, 1]) + np.array([[0] * 3 + [-7], [0] * 3 + [-3], [0] * 3 + [1], [0] * 4])
    )
    image = Image(rng.normal(size=target.shape).astype(np.float32), target)
    index = np.stack(np.meshgrid(*map(np.arange, source.shape), indexing='ij'), -1)
    at = torch.as_tensor(np.moveaxis(target.to_voxels(source.to_world(index)), -1, 0))
    sampler = Sampler(torch.as_tensor(image.data, dtype=torch.float64)[None])
    inside = resample(Image(np.ones(target.shape, np.float32), target), source) == 1
    assert inside.sum() > 50
    np.testing.assert_allclose(sampler.values(at)[0].numpy()[inside], resample(image, source)[inside], atol=1e-5)
    nearest = resample(image, source, order=0)
    assert (sampler.nearest(at)[0].numpy()[inside] == nearest[inside]).mean() > 0.99  # ties may go either way


def test_sampled_slopes_and_their_adjoint_by_finite_differences():
    generator = torch.Generator().manual_seed(3)
    volume = torch.rand(2, 5, 4, 6, generator=generator, dtype=torch.float64)
    at = 0.6 + 2.2 * torch.rand(3, 2, 3, 2, generator=generator, dtype=torch.float64)
    assert torch.autograd.gradcheck(interpolate, (volume.requires_grad_(), at.requires_grad_()), eps=1e-7)
    values, slopes = Sampler(volume.detach())(at.detach())
    torch.testing.assert_close(values, interpolate(volume, at).detach())
    assert [s.shape for s in slopes] == [at.shape, at.shape]


def test_beyond_the_volume_the_border_goes_on_and_flat_volumes_have_one_slice():
    volume = torch.arange(12.0).reshape(1, 3, 4, 1)
    at = torch.tensor([[-5.0, 1.0, 9.0], [1.0, -2.0, 9.0], [0.0, 3.0, -1.0]]).reshape(3, 3, 1, 1)
    assert Sampler(volume).values(at).flatten().tolist() == [1.0, 4.0, 11.0]
