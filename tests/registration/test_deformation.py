"""Deformations: labels, composition, logarithms, and inverses that no flow gave."""

import functools
import itertools
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage as ndi

from bidsreg.registration import Deformation, Grid, Image, metrics
from bidsreg.registration.numerics.inversion import invert_displacement
from tests import data
from tests.fields import AXES, SEEDS, grid_named, tapered

#: mm between voxels of 4 to 8 mm, where what is linear and what is composed or inverted of it part. Over 60 random
#: maps of up to 5 mm the largest difference was 0.26 mm, the largest mean 0.023 mm.
CURVATURE, MEAN_CURVATURE = 0.5, 0.04


@functools.cache
def deformation(name='oblique-left-handed', seed=0, amplitude=5.0, scale=(1.04, 0.97, 1.02), **options):
    grid = grid_named(name)
    u = tapered(grid, seed, amplitude)
    matrix = data.truth(seed, scale=scale, **options).matrix
    return Deformation(matrix, u, invert_displacement(u, grid, tolerance=2e-4)[0], grid)


def some_points(grid, seed=0, n=400, low=0.15, high=0.85):
    unit = np.random.default_rng(seed).uniform(low, high, (n, 3))
    return grid.to_world(unit * (np.array(grid.shape) - 1))


def furthest(one, other):
    return np.linalg.norm(one - other, axis=-1).max()


def heaviest_by_loops(labels, at):
    """The label of one voxel position, summed neighbour by neighbour."""
    weights = {}
    for corner in itertools.product((0, 1), repeat=3):
        index, weight = [], 1.0
        for axis in range(3):
            p = min(max(at[axis], 0.0), labels.shape[axis] - 1.0)
            base = int(np.floor(p))
            index.append(min(base + corner[axis], labels.shape[axis] - 1))
            weight *= p - base if corner[axis] else 1 - (p - base)
        label = labels[tuple(index)]
        weights[label] = weights.get(label, 0.0) + weight
    most = max(weights.values())
    return min(label for label, weight in weights.items() if weight > most - 1e-6)


@pytest.mark.parametrize('direction', ['forward', 'inverse'])
@pytest.mark.parametrize('dtype', [np.uint8, np.int32, np.float32])
def test_labels_as_a_plain_loop_gives_them(direction, dtype):
    rng = np.random.default_rng(3)
    used = deformation('thick', 4)
    used = used if direction == 'forward' else used.inverted()
    source = Grid((15, 13, 14), data.grid((15, 13, 14), 'LPS', (5, 3, -8), (9.0, 10.0, 9.5)))
    labels = Image(rng.integers(0, 6, source.shape).astype(dtype) * 40, source)
    target = Grid((12, 11, 13), data.grid((12, 11, 13), 'RAS', (0, 4, 2), (12.0, 13.0, 11.0)))
    ours = used.apply_labels(labels, target)
    assert ours.data.dtype == dtype
    at = source.to_voxels(used.points(data.world(target.shape, target.affine).reshape(-1, 3)))
    seen = ((at >= -0.5) & (at < np.array(source.shape) - 0.5)).all(1)
    assert 0.3 < seen.mean() < 0.99
    expected = [heaviest_by_loops(labels.data, p) if s else 0 for p, s in zip(at, seen, strict=True)]
    np.testing.assert_array_equal(ours.data.ravel(), expected)


def test_equal_weights_give_the_smaller_label_and_background_is_a_label():
    values = np.zeros((4, 4, 4), np.int16)
    values[:2], values[2:] = 7, 3
    half = np.eye(4)
    half[0, 3] = 0.5  # between two voxels
    grid = Grid((4, 4, 4), np.eye(4))
    moved = Deformation.from_affine(half, grid).apply_labels(Image(values, grid), grid)
    np.testing.assert_array_equal(moved.data[:, 1, 1], [7, 3, 3, 0])  # the last one is on the outer face: outside
    single = np.zeros((5, 5, 5), np.uint8)
    single[2, 2, 2] = 9
    nudge = np.eye(4)
    nudge[:3, 3] = 0.3  # 0.7^3 of the weight is less than half: background wins, though the nearest voxel is the label
    grid = Grid((5, 5, 5), np.eye(4))
    moved = Deformation.from_affine(nudge, grid)
    assert moved.apply_labels(Image(single, grid), grid).data.max() == 0
    assert moved.apply(Image(single, grid), grid, order=0).data.max() == 9


