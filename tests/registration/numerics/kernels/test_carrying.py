"""Positions through fields and back, and values of volumes at positions, beside SciPy, loops and closed forms."""

import itertools

import numpy as np
import pytest
from scipy import ndimage as ndi

from bidsreg.registration.numerics.kernels import carrying

SHAPE = (9, 8, 10)


@pytest.fixture(scope='module')
def image():
    return np.random.default_rng(2).normal(100, 20, SHAPE).astype(np.float32)


def positions(n=400, low=-0.15, seed=3):
    return np.random.default_rng(seed).uniform(low, 1 - low, (n, 3)) * np.array(SHAPE) - 0.5


def read(kernel, values, at, fill=0):
    out = np.empty(len(at), values.dtype)
    seen = kernel(np.ascontiguousarray(values).ravel(), np.array(values.shape), at, values.dtype.type(fill), out)
    return out, seen


def in_view(at, shape=SHAPE):
    return ((at >= -0.5) & (at < np.array(shape) - 0.5)).all(1)


def rows(matrix):
    return np.ascontiguousarray(matrix[:3], float)


MATRIX = np.array([[1.1, 0.1, -0.2, 3], [0.05, 0.9, 0.1, -4], [0, -0.1, 1.2, 5], [0, 0, 0, 1]])


# ---------------------------------------------------------------------------------------------------- places
def test_voxels_are_laid_in_their_order():
    out = np.empty((2 * 3 * 4, 3))
    carrying.lay(rows(MATRIX), 1, 3, 3, 4, out)
    index = np.array(list(itertools.product(range(1, 3), range(3), range(4))), float)
    np.testing.assert_allclose(out, index @ MATRIX[:3, :3].T + MATRIX[:3, 3], atol=1e-12)


def test_a_matrix_turns_points():
    points = positions(20)
    expected = points @ MATRIX[:3, :3].T + MATRIX[:3, 3]
    carrying.turn(rows(MATRIX), points)
    np.testing.assert_allclose(points, expected, atol=1e-12)


def smooth_field(amplitude, shape=(20, 22, 18), seed=4):
    rng = np.random.default_rng(seed)
    field = np.stack([ndi.gaussian_filter(rng.normal(size=shape), 2.5) for _ in range(3)], -1)
    field *= amplitude / np.abs(field).max()
    # it vanishes at the border, so that the map is continuous
    for axis, n in enumerate(shape):
        taper = np.clip(np.minimum(np.arange(n), n - 1 - np.arange(n)) / 4, 0, 1)
        field *= taper.reshape([-1 if k == axis else 1 for k in range(3)] + [1])
    return field.astype(np.float32)


TO_FIELD = np.linalg.inv(np.array([[2, 0.3, 0, -10], [-0.2, 1.8, 0.1, 5], [0, 0.2, 2.2, 1], [0, 0, 0, 1.0]]))


def world(n=500, seed=5, low=-0.2):
    unit = np.random.default_rng(seed).uniform(low, 1 - low, (n, 3)) * np.array([19, 21, 17])
    there = np.linalg.inv(TO_FIELD)
    return unit @ there[:3, :3].T + there[:3, 3]


def test_points_are_displaced_as_scipy_says():
    field, points = smooth_field(3.0), world()
    at = (points @ TO_FIELD[:3, :3].T + TO_FIELD[:3, 3]).T
    expected = points + np.stack(
        [ndi.map_coordinates(field[..., c], at, order=1, mode='constant') for c in range(3)], 1
    )
    moved = points.copy()
    carrying.displace(field.ravel(), np.array(field.shape[:3]), rows(TO_FIELD), moved)
    np.testing.assert_allclose(moved, expected, atol=1e-5)
    assert np.abs(moved - points).max() > 1


