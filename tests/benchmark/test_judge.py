"""The numbers of the benchmark against independent implementations, and by hand on tiny cases."""

from __future__ import annotations

import itertools

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from scipy.spatial.distance import cdist

from bidsreg.benchmark import judge
from bidsreg.registration.deformation import Deformation
from bidsreg.registration.grid import Grid
from bidsreg.registration.image import Image
from tests import data

OBLIQUE = data.grid((14, 12, 10), 'LPI', (-8, 12, 17), (1.5, 2.0, 3.5))


def blobs(seed, shape=(14, 12, 10)):
    """Smooth regions with the values 0 to 4."""
    from scipy import ndimage as ndi

    noise = ndi.gaussian_filter(np.random.default_rng(seed).normal(size=shape), 1.5)
    return np.digitize(noise, np.quantile(noise, (0.4, 0.6, 0.75, 0.9))).astype(np.int32)


# ---------------------------------------------------------------------------------------------------- overlap
def test_dice_by_hand():
    one, other = np.zeros((2, 4, 4, 4), int)
    one[0, 0, :3], other[0, 0, 1:4] = 7, 7  # 3 voxels each, 2 in common
    one[2, 2, 2] = 9
    found = judge.dice(one, other, (7, 9, 11))
    assert found[7] == pytest.approx(2 * 2 / 6)
    assert np.isnan(found[9])  # in one image only: neither 0 nor 1
    assert np.isnan(found[11])  # in none
    assert judge.dice(one, one, (9,)) == {9: 1.0}


def test_dice_agrees_with_itk():
    one, other = blobs(1), blobs(2)
    measure = sitk.LabelOverlapMeasuresImageFilter()
    measure.Execute(*(sitk.GetImageFromArray(labels.astype(np.uint8)) for labels in (one, other)))
    for label, value in judge.dice(one, other, (1, 2, 3, 4)).items():
        assert value == pytest.approx(measure.GetDiceCoefficient(label), abs=1e-9)


def test_dice_agrees_with_ants():
    import ants

    one, other = blobs(1), blobs(2)
    table = ants.label_overlap_measures(*(ants.from_numpy(labels.astype(np.uint32)) for labels in (one, other)))
    theirs = dict(zip(table['Label'], table['MeanOverlap'], strict=True))  # Dice, as they call it
    for label, value in judge.dice(one, other, (1, 2, 3, 4)).items():
        assert value == pytest.approx(theirs[label], abs=1e-6)


# ---------------------------------------------------------------------------------------------------- distance
def surface(region):
    """Voxels with a neighbour outside, one by one."""
    inside = {tuple(v) for v in np.argwhere(region)}
    steps = [s for s in itertools.product((-1, 0, 1), repeat=3) if np.abs(s).sum() == 1]
    return np.array([v for v in sorted(inside) if any(tuple(np.add(v, s)) not in inside for s in steps)])


def brute_force(one, other, affine, percent=95):
    """All distances between all points of both surfaces, in the world."""
    ours, theirs = (nib.affines.apply_affine(affine, surface(region)) for region in (one, other))
    apart = cdist(ours, theirs)
    return max(np.percentile(apart.min(1), percent), np.percentile(apart.min(0), percent))


@pytest.mark.parametrize('seeds', [(1, 2), (3, 4), (5, 6)])
def test_hd95_agrees_with_all_distances_in_the_world(seeds):
    one, other = (blobs(seed) for seed in seeds)
    found = judge.hd95(one, other, (1, 2, 3, 4), Grid(one.shape, OBLIQUE).spacing)
    for label, value in found.items():
        assert value == pytest.approx(brute_force(one == label, other == label, OBLIQUE), abs=1e-4)


@pytest.mark.parametrize('seeds', [(1, 2), (3, 4), (5, 6)])
def test_hd95_agrees_with_monai(seeds):
    import torch
    from monai.metrics import compute_hausdorff_distance

    one, other = (blobs(seed) for seed in seeds)
    spacing = (1.5, 2.0, 3.5)
    # the labels as channels; MONAI takes no surface where a label leaves the image, so both get a margin
    encoded = [
        torch.from_numpy(np.stack([np.pad(labels == value, 1) for value in range(5)]))[None] for labels in (one, other)
    ]
    theirs = compute_hausdorff_distance(*encoded, include_background=False, percentile=95, spacing=spacing)[0]
    ours = judge.hd95(one, other, (1, 2, 3, 4), np.array(spacing))
    assert list(ours.values()) == pytest.approx(theirs.tolist(), abs=1e-4)


