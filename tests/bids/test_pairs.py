from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest

from bidsreg.bids.pairs import find_pairs, plan_table
from bidsreg.errors import InputError
from bidsreg.settings import Settings
from tests.planning import dataset, names, plan, reasons


def test_one_pair(tmp_path):
    found = plan(tmp_path, 'sub-01_T1w', 'sub-01_T2w')
    assert names(found) == [('sub-01_T1w', 'sub-01_T2w')]
    (pair,) = found.pairs
    assert (pair.name, pair.node_name) == ('sub-01', 'pair_sub_01')
    assert (pair.subject, pair.session) == ('01', None)
    assert pair.reason == 'the only T1w of the subject'
    assert pair.fixed_mask is None
    assert not found.left_out
    assert not found.subjects_without_pair


def test_sessions_are_paired_within(tmp_path):
    found = plan(tmp_path, *(f'sub-01_ses-{s}_{m}' for s in 'ab' for m in ('T1w', 'T2w')))
    assert names(found) == [(f'sub-01_ses-{s}_T1w', f'sub-01_ses-{s}_T2w') for s in 'ab']
    assert [pair.name for pair in found.pairs] == ['sub-01_ses-a', 'sub-01_ses-b']


def test_every_t2w_is_registered(tmp_path):
    found = plan(tmp_path, 'sub-01_T1w', 'sub-01_run-01_T2w', 'sub-01_run-02_T2w', 'sub-01_acq-tse_rec-norm_T2w')
    assert len(found.pairs) == 3
    assert {pair.fixed.name for pair in found.pairs} == {'sub-01_T1w.nii.gz'}
    assert {pair.name for pair in found.pairs} == {'sub-01_run-01', 'sub-01_run-02', 'sub-01_acq-tse_rec-norm'}
    assert found.pairs[0].entities == {'subject': '01', 'acquisition': 'tse', 'reconstruction': 'norm'}


@pytest.mark.parametrize(
    ('t1w', 't2w', 'chosen', 'why'),
    [
        (('run-1', 'run-2'), 'run-2', 'run-2', 'agrees best in run'),
        (('acq-a', 'acq-b'), 'acq-b', 'acq-b', 'agrees best in acq'),
        (('rec-norm', 'rec-raw'), 'rec-raw', 'rec-raw', 'agrees best'),
        (('run-2', 'run-10'), 'acq-x', 'run-2', 'lowest run'),
        (('acq-a_run-1', 'acq-b_run-2'), 'acq-a_run-2', 'acq-a_run-1', 'agrees best in acq'),
        (('acq-b', 'acq-a'), 'acq-c', 'acq-a', 'first by name'),
        (('run-1', 'acq-a_rec-n_run-2'), 'acq-a_rec-n_run-3', 'acq-a_rec-n_run-2', 'agrees best in acq, rec'),
    ],
)
def test_which_of_several_t1w(tmp_path, t1w, t2w, chosen, why):
    found = plan(tmp_path, *(f'sub-01_{name}_T1w' for name in t1w), f'sub-01_{t2w}_T2w')
    assert names(found) == [(f'sub-01_{chosen}_T1w', f'sub-01_{t2w}_T2w')]
    assert why in found.pairs[0].reason
    (left,) = found.left_out
    assert left.reason == f'another T1w was chosen: sub-01_{chosen}_T1w.nii.gz'


def test_session_without_t1w(tmp_path):
    files = ['sub-01_ses-1_T1w', 'sub-01_ses-1_T2w', 'sub-01_ses-2_T2w', 'sub-01_ses-3_T1w']
    found = plan(tmp_path, *files)
    assert len(found.pairs) == 1
    assert '--pairing subject' in reasons(found)['sub-01_ses-2_T2w']
    assert 'no T2w in its session' in reasons(found)['sub-01_ses-3_T1w']


