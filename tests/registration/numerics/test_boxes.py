"""Boxes hold every compared voxel once."""

import numpy as np
import pytest

from bidsreg.registration.numerics.boxes import boxes, whole


@pytest.mark.parametrize('size', [1, 4, 7, 100])
@pytest.mark.parametrize('block', [1, 3])
def test_every_compared_voxel_is_in_one_box(size, block):
    weight = np.random.default_rng(size).random((18, 13, 9)) > 0.95
    count = np.zeros(np.array(weight.shape) + block, int)
    for box in boxes(weight, size, block):
        count[box] += 1
        assert all(b.start % block == 0 and b.stop % block == 0 for b in box)
        assert all(b.stop - b.start <= -(-size // block) * block for b in box)
    assert (count[tuple(slice(0, n) for n in weight.shape)][weight] == 1).all()
    assert count.max() == 1


def test_nothing_to_compare_gives_no_box():
    assert boxes(np.zeros((5, 5, 5)), 3) == []


def test_the_box_of_a_volume():
    assert np.zeros((3, 4, 5))[whole((3, 4, 5))].shape == (3, 4, 5)


def test_sides_may_differ():
    weight = np.zeros((20, 21, 50))
    weight[2:19, 3:18, 4:48] = 1
    found = boxes(weight, (6, 8, 256))
    assert all(b.stop - b.start <= n for box in found for b, n in zip(box, (6, 8, 256), strict=True))
    assert {(z.start, z.stop) for _, _, z in found} == {(4, 48)}
    count = np.zeros(weight.shape)
    for box in found:
        count[box] += 1
    np.testing.assert_array_equal(count, weight)
