"""The steps before the solver on a small head with truth, and how they are measured."""

from __future__ import annotations

import linear
import nibabel as nib
import numpy as np
import pytest

from bidsreg.preparation import bias, prealign
from tests import data


def test_errors_are_distances_from_where_points_truly_lie():
    rng = np.random.default_rng(0)
    known = data.truth(2, scale=(1.02, 0.97, 1.0), amplitude=0)
    points = rng.normal(0, 40, (50, 3))
    points = np.hstack([points, known.forward(points)])
    assert linear.mean_error(points, known.matrix) < 1e-9
    moved = known.matrix.copy()
    moved[0, 3] += 2
    assert linear.mean_error(points, moved) == pytest.approx(2)


def test_the_spread_of_white_matter_is_that_of_its_logarithm():
    values = np.exp(np.random.default_rng(0).normal(6, 0.1, (30, 30, 30)))
    assert linear.spread(nib.Nifti1Image(values, np.eye(4)), values > 0) == pytest.approx(10, rel=0.02)


def test_settings_reach_the_steps(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(prealign, 'PLANS', prealign.PLANS)
    monkeypatch.setattr(bias, 'ITERATIONS', bias.ITERATIONS)
    seen = []

    def measure(bids, subject):
        seen.append((subject, prealign.PLANS['rigid'], prealign.PLANS['affine'], bias.ITERATIONS))
        return ['1'] * 9

    monkeypatch.setattr(linear, 'measure', measure)
    monkeypatch.chdir(tmp_path)
    linear.main([str(tmp_path), '--subjects', '03', '--affine', '3', '--iterations', '5', '4'])
    assert seen == [('sub-03', prealign.PLANS['rigid'], (('Affine', 3.0),), (5, 4))]
    assert '| sub-03 | 1 |' in capsys.readouterr().out


@pytest.mark.slow
def test_a_head_is_measured(tmp_path, monkeypatch):
    pair = data.pair((44, 52, 44), 1, known=data.truth(1, amplitude=1.0), bias=0.3)
    anat, truth = tmp_path / 'sub-03/anat', tmp_path / 'derivatives/truth/sub-03/anat'
    for folder in (anat, truth):
        folder.mkdir(parents=True)
    nib.save(pair.fixed, anat / 'sub-03_T1w.nii.gz')
    nib.save(pair.moving, anat / 'sub-03_T2w.nii.gz')
    nib.save(pair.fixed_mask, truth / 'sub-03_desc-brain_mask.nii.gz')
    white = np.asanyarray(pair.fixed_labels.dataobj) == list(data.TISSUES).index('wm')
    nib.save(data.image(np.where(white, 2, 0).astype(np.uint8), pair.fixed.affine), truth / 'sub-03_dseg.nii.gz')
    np.savetxt(truth / 'sub-03_from-T1w_to-T2w_points.tsv', pair.points, header='a b c d e f', comments='')
    monkeypatch.chdir(tmp_path)
    numbers = [float(text) for text in linear.measure(tmp_path, 'sub-03')]
    assert all(seconds > 0 for seconds in numbers[:4])
    assert numbers[6] < numbers[5] < 1.0
    assert numbers[8] < numbers[7]