@pytest.mark.parametrize('amplitude', [0.5, 2.5, 4.5])
def test_the_way_back_ends_where_it_began(amplitude):
    """Also where the derivative is so large that the plain fixed point would not converge."""
    field, points = smooth_field(amplitude), world()
    size = np.array(field.shape[:3])
    moved, left = points.copy(), np.empty(len(points))
    carrying.displace(field.ravel(), size, rows(TO_FIELD), moved)
    carrying.undo(field.ravel(), size, rows(TO_FIELD), 1e-6, moved, left)
    assert left.max() <= 1e-6
    np.testing.assert_allclose(moved, points, atol=1e-4)


def test_a_plain_shift_is_undone_exactly():
    field = np.zeros((12, 12, 12, 3), np.float32)
    field[...] = (1.5, -0.5, 0.25)
    points, left = np.full((1, 3), 6.0), np.empty(1)
    carrying.undo(field.ravel(), np.array([12, 12, 12]), rows(np.eye(4)), 1e-9, points, left)
    np.testing.assert_allclose(points, [[4.5, 6.5, 5.75]], atol=1e-12)


def test_where_nothing_leads_to_a_point_that_is_told():
    """A field that does not vanish at its border: all that lies between 0 and 3 is jumped over."""
    field = np.zeros((12, 4, 4, 3), np.float32)
    field[..., 0] = 3
    points, left = np.array([[1.5, 2, 2.0], [3.5, 2, 2], [-0.5, 2, 2]]), np.empty(3)
    carrying.undo(field.ravel(), np.array([12, 4, 4]), rows(np.eye(4)), 1e-3, points, left)
    assert left[0] > 1
    np.testing.assert_allclose(points[1:], [[0.5, 2, 2], [-0.5, 2, 2]], atol=1e-3)


# ---------------------------------------------------------------------------------------------------- values
def test_linear_values_as_scipy_gives_them(image):
    at = positions()
    found, seen = read(carrying.linear_values, image, at, fill=-7)
    expected = ndi.map_coordinates(image.astype(float), at.T, order=1, mode='nearest')
    np.testing.assert_allclose(found, np.where(in_view(at), expected, -7), rtol=1e-6)
    assert seen == in_view(at).sum() > 30


@pytest.mark.parametrize('dtype', [np.float32, np.int32])
def test_the_nearest_voxel_by_rounding(image, dtype):
    at, values = positions(), image.astype(dtype)
    found, seen = read(carrying.nearest_values, values, at, fill=-7)
    inside = in_view(at)
    index = tuple(np.floor(at[inside] + 0.5).astype(int).T)
    np.testing.assert_array_equal(found[inside], values[index])
    assert (found[~inside] == -7).all()
    assert seen == inside.sum()


def test_of_two_as_near_the_upper_one(image):
    found, _ = read(carrying.nearest_values, image, np.array([[2.5, 3.0, 4.0]]))
    assert found[0] == image[3, 3, 4]


def label_by_loops(labels, at):
    weights = {}
    for corner in itertools.product((0, 1), repeat=3):
        index, weight = [], 1.0
        for axis in range(3):
            place = min(max(at[axis], 0.0), labels.shape[axis] - 1.0)
            base = int(np.floor(place))
            index.append(min(base + corner[axis], labels.shape[axis] - 1))
            weight *= place - base if corner[axis] else 1 - (place - base)
        weights[labels[tuple(index)]] = weights.get(labels[tuple(index)], 0.0) + weight
    most = max(weights.values())
    return min(label for label, weight in weights.items() if weight > most - 1e-6)


@pytest.mark.parametrize('count', [2, 3, 200])
def test_labels_as_a_loop_over_all_of_them_gives_them(count):
    labels = np.random.default_rng(count).integers(-1, count, SHAPE).astype(np.int32) * 1000
    at = positions()
    found, seen = read(carrying.label_values, labels, at, fill=5)
    expected = [label_by_loops(labels, p) if inside else 5 for p, inside in zip(at, in_view(at), strict=True)]
    np.testing.assert_array_equal(found, expected)
    assert seen == in_view(at).sum()


