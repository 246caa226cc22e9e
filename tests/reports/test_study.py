"""The study: every pair is a row, the numbers are those of the QC files, and nothing is hidden."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from bidsreg.reports.study import LEAST, ROW_STATUSES, read_study, spread
from bidsreg.settings import Settings
from tests import fake_study
from tests.reports.group import Page, group, qc_file, table


# ----------------------------------------------------------------------------------------------------------- the table
def test_every_pair_is_a_row_with_its_reason(study, capsys):
    out, names = study
    assert group(out) == 0
    assert '43 pair(s): 34 PASS, 2 CHECK, 3 FAIL, 4 without a verdict' in capsys.readouterr().out
    rows = table(out)
    assert list(rows) == names, 'in natural order'
    told = {
        fake_study.FLIPPED: ('FAIL', 'done', 'mirrored left-right'),
        fake_study.ASTRAY: ('FAIL', 'done', 'overlap by a Dice of only 0.76'),
        fake_study.CROPPED: ('CHECK', 'done', 'Only 0.9 of the brain'),
        fake_study.FOLDED: ('CHECK', 'done', 'folds at 0.0035 %'),
        fake_study.FAILED: ('FAIL', 'failed', 'register: the process was killed: memory <used up> & gone'),
        fake_study.WAITING: ('n/a', 'not done', 'planned, and not done yet'),
        fake_study.BROKEN: ('n/a', 'unreadable', 'sub-26_desc-registration_qc.json cannot be read'),
        fake_study.NO_T2W: ('n/a', 'no pair', 'only T1w, no T2w'),
        fake_study.NO_T1W: ('n/a', 'left out', 'no T1w in its session'),
    }
    for number, (verdict, status, reason) in told.items():
        row = rows[f'sub-{number:02d}']
        assert (row['verdict'], row['status']) == (verdict, status)
        assert reason in row['reason']
        assert status in ROW_STATUSES
    assert rows['sub-12_ses-2']['participant_id'] == 'sub-12'
    assert rows['sub-12_ses-2']['session_id'] == 'ses-2'
    assert rows['sub-01']['session_id'] == 'n/a'
    assert rows['sub-01']['reason'] == 'n/a'


def test_fences_are_tukeys():
    values = [*np.random.default_rng(1).normal(size=50), 9.0]
    q1, median, q3 = np.quantile(values, [0.25, 0.5, 0.75])
    known = spread(values)
    assert (known.q1, known.median, known.q3) == pytest.approx((q1, median, q3))
    assert (known.low, known.high) == pytest.approx((q1 - 1.5 * (q3 - q1), q3 + 1.5 * (q3 - q1)))
    assert known.outside(9.0)
    assert not known.outside(known.high)
    assert spread([1.0] * (LEAST - 1)) is None
    equal = spread([0.1 + 0.2] * 20 + [0.3] * 20)
    assert not equal.outside(0.3)
    assert equal.outside(0.31)


def test_outliers_are_named_farthest_first(study):
    out, _ = study
    group(out)
    rows = table(out)
    assert 'alternatives_mirror_margin' in rows['sub-05']['outlier_in'].split(',')
    assert 'overlap_mask_dice_affine' in rows['sub-11']['outlier_in'].split(',')
    found = read_study(Settings(bids_dir=out, output_dir=out, analysis_level='group'))
    (margin,) = (column for column in found.numbers if column.name == 'alternatives_shift_margin')
    named = [found.rows[place].name for place in found.outliers(margin)]
    assert named[:2] == ['sub-11', 'sub-05']
    judged = {column.name for column in found.numbers if column.checks}
    assert {name for row in rows.values() for name in row['outlier_in'].split(',')} - {'n/a'} <= judged


@pytest.mark.parametrize(
    ('content', 'status', 'reason'),
    [
        ('', 'unreadable', 'cannot be read'),
        ('[1, 2]', 'unreadable', 'holds list in the place of a JSON object'),
        ('{"affine": {"scales": "big"}}', 'unreadable', 'holds what no QC file holds'),
        ('{"affine": 3, "overlap": [], "result": null}', 'done', 'has no number to judge'),
        ('{"result": {"jacobian": {"sdlogj": NaN}}}', 'done', 'could not be computed'),
    ],
)
def test_a_broken_qc_file_is_a_row_and_costs_the_others_nothing(study, content, status, reason):
    out, names = study
    qc_file(out, 'sub-03').write_text(content)
    assert group(out) == 0
    rows = table(out)
    assert list(rows) == names
    assert rows['sub-03']['status'] == status
    assert reason in rows['sub-03']['reason']
    assert rows['sub-02']['verdict'] == 'PASS'
    place = names.index('sub-03')
    assert all(number['values'][place] is None for number in Page(out / 'group_registration.html').data['numbers'])


def test_without_a_plan_what_is_there_is_the_study(study):
    out, names = study
    (out / 'logs' / 'pairs.tsv').unlink()
    assert group(out) == 0
    missing = {f'sub-{n}' for n in (fake_study.WAITING, fake_study.NO_T1W, fake_study.NO_T2W)}
    assert list(table(out)) == [name for name in names if name not in missing]


def test_a_failure_that_was_mended_is_a_pair_like_others(study):
    out, _ = study
    facts = json.loads(qc_file(out, 'sub-02').read_text())
    anat = out / 'sub-21' / 'anat'
    anat.mkdir(parents=True)
    (anat / 'sub-21_desc-registration_qc.json').write_text(json.dumps({**facts, 'pair': 'sub-21'}))
    group(out)
    assert table(out)['sub-21']['status'] == 'done'


def test_pairs_of_other_contrasts_are_rows_with_numbers_of_their_own(study):
    out, _ = study
    facts = json.loads(qc_file(out, 'sub-02').read_text().replace('t2w', 'flair'))
    name = 'sub-02_from-FLAIR_to-T1w'
    facts |= {'pair': name, 'contrasts': {'fixed': 'T1w', 'moving': 'FLAIR'}}
    (out / f'sub-02/anat/{name}_desc-registration_qc.json').write_text(json.dumps(facts))
    with (out / 'logs' / 'pairs.tsv').open() as stream:
        head, *lines = stream.read().splitlines()
    head = head.replace('\tt2w\t', '\tt2w\tflair\t')
    lines = ['\t'.join([*line.split('\t')[:4], '', *line.split('\t')[4:]]) for line in lines]
    lines.append('03\t\tsub-03_T1w.nii.gz\t\tsub-03_FLAIR.nii.gz\tregister\tbecause')
    (out / 'logs' / 'pairs.tsv').write_text('\n'.join([head, *lines]) + '\n')
    assert group(out) == 0
    rows = table(out)
    assert float(rows[name]['masks_flair_ml']) == facts['masks']['flair_ml']
    assert (rows[name]['masks_t2w_ml'], rows['sub-02']['masks_flair_ml']) == ('n/a', 'n/a')
    assert rows[name]['overlap_mask_dice_affine'] == rows['sub-02']['overlap_mask_dice_affine']
    assert rows['sub-03_from-FLAIR_to-T1w']['status'] == 'not done'
    assert [rows[key]['contrasts_moving'] for key in (name, 'sub-02', 'sub-03_from-FLAIR_to-T1w')] == [
        'FLAIR',
        'T2w',
        'n/a',
    ]
    words = json.loads((out / 'group_registration.json').read_text())
    assert words['masks_flair_ml']['Description'] == 'Volume of the brain mask of the FLAIR'
    assert 'field of view of the moving scan' in words['overlap_brain_in_view_affine']['Description']


def test_outliers_are_those_among_pairs_of_the_same_contrasts(study):
    """Numbers of FLAIR that are far from those of all T2w are none; one that is far from the other FLAIR is."""
    out, names = study
    group(out)
    before = {name: row['outlier_in'] for name, row in table(out).items()}
    flair = fake_study.add_flair(out, [f'sub-{number:02d}' for number in (2, 3, 4, 6, 7, 10)], odd='sub-10')
    assert group(out) == 0
    rows = table(out)
    assert {name: rows[name]['outlier_in'] for name in names} == before
    assert {name: 'alternatives_turn_margin' in rows[name]['outlier_in'].split(',') for name in flair} == {
        name: name.startswith('sub-10') for name in flair
    }
    page = Page(out / 'group_registration.html')
    assert {pair['kind'] for pair in page.data['pairs']} == {'T2w to T1w', 'FLAIR to T1w', ''}
    assert all(number['spread'] is None for number in page.data['numbers'])
    assert 'contrast-filter' in page.source


def test_a_study_of_one_contrast_has_nothing_to_choose(study):
    out, _ = study
    assert group(out) == 0
    page = Page(out / 'group_registration.html')
    assert 'id="contrast-filter"' not in page.source
    assert any(number['spread'] for number in page.data['numbers'])
    assert 'contrasts_moving' not in next(iter(table(out).values()))


def test_what_a_filter_left_out_is_not_missing(study):
    out, _ = study
    with (out / 'logs' / 'pairs.tsv').open('a') as stream:
        stream.write('01\t\t\tsub-01_acq-fast_T2w.nii.gz\tfiltered\t--bids-filter-file: does not match t2w\n')
        stream.write('01\t\t\tsub-01_acq-odd_run-2_T2w.nii.gz\tleft out\tcannot be told apart\n')
    group(out)
    rows = table(out)
    assert 'sub-01_acq-fast' not in rows
    assert rows['sub-01_acq-odd_run-2']['reason'] == 'cannot be told apart'


def test_a_crash_of_an_interrupted_run_is_named(study):
    out, _ = study
    crash = out / 'logs' / 'run1' / 'crash-1.txt'
    crash.parent.mkdir()
    crash.write_text('Node: bidsreg_wf.pair_sub_23.register\n\nValueError: no\n')
    group(out)
    assert table(out)['sub-23']['reason'].endswith('an earlier run left logs/run1/crash-1.txt')


def test_thresholds_of_the_user(study, tmp_path, capsys):
    out, _ = study
    strict = tmp_path / 'strict.toml'
    strict.write_text('[mask_dice]\ncheck_below = 1.0\n')
    assert group(out, '--qc-thresholds', strict) == 0
    assert ' 0 PASS' in capsys.readouterr().out
    words = json.loads((out / 'group_registration.json').read_text())
    assert words['overlap_mask_dice_affine']['Thresholds']['mask_dice'] == 'CHECK below 1, FAIL below 0.8'


# -------------------------------------------------------------------------------------------------- errors before work
def refused(capsys, message: str, out: Path, *options) -> None:
    before = sorted(out.rglob('*')) if out.is_dir() else []
    assert group(out, *options) == 2
    assert message in capsys.readouterr().err
    assert (sorted(out.rglob('*')) if out.is_dir() else []) == before, 'nothing was written'


def test_folders_that_are_none_of_ours(capsys, tmp_path):
    refused(capsys, 'is not a folder: run the participant level first', tmp_path / 'nowhere')
    (tmp_path / 'empty').mkdir()
    refused(capsys, 'has no QC file', tmp_path / 'empty')
    for name, description in {
        'raw': {'Name': 'x', 'BIDSVersion': '1.8.0'},
        'fmriprep': {'Name': 'x', 'DatasetType': 'derivative', 'GeneratedBy': [{'Name': 'fMRIPrep'}]},
    }.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / 'dataset_description.json').write_text(json.dumps(description))
        refused(
            capsys, {'raw': 'is a raw BIDS dataset', 'fmriprep': 'the derivatives of fMRIPrep'}[name], tmp_path / name
        )


def test_bad_thresholds(study, capsys, tmp_path):
    (tmp_path / 't.toml').write_text('[mask_dise]\n')
    refused(capsys, "Did you mean 'mask_dice'", study[0], '--qc-thresholds', tmp_path / 't.toml')


def test_a_dry_run_counts_and_writes_nothing(study, capsys):
    out, _ = study
    assert group(out, '--dry-run') == 0
    assert '43 pair(s)' in capsys.readouterr().out
    assert not list(out.glob('group_*'))


def test_labels_do_not_narrow_the_study(study, capsys):
    out, names = study
    assert group(out, '--participant-label', '01') == 0
    assert 'do not narrow it' in capsys.readouterr().err
    assert len(table(out)) == len(names)
