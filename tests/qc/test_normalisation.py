"""The numbers of a normalisation and its verdict: of a person who lies there, of one who does not, and of limits."""

from __future__ import annotations

import json

import nibabel as nib
import numpy as np
import pytest

from bidsreg.errors import InputError
from bidsreg.qc.normalisation import (
    NORMALISATION_CHECKS,
    NormalisationFiles,
    gather_normalisation,
    judge_normalisation,
)
from bidsreg.qc.verdict import CHECKS, read_thresholds
from bidsreg.registration.itk import write_affine
from tests import data

#: Numbers of a normalisation in order, as a QC file has them.
GOOD = {
    'overlap': {
        'brain_in_view': {'affine': 1.0},
        'brain_with_signal': 0.99,
        'mask_dice': {'affine': 0.95, 'registered': 0.99},
    },
    'alternatives': {'shift_margin': 0.7, 'best_shift': 'x', 'turn_margin': 0.7, 'best_turn': 'y'},
    'edge_lncc': {'affine': 0.08, 'registered': 0.5},
    'affine': {'stretches': [0.91, 0.95, 0.99]},
    'mask_evidence': {'both_halves': 0.96, 'on_grid_edge': 0.0},
    'result': {
        'displacement_mm': {'p95': 7.3},
        'jacobian': {'sdlogj': 0.42, 'folds_percent': 0.0},
        'inverse_consistency_mm': {'p99': 0.18},
    },
}


def changed(path: str, value) -> dict:
    """The good numbers with another one at a dotted path."""
    facts = json.loads(json.dumps(GOOD))
    *above, last = path.split('.')
    inner = facts
    for key in above:
        inner = inner[key]
    inner[last] = value
    return facts


@pytest.fixture(scope='module')
def files(tmp_path_factory):
    """A head that lies in the space of another one but for the folding: what an affine gives at best."""
    folder = tmp_path_factory.mktemp('space')
    shape = (44, 52, 44)
    template, person = data.head(shape, 3), data.head(shape, 4)
    paths = {}
    for name, image in {
        'template': template.scan,
        'template_mask': template.mask,
        'scan': person.scan,
        'scan_mask': person.mask,
        'warped': person.scan,
        'warped_mask': person.mask,
    }.items():
        paths[name] = folder / f'{name}.nii.gz'
        nib.save(image, paths[name])
    for name in ('rigid', 'affine'):
        paths[name] = folder / f'{name}.txt'
        write_affine(paths[name], np.eye(4))
    paths['result'] = folder / 'result.json'
    paths['result'].write_text(json.dumps({'method': 'x', 'inputs': {'fixed': 'secret'}}))
    return NormalisationFiles(**paths)


def test_facts_of_a_person_in_the_space(files):
    facts = gather_normalisation(files, {'mask_method': 'by hand', 'nothing': None})
    assert facts['mask_method'] == 'by hand'
    assert 'nothing' not in facts
    assert facts['result'] == {'method': 'x'}
    assert facts['overlap']['brain_in_view']['affine'] == 1
    one, other = (np.asarray(nib.load(path).dataobj) > 0 for path in (files.template_mask, files.warped_mask))
    dice = 2 * (one & other).sum() / (one.sum() + other.sum())
    assert facts['overlap']['mask_dice']['registered'] == pytest.approx(dice, abs=1e-4)
    assert facts['affine']['stretches'] == [1, 1, 1]
    json.dumps(facts)


def test_every_check_has_limits_and_the_other_way_round():
    assert set(read_thresholds(family='normalisation')) == set(NORMALISATION_CHECKS)
    assert not set(NORMALISATION_CHECKS) & set(CHECKS)


def test_numbers_in_order_pass():
    verdict = judge_normalisation(GOOD)
    assert verdict.status == 'PASS'
    assert set(verdict.checks) == set(NORMALISATION_CHECKS)


@pytest.mark.parametrize(
    ('path', 'value', 'name'),
    [
        ('overlap.brain_in_view.affine', 0.5, 'space_in_view'),
        ('overlap.brain_with_signal', 0.5, 'space_with_signal'),
        ('overlap.mask_dice.affine', 0.7, 'space_mask_affine'),
        ('overlap.mask_dice.registered', 0.7, 'space_mask'),
        ('alternatives.shift_margin', -0.1, 'space_shift'),
        ('alternatives.turn_margin', -0.1, 'space_turn'),
        ('edge_lncc.registered', 0.0, 'space_edges'),
        ('edge_lncc.affine', 0.6, 'space_edges_gained'),
        ('affine.stretches', [0.4, 0.45, 0.5], 'space_smallest'),
        ('affine.stretches', [1.7, 1.7, 1.8], 'space_largest'),
        ('affine.stretches', [0.6, 1.0, 1.1], 'space_shape'),
        ('mask_evidence.both_halves', 0.3, 'space_halves'),
        ('mask_evidence.on_grid_edge', 0.3, 'space_mask_edge'),
        ('result.displacement_mm.p95', 30.0, 'space_displacement'),
        ('result.jacobian.sdlogj', 1.2, 'space_sdlogj'),
        ('result.jacobian.folds_percent', 0.2, 'space_folds'),
        ('result.inverse_consistency_mm.p99', 3.0, 'space_inverse'),
    ],
)
def test_each_number_can_cost_the_verdict(path, value, name):
    verdict = judge_normalisation(changed(path, value))
    assert verdict.checks[name].status != 'PASS'
    assert verdict.status != 'PASS'
    assert verdict.reasons


def test_limits_of_ones_own_stand_beside_those_of_pairs(tmp_path):
    path = tmp_path / 'own.toml'
    path.write_text('[space_mask]\ncheck_below = 0.999\nfail_below = 0.5\n[mask_dice]\ncheck_below = 0.99\n')
    assert judge_normalisation(GOOD, read_thresholds(path, family='normalisation')).status == 'CHECK'
    assert read_thresholds(path)['mask_dice'].check == 0.99
    path.write_text('[space_maks]\ncheck_below = 0.9\n')
    with pytest.raises(InputError, match='space_mask'):
        read_thresholds(path)