def test_labels_of_equal_weight_the_smaller():
    labels = np.zeros((4, 3, 3), np.int32)
    labels[:2], labels[2:] = 9, 4
    found, _ = read(carrying.label_values, labels, np.array([[1.5, 1, 1], [1.49, 1, 1], [1.51, 1, 1]]))
    np.testing.assert_array_equal(found, [4, 9, 4])


def test_splines_as_scipy_gives_them(image):
    at = positions()
    coefficients = ndi.spline_filter(image.astype(float), 3, mode='mirror').astype(np.float32)
    found, _ = read(carrying.spline_values, coefficients, at)
    expected = ndi.map_coordinates(image.astype(float), at.T, order=3, mode='mirror')
    np.testing.assert_allclose(found, np.where(in_view(at), expected, 0), rtol=2e-5)


def test_a_spline_through_a_line_is_the_line():
    x = np.arange(12, dtype=float)
    ramp = np.broadcast_to((3 * x)[:, None, None], (12, 5, 5))
    coefficients = ndi.spline_filter(ramp, 3, mode='mirror').astype(np.float32)
    found, _ = read(carrying.spline_values, coefficients, np.array([[5.25, 2.3, 2.8], [6.9, 1.5, 2]]))
    np.testing.assert_allclose(found, [15.75, 20.7], atol=2e-2)


def lanczos_by_numpy(image, at):
    weights, index = [], []
    for axis in range(3):
        base = int(np.floor(at[axis]))
        taps = np.arange(base - 2, base + 4)
        x = at[axis] - taps
        weight = np.sinc(x) * np.sinc(x / 3) * (np.abs(x) < 3)
        weights.append(weight / weight.sum())
        index.append(np.clip(taps, 0, image.shape[axis] - 1))
    return np.einsum('abc,a,b,c', image[np.ix_(*index)].astype(float), *weights)


def test_a_windowed_sinc_as_numpy_gives_it(image):
    at = positions(150)
    found, seen = read(carrying.sinc_values, image, at)
    expected = [lanczos_by_numpy(image, p) if inside else 0 for p, inside in zip(at, in_view(at), strict=True)]
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert seen


@pytest.mark.parametrize('kernel', ['linear_values', 'sinc_values'])
def test_on_voxels_are_their_values_and_constants_stay(image, kernel):
    at = np.array(list(itertools.product(range(3, 6), repeat=3)), float)
    found, _ = read(getattr(carrying, kernel), image, at)
    np.testing.assert_allclose(found, image[3:6, 3:6, 3:6].ravel(), rtol=1e-6)
    flat = np.full(SHAPE, 7, np.float32)
    inside = positions()[in_view(positions())]
    np.testing.assert_allclose(read(getattr(carrying, kernel), flat, inside)[0], 7, rtol=1e-6)


@pytest.mark.parametrize('kernel', ['linear_values', 'nearest_values', 'spline_values', 'sinc_values', 'label_values'])
def test_a_place_that_is_none_has_no_value(image, kernel):
    values = image.astype(np.int32 if kernel == 'label_values' else np.float32)
    found, seen = read(getattr(carrying, kernel), values, np.array([[np.nan, 1, 1], [1, 1, 1e300]]), fill=3)
    np.testing.assert_array_equal(found, [3, 3])
    assert seen == 0


@pytest.mark.parametrize('kernel', ['linear_values', 'nearest_values', 'spline_values', 'sinc_values', 'label_values'])
def test_thin_volumes(kernel):
    """One or two voxels along an axis."""
    for shape in ((1, 4, 2), (2, 1, 1), (1, 1, 1)):
        values = np.full(shape, 5, np.int32 if kernel == 'label_values' else np.float32)
        at = np.random.default_rng(0).uniform(-0.5, np.array(shape) - 0.5, (30, 3))
        np.testing.assert_allclose(read(getattr(carrying, kernel), values, at)[0], 5, rtol=1e-6)