def test_hd95_never_exceeds_itks_hausdorff_distance():
    one, other = blobs(1), blobs(2)
    spacing = np.array([1.5, 2.0, 3.5])
    for label in (1, 2, 3, 4):
        images = []
        for labels in (one, other):
            image = sitk.GetImageFromArray((labels == label).astype(np.uint8).T)
            image.SetSpacing(spacing.tolist())
            images.append(image)
        itk = sitk.HausdorffDistanceImageFilter()
        itk.Execute(*images)
        found = judge.hd95(one, other, (label,), spacing)[label]
        assert 0 < found <= itk.GetHausdorffDistance() + 1e-4


def test_hd95_by_hand():
    one, other = np.zeros((2, 9, 9, 9), int)
    one[4, 4, 1], other[4, 4, 4] = 5, 5
    assert judge.hd95(one, other, (5,), np.array([1, 1, 2.5])) == {5: pytest.approx(7.5)}
    assert judge.hd95(one, one, (5,), np.ones(3)) == {5: 0.0}
    assert np.isnan(judge.hd95(one, np.zeros_like(one), (5,), np.ones(3))[5])


def test_labels_that_touch_the_border_have_a_surface_there():
    one = np.zeros((6, 6, 6), int)
    one[:3] = 1
    other = np.zeros_like(one)
    other[:5] = 1
    assert judge.hd95(one, other, (1,), np.array([2.0, 1, 1])) == {1: pytest.approx(4.0)}


def test_squeezed_out_is_no_overlap_and_lacking_is_unknown():
    grid = Grid((8, 8, 8), np.eye(4))
    fixed, moving = np.zeros((2, 8, 8, 8), np.int32)
    fixed[1:4, 1:4, 1:4] = 1
    fixed[6, 6, 6] = 2
    moving[1:4, 1:4, 1:4] = 1
    moving[7, 0, 0] = 2  # will be outside of the field of view
    moving[0, 7, 0] = 3  # the fixed image has none
    shift = np.eye(4)
    shift[0, 3] = -1
    found, moved = judge.label_measures(
        Image(fixed, grid), Image(moving, grid), Deformation.from_affine(shift, grid), dict.fromkeys((1, 2, 3), '')
    )
    assert 2 not in moved.data
    assert found['labels']['2']['dice'] == 0
    assert np.isnan(found['labels']['2']['hd95'])
    assert np.isnan(found['labels']['3']['dice'])
    assert found['labels']['1']['dice'] == pytest.approx(2 * 18 / 54)
    assert found['dice_mean'] == pytest.approx((2 * 18 / 54 + 0) / 2)


def test_labels_are_moved_as_itk_moves_them():
    """An affine between oblique grids, against SimpleITK's nearest neighbour."""
    fixed_grid, moving_grid = Grid((14, 12, 10), OBLIQUE), Grid((14, 12, 10), data.grid((14, 12, 10), 'RAS', voxel=2.2))
    matrix = data.truth(1, turn=(5, 3, -6), shift=(2, 1, -1)).matrix
    moving = blobs(4)
    found, moved = judge.label_measures(
        Image(blobs(3), fixed_grid),
        Image(moving, moving_grid),
        Deformation.from_affine(matrix, fixed_grid),
        dict.fromkeys((1, 2, 3, 4), ''),
    )

    def to_itk(array, affine):
        image = sitk.GetImageFromArray(array.astype(np.int32).T)
        lps = np.diag([-1, -1, 1, 1]) @ affine
        spacing = np.linalg.norm(lps[:3, :3], axis=0)
        image.SetSpacing(spacing.tolist())
        image.SetDirection((lps[:3, :3] / spacing).ravel().tolist())
        image.SetOrigin(lps[:3, 3].tolist())
        return image

    flip = np.diag([-1.0, -1, 1, 1])
    lps = flip @ matrix @ flip
    transform = sitk.AffineTransform(lps[:3, :3].ravel().tolist(), lps[:3, 3].tolist())
    theirs = sitk.Resample(
        to_itk(moving, moving_grid.affine), to_itk(blobs(3), OBLIQUE), transform, sitk.sitkNearestNeighbor, 0
    )
    assert (moved.data == sitk.GetArrayFromImage(theirs).T).mean() > 0.995  # ties are broken otherwise
    assert found['dice_mean'] > 0


# ---------------------------------------------------------------------------------------------------- points
def test_target_errors_by_hand():
    grid = Grid((5, 5, 5), np.eye(4))
    points = np.array([[1, 1, 1, 1, 1, 4], [2, 2, 2, 2, 2, 2]], float)
    assert judge.target_errors(points, Deformation.identity(grid)) == {'mean': 1.5, 'p95': pytest.approx(2.85)}


