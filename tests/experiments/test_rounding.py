"""What rounding does to voxels, and how far apart points are said to be."""

from __future__ import annotations

import numpy as np
import rounding


def test_voxels_are_rounded_as_an_int16_with_a_slope_holds_them():
    values = np.random.default_rng(0).gamma(2.0, 200.0, (20, 20, 20))
    found = rounding.rounded(values)
    slope = values.max() / 32767
    assert 0 < np.abs(found - values).max() <= 0.5001 * slope
    np.testing.assert_allclose((found / slope).round().astype(np.int16) * slope, found, rtol=1e-12)
    np.testing.assert_allclose(rounding.rounded(found), found, rtol=1e-12)


def test_distances_are_those_of_points():
    points = np.random.default_rng(1).normal(size=(50, 3))
    assert rounding.apart(points, points + np.array([3, 0, 4])) == '5.000, 5.000, 5.00'


def test_a_mask_is_carried_by_a_matrix():
    mask = np.zeros((9, 9, 9), bool)
    mask[2:5, 3:6, 4:7] = True
    shift = np.eye(4)
    shift[:3, 3] = (-1, 2, 0)
    np.testing.assert_array_equal(rounding.carried(mask, shift, mask.shape), np.roll(mask, (1, -2, 0), (0, 1, 2)))


def test_the_row_says_what_was_measured(monkeypatch, capsys):
    monkeypatch.setattr(rounding, 'measure', lambda folder, voxel, sloppy, resolution: [f'{voxel} {sloppy}'] * 5)
    rounding.main(['--voxel', '4', '--sloppy'])
    assert capsys.readouterr().out.splitlines()[-1].startswith('| 4 mm, --sloppy | 4.0 True |')
