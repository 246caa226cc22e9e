"""Overlap, alternatives and edges against what is known of pairs that were made for it."""

from __future__ import annotations

import nibabel as nb
import numpy as np
import pytest
from scipy import ndimage as ndi

from bidsreg.qc import numbers
from bidsreg.qc.symmetry import Midplane
from tests import data
from tests.qc.heads import SHAPE, flipped, scans

#: Between the halves of a head of tests.data.
MIDDLE = Midplane(np.zeros(3), np.array([1.0, 0.0, 0.0]))


def placed(image, reference, matrix, order=1):
    """An image on the grid of another, through a matrix from its world: scipy, not the package."""
    way = np.linalg.inv(image.affine) @ matrix @ reference.affine
    values = ndi.affine_transform(
        np.asarray(image.dataobj, np.float32), way[:3, :3], way[:3, 3], output_shape=reference.shape, order=order
    )
    return data.image(values, reference.affine)


def test_overlap_agrees_with_resampled_masks():
    pair = scans(1, moving_shape=(40, 50, 30), moving_affine=data.grid((40, 50, 30), 'LPI', (5, -3, 8), (4, 4, 5)))
    matrix = pair.truth.matrix @ np.diag([1.1, 0.95, 1.0, 1])
    found = numbers.overlap(pair.fixed_mask, pair.moving_mask, matrix, placed(pair.moving, pair.fixed, matrix))
    one = np.asarray(pair.fixed_mask.dataobj) > 0
    for stage, way in (('before', np.eye(4)), ('affine', matrix)):
        other = placed(pair.moving_mask, pair.fixed, way, order=0).get_fdata() > 0
        assert found['mask_dice'][stage] == pytest.approx(2 * (one & other).sum() / (one.sum() + other.sum()), abs=0.01)
        assert found['brain_in_view'][stage] == 1
    assert found['brain_with_signal'] > 0.99


def test_grey_that_is_the_mean_of_a_brain_is_signal_where_that_was_taken_off():
    pair = scans(still=True)
    inside = np.asarray(pair.fixed_mask.dataobj) > 0
    values = np.asarray(pair.moving.dataobj, np.float32)
    centred = np.where(np.arange(len(values))[:, None, None] < 18, 0, values - np.median(values[inside]))
    found = numbers.overlap(pair.fixed_mask, pair.moving_mask, np.eye(4), data.image(centred, pair.fixed.affine))
    assert found['brain_with_signal'] == pytest.approx(inside[18:].sum() / inside.sum(), abs=0.01)


def test_overlap_of_a_cropped_field_of_view():
    pair = scans(still=True)
    mask = np.asarray(pair.fixed_mask.dataobj) > 0
    cropped, cropped_mask = pair.moving.slicer[18:], pair.moving_mask.slicer[18:]
    warped = placed(cropped, pair.fixed, np.eye(4))
    found = numbers.overlap(pair.fixed_mask, cropped_mask, np.eye(4), warped)
    assert found['brain_in_view']['affine'] == pytest.approx(mask[18:].sum() / mask.sum(), abs=1e-4)
    assert found['brain_with_signal'] == pytest.approx(0.5, abs=0.03)


def test_empty_masks_are_said():
    pair = scans()
    empty = data.image(np.zeros(SHAPE, np.uint8), pair.fixed.affine)
    for masks, name in (((empty, pair.moving_mask), 'T1w'), ((pair.fixed_mask, empty), 'T2w')):
        with pytest.raises(ValueError, match=f'mask of the {name} is empty'):
            numbers.overlap(*masks, np.eye(4), pair.fixed)
    with pytest.raises(ValueError, match='is empty'):
        numbers.alternatives(pair.fixed, empty, pair.fixed, pair.moving, np.eye(4), MIDDLE)


def test_geometry():
    found = numbers.geometry(data.image(np.zeros((60, 72, 22), np.int16), data.GRIDS['thick'][1]))
    assert found['shape'] == [60, 72, 22]
    assert found['voxel_mm'] == pytest.approx([3.2, 3.2, 8.0])
    assert found['obliqueness_deg'] == pytest.approx(9.0, abs=1e-3)


