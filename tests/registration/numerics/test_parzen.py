"""Parzen windows and the information of their joint histograms, against known tables."""

import numpy as np
import pytest
import torch

from bidsreg.registration.numerics import parzen


def test_information_of_known_histograms():
    joint = torch.stack([torch.eye(8), torch.ones(8, 8), torch.zeros(8, 8)]).double()
    found = parzen.mutual_information(joint)
    torch.testing.assert_close(found, torch.tensor([np.log(8), 0, 0], dtype=torch.float64), atol=1e-9, rtol=0)
    binary = torch.tensor([[0.4, 0.1], [0.1, 0.4]], dtype=torch.float64)
    wanted = np.log(2) + 0.8 * np.log(0.8) + 0.2 * np.log(0.2)  # a binary symmetric channel
    assert parzen.mutual_information(7 * binary).item() == pytest.approx(wanted)


def test_windows_add_up_to_one_and_histograms_to_the_weight():
    position = torch.linspace(1, 14, 131, dtype=torch.float64)
    first, weights = parzen.cubic_windows(position, 16)
    torch.testing.assert_close(weights.sum(0), torch.ones(131, dtype=torch.float64))
    assert first.min() == 0
    assert first.max() == 12
    torch.testing.assert_close((weights * (first + torch.arange(4)[:, None])).sum(0), position)  # centred
    weight = torch.rand(131, dtype=torch.float64)
    group = torch.arange(131, dtype=torch.int32) % 3
    joint = parzen.joint_histograms(position, position.flip(0), weight, 16, group, 3)
    torch.testing.assert_close(joint.sum((1, 2)), torch.stack([weight[k::3].sum() for k in range(3)]))


def test_range_leaves_out_the_tails_and_the_unweighted():
    values = torch.cat([torch.randperm(1000).double(), torch.full((500,), -1e6)])
    weight = (values >= 0).double()
    assert parzen.value_range(values, weight) == (5.0, 994.0)
    assert parzen.value_range(values, torch.zeros_like(values)) == (0.0, 1.0)
    assert parzen.value_range(torch.full((9,), 3.0), torch.ones(9)) == (3.0, 3.0)
    inside = values[weight > 0].float()
    assert parzen._ranks_by_torch(inside, 5, 994) == parzen.value_range(inside, torch.ones(1000))


def test_rows_of_all_bins_are_the_windows_and_their_slopes():
    position = torch.cat([torch.linspace(1, 14, 131), torch.arange(1.0, 15)]).double().requires_grad_()
    first, weights = parzen.cubic_windows(position, 16)
    rows = parzen.dense_windows(position.detach(), 16)
    wanted = torch.zeros(145, 16, dtype=torch.float64)
    for k in range(4):
        wanted[torch.arange(145), first.long() + k] = weights[k].detach()
    torch.testing.assert_close(rows, wanted)
    by_window = torch.rand(145, 16, dtype=torch.float64)
    covered = by_window.gather(1, first.long()[:, None] + torch.arange(4))
    (by_position,) = torch.autograd.grad((weights.T * covered).sum(), position)
    torch.testing.assert_close(parzen.pulled_back(position.detach(), by_window), by_position)
