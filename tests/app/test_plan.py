"""The plan as people see it: before the work, and on disk."""

from __future__ import annotations

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