def test_pairing_by_subject(tmp_path):
    files = ['sub-01_ses-1_T1w', 'sub-01_ses-1_T2w', 'sub-01_ses-2_T2w', 'sub-01_ses-3_T1w', 'sub-01_ses-3_T2w']
    found = plan(tmp_path, *files, pairing='subject')
    assert names(found) == [
        ('sub-01_ses-1_T1w', 'sub-01_ses-1_T2w'),
        ('sub-01_ses-1_T1w', 'sub-01_ses-2_T2w'),
        ('sub-01_ses-3_T1w', 'sub-01_ses-3_T2w'),
    ]
    assert 'ses-1, the nearest with a T1w, by the order' in found.pairs[1].reason
    assert found.pairs[1].name == 'sub-01_ses-2'
    assert found.pairs[1].fixed_entities['session'] == '1'


def test_session_label_chooses_the_t2w(tmp_path):
    files = ['sub-01_ses-1_T1w', 'sub-01_ses-1_T2w', 'sub-01_ses-2_T2w', 'sub-02_ses-1_T1w', 'sub-02_ses-1_T2w']
    found = plan(tmp_path, *files, session_label=['2'], pairing='subject')
    assert names(found) == [('sub-01_ses-1_T1w', 'sub-01_ses-2_T2w')]
    assert found.subjects_without_pair == {'02': 'no T2w in the wanted sessions'}


@pytest.mark.parametrize(
    ('files', 'reason'),
    [
        (['sub-02_T1w'], 'only T1w, no T2w'),
        (['sub-02_T2w'], 'only T2w, no T1w'),
        (['sub-02_ses-1_T1w', 'sub-02_ses-2_T2w'], '--pairing subject'),
        (['sub-02_FLAIR'], 'no T1w and no T2w'),
        (['sub-02_T1w', 'sub-02_part-phase_T2w'], 'only T1w, no T2w (see the files left out)'),
    ],
)
def test_subjects_without_a_pair_are_told(tmp_path, files, reason):
    found = plan(tmp_path, 'sub-01_T1w', 'sub-01_T2w', *files)
    assert len(found.pairs) == 1
    assert list(found.subjects_without_pair) == ['02']
    assert reason in found.subjects_without_pair['02']


def test_other_files_are_left_out_with_a_reason(tmp_path):
    found = plan(
        tmp_path,
        'sub-01_T1w',
        'sub-01_T2w',
        'sub-01_T2w.nii',
        'sub-01_T2w.json',
        'sub-01_space-MNI_T1w',
        'sub-01_desc-defaced_T2w',
        'sub-01_part-phase_T2w',
        'sub-01_foo-1_T2w',
        'sub-01_FLAIR',
        'sub-01_T1map',
    )
    assert len(found.pairs) == 1
    assert found.pairs[0].moving.name == 'sub-01_T2w.nii.gz'
    why = [(item.path.name, item.reason) for item in found.left_out]
    assert [name for name, _ in why] == [
        'sub-01_T2w.nii',
        'sub-01_desc-defaced_T2w.nii.gz',
        'sub-01_foo-1_T2w.nii.gz',
        'sub-01_part-phase_T2w.nii.gz',
        'sub-01_space-MNI_T1w.nii.gz',
    ]
    for word, (_, reason) in zip(('tells it from', 'desc-', 'tells it from', 'magnitude', 'space-'), why, strict=True):
        assert word in reason


def test_nothing_but_anat_of_subjects_is_looked_at(tmp_path):
    dataset(tmp_path / 'raw', 'sub-01_T1w', 'sub-01_T2w')
    for folder in ('derivatives/x/sub-01/anat', 'sourcedata/sub-01/anat', 'sub-01/func', 'sub-01/ses-1/dwi'):
        (tmp_path / 'raw' / folder).mkdir(parents=True)
        (tmp_path / 'raw' / folder / 'sub-01_acq-other_T2w.nii.gz').touch()
    found = find_pairs(Settings(bids_dir=tmp_path / 'raw', output_dir=tmp_path / 'out'))
    assert len(found.pairs) == 1
    assert not found.left_out