def test_labels_agree_with_antspy(tmp_path):
    import ants

    shape, affine = data.GRIDS['oblique']
    head = data.head(shape, 1, affine=affine, noise=0)
    labels = Image(np.asarray(head.labels.dataobj), Grid(shape, affine))
    target = Grid(*data.GRIDS['left-handed'])
    used = deformation('ras', 2)
    used.save(tmp_path / 'forward.h5')
    labels.save(tmp_path / 'labels.nii.gz')
    Image(np.zeros(target.shape, np.float32), target).save(tmp_path / 'target.nii.gz')
    theirs = ants.apply_transforms(
        ants.image_read(str(tmp_path / 'target.nii.gz')),
        ants.image_read(str(tmp_path / 'labels.nii.gz')),
        [str(tmp_path / 'forward.h5')],
        interpolator='genericLabel',
    ).numpy()
    at = labels.grid.to_voxels(used.points(data.world(target.shape, target.affine).reshape(-1, 3)))
    inside = ((at >= 0) & (at <= np.array(shape) - 1)).all(1).reshape(target.shape)
    assert len(np.unique(theirs[inside])) == 7
    assert 0.5 < inside.mean() < 0.95
    same = theirs == used.apply_labels(labels, target).data
    assert same.mean() > 0.9999  # one of 100 672 voxels differed: a tie but for 5e-7
    assert same[~inside].all()
    assert (theirs == used.apply(labels, target, order=0).data)[inside].mean() < 0.99  # the nearest is not the same


@settings(max_examples=8, deadline=None)
@given(SEEDS, st.sampled_from(list(AXES)), st.booleans())
def test_composing_with_the_identity_changes_nothing(seed, name, first):
    one = deformation(name, seed)
    still = Deformation.identity(grid_named('ras'))
    both = still.compose(one) if first else one.compose(still)
    assert both.grid.same_as(one.grid)
    np.testing.assert_allclose(both.affine, one.affine, atol=1e-12)
    np.testing.assert_allclose(both.forward, one.forward, atol=1e-5)
    np.testing.assert_allclose(both.inverse, one.inverse, atol=1e-5)


@settings(max_examples=8, deadline=None)
@given(SEEDS, st.sampled_from(list(AXES)), st.booleans())
def test_a_deformation_and_its_inverse_are_the_identity(seed, name, backward):
    one = deformation(name, seed)
    first, second = (one.inverted(), one) if backward else (one, one.inverted())
    both = first.compose(second)
    np.testing.assert_allclose(both.affine, np.eye(4), atol=1e-9)
    points = some_points(one.domain, seed)
    assert furthest(both.points(points), points) < CURVATURE
    assert np.linalg.norm(both.forward, axis=-1).mean() < MEAN_CURVATURE
    assert np.linalg.norm(both.inverse, axis=-1).mean() < MEAN_CURVATURE


@settings(max_examples=8, deadline=None)
@given(SEEDS, st.sampled_from(list(AXES)), st.sampled_from(list(AXES)), st.booleans(), st.booleans())
def test_composition_is_one_after_the_other(seed, one_name, other_name, one_back, other_back):
    one, other = deformation(one_name, seed), deformation(other_name, seed + 1, shift=(5, 20, -9))
    one, other = (d.inverted() if back else d for d, back in ((one, one_back), (other, other_back)))
    both = one.compose(other)
    assert not both.is_inverse
    assert both.grid.is_orthogonal()
    for field in (both.forward, both.inverse):
        assert field.shape == (*both.grid.shape, 3)
        assert all(np.abs(np.take(field, [0, -1], axis)).max() == 0 for axis in range(3))
    # everywhere, also where only one of them acts and where none does
    points = some_points(one.domain, seed, low=-0.5, high=1.5)
    there = other.points(one.points(points))
    assert furthest(both.points(points), there) < CURVATURE
    back = one.inverted().points(other.inverted().points(there))
    assert furthest(both.inverted().points(there), back) < CURVATURE


def test_composition_is_exact_at_the_voxels_and_finer_grids_come_closer():
    one, other = deformation('ras', 5), deformation('oblique-left-handed', 6)
    both = one.compose(other)
    at = np.argwhere(np.ones(both.grid.shape, bool))[::97]
    points = both.grid.to_world(at)
    assert furthest(both.points(points), other.points(one.points(points))) < 1e-4
    assert np.allclose(both.grid.spacing, 4.0)
    offset = both.grid.to_voxels(one.grid.to_world([0, 0, 0]))
    np.testing.assert_allclose(offset, np.round(offset), atol=1e-6)  # the first one's voxels are kept
    shape = (50, 50, 50)
    finer = Grid(shape, data.grid(shape, voxel=(2.6, 2.6, 2.6)))
    u = tapered(finer, 6)
    fine = Deformation(other.affine, u, -u, finer)
    assert np.allclose(one.compose(fine).grid.spacing, 2.6, atol=0.2)
    assert np.allclose(fine.compose(one).grid.spacing, 2.6)


