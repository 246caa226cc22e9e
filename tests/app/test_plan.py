"""The plan as people see it: before the work, and on disk."""

from __future__ import annotations

import nibabel as nib
import numpy as np

from tests import data


def test_dry_run_tells_and_writes_nothing(app, capsys, raw, tmp_path):
    before = data.files_below(raw)
    assert app('--dry-run') == 0
    text = capsys.readouterr().out
    assert '2 pair(s) to register' in text
    for word in ('sub-01_T2w.nii.gz', 'the only T1w of the subject', 'only T1w, no T2w'):
        assert word in text
    assert data.files_below(raw) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ['raw']


def test_pairs_table_keeps_other_subjects(app, tmp_path):
    assert app('--participant-label', '01') == 0
    assert app('--participant-label', '02') == 0
    lines = (tmp_path / 'out' / 'logs' / 'pairs.tsv').read_text().splitlines()
    assert [line.split('\t')[:1] for line in lines] == [['subject'], ['01'], ['02']]


def test_pairs_table_keeps_other_modalities(app, raw, tmp_path):
    (raw / 'sub-02/anat/sub-02_FLAIR.nii.gz').write_bytes((raw / 'sub-02/anat/sub-02_T2w.nii.gz').read_bytes())
    assert app('--participant-label', '01') == 0
    assert app('--participant-label', '02', '-m', 'T2w', 'FLAIR') == 0
    lines = (tmp_path / 'out' / 'logs' / 'pairs.tsv').read_text().splitlines()
    assert [line.split('\t')[:5] for line in lines] == [
        ['subject', 'session', 't1w', 't2w', 'flair'],
        ['01', '', 'sub-01_T1w.nii.gz', 'sub-01_T2w.nii.gz', ''],
        ['02', '', 'sub-02_T1w.nii.gz', '', 'sub-02_FLAIR.nii.gz'],
        ['02', '', 'sub-02_T1w.nii.gz', 'sub-02_T2w.nii.gz', ''],
    ]
    names = {path.name for path in (tmp_path / 'out/sub-02/anat').iterdir()}
    assert {'sub-02_desc-registration_qc.json', 'sub-02_from-FLAIR_to-T1w_desc-registration_qc.json'} <= names
    assert app('--participant-label', '02') == 0
    lines = (tmp_path / 'out' / 'logs' / 'pairs.tsv').read_text().splitlines()
    assert len(lines) == 3


def test_a_modality_that_nobody_has_is_refused_before_any_work(app, capsys, tmp_path):
    assert app('-m', 'T2w', 'FLAIR') == 2
    assert 'nobody in' in capsys.readouterr().err
    assert not (tmp_path / 'out').exists()


def test_the_methods_text_tells_of_lesions_where_some_were_drawn(app, raw, tmp_path):
    citation = tmp_path / 'out' / 'logs' / 'CITATION.md'
    assert app() == 0
    assert 'Brett' not in citation.read_text()
    scan = nib.load(raw / 'sub-02/anat/sub-02_T2w.nii.gz')
    drawn = nib.Nifti1Image(np.zeros(scan.shape, np.uint8), scan.affine)
    nib.save(drawn, raw / 'sub-02/anat/sub-02_space-T2w_label-lesion_roi.nii.gz')
    assert app() == 0
    assert 'Brett' in citation.read_text()


def test_pairs_without_a_ratio_are_named_once_before_the_work(app, raw, tmp_path):
    (raw / 'sub-02/anat/sub-02_FLAIR.nii.gz').write_bytes((raw / 'sub-02/anat/sub-02_T2w.nii.gz').read_bytes())
    app('-m', 'T2w', 'FLAIR')
    logs = tmp_path / 'out' / 'logs'
    said = '--ratio is made of a T1w and a T2w (no UNIT1), not of sub-02_from-FLAIR_to-T1w.'
    assert not any(said in path.read_text() for path in logs.rglob('bidsreg.log'))
    app('-m', 'T2w', 'FLAIR', '--ratio', 'uncalibrated')
    assert sum(path.read_text().count(said) for path in logs.rglob('bidsreg.log')) == 1