def test_participants(tmp_path):
    files = [f'sub-{s}_{m}' for s in ('01', '02', '011') for m in ('T1w', 'T2w')]
    assert [pair.subject for pair in plan(tmp_path, *files, participant_label=['01']).pairs] == ['01']
    assert len(plan(tmp_path, *files).pairs) == 3


def test_unknown_participant(tmp_path):
    with pytest.raises(InputError, match=r"--participant-label 1: there is no sub-1 .* Did you mean '01'"):
        plan(tmp_path, 'sub-01_T1w', 'sub-01_T2w', participant_label=['1'])


@pytest.mark.parametrize('files', [['sub-01_T1w', 'sub-01_T2w'], ['sub-01_ses-1_T1w', 'sub-01_ses-1_T2w']])
def test_unknown_session(tmp_path, files):
    with pytest.raises(InputError, match='--session-label 9'):
        plan(tmp_path, *files, session_label=['9'])


def test_database_is_kept_and_used(tmp_path):
    database = tmp_path / 'db'
    files = ['sub-01_T1w', 'sub-01_T2w', 'sub-02_T1w', 'sub-02_T2w']
    first = plan(tmp_path, *files, bids_database_dir=database, participant_label=['01'])
    assert len(first.pairs) == 1
    assert list(database.iterdir())
    (tmp_path / 'raw' / 'sub-02' / 'anat' / 'sub-02_run-2_T2w.nii.gz').touch()  # not in the index
    again = find_pairs(Settings(bids_dir=tmp_path / 'raw', output_dir=tmp_path / 'o', bids_database_dir=database))
    assert [pair.name for pair in again.pairs] == ['sub-01', 'sub-02']


def test_plan_table(tmp_path):
    found = plan(
        tmp_path, 'sub-01_T1w', 'sub-01_acq-x_T1w', 'sub-01_T2w', 'sub-02_T1w', 'sub-03_ses-1_T2w', 'sub-04_bold'
    )
    table = plan_table(found)
    assert list(table.columns) == ['subject', 'session', 't1w', 't2w', 'decision', 'reason']
    rows = {(row.subject, row.decision): row for row in table.itertuples()}
    assert rows['01', 'register'].t2w == 'sub-01_T2w.nii.gz'
    assert rows['01', 'left out'].t1w == 'sub-01_acq-x_T1w.nii.gz'
    assert rows['03', 'left out'].t2w == 'sub-03_ses-1_T2w.nii.gz'
    assert [subject for subject, decision in rows if decision == 'no pair'] == ['02', '03', '04']
    assert table['reason'].str.len().min() > 5
    assert table.notna().all(axis=None)


def test_a_layout_can_be_given(tmp_path):
    from bids.layout import BIDSLayout

    root = dataset(tmp_path / 'raw', 'sub-01_T1w', 'sub-01_T2w')
    image = nib.Nifti1Image(np.zeros((2, 2, 2), 'uint8'), np.eye(4))
    image.to_filename(root / 'sub-01' / 'anat' / 'sub-01_T1w.nii.gz')
    layout = BIDSLayout(root, validate=False)
    assert len(find_pairs(Settings(bids_dir=root, output_dir=tmp_path / 'o'), layout).pairs) == 1


@pytest.mark.parametrize('names', [['sub-01_inv-1_T1w', 'sub-01_inv-2_T1w'], ['sub-01_inv-2_T1w']])
def test_a_single_inversion_is_no_t1w_whatever_it_is_called(tmp_path, names):
    found = plan(tmp_path, *names, 'sub-01_T2w')
    assert not found.pairs
    assert all('is no T1w image by itself' in reasons(found)[name] for name in names)


def test_a_single_inversion_does_not_stand_for_the_t1w_beside_it(tmp_path):
    found = plan(tmp_path, 'sub-01_acq-uni_T1w', 'sub-01_inv-1_T1w', 'sub-01_inv-2_T1w', 'sub-01_T2w')
    assert [fixed for fixed, _ in names(found)] == ['sub-01_acq-uni_T1w']