@pytest.mark.parametrize(
    ('shift', 'words'),
    [((-20, 0, 0), '20 mm to the right'), ((0, 10, 0), '10 mm to the back'), ((0, 0, 20), '20 mm downwards')],
)
def test_the_better_place_is_named(shift, words):
    """The picture lies `shift` mm off; what mends it is the way back."""
    pair = scans(still=True)
    matrix = np.eye(4)
    matrix[:3, 3] = -np.array(shift)
    found = numbers.alternatives(
        pair.fixed, pair.fixed_mask, placed(pair.moving, pair.fixed, matrix), pair.moving, matrix, MIDDLE
    )
    assert found['shift_margin'] < -0.3
    assert found['best_shift'] == words
    assert found['mirror_margin'] > 0  # nothing is flipped


@pytest.mark.parametrize('side', [slice(0, SHAPE[0] // 2), slice(SHAPE[0] // 2, None)])
def test_a_mirrored_scan_is_seen_through_a_mask_of_one_half(side):
    pair = scans(still=True)
    mask = np.asarray(pair.fixed_mask.dataobj).copy()
    mask[side] = 0
    half, mirrored = data.image(mask, pair.fixed.affine), flipped(pair.moving)
    found = numbers.alternatives(pair.fixed, half, mirrored, mirrored, np.eye(4), MIDDLE)
    assert found['mirror_margin'] < -0.5
    found = numbers.alternatives(pair.fixed, half, pair.moving, pair.moving, np.eye(4), MIDDLE)
    assert found['mirror_margin'] > 0.3


def test_people_are_told_from_repeats_though_a_deformation_hides_it():
    """What the solver makes of the scan of another head is taken to be perfect: the T2w of the first."""
    pair, other = scans(still=True), scans(10, still=True)
    found = numbers.alternatives(pair.fixed, pair.fixed_mask, pair.moving, other.moving, np.eye(4), MIDDLE)
    assert found['mirror_margin'] > 0.3
    assert abs(found['person_margin']) < 0.25
    same = numbers.alternatives(pair.fixed, pair.fixed_mask, pair.moving, pair.moving, np.eye(4), MIDDLE)
    assert same['person_margin'] > 0.3


def test_dark_bone_around_a_pale_brain_is_no_better_place():
    """A brain with a dark rim, of which the other scan shows hardly anything but where it ends."""
    shape, affine, rng = (52, 52, 52), np.diag([3.0, 3, 3, 1]), np.random.default_rng(0)
    away = np.linalg.norm(data.world(shape, affine) - 78, axis=-1)
    texture = ndi.gaussian_filter(rng.normal(size=shape), 1.5)
    texture /= texture.std()
    brain, rim = away < 66, (away > 58) & (away < 66)
    fixed = np.where(brain, 1 + 0.2 * texture, 0.5) - 0.5 * rim
    moving = np.where(brain, 1 + 0.05 * texture, 0.1) + rng.normal(0, 0.05, shape)
    scans = [data.image(values.astype(np.float32), affine) for values in (fixed, brain, moving, moving)]
    plane = Midplane(np.full(3, 78.0), np.array([1.0, 0, 0]))
    one, everywhere = (
        numbers.alternatives(*scans, np.eye(4), plane, one_head=one_head)['shift_margin'] for one_head in (True, False)
    )
    assert one > 0.2 > 0.1 > everywhere


def test_what_a_coil_does_to_both_scans_costs_no_margin():
    pair = scans(still=True)
    plain, biased = (
        numbers.alternatives(fixed, pair.fixed_mask, moving, moving, np.eye(4), MIDDLE)
        for fixed, moving in ((pair.fixed, pair.moving), (coiled(pair.fixed, 90), coiled(pair.moving, -70)))
    )
    for name in ('shift_margin', 'turn_margin', 'mirror_margin', 'person_margin'):
        assert biased[name] > plain[name] - 0.1


def test_a_stripped_brain_has_the_margins_of_a_whole_head():
    pair = scans(still=True)
    fixed, moving = (
        data.image(one.get_fdata() * (np.asarray(mask.dataobj) > 0), one.affine)
        for one, mask in ((pair.fixed, pair.fixed_mask), (pair.moving, pair.moving_mask))
    )
    bare = numbers.alternatives(fixed, pair.fixed_mask, moving, moving, np.eye(4), MIDDLE)
    assert min(bare[name] for name in ('shift_margin', 'turn_margin', 'mirror_margin', 'person_margin')) > 0.3


def coiled(image, length):
    x, y, z = np.moveaxis(data.world(image.shape, image.affine), -1, 0)
    return data.image(image.get_fdata() * np.exp((x + y - z) / length), image.affine)


def test_local_correlation_of_edges_against_windows_one_by_one():
    rng = np.random.default_rng(3)
    affine = np.diag([3.0, 4.5, 2.0, 1.0])
    one, two = (ndi.gaussian_filter(rng.normal(size=(16, 14, 20)), 1).astype(np.float32) for _ in range(2))
    mask = np.zeros(one.shape, np.uint8)
    mask[5:11, 5:9, 7:13] = 1
    scans = [data.image(values, affine) for values in (one, two, mask)]
    found = numbers.edge_lncc(scans[0], scans[2], scans[1], np.eye(4), scans[1])

    def edges(values):
        sigma = (0.7, 0.7, 0.7)  # all voxels are larger than the 1 mm of the edges
        return np.linalg.norm(
            [ndi.gaussian_filter1d(_blur(values, sigma, k), sigma[k], k, 1) / affine[k, k] for k in range(3)], axis=0
        )

    a, b = edges(one), edges(two)
    windows = [tuple(slice(c - r, c + r + 1) for c, r in zip(at, (1, 1, 2), strict=True)) for at in np.argwhere(mask)]
    expected = np.mean([np.corrcoef(a[window].ravel(), b[window].ravel())[0, 1] for window in windows])
    assert found['registered'] == pytest.approx(expected, abs=2e-3)
    assert found['before'] == found['affine'] == pytest.approx(expected, abs=2e-3)


def _blur(values, sigma, but):
    for axis in {0, 1, 2} - {but}:
        values = ndi.gaussian_filter1d(values, sigma[axis], axis)
    return values


def test_edges_agree_more_the_nearer_the_truth():
    pair = scans(2)
    matrix = pair.truth.matrix
    found = numbers.edge_lncc(pair.fixed, pair.fixed_mask, pair.moving, matrix, data.t2w(SHAPE, 2, noise=0.03))
    assert found['before'] + 0.1 < found['affine'] < found['registered']
    far = np.eye(4)
    far[0, 3] = 400
    apart = numbers.edge_lncc(pair.fixed, pair.fixed_mask, pair.moving, far, pair.moving)
    assert apart['affine'] is None
    flat = data.image(np.ones(SHAPE, np.float32), pair.fixed.affine)
    assert numbers.edge_lncc(pair.fixed, pair.fixed_mask, flat, np.eye(4), flat)['registered'] is None


def test_a_flat_image_has_no_margins():
    pair = scans(still=True)
    flat = data.image(np.ones(SHAPE, np.float32), pair.fixed.affine)
    found = numbers.alternatives(pair.fixed, pair.fixed_mask, flat, flat, np.eye(4), MIDDLE)
    assert found['mutual_information'] == pytest.approx(0, abs=1e-6)
    assert found['shift_margin'] is None


def test_the_contrasts_of_one_head():
    head = data.pair(SHAPE, 2, known=data.truth(2, amplitude=0))
    t2w = data.t2w(SHAPE, 2, noise=0.03)
    assert numbers.contrast(head.fixed, head.fixed_mask, t2w) < 0
    assert numbers.contrast(head.fixed, head.fixed_mask, head.fixed) == pytest.approx(1)
    darker = nb.Nifti1Image(head.fixed.get_fdata() * 0.3 + 20, head.fixed.affine)
    assert numbers.contrast(head.fixed, head.fixed_mask, darker) > 0.99
    flat = nb.Nifti1Image(np.ones(head.fixed.shape, np.float32), head.fixed.affine)
    assert numbers.contrast(head.fixed, head.fixed_mask, flat) is None
