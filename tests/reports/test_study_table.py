"""The table of a study: the numbers of the QC files, each of them described."""

from __future__ import annotations

import fnmatch
import json

from bidsreg.bids.dataset import BIDSIGNORE
from bidsreg.qc.verdict import CHECKS
from tests.reports.group import group, qc_file, table


def test_numbers_are_those_of_the_qc_files_and_all_are_described(study):
    out, _ = study
    group(out)
    rows, words = table(out), json.loads((out / 'group_registration.json').read_text())
    assert set(words) == set(rows['sub-01'])
    assert all(word['Description'] for word in words.values())
    facts = json.loads(qc_file(out, 'sub-02').read_text())
    row = rows['sub-02']
    for column, value in {
        'overlap_mask_dice_affine': facts['overlap']['mask_dice']['affine'],
        'evidence_diffeo_mi': facts['result']['evidence']['diffeo']['mi'],
        'affine_scales_y': facts['affine']['scales'][1],
        'affine_shears_yz': facts['affine']['shears'][2],
        'images_t2w_voxel_mm_z': facts['images']['t2w']['voxel_mm'][2],
        'seconds_per_step_masking_n4': facts['seconds_per_step']['masking']['n4'],
        'seconds_total': facts['result']['seconds']['total'],
        'scale': max(abs(value - 1) for value in facts['affine']['stretches']),
        'iterations': facts['result']['iterations'],
    }.items():
        assert float(row[column]) == value, column
    assert row['method'] == 'node-mind'
    assert row['t1w_skull_stripped'] == 'false'
    assert rows['sub-07']['t2w_findings'] == 'qform and sform disagree; the sform is used'
    assert rows['sub-21']['seconds_total'] == 'n/a'
    assert words['displacement_mm_p95']['Units'] == 'mm'
    assert words['gain']['Units'] == '%'
    assert words['jacobian_sdlogj']['QCFileKey'] == 'result.jacobian.sdlogj'
    assert words['overlap_mask_dice_affine']['Thresholds'] == {'mask_dice': 'CHECK below 0.92, FAIL below 0.8'}
    assert set(words['masks_t1w_ml']['Thresholds']) == {'brain_volume_small', 'brain_volume_large'}
    assert not {'path_length_mm', 'loss_history', 'pair_name'} & set(words), 'what no pair has is no column'
    assert all(any(fnmatch.fnmatch(path.name, line) for line in BIDSIGNORE) for path in out.glob('group_*'))


def test_the_study_that_never_was_has_every_number_that_is_judged(study):
    out, _ = study
    facts = json.loads(qc_file(out, 'sub-04').read_text())
    assert set(facts['verdict']['checks']) == set(CHECKS)
    assert facts['verdict']['status'] == 'PASS'
