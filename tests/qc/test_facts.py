"""The facts of pairs that are good and of pairs that are bad on purpose: the verdict tells them apart."""

from __future__ import annotations

import json
from dataclasses import replace

import nibabel as nb
import numpy as np
import pytest
from scipy import ndimage as ndi

from bidsreg.bids.headers import head_of
from bidsreg.bids.names import T2W_TO_T1W, Contrasts
from bidsreg.pair import cli as pair_command
from bidsreg.preparation.affine import rigid_matrix
from bidsreg.qc.dictionary import read_dictionary
from bidsreg.qc.facts import RegistrationFiles, gather_facts
from bidsreg.registration.deformation import Deformation
from bidsreg.registration.itk import write_affine
from tests import data
from tests.qc.heads import THICK, flipped, scans


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
    return pair, change(pair.moving) if change else pair.fixed, np.eye(4)


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
def _half_of_the_mask(seed):
    pair = scans(seed)
    return replace(pair, fixed_mask=half(pair.fixed_mask)), pair.moving, pair.truth.matrix


def _other_mask(change):
    """A mask as a network could leave it, with no second one to compare it with."""

    def make(seed):
        pair = scans(seed)
        inside = np.asarray(pair.fixed_mask.dataobj) > 0
        changed = change(inside, np.asarray(pair.fixed.dataobj), np.indices(inside.shape) - centre_of(inside))
        return (
            replace(pair, fixed_mask=data.image(changed.astype(np.uint8), pair.fixed_mask.affine)),
            pair.moving,
            pair.truth.matrix,
        )

    return make


def centre_of(inside):
    return np.argwhere(inside).mean(0)[:, None, None, None]


def _with_face(inside, values, at):
    mm = data.FIELD_OF_VIEW[0] / len(inside)
    face = ndi.binary_fill_holes(head_of(values, np.full(3, mm))) & (mm * at[1] > 0) & (mm * at[2] < -10)
    return inside | face


def _flipped_in_half_a_mask(seed):
    pair = scans(seed, still=True)
    return replace(pair, fixed_mask=half(pair.fixed_mask)), flipped(pair.moving), np.eye(4)


def _longer(seed):
    pair = scans(seed)
    longer = np.diag([1.0, 1.0, 1.05, 1.0])
    return pair, data.image(pair.moving.dataobj, longer @ pair.moving.affine), longer @ pair.truth.matrix


CASES = {
    'good': (_good, ('PASS',), ()),
    'good, thick slices': (lambda seed: _good(seed, **THICK), ('PASS',), ()),
    'flipped': (lambda seed: _still(seed, flipped), ('FAIL',), ('mirror_margin',)),
    'wrong head': (_wrong_head, ('FAIL', 'CHECK'), ('mirror_margin', 'shift_margin', 'turn_margin')),
    '20 mm': (_shift_left_in, ('FAIL',), ('shift_margin',)),
    'half missing': (lambda seed: _still(seed, half), ('FAIL',), ('brain_with_signal',)),
    'noise': (lambda seed: _still(seed, noise), ('FAIL', 'CHECK'), ('shift_margin', 'turn_margin')),
    'a copy of the T1w': (lambda seed: _still(seed, None), ('CHECK',), ('contrast',)),
    'half of the mask': (_half_of_the_mask, ('FAIL',), ('mask_halves',)),
    'flipped, half of the mask': (_flipped_in_half_a_mask, ('FAIL',), ('mirror_margin',)),
    'mask without its top': (
        _other_mask(lambda inside, values, at: inside & (at[2] < 0.3 * at[2][inside].max())),
        ('CHECK', 'FAIL'),
        ('mask_beside',),
    ),
    'mask with the face': (_other_mask(_with_face), ('CHECK', 'FAIL'), ('mask_dark',)),
    'mask with the scalp': (
        _other_mask(lambda inside, values, at: ndi.binary_dilation(inside, iterations=3)),
        ('CHECK', 'FAIL'),
        ('mask_dark',),
    ),
    'z longer': (_longer, ('CHECK',), ('scale',)),
    'wrong way': (_wrong_way, ('FAIL',), ('shift_margin', 'turn_margin', 'gain')),
}


@pytest.mark.slow  # the solver on 24 pairs
@pytest.mark.parametrize('seed', range(2))
@pytest.mark.parametrize('name', CASES)
def test_the_verdict_tells_bad_from_good_after_the_solver(name, seed, tmp_path):
    """The whole way from the affine on, so that a deformation has had its chance to hide what is wrong."""
    make, right, speak = CASES[name]
    pair, moving, matrix = make(seed)
    facts = registered(pair, moving, matrix, tmp_path)
    verdict = facts['verdict']
    assert verdict['status'] in right, verdict['reasons']
    assert bool(verdict['reasons']) == (verdict['status'] != 'PASS')
    if speak:
        assert any(verdict['checks'][check]['status'] in right for check in speak), verdict['reasons']


def test_the_facts_of_a_pair_are_described(tmp_path):
    make, right, _ = CASES['good']
    facts = registered(*make(0), tmp_path)
    assert facts['verdict']['status'] in right
    assert_described(facts)


