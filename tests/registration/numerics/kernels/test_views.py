"""What is looked at, by compiled kernels, against SciPy and torch."""

import numpy as np
import pytest
import torch
from scipy import ndimage as ndi

from bidsreg.registration.numerics.boxes import boxes
from bidsreg.registration.numerics.kernels import views
from bidsreg.registration.numerics.sampling import Sampler
from bidsreg.registration.similarity import descriptors

SHAPE = (29, 33, 37)
TAPS = {'blur': [0.5, 0.2, 0.04, 0.01], 'smooth': [0.4, 0.2, 0.08, 0.015, 0.005], 'slope': [0, 0.3, 0.2, 0.1, 0.02]}


def noise(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def half(name, count):
    return np.array(TAPS[name][:count], np.float32)


def along(volume, taps, axis, sign=1):
    whole = np.concatenate([sign * taps[:0:-1], taps])
    return ndi.correlate1d(volume.astype(float), whole, axis, mode='constant')


# --------------------------------------------------------------------------------------------------------- sampling
@pytest.mark.parametrize('moves', [True, False])
@pytest.mark.parametrize('shape', [(11, 9, 13), (1, 9, 13)])
def test_sampled_as_by_torch_where_it_is_wanted_for_any_number_of_threads(shape, moves):
    volume = noise(*shape)
    axes = [np.ascontiguousarray(noise(3, 1, seed=n) + np.outer(row, np.arange(12 + n)), np.float32)
            for n, row in enumerate(np.array([[0.9, 0.1, -0.2], [0.0, 0.7, 0.1], [0.2, -0.1, 1.1]]))]  # fmt: skip
    turn, u = noise(3, 3, seed=4), 0.7 * noise(3, 12, 13, 14, seed=5) if moves else np.zeros((3, 0, 0, 0), np.float32)
    wanted = np.sort(np.random.default_rng(6).integers(0, 15, (12, 13, 2)), -1)
    at = axes[0][:, :, None, None] + axes[1][:, None, :, None] + axes[2][:, None, None, :]
    at = at + np.einsum('ij,jxyz->ixyz', turn, u) if moves else at
    z = np.arange(14)
    asked = (z >= wanted[:, :, :1]) & (z < wanted[:, :, 1:])
    values, seen = views.sampled(volume, axes, turn, u, wanted)
    plain = Sampler(torch.from_numpy(volume)[None]).values(torch.from_numpy(at))[0].numpy()
    np.testing.assert_allclose(values, np.where(asked, plain, 0), atol=2e-5)
    last = np.array(shape)[:, None, None, None] - 1
    near = ((abs(at) < 1.1e-3) | (abs(at - last) < 1.1e-3)).any(0)
    inside = ((at >= 0) & (at <= last)).all(0) & asked
    np.testing.assert_array_equal(seen[~near], inside[~near])
    for found, again in zip((values, seen), views.sampled(volume, axes, turn, u, wanted, threads=3), strict=True):
        np.testing.assert_array_equal(again, found)


def test_a_position_on_the_border_is_seen_and_one_that_is_no_number_is_not():
    axes = [np.zeros((3, n), np.float32) for n in (1, 1, 5)]
    axes[2][2] = [-5e-4, 0, 4 + 5e-4, 4.01, np.nan]
    values, seen = views.sampled(
        noise(2, 3, 5), axes, np.eye(3, dtype=np.float32), np.zeros((3, 0, 0, 0), np.float32), np.array([[[0, 5]]])
    )
    np.testing.assert_array_equal(seen[0, 0], [True, True, True, False, False])
    assert np.isfinite(values).all()


# -------------------------------------------------------------------------------------------------------- filtering
@pytest.mark.parametrize('counts', [(4, 5, 4), (3, 3, 5)])
def test_distances_and_edges_are_those_of_plain_filters_for_any_number_of_threads(counts):
    volume = noise(*SHAPE)
    blur = half('blur', 4)
    smooth, slope = ([half(name, n) for n in counts] for name in ('smooth', 'slope'))
    brain = np.zeros(SHAPE, bool)
    brain[6:-6, 6:-6, 6:-6] = ndi.gaussian_filter(noise(*SHAPE, seed=1), 2)[6:-6, 6:-6, 6:-6] > -0.05
    regions = [views.region(box, brain, np.full(2, 6)) for box in boxes(brain, (9, 8, 15))]
    assert len(regions) > 10
    found = views.described(volume, regions, blur, smooth, slope)
    index = np.concatenate([np.argwhere(brain[box]) + [side.start for side in box] for box in boxes(brain, (9, 8, 15))])
    blurred = volume
    for axis in range(3):
        blurred = along(blurred, blur, axis)
    wanted = descriptors.patch_distances(torch.from_numpy(blurred)[None, None], 2)[0].numpy()
    # they leave three voxels out at each side
    distances = wanted[(slice(None), *(index - 3).T)]
    gradient = []
    for axis in range(3):
        edge = volume
        for a in range(3):
            edge = along(edge, slope[a], a, -1) if a == axis else along(edge, smooth[a], a)
        gradient.append(edge[tuple(index.T)])
    np.testing.assert_allclose(found[0], distances, rtol=2e-4, atol=1e-6)
    np.testing.assert_allclose(found[1], distances.mean(0), rtol=2e-4)
    np.testing.assert_allclose(found[2], np.linalg.norm(gradient, axis=0), rtol=1e-4, atol=1e-6)
    for one, again in zip(found, views.described(volume, regions, blur, smooth, slope, threads=3), strict=True):
        np.testing.assert_array_equal(again, one)
