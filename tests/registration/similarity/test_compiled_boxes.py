"""Bands and runs of boxes."""

import numpy as np
import torch

from bidsreg.registration.similarity import compiled_boxes


def test_bands_are_matrices():
    matrix = np.zeros((5, 9), np.float32)
    for row, first in enumerate((0, 1, 3, 6, 8)):
        matrix[row, first : first + 3] = row + 1
    for m in (matrix, matrix.T):
        made = compiled_boxes.bands((torch.as_tensor(m),) * 3)
        neighbours, taps = made.neighbours[0].astype(int), made.taps[0]
        again = np.zeros_like(m)
        np.add.at(again, (np.arange(len(m))[:, None], neighbours), taps)
        np.testing.assert_array_equal(again, m)
        assert taps.shape[1] % 4 == 0


def test_runs_hold_every_voxel_once():
    wanted = np.random.default_rng(0).random(5000) < 0.03
    wanted[1000:2500] = True
    found = compiled_boxes.runs(wanted)
    held = np.concatenate([np.arange(a, a + n) for a, n in found])
    assert len(np.unique(held)) == len(held)
    assert set(np.flatnonzero(wanted)) <= set(held)
    assert (found[:, 1] % compiled_boxes.UNIT == 0).all()
    assert found[:, 1].max() <= compiled_boxes.LONGEST
    assert len(compiled_boxes.runs(np.zeros(9, bool))) == 0