def test_composition_with_thick_slices_stays_as_thick_where_both_are():
    one, other = deformation('thick', 1), deformation('thick', 2, turn=(0, 0, 0))
    np.testing.assert_allclose(np.sort(one.compose(other).grid.spacing), [3.2, 3.2, 8.0], rtol=0.15)


def test_composition_reaches_where_only_the_second_acts():
    one = deformation('ras', 1, amplitude=3.0, turn=(0, 0, 0), shift=(0, 0, 0), scale=1)
    away = grid_named('ras', centre=(60, 0, 0))
    u = tapered(away, 3)
    other = Deformation(np.eye(4), u, invert_displacement(u, away, tolerance=2e-4)[0], away)
    both = one.compose(other)
    assert both.grid.extent[0] > one.grid.extent[0] + 55
    points = some_points(away, low=0.7)
    assert furthest(both.points(points), other.points(points)) < 0.2
    assert furthest(other.points(points), points) > 1


def test_a_composition_is_the_same_for_any_number_of_threads(monkeypatch):
    monkeypatch.setattr('bidsreg.registration.deformation.SLAB_VOXELS', 3000)
    one, other = deformation('ras', 5), deformation('oblique-left-handed', 6).inverted()
    alone, shared = one.compose(other), one.compose(other, threads=3)
    np.testing.assert_array_equal(shared.forward, alone.forward)
    np.testing.assert_array_equal(shared.inverse, alone.inverse)


def test_affines_alone_compose_to_their_product():
    grid = grid_named('thick')
    one, other = (Deformation.from_affine(data.truth(s).matrix, grid) for s in (1, 2))
    both = one.compose(other.inverted())
    np.testing.assert_allclose(both.affine, np.linalg.inv(other.affine) @ one.affine, atol=1e-12)
    assert both.grid.same_as(grid)
    assert not both.forward.any()
    assert not both.inverse.any()


def test_composition_is_what_ants_makes_of_the_two_files(tmp_path):
    import ants

    one, other = deformation('ras', 7), deformation('oblique-left-handed', 8)
    for name, one_of_them in (('one', one), ('other', other), ('both', one.compose(other))):
        one_of_them.save(tmp_path / f'{name}.h5')
    shape, affine = data.GRIDS['oblique']
    moving = data.t1w(shape, 1, affine=affine, noise=0)
    moving.to_filename(tmp_path / 'moving.nii.gz')
    Image(np.zeros(one.grid.shape, np.float32), one.grid).save(tmp_path / 'fixed.nii.gz')
    fixed, scan = (ants.image_read(str(tmp_path / f'{name}.nii.gz')) for name in ('fixed', 'moving'))

    def warped(*names):
        paths = [str(tmp_path / f'{name}.h5') for name in names]
        return ants.apply_transforms(fixed, scan, paths, interpolator='linear').numpy()

    two, at_once, wrong = warped('one', 'other'), warped('both'), warped('other', 'one')
    # the fixed voxels are the field's: nothing is interpolated that was not before
    assert np.abs(two - at_once).max() < 1e-3 * two.max()
    assert np.abs(two - wrong).max() > 0.1 * two.max()


def test_a_field_that_does_not_vanish_at_its_border_cannot_be_composed():
    grid = grid_named('ras')
    pushed = np.full((*grid.shape, 3), 0.5, np.float32)
    with pytest.raises(ValueError, match=r'0\.5 mm is left at the border'):
        Deformation(np.eye(4), pushed, -pushed, grid).compose(Deformation.identity(grid))


@settings(max_examples=20, deadline=None)
@given(SEEDS, st.sampled_from([name for name in data.GRIDS if name != 'sheared']), st.booleans())
def test_jacobian_of_a_linear_displacement_is_its_determinant(seed, name, backward):
    rng = np.random.default_rng(seed)
    matrix = np.eye(3) + rng.uniform(-0.15, 0.15, (3, 3))
    grid = Grid((6, 5, 7), data.GRIDS[name][1])
    points = data.world(grid.shape, grid.affine)
    forward, inverse = (points @ (m - np.eye(3)).T for m in (matrix, np.linalg.inv(matrix)))
    used = Deformation(data.truth(seed, scale=1.3).matrix, forward, inverse, grid)  # without the affine
    expected = np.linalg.det(matrix)
    if backward:
        used, expected = used.inverted(), 1 / expected
    middle = Grid((3, 3, 3), used.domain.affine).cropped(np.ones(3), np.full(3, 3))
    for of in (None, middle):
        np.testing.assert_allclose(used.jacobian(of).data, expected, rtol=1e-3)
        np.testing.assert_allclose(used.log_jacobian(of).data, np.log(expected), atol=1e-3)