def test_points_get_worse_only_against_the_affine():
    """The affine leads 2 mm along x; the field adds 1 mm, which is right for two of four points."""
    grid = Grid((9, 9, 9), np.eye(4))
    affine, field = np.eye(4), np.zeros((9, 9, 9, 3), np.float32)
    affine[0, 3] = 2
    field[..., 0] = 1
    start = np.array([[3, 3, 3], [4, 4, 4], [5, 5, 5], [4, 5, 3]], float)
    right = start + np.array([[3, 0, 0], [3, 0, 0], [2, 0, 0], [0, 0, 0]])
    points = np.hstack([start, right])
    assert judge.percent_worse(points, Deformation(affine, field, -field, grid)) == 50
    assert judge.percent_worse(points, Deformation.from_affine(affine, grid)) == 0
    np.testing.assert_allclose(judge.point_errors(points, Deformation(affine, field, -field, grid)), [0, 0, 1, 3])


# ---------------------------------------------------------------------------------------------------- the field
def tetrahedra_turned_over(displacement, grid):
    """Volume, in voxels, of the tetrahedra of all cubes that a field turns over: vertex by vertex."""
    shape = displacement.shape[:3]
    places = np.stack(np.meshgrid(*map(np.arange, shape), indexing='ij'), -1)
    moved = grid.to_voxels(grid.to_world(places) + displacement)
    turned = 0.0
    for start in itertools.product(*(range(n - 1) for n in shape)):
        for parity in (0, 1):  # the two ways to cut a cube into five
            apexes = [c for c in itertools.product((0, 1), repeat=3) if sum(c) % 2 == parity]
            others = [c for c in itertools.product((0, 1), repeat=3) if sum(c) % 2 != parity]
            corners = [[apex, *[c for c in others if np.abs(np.subtract(c, apex)).sum() == 1]] for apex in apexes]
            for four in [*corners, others]:
                before = np.linalg.det(np.diff(np.array(four, float), axis=0))
                after = np.linalg.det(np.diff([moved[tuple(np.add(start, c))] for c in four], axis=0))
                turned += max(-after * np.sign(before), 0) / 6 / 2
    return turned


@pytest.mark.parametrize('amplitude', [0.3, 1.2, 3.0])
def test_non_diffeomorphic_volume_agrees_with_tetrahedra_one_by_one(amplitude):
    grid = Grid((6, 5, 7), data.grid((6, 5, 7), 'LPI', (-8, 12, 17), (1.5, 2.0, 3.5)))
    field = np.zeros((6, 5, 7, 3))
    # zero at the border, so that nothing beyond it is turned over
    field[1:-1, 1:-1, 1:-1] = np.random.default_rng(0).normal(0, amplitude, (4, 3, 5, 3))
    found = judge.non_diffeomorphic_volume(field, grid, np.ones(grid.shape, bool))
    assert found == pytest.approx(tetrahedra_turned_over(field, grid), abs=1e-6)
    assert (found > 0) == (amplitude > 1)


def test_non_diffeomorphic_volume_of_a_mirror_is_all_of_it():
    grid = Grid((6, 6, 6), data.grid((6, 6, 6), voxel=2.0))
    x = grid.to_world(np.stack(np.meshgrid(*[np.arange(6)] * 3, indexing='ij'), -1))
    field = np.zeros((6, 6, 6, 3))
    field[..., 0] = -2 * x[..., 0]
    middle = np.zeros(grid.shape, bool)
    middle[2:4, 2:4, 2:4] = True
    assert judge.non_diffeomorphic_volume(field, grid, middle) == pytest.approx(8)
    facts = judge.jacobian_measures(field.astype(np.float32), grid, middle)
    assert (facts['folds'], facts['folds_percent'], facts['ndv_percent']) == (8, 100, pytest.approx(100))


def test_non_diffeomorphic_volume_agrees_with_its_authors():
    digital = pytest.importorskip('digital_diffeomorphism', reason='make test installs digital-diffeomorphism')
    field = np.random.default_rng(1).normal(0, 0.8, (9, 8, 10, 3)).astype(np.float32)
    mask = np.zeros(field.shape[:3], bool)
    mask[2:7, 1:6, 3:9] = True
    theirs = digital.ndv(field.copy(), mask, is_disp=True)[0]
    ours = judge.non_diffeomorphic_volume(field, Grid(field.shape[:3], np.eye(4)), mask)
    assert ours == pytest.approx(float(theirs), rel=1e-4)
    assert ours > 0.1


