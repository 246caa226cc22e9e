"""Where work is done, and in which portions."""

import pytest
import torch

from bidsreg.registration.numerics.compute import Compute


@pytest.mark.parametrize(
    ('device', 'boxed', 'at_a_time', 'small'),
    [('cpu', False, 4, True), ('cpu', True, 4, True), ('cuda', False, 1, False), ('cuda', True, 1, True)],
)
def test_a_gpu_takes_one_box_unless_told_otherwise(device, boxed, at_a_time, small):
    compute = Compute(torch.device(device), threads=4, boxed=boxed)
    assert (compute.at_a_time, compute.small_boxes, compute.threads) == (at_a_time, small, 4)
