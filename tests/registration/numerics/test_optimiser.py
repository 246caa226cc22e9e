"""Adam with one step size for each tensor."""

import math

import pytest
import torch

from bidsreg.registration.numerics import optimiser as module
from bidsreg.registration.numerics.optimiser import TensorwiseAdam


@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
def test_kernels_take_the_steps_of_torch(dtype, monkeypatch):
    generator = torch.Generator().manual_seed(0)
    gradients = [torch.randn(2, 70, 9, 80, generator=generator, dtype=dtype) * size for size in (1, 0.1, 30)]
    gradients.append(torch.zeros_like(gradients[0]))

    def ends():
        tensors = [torch.nn.Parameter(torch.ones(2, 70, 9, 80, dtype=dtype)), torch.nn.Parameter(torch.ones(1))]
        found = TensorwiseAdam(tensors, 0.1)
        for gradient in gradients:
            # as autograd may leave it, not in order in memory; one has none
            tensors[0].grad = gradient.transpose(1, 3).contiguous().transpose(1, 3)
            found.step()
        return [*tensors, *found.momenta, *found.squares]

    kernels = ends()
    monkeypatch.setattr(module, '_is_compiled', lambda p: False)
    for one, other in zip(kernels, ends(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)


def test_an_optimiser_that_went_back_goes_on_as_it_would_have_from_rest():
    def step(gradient):
        p.grad = torch.tensor(gradient)
        optimiser.step()
        return p.tolist()

    p = torch.nn.Parameter(torch.ones(2))
    optimiser = TensorwiseAdam([p], 0.1)
    assert step([1.0, 1.0]) == pytest.approx([0.9, 0.9])
    then = optimiser.snapshot()
    step([math.nan, 1e30])
    optimiser.back_to(then)
    assert p.tolist() == pytest.approx([0.9, 0.9])
    # it does not coast, and the second moment is that of one unit step and another
    assert step([0.0, 0.0]) == pytest.approx([0.9, 0.9])
    optimiser.back_to(then)
    # momentum 0.1 of what two equal steps would have by 1 - 0.9^2
    assert step([1.0, 1.0]) == pytest.approx(2 * [0.9 - 0.1 * 0.1 / 0.19])
    optimiser.back_to(then)
    assert p.tolist() == pytest.approx([0.9, 0.9])