def test_folds_are_those_of_central_differences_inside():
    """A ramp that runs backwards over a few voxels."""
    grid = Grid((20, 6, 6), np.diag([2.0, 1, 1, 1]))
    field = np.zeros((20, 6, 6, 3), np.float32)
    steps = np.zeros(20)
    steps[8:11] = -3.0  # mm over a voxel of 2 mm: turned over
    steps[11:15] = 9 / 4
    field[..., 0] = np.cumsum(steps)[:, None, None]
    determinant = 1 + np.gradient(np.cumsum(steps)) / 2
    inside = np.zeros(grid.shape, bool)
    inside[5:15, 1:5, 1:5] = True
    facts = judge.jacobian_measures(field, grid, inside)
    assert facts['folds'] == 16 * int((determinant[5:15] <= 0).sum()) > 0
    assert facts['folds_percent'] == pytest.approx(100 * facts['folds'] / inside.sum())
    logs = np.log(np.clip(determinant[5:15], 1e-9, 1e9))
    assert facts['sdlogj'] == pytest.approx(logs.std(), rel=1e-4)


def test_a_uniform_stretch_has_no_spread():
    grid = Grid((8, 8, 8), OBLIQUE)
    points = grid.to_world(np.stack(np.meshgrid(*[np.arange(8)] * 3, indexing='ij'), -1))
    facts = judge.jacobian_measures((0.2 * points).astype(np.float32), grid, np.ones(grid.shape, bool))
    assert facts == {'folds': 0, 'folds_percent': 0, 'ndv_percent': 0, 'sdlogj': pytest.approx(0, abs=1e-5)}


def test_an_empty_mask_is_an_error():
    grid = Grid((8, 8, 8), np.eye(4))
    with pytest.raises(ValueError, match='does not meet'):
        judge.jacobian_measures(np.zeros((8, 8, 8, 3), np.float32), grid, np.zeros(grid.shape, bool))


def test_inverse_consistency_by_hand():
    grid = Grid((9, 9, 9), np.eye(4))
    there = np.zeros((9, 9, 9, 3), np.float32)
    there[..., 0] = 1.0
    inside = np.zeros(grid.shape, bool)
    inside[3:6, 3:6, 3:6] = True
    assert judge.inverse_consistency(Deformation(np.eye(4), there, -there, grid), inside) == dict.fromkeys(
        ('mean', 'p95', 'p99', 'max'), pytest.approx(0)
    )
    half = Deformation(np.eye(4), there, -there / 2, grid)
    assert judge.inverse_consistency(half, inside)['mean'] == pytest.approx(0.5)
    unknown = Deformation(np.eye(4), there, np.full_like(there, np.nan), grid)
    assert np.isnan(list(judge.inverse_consistency(unknown, inside).values())).all()


# ---------------------------------------------------------------------------------------------------- all of it
def test_everything_that_is_known_is_measured_and_nothing_else():
    grid = Grid((10, 10, 10), np.eye(4))
    brain = np.zeros(grid.shape, np.float32)
    brain[2:8, 2:8, 2:8] = 1
    labels = Image(brain.astype(np.int32), grid)
    points = np.array([[4, 4, 4, 4, 4, 6]], float)
    still = Deformation.identity(grid)
    field = {'folds', 'folds_percent', 'ndv_percent', 'sdlogj', 'inverse_consistency_mm'}
    found, moved = judge.evaluate(still, Image(brain, grid))
    assert set(found) == field
    assert set(found.values()) == {0}
    assert moved is None
    found, moved = judge.evaluate(
        still, Image(brain, grid), fixed_labels=labels, moving_labels=labels, labels={1: 'one'}, points=points
    )
    assert set(found) == field | {'dice_mean', 'hd95_mean', 'labels', 'tre_mean', 'tre_p95'}
    assert (found['dice_mean'], found['hd95_mean'], found['tre_mean'], found['tre_p95']) == (1, 0, 2, 2)
    np.testing.assert_array_equal(moved.data, labels.data)


def test_the_mask_may_lie_on_another_grid_than_the_field():
    field_grid = Grid((6, 6, 6), np.diag([2.0, 2, 2, 1]))
    brain = np.zeros((12, 12, 12), np.float32)
    brain[4:8, 4:8, 4:8] = 1
    inside = judge.mask_on(field_grid, Image(brain, Grid(brain.shape, np.eye(4))))
    assert inside.dtype == bool
    assert {tuple(v) for v in np.argwhere(inside)} == set(itertools.product((2, 3), repeat=3))


def test_consistency_is_the_mean_distance_of_each_two_ends():
    points = np.zeros((4, 3))
    numbers = judge.consistency({'a': points, 'b': points + np.array([3, 4, 0]), 'c': points})
    assert numbers == {'mean': pytest.approx(10 / 3), 'a | b': 5.0, 'a | c': 0.0, 'b | c': 5.0}
    with pytest.raises(ValueError, match='two maps'):
        judge.consistency({'a': points})
