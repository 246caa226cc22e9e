"""The script of the ratio on a small label map: truth, positions, scanners, reference."""

from __future__ import annotations

import json

import nibabel as nib
import numpy as np
import pytest
import ratio

from bidsreg.registration.grid import Grid

from .test_hard_pairs import SHAPE, label_map


@pytest.fixture(scope='module')
def path(tmp_path_factory):
    """A label map of ellipsoids with soft tissue around the brain."""
    labels = label_map(1.2)
    labels[labels == 530] = ratio.SOFT
    path = tmp_path_factory.mktemp('labels') / 'anat-01_dseg.nii.gz'
    nib.save(nib.Nifti1Image(labels, np.diag([3.0, 3, 3, 1])), path)
    return path


@pytest.fixture(scope='module')
def person(path):
    """Its head."""
    return ratio.make_person(path, 1)


def test_signals_are_those_of_the_tissue(person):
    medians = {value: (np.median(person.t1w[person.labels == value]), np.median(person.t2w[person.labels == value]))
               for value in (2, 3)}  # fmt: skip
    assert medians[2][0] == pytest.approx(ratio.WHITE, rel=0.05)
    assert medians[2][1] == pytest.approx(ratio.WHITE, rel=0.05)
    assert medians[3][0] < 0.6 * medians[2][0]
    assert medians[3][1] > 1.3 * medians[2][1]
    assert set(np.unique(person.labels)) == {0, 2, 3, 4, 10, 12, 16, 24, 51}


def test_larger_voxels_are_means(person, path):
    coarse = ratio.make_person(path, 1, voxel=2)
    assert coarse.t1w.shape == tuple(n // 2 for n in SHAPE)
    np.testing.assert_allclose(coarse.t1w[8, 9, 8], person.t1w[16:18, 18:20, 16:18].mean(), rtol=1e-5)
    assert coarse.brain.sum() == pytest.approx(person.brain.sum() / 8, rel=0.1)


def test_a_position_has_an_inverse_and_is_no_affine(person):
    position = ratio.Position.of(person, 3)
    points = np.random.default_rng(0).uniform(-60, 60, (200, 3)) + person.centre
    there = position.to_t2w(points)
    np.testing.assert_allclose(position.to_t1w(there), points, atol=1e-3)
    straight = np.column_stack([points, np.ones(len(points))])
    left = there - straight @ np.linalg.lstsq(straight, there, rcond=None)[0]
    assert 0.3 < np.linalg.norm(left, axis=1).max() < 8


def test_at_the_truth_the_error_is_small_and_it_grows_with_a_shift(person):
    position = ratio.Position.of(person, 3)
    scans = ratio.scans_of(person, position, 3, 0, (1.0, 1.0))
    right = ratio.at_truth(scans['t2w'], position, Grid(person.t1w.shape, person.affine))
    errors = ratio.ratio_errors(person, scans['t1w'].data, {'known': right, 'shifted': np.roll(right, 2, 1)})
    known, shifted = (np.median(ratio.at_cortex(person, errors[name])) for name in ('known', 'shifted'))
    assert known < 0.25
    assert shifted > 1.3 * known


def test_a_scanner_multiplies(person):
    position = ratio.Position.of(person, 3)
    one, other = (ratio.scans_of(person, position, 3, 0, gains) for gains in ((1.0, 1.0), (0.5, 4.0)))
    np.testing.assert_allclose(other['t1w'].data, 0.5 * one['t1w'].data, rtol=1e-5)
    np.testing.assert_allclose(other['t2w'].data, 4 * one['t2w'].data, rtol=1e-5)


def test_the_picture_is_drawn(person, tmp_path):
    errors = {name: np.full(SHAPE, 0.1, np.float32) for name in ratio.ALIGNMENTS}
    ratio.plot(person, errors, {'01': [4.0, 3.0, 2.0, 1.0]}, tmp_path / 'ratio.png')
    assert (tmp_path / 'ratio.png').stat().st_size > 1000


def test_the_reference_is_written_with_its_source(tmp_path, monkeypatch):
    values = {'eyes': {'T1w': 1.0, 'T2w': 2.0}}
    monkeypatch.setattr(ratio, 'reference_of', lambda labels, people: values)
    ratio.main([str(tmp_path), '--people', '01', '02', '--reference', str(tmp_path / 'reference.json')])
    content = json.loads((tmp_path / 'reference.json').read_text())
    assert content['Values'] == values
    assert '2 real heads' in content['Source']
    assert '--people 01 02' in content['Script']


def test_points_that_are_not_found_are_a_cell_and_no_end(path, monkeypatch):
    found = [
        {'uncalibrated': {'white': 0.8, 'grey': 0.4}, 'eyes-muscle': {'white': 0.6, 'grey': None}},
        {'uncalibrated': {'white': 0.2, 'grey': 0.1}, 'eyes-muscle': {}},
    ]
    monkeypatch.setattr(ratio, 'medians', lambda *_: found.pop(0))
    raw, calibrated = ratio.scanner_rows(path.parent, '01', 1, (0.5, 2.0))
    assert raw == '| 01 | uncalibrated | 0.800 | 0.200 | -75.0 | 0.400 | 0.100 | -75.0 |'
    assert calibrated == '| 01 | eyes-muscle | 0.600 | not found |  | not found | not found |  |'