def test_logarithm_lies_where_the_determinant_does_and_is_zero_elsewhere():
    used = deformation('thick', 3, amplitude=9.0)
    wide = Grid((60, 60, 60), data.grid((60, 60, 60), voxel=(4.0, 4.0, 4.0)))
    logarithm = used.log_jacobian(wide).data
    np.testing.assert_allclose(np.exp(logarithm), used.jacobian(wide).data, rtol=1e-5)
    assert logarithm.std() > 0.01
    assert np.abs(logarithm[[0, -1]]).max() == 0
    # what shrinks one way grows the other way, at the point where it lands
    points = some_points(used.grid, low=0.3, high=0.7)
    sample = lambda image, p: ndi.map_coordinates(image.data, image.grid.to_voxels(p).T, order=1)  # noqa: E731
    there = sample(used.log_jacobian(), points)
    back = sample(used.inverted().log_jacobian(), used.points(points))
    assert np.corrcoef(there, back)[0, 1] < -0.97
    assert np.abs(there + back).max() < 0.3 * np.abs(there).max()


def test_a_fold_has_no_logarithm_and_is_counted():
    grid = Grid((12, 5, 5), np.eye(4))
    u = np.zeros((12, 5, 5, 3), np.float32)
    u[5, 2, 2, 0], u[7, 2, 2, 0] = 1.5, -1.5
    with pytest.raises(ValueError, match='not positive at 1 voxels'):
        Deformation(np.eye(4), u, -u, grid).log_jacobian()
    with pytest.raises(ValueError, match='not positive at 1 voxels'):  # wherever one looks
        Deformation(np.eye(4), u, -u, grid).log_jacobian(grid.cropped(np.zeros(3), np.full(3, 2)))


def test_identity_deformation_changes_nothing_and_inverse_of_inverse_is_the_same():
    shape, affine = data.GRIDS['oblique-left-handed']
    grid = Grid(shape, affine)
    still = np.zeros((*shape, 3), np.float32)
    image = Image(np.random.default_rng(0).normal(size=shape).astype(np.float32), grid)
    deformation = Deformation(np.eye(4), still, still, grid)
    np.testing.assert_allclose(deformation.apply(image, grid).data, image.data, atol=1e-4)
    np.testing.assert_allclose(deformation.jacobian(grid).data, 1)
    points = grid.to_world(np.random.default_rng(1).uniform(0, 30, (50, 3)))
    np.testing.assert_allclose(deformation.inverted().inverted().points(points), points)


def test_images_and_determinants_are_the_same_for_any_number_of_threads(monkeypatch):
    monkeypatch.setattr('bidsreg.registration.deformation.SLAB_VOXELS', 1)
    monkeypatch.setattr('bidsreg.registration.metrics.SLAB', 2)
    monkeypatch.setattr('bidsreg.registration.numerics.kernels.pulling.PART', 100)
    used = deformation('oblique-left-handed', 5)
    image = Image(np.random.default_rng(0).normal(size=used.grid.shape).astype(np.float32), used.grid)
    for map_ in (used, used.inverted()):
        one, many = (map_.apply(image, used.grid, threads=n) for n in (1, 3))
        np.testing.assert_array_equal(one.data, many.data)
        # the same as point by point
        points = used.grid.to_world(np.argwhere(np.ones(used.grid.shape)))
        at = used.grid.to_voxels(map_.points(points)).T
        there = ((at > -0.499) & (at < np.array(used.grid.shape)[:, None] - 0.501)).all(0)
        expected = ndi.map_coordinates(image.data, at[:, there], order=1, mode='nearest')
        np.testing.assert_allclose(one.data.ravel()[there], expected, atol=1e-4)
        one, many = (map_.jacobian(threads=n) for n in (1, 3))
        np.testing.assert_array_equal(one.data, many.data)
    everywhere = np.ones(used.grid.shape, bool)
    one, many = (metrics.inverse_consistency(used.forward, used.inverse, used.grid, everywhere, n) for n in (1, 3))
    assert one == many


def test_torch_is_not_needed_to_bring_images_and_for_determinants():
    """Loading it takes several times as long as bringing an image."""
    code = """
import sys, numpy as np
from bidsreg.registration import Deformation, Grid, Image
grid = Grid((12, 12, 12), np.eye(4))
field = np.random.default_rng(0).normal(0, .1, (*grid.shape, 3)).astype('f4')
found, image = Deformation(np.eye(4), field, -field, grid), Image(np.ones(grid.shape, 'f4'), grid)
found.apply(image, grid), found.apply(image, grid, order=0), found.jacobian(), found.log_jacobian()
print('numba' in sys.modules, 'torch' in sys.modules)
"""
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ['True', 'False']
