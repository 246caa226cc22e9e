"""Scans are found in datasets and tables, with their masks, and what is wrong is told before any work."""

from __future__ import annotations

import json
import shutil

import pytest

from bidsreg.errors import InputError
from bidsreg.translation.sources import find_training_scans, read_scan_table

from .conftest import PEOPLE, settings_for


def test_a_raw_dataset_with_masks_in_derivatives(dataset, tmp_path):
    scans = find_training_scans(settings_for(dataset, tmp_path / 'out'))
    assert [(scan.subject, scan.contrast) for scan in scans] == [
        (one, name) for one in PEOPLE for name in ('T1w', 'T2w')
    ]
    assert {scan.mask.name for scan in scans} == {
        f'sub-{one}{space}_desc-brain_mask.nii.gz' for one in PEOPLE for space in ('', '_space-T2w')
    }
    assert not any(scan.corrected for scan in scans)
    assert all(('space-T2w' in scan.mask.name) == (scan.contrast == 'T2w') for scan in scans)


def test_derivatives_are_corrected_already(dataset, tmp_path):
    root = tmp_path / 'derivatives'
    for scan in dataset.glob('sub-*/anat/*.nii.gz'):
        name, contrast = scan.name.removesuffix('.nii.gz').split('_')
        folder = root / name / 'anat'
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(scan, folder / f'{name}_desc-preproc_{contrast}.nii.gz')
        # what was resampled is no scan on its own grid
        shutil.copy(scan, folder / f'{name}_space-T1w_desc-preproc_{contrast}.nii.gz')
    for mask in dataset.glob('derivatives/masks/*/anat/*.nii.gz'):
        shutil.copy(mask, root / mask.name.split('_')[0] / 'anat')
    (root / 'dataset_description.json').write_text(
        json.dumps({'Name': 'x', 'BIDSVersion': '1.10.0', 'DatasetType': 'derivative'})
    )
    scans = find_training_scans(settings_for(root, tmp_path / 'out'))
    assert len(scans) == 2 * len(PEOPLE)
    assert all(scan.corrected and scan.mask is not None for scan in scans)
    assert not any('space-' in scan.image.name for scan in scans)


def test_a_table(table, tmp_path):
    scans = find_training_scans(settings_for(table, tmp_path / 'out'))
    assert len(scans) == 2 * len(PEOPLE)
    assert all(scan.image.is_file() and scan.mask.is_file() for scan in scans)


def test_one_person_by_two_spellings_is_one(table):
    path = table.parent / 'spellings.tsv'
    rows = ['subject\tcontrast\timage', '01\tT1w\t01_T1w.nii.gz', 'sub-01\tT2w\t01_T2w.nii.gz']
    path.write_text('\n'.join(rows) + '\n')
    assert [scan.subject for scan in read_scan_table(path)] == ['01', '01']


HEADER = 'subject\tcontrast\timage\tmask'


@pytest.mark.parametrize(
    ('lines', 'words'),
    [
        ([HEADER], 'lists no scan'),
        (['subject\tcontrast', '01\tT1w'], "no column 'image'"),
        ([HEADER.replace('mask', 'masc'), '01\tT1w\tA\tB'], "'masc' is not known. Did you mean 'mask'"),
        ([HEADER, '01\t\t01_T1w.nii.gz\t'], 'line 2: no contrast is given'),
        ([HEADER, '01\tT1w\tnosuch.nii.gz\t'], 'line 2: image .*nosuch.nii.gz is not there'),
        ([HEADER, '01\tT1w\t01_T1w.nii.gz\tnosuch.nii.gz'], 'line 2: mask .*is not there'),
        ([HEADER, '01\tT1w\t01_T1w.nii.gz\t', '02\tT1w\t./01_T1w.nii.gz\t'], 'line 3: .*already in line 2'),
    ],
)
def test_tables_that_cannot_be_used(table, lines, words):
    path = table.parent / 'bad.tsv'
    path.write_text('\n'.join(lines) + '\n')
    with pytest.raises(InputError, match=words) as raised:
        read_scan_table(path)
    assert str(path) in str(raised.value)


def test_what_is_no_table(tmp_path):
    with pytest.raises(InputError, match=r'is not there; give a BIDS dataset or a table'):
        read_scan_table(tmp_path / 'nosuch.tsv')
    (tmp_path / 'bytes.tsv').write_bytes(b'\xff\xfe\x00\x00')
    with pytest.raises(InputError, match='cannot be read as a table'):
        read_scan_table(tmp_path / 'bytes.tsv')


def rows(table, keep):
    path = table.parent / 'some.tsv'
    lines = table.read_text().splitlines()
    path.write_text('\n'.join([lines[0], *(line for line in lines[1:] if keep(*line.split('\t')[:2]))]) + '\n')
    return path


def test_one_person_alone_is_too_few(table, tmp_path):
    path = rows(table, lambda subject, contrast: subject == '01')
    with pytest.raises(InputError, match='one person alone'):
        find_training_scans(settings_for(path, tmp_path / 'out'))


def test_a_contrast_that_is_not_there(table, tmp_path):
    path = rows(table, lambda subject, contrast: contrast == 'T1w')
    with pytest.raises(InputError, match=r"no scan of the contrast T2w. Did you mean 'T1w'"):
        find_training_scans(settings_for(path, tmp_path / 'out'))


def test_scans_that_cannot_be_read_are_told(table, tmp_path):
    path = rows(table, lambda *_: True)
    (table.parent / 'broken.nii.gz').write_bytes(b'no image')
    path.write_text(path.read_text().replace('02_T2w.nii.gz', 'broken.nii.gz'))
    with pytest.raises(InputError, match=r'broken\.nii\.gz'):
        find_training_scans(settings_for(path, tmp_path / 'out'))


def test_what_is_no_dataset(tmp_path, dataset):
    with pytest.raises(InputError, match='no dataset_description'):
        find_training_scans(settings_for(tmp_path, tmp_path / 'out'))
    with pytest.raises(InputError, match='is not a folder'):
        find_training_scans(settings_for(dataset, tmp_path / 'out', derivatives=(tmp_path / 'nosuch',)))


def test_a_scan_that_changes_has_another_fingerprint(table):
    scan = read_scan_table(table)[0]
    before = scan.fingerprint()
    scan.image.touch()
    assert scan.fingerprint() != before
