"""Compiled operations on volumes against SciPy's."""

import numpy as np
import pytest
from scipy import ndimage as ndi

from bidsreg.registration.numerics.kernels.volumes import distances, grown, resampled, within

# no position lies halfway between two voxels, where rounding decides
OBLIQUE = np.array([[0.9, -0.2, 0.05, 0.413], [0.15, 1.1, 0, -1.317], [0.1, 0, -0.8, 6.529], [0, 0, 0, 1]])


def noise(*shape):
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize('order', [0, 1])
@pytest.mark.parametrize('matrix', [OBLIQUE, np.eye(4), np.diag([0.5, 2.0, 1.0, 1.0])])
@pytest.mark.parametrize('shape', [(9, 7, 8), (9, 7, 1), (1, 1, 1)])
def test_resampled_as_scipy_does_for_any_number_of_threads(shape, matrix, order):
    volume = noise(*shape)
    wanted = ndi.affine_transform(volume, matrix[:3, :3], matrix[:3, 3], output_shape=(17, 9, 7), order=order)
    found = resampled(volume, matrix, (17, 9, 7), order)
    np.testing.assert_allclose(found, wanted, atol=1e-6)
    np.testing.assert_array_equal(resampled(volume, matrix, (17, 9, 7), order, threads=3), found)


def test_nothing_to_resample():
    assert resampled(noise(3, 3, 3), np.eye(4), (0, 2, 2)).shape == (0, 2, 2)


@pytest.mark.parametrize('mm', [0.0, 1.0, 2.9, 40.0])
@pytest.mark.parametrize('shape', [(19, 12, 8), (9, 1, 7), (1, 6, 1)])
def test_within_is_the_distance_for_any_number_of_threads(shape, mm):
    marked, spacing = noise(*shape) > 1.5, np.array([1.0, 0.7, 2.5])
    marked.flat[2] = True
    found = within(marked, mm, spacing)
    np.testing.assert_array_equal(found, ndi.distance_transform_edt(~marked, sampling=spacing) <= mm)
    np.testing.assert_array_equal(within(marked, mm, spacing, threads=3), found)
    away = distances(marked, spacing)
    np.testing.assert_allclose(away, ndi.distance_transform_edt(~marked, sampling=spacing), atol=1e-12)
    np.testing.assert_array_equal(distances(marked, spacing, threads=3), away)


def test_nothing_is_within_reach_of_nothing():
    nothing = np.zeros((4, 3, 2), bool)
    assert not within(nothing, 100.0, np.ones(3)).any()
    assert np.isinf(distances(nothing, np.ones(3))).all()


@pytest.mark.parametrize('reach', [0, 1, 2, 5])
@pytest.mark.parametrize('shape', [(19, 12, 8), (9, 1, 7), (1, 6, 1), (4, 3, 2)])
def test_grown_is_the_filter_by_a_cube_for_any_number_of_threads(shape, reach):
    marked = noise(*shape) > 1.5
    marked.flat[-1] = True
    found = grown(marked, reach)
    np.testing.assert_array_equal(found, ndi.maximum_filter(marked, 2 * reach + 1, mode='constant'))
    for threads in (2, 4):
        np.testing.assert_array_equal(grown(marked, reach, threads), found)
