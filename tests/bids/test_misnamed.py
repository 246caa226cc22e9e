"""What looks like a scan that somebody lacks is told, with what of its name BIDS does not know."""

from __future__ import annotations

import pytest

from bidsreg.bids.misnamed import find_misnamed
from bidsreg.bids.pairs import find_pairs, plan_table
from bidsreg.settings import Settings
from tests.planning import dataset


def _plan(root, *files):
    for name in files:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return find_pairs(Settings(bids_dir=root, output_dir=root.parent / 'out'))


@pytest.mark.parametrize(
    ('file', 'words'),
    [
        ('sub-02/anat/sub-02_T2.nii.gz', 'its name ends in T2.nii.gz where BIDS has T2w.nii.gz'),
        ('sub-02/anat/sub-02_t2w.nii.gz', 'its name ends in t2w.nii.gz where BIDS has T2w.nii.gz'),
        ('sub-02/anat/sub-02_T2w (1).nii.gz', 'its name ends in T2w (1).nii.gz where BIDS has T2w.nii.gz'),
        ('sub-02/sub-02_T2w.nii.gz', 'it lies in no folder anat'),
        ('sub-02/ses-1/sub-02_ses-1_T2w.nii.gz', 'it lies in no folder anat'),
        ('sub-02/anat/sub-02_T2w.NII.GZ', 'it ends in .NII.GZ, and only .nii.gz and .nii are read'),
        ('sub-02/ses-1/anat/sub-02_ses-1_T2w.mgz', 'it ends in .mgz'),
    ],
)
def test_what_was_meant_as_a_scan_is_told(tmp_path, file, words):
    found = _plan(dataset(tmp_path / 'raw', 'sub-01_T1w', 'sub-01_T2w', 'sub-02_T1w'), file)
    assert [pair.subject for pair in found.pairs] == ['01']
    (note,) = found.notes
    assert (note.subject, note.path) == ('02', tmp_path / 'raw' / file)
    assert f'{file} is not used: {words}' in note.reason
    assert note.reason in found.subjects_without_pair['02']
    table = plan_table(found)
    assert table[table['decision'] == 'note']['reason'].tolist() == [note.reason]


def test_labels_that_bids_does_not_know(tmp_path):
    root = dataset(tmp_path / 'raw', 'sub-01_T1w', 'sub-01_T2w')
    found = _plan(root, 'sub-con_02/anat/sub-con_02_T1w.nii.gz', 'sub-con_02/anat/sub-con_02_T2w.nii.gz')
    assert [pair.subject for pair in found.pairs] == ['01']
    assert len(found.notes) == 2
    assert all('BIDS reads its subject as con: labels have letters and digits only' in n.reason for n in found.notes)


def test_a_folder_with_the_name_of_a_scan(tmp_path):
    root = dataset(tmp_path / 'raw', 'sub-01_T1w')
    (root / 'sub-01' / 'anat' / 'sub-01_T2w.nii.gz').mkdir()
    (note,) = find_misnamed(root, '01', ['T2w'])
    assert 'it is a folder, not a file' in note.reason


def test_what_is_something_else_is_not_told(tmp_path):
    root = dataset(
        tmp_path / 'raw',
        'sub-01_T1w',
        'sub-01_T1map',
        'sub-01_mod-T2w_defacemask',
        'sub-01_acq-T2w_FLASH',
        'sub-01_T2star',
        'sub-01_T2w.json',
        '._sub-01_T2w.nii.gz',
    )
    assert find_misnamed(root, '01', ['T2w']) == []


def test_who_has_the_contrast_is_not_looked_through(tmp_path):
    found = _plan(dataset(tmp_path / 'raw', 'sub-01_T1w', 'sub-01_T2w'), 'sub-01/anat/sub-01_T2.nii.gz')
    assert len(found.pairs) == 1
    assert not found.notes
