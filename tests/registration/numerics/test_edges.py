"""Edges, against closed forms: a ramp has its slope everywhere, in mm whatever the voxels."""

import numpy as np
import pytest

from bidsreg.registration.numerics.edges import EDGE_MM, LEAST_VOXELS, axis_filters, edge_sigma, gradient_magnitude


@pytest.mark.parametrize('spacing', [(1.0, 1.0, 1.0), (0.5, 2.0, 4.0)])
def test_a_ramp_has_its_slope_in_millimetres(spacing):
    spacing = np.array(spacing)
    slope = np.array([2.0, -1.0, 0.5])
    ramp = np.einsum('a,axyz->xyz', slope * spacing, np.indices((24, 24, 24)).astype(float))
    inner = gradient_magnitude(ramp, spacing)[9:-9, 9:-9, 9:-9]
    np.testing.assert_allclose(inner, np.linalg.norm(slope), rtol=2e-2)  # kernels are cut off at four sigma


def test_kernels_are_of_one_width_in_mm_but_never_too_narrow():
    np.testing.assert_allclose(edge_sigma(np.array([0.5, 1.0, 4.0])), [EDGE_MM / 0.5, EDGE_MM, LEAST_VOXELS])


@pytest.mark.parametrize('spacing', [0.8, 3.0])
def test_the_matrices_are_the_filters_along_an_axis(spacing):
    values = np.random.default_rng(1).normal(size=(15, 1, 1))
    smooth, slope = axis_filters(15, spacing)
    np.testing.assert_allclose(smooth.sum(1), 1, rtol=1e-12)
    along = np.abs(slope @ values[:, 0, 0])
    np.testing.assert_allclose(gradient_magnitude(values, np.array([spacing, 1e6, 1e6]))[:, 0, 0], along, rtol=1e-6)
