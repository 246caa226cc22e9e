"""The node that gathers the facts of one registration."""

import json
from pathlib import Path

import nibabel as nb
import numpy as np
import pytest

from bidsreg.interfaces.measure import MeasureQuality
from bidsreg.preparation.affine import rigid_matrix
from bidsreg.registration.deformation import Deformation
from bidsreg.registration.grid import Grid
from bidsreg.registration.itk import write_affine

RESULT = {
    'method': 'node-mind',
    'inputs': {'fixed': '/somewhere'},
    'decision': {'kept': 'diffeo', 'reason': 'better'},
    'loss_history': [
        {'level': 4.0, 'iteration': i, 'loss': 1 / (i + 1), 'similarity': 0.9 / (i + 1), 'regularity': 0.1}
        for i in range(5)
    ],
}


@pytest.fixture
def result(tmp_path):
    (tmp_path / 'result.json').write_text(json.dumps(RESULT))
    return str(tmp_path / 'result.json')


def test_everything_known_is_in_the_facts(rigid_pair, result, here, tmp_path):
    pair, paths = rigid_pair
    mask = np.asanyarray(pair.fixed_mask.dataobj) > 0
    centre = nb.affines.apply_affine(pair.fixed.affine, np.argwhere(mask).mean(0))
    matrix = rigid_matrix((2, 0, 0), (0, 3, 0), centre)
    write_affine(tmp_path / 'a.txt', matrix)
    Deformation.from_affine(matrix, Grid(mask.shape, pair.fixed.affine)).save(tmp_path / 'forward.h5')
    (tmp_path / 'mine.toml').write_text('[brain_volume_small]\ncheck_below = 1e6')
    out = (
        MeasureQuality(
            result=result,
            affine=str(tmp_path / 'a.txt'),
            forward=str(tmp_path / 'forward.h5'),
            warped=str(paths['fixed']),
            thresholds=str(tmp_path / 'mine.toml'),
            **{name: str(paths[name]) for name in ('fixed', 'moving', 'fixed_mask', 'moving_mask')},
            mask_method='given',
            second_mask=str(paths['fixed_mask']),
            second_mask_method='found',
            fixed_findings=['thick slices'],
            moving_findings=[],
            fixed_skull_stripped=False,
            seconds={'masking': {'n4': 1.0}},
        )
        .run()
        .outputs
    )
    facts = out.facts
    assert facts['result'] == {key: value for key, value in RESULT.items() if key != 'inputs'}
    assert facts['affine']['rotation_deg'] == pytest.approx([2, 0, 0], abs=1e-3)
    assert facts['affine']['translation_mm'] == pytest.approx([0, 3, 0], abs=1e-3)
    assert facts['masks']['t1w_ml'] == pytest.approx(mask.sum() * 4.2**3 / 1000, rel=1e-3)
    assert facts['t1w_findings'] == ['thick slices']
    assert facts['mask_method'] == 'given'
    assert facts['second_mask_method'] == 'found'
    assert facts['mask_evidence']['second_dice'] == 1
    assert 'rigid' not in facts
    assert facts['images']['t2w']['voxel_mm'] == pytest.approx([3.2, 3.2, 6.0])
    assert facts['overlap']['brain_in_view']['affine'] == 1
    assert facts['alternatives']['shift_margin'] > 0.3  # of the T1w with itself
    assert facts['verdict']['checks']['brain_volume_small']['status'] == 'CHECK'
    assert 'CHECK below 1e+06' in facts['verdict']['checks']['brain_volume_small']['threshold']
    assert facts['verdict']['checks']['mask_dice']['value'] == facts['overlap']['mask_dice']['affine']
    assert facts['seconds_per_step'] == {'masking': {'n4': 1.0}}
    assert json.loads(Path(out.out_file).read_text()) == facts