def test_the_keys_of_a_pair_are_its_contrasts(tmp_path):
    make, *_ = CASES['good']
    pair, moving, matrix = make(0)
    registered(pair, moving, matrix, tmp_path)
    contrasts = Contrasts('T1w', 'FLAIR')
    notes = {'moving_findings': ['thick slices'], 'fixed_skull_stripped': True}
    facts = json.loads(json.dumps(gather_facts(files_of(tmp_path), notes, contrasts=contrasts)))
    assert facts['contrasts'] == {'fixed': 'T1w', 'moving': 'FLAIR'}
    assert set(facts['masks']) == {'t1w_ml', 'flair_ml'}
    assert (facts['flair_findings'], facts['t1w_skull_stripped']) == (['thick slices'], True)
    assert 't2w' not in json.dumps(facts).lower()
    assert_described(facts, contrasts)
    usual = gather_facts(files_of(tmp_path))
    other = gather_facts(files_of(tmp_path), contrasts=Contrasts('T2w', 'T1w'))  # the same files under other names
    assert other['depth_contrast'] == pytest.approx(-usual['depth_contrast'])
    assert other['tissue_contrast'] < 0
    neither = gather_facts(files_of(tmp_path), contrasts=Contrasts('T2w', 'FLAIR'))
    assert not {'depth_contrast', 'tissue_contrast'} & set(neither)
    assert 'contrasts' not in usual
    assert usual['alternatives'] == facts['alternatives']


@pytest.mark.slow
def test_the_order_in_which_voxels_are_stored_changes_no_number(tmp_path):
    pair = data.pair((73, 87, 71), 0)  # fine enough for blocks to be averaged, and for voxels to be drawn
    expected = registered(pair, pair.moving, pair.truth.matrix, tmp_path)
    files = files_of(tmp_path)
    for path in (files.fixed, files.moving, files.fixed_mask, files.moving_mask, files.warped):
        image = nb.load(path)
        order = nb.orientations.ornt_transform(nb.io_orientation(image.affine), nb.orientations.axcodes2ornt('SPL'))
        other = image.as_reoriented(order)
        nb.save(data.image(np.array(other.dataobj), other.affine), path)
    found = json.loads(json.dumps(gather_facts(files)))
    stored = expected.pop('images'), found.pop('images')  # these tell of the files
    assert stored[0] != stored[1]
    assert found == expected


def test_what_the_deformation_mended_of_the_matrix_is_not_held_against_the_person(tmp_path):
    """The matrix before was 6 mm and some degrees off, the transform that is written is right."""
    pair = scans(0)
    facts = registered(pair, pair.moving, pair.truth.matrix, tmp_path)
    known = facts['alternatives']['person_margin']
    off = rigid_matrix((4, -3, 5), (4, -4, 2)) @ pair.truth.matrix
    forward = tmp_path / 'out' / 'forward.h5'
    right = Deformation.load(forward, forward.with_name('inverse.h5'))
    at = data.world(right.grid.shape, right.grid.affine)
    there = right.points(at.reshape(-1, 3)).reshape(at.shape)
    mending = (nb.affines.apply_affine(np.linalg.inv(off), there) - at).astype(np.float32)
    replace(right, affine=off, forward=mending).save(forward)
    write_affine(tmp_path / 'a.txt', off)
    found = gather_facts(files_of(tmp_path))['alternatives']['person_margin']
    assert found == pytest.approx(known, abs=0.03)
    Deformation.from_affine(off, right.grid).save(forward)
    assert gather_facts(files_of(tmp_path))['alternatives']['person_margin'] < known - 0.1


def registered(pair, moving, matrix, tmp_path) -> dict:
    """Gather the facts after bidsreg-pair at a resolution as coarse as the heads."""
    paths = pair.save(tmp_path)
    nb.save(moving, paths['moving'])
    write_affine(tmp_path / 'a.txt', matrix)
    options = ['--sloppy', '--working-resolution', '6', '--threads', '1', '--device', 'cpu', '-q']
    words = [paths['fixed'], paths['moving'], '--fixed-mask', paths['fixed_mask'], '--affine', tmp_path / 'a.txt']
    assert pair_command.main([*map(str, words), *options, '--out', str(tmp_path / 'out')]) == 0
    return json.loads(json.dumps(gather_facts(files_of(tmp_path))))


def files_of(folder) -> RegistrationFiles:
    return RegistrationFiles(
        result=folder / 'out' / 'result.json',
        affine=folder / 'a.txt',
        forward=folder / 'out' / 'forward.h5',
        warped=folder / 'out' / 'warped.nii.gz',
        **{name: folder / f'{name}.nii.gz' for name in ('fixed', 'moving', 'fixed_mask', 'moving_mask')},
    )


def assert_described(facts, contrasts=T2W_TO_T1W) -> None:
    """Every value of the QC file is in its dictionary, itself or a mapping that it lies in."""
    dictionary = read_dictionary(contrasts)

    def walk(value, path):
        if path in dictionary:
            return []
        if isinstance(value, dict):
            return [name for key, inner in value.items() for name in walk(inner, f'{path}.{key}'.lstrip('.'))]
        return [path]

    assert walk(facts, '') == []
