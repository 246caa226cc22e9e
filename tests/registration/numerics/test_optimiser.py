"""Adam with one step size for each tensor."""

import math

import pytest
import torch

from bidsreg.registration.numerics.optimiser import TensorwiseAdam


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
