"""Overlap and alternatives against what is known, and the verdict on cases that were made good and bad on purpose."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nb
import numpy as np
import pytest
from scipy import ndimage as ndi

from bidsreg import pair as pair_command
from bidsreg.interfaces.measure import MeasureQuality
from bidsreg.qc import numbers
from bidsreg.registration.itk import write_affine
from tests import data

SHAPE = (36, 42, 36)
THICK = {'moving_shape': (60, 72, 24), 'moving_affine': data.grid((60, 72, 24), 'LPS', (9, 0, 0), (3.2, 3.2, 7.0))}


def placed(image, reference, matrix, order=1):
    """An image on the grid of another, through a matrix from its world: scipy, not the package."""
    way = np.linalg.inv(image.affine) @ matrix @ reference.affine
    values = ndi.affine_transform(
        np.asarray(image.dataobj, np.float32), way[:3, :3], way[:3, 3], output_shape=reference.shape, order=order
    )
    return data.image(values, reference.affine)


def scans(seed: int = 0, still: bool = False, **options) -> data.Pair:
    """A pair with noise, a bias field and a distortion of up to 3 mm; `still`: not moved as a whole."""
    known = data.truth(seed, amplitude=3.0)
    if still:
        known = data.Truth(np.eye(4), known.waves, known.phases, known.vectors)
    return data.pair(SHAPE, seed, known=known, noise=0.03, bias=0.2, **options)


def flipped(image):
    return data.image(np.asarray(image.dataobj)[::-1].copy(), image.affine)


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
        numbers.alternatives(pair.fixed, empty, pair.fixed, pair.moving, np.eye(4))


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
        pair.fixed, pair.fixed_mask, placed(pair.moving, pair.fixed, matrix), pair.moving, matrix
    )
    assert found['shift_margin'] < -0.3
    assert found['best_shift'] == words
    assert found['mirror_margin'] > 0  # nothing is flipped


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
    found = numbers.alternatives(pair.fixed, pair.fixed_mask, flat, flat, np.eye(4))
    assert found['mutual_information'] == pytest.approx(0, abs=1e-6)
    assert found['shift_margin'] is None


# ------------------------------------------------------------------------------------------- cases made on purpose
def half(image):
    values = np.asarray(image.dataobj).copy()
    values[: len(values) // 2] = 0
    return data.image(values, image.affine)


def noise(image):
    values = np.abs(np.random.default_rng(5).normal(300, 100, image.shape)).astype(np.int16)
    return data.image(values, image.affine)


def shifted(distance: float) -> np.ndarray:
    matrix = np.eye(4)
    matrix[0, 3] = distance
    return matrix


def _good(seed, **options):
    pair = scans(seed, **options)
    return pair, pair.moving, pair.truth.matrix


def _still(seed, change):
    pair = scans(seed, still=True)
    return pair, change(pair.moving), np.eye(4)


def _wrong_head(seed):
    pair, other = scans(seed, still=True), scans(seed + 10, still=True)
    return pair, other.moving, np.eye(4)


def _shift_left_in(seed):
    pair = scans(seed)
    return pair, pair.moving, shifted(20) @ pair.truth.matrix


def _wrong_way(seed):
    pair = scans(seed)
    return pair, pair.moving, np.linalg.inv(pair.truth.matrix)


#: Name -> how to make it from a seed, the verdicts that are right, and the checks of which one must speak.
CASES = {
    'good': (_good, ('PASS',), ()),
    'good, thick slices': (lambda seed: _good(seed, **THICK), ('PASS',), ()),
    'flipped': (lambda seed: _still(seed, flipped), ('FAIL',), ('mirror_margin',)),
    'wrong head': (_wrong_head, ('FAIL', 'CHECK'), ('mirror_margin', 'shift_margin', 'turn_margin')),
    '20 mm': (_shift_left_in, ('FAIL',), ('shift_margin',)),
    'half missing': (lambda seed: _still(seed, half), ('FAIL',), ('brain_with_signal',)),
    'noise': (lambda seed: _still(seed, noise), ('FAIL', 'CHECK'), ('shift_margin', 'turn_margin')),
    'wrong way': (_wrong_way, ('FAIL',), ('shift_margin', 'turn_margin', 'affine_gain')),
}


@pytest.mark.slow  # the solver on 16 pairs
@pytest.mark.parametrize('seed', range(2))
@pytest.mark.parametrize('name', CASES)
def test_the_verdict_tells_bad_from_good_after_the_solver(name, seed, tmp_path, monkeypatch):
    """The whole way from the affine on, so that a deformation has had its chance to hide what is wrong."""
    make, right, speak = CASES[name]
    pair, moving, matrix = make(seed)
    facts = registered(pair, moving, matrix, tmp_path, monkeypatch)
    verdict = facts['verdict']
    assert verdict['status'] in right, verdict['reasons']
    assert bool(verdict['reasons']) == (verdict['status'] != 'PASS')
    if speak:
        assert any(verdict['checks'][check]['status'] in right for check in speak), verdict['reasons']


@pytest.mark.parametrize('name', ['good', 'flipped'])
def test_the_verdict_of_one_good_and_one_bad_pair(name, tmp_path, monkeypatch):
    make, right, _ = CASES[name]
    facts = registered(*make(0), tmp_path, monkeypatch)
    assert facts['verdict']['status'] in right
    assert_described(facts)


def registered(pair, moving, matrix, tmp_path, monkeypatch) -> dict:
    """What MeasureQuality finds after bidsreg-pair at a resolution as coarse as the heads."""
    paths = pair.save(tmp_path)
    nb.save(moving, paths['moving'])
    write_affine(tmp_path / 'a.txt', matrix)
    options = ['--sloppy', '--working-resolution', '6', '--threads', '1', '--device', 'cpu', '-q']
    words = [paths['fixed'], paths['moving'], '--fixed-mask', paths['fixed_mask'], '--affine', tmp_path / 'a.txt']
    assert pair_command.main([*map(str, words), *options, '--out', str(tmp_path / 'out')]) == 0
    monkeypatch.chdir(tmp_path)
    node = MeasureQuality(
        result=str(tmp_path / 'out' / 'result.json'),
        affine=str(tmp_path / 'a.txt'),
        warped=str(tmp_path / 'out' / 'warped.nii.gz'),
        **{name: str(paths[name]) for name in ('fixed', 'moving', 'fixed_mask', 'moving_mask')},
    )
    return json.loads(Path(node.run().outputs.out_file).read_text())


def assert_described(facts) -> None:
    """Every value of the QC file is in its dictionary, itself or a mapping that it lies in."""
    folder = Path(numbers.__file__).parent
    dictionary = json.loads((folder / 'dictionary.json').read_text(encoding='utf-8'))

    def walk(value, path):
        if path in dictionary:
            return []
        if isinstance(value, dict):
            return [name for key, inner in value.items() for name in walk(inner, f'{path}.{key}'.lstrip('.'))]
        return [path]

    assert walk(facts, '') == []
