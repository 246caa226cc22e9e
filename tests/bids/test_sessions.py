"""Times of scans, the nearest session, and tables and sidecars that are broken."""

from __future__ import annotations

import pytest

from bidsreg.bids.pairs import find_pairs, plan_table
from bidsreg.bids.sessions import natural
from bidsreg.settings import Settings
from tests.planning import dataset, plan

FILES = ['ses-1_T1w', 'ses-2_T2w', 'ses-3_T1w', 'ses-3_T2w']


def the_t1w(root, tables, files=FILES):
    raw = dataset(root / 'raw', *(f'sub-01_{name}' for name in files))
    for name, text in tables.items():
        (raw / 'sub-01' / name).write_text(text)
    found = find_pairs(Settings(bids_dir=raw, output_dir=root / 'out', pairing='subject'))
    (pair,) = [pair for pair in found.pairs if pair.session == '2']
    return pair.fixed.name[7:12], pair.reason, found


SESSIONS = 'session_id\tacq_time\n' + '\n'.join(
    ('ses-1\t2020-01-01T10:00:00', 'ses-2\t2020-03-01T10:00:00', 'ses-3\t{}\n')
)


def scans_table(session, *rows):
    lines = [f'anat/sub-01_ses-{session}_{name}.nii.gz\t{time}' for name, time in rows]
    return '\n'.join(['filename\tacq_time', *lines]) + '\n'


@pytest.mark.parametrize(
    ('tables', 'session', 'why'),
    [
        ({}, 'ses-1', 'by the order of the sessions'),
        ({'sub-01_sessions.tsv': SESSIONS.format('2020-03-03T10:00:00')}, 'ses-3', '2 days apart'),
        ({'sub-01_sessions.tsv': SESSIONS.format('2020-09-03T10:00:00')}, 'ses-1', '60 days apart'),
        ({'sub-01_sessions.tsv': SESSIONS.format('n/a')}, 'ses-1', 'by the order of the sessions'),
        (
            {
                'ses-1/sub-01_ses-1_scans.tsv': scans_table(1, ('T1w', '1877-06-15T08:00:00')),
                'ses-2/sub-01_ses-2_scans.tsv': scans_table(2, ('T2w', '1877-06-15T23:30:00')),
                'ses-3/sub-01_ses-3_scans.tsv': scans_table(3, ('T1w', '1877-06-16T01:00:00.123Z'), ('T2w', 'n/a')),
            },
            'ses-3',
            '1.5 hours apart',
        ),
    ],
)
def test_the_nearest_session(tmp_path, tables, session, why):
    found, reason, _ = the_t1w(tmp_path, tables)
    assert found == session
    assert why in reason
    assert '--pairing subject' in reason


def test_sessions_are_counted_as_numbers(tmp_path):
    files = ['ses-10_T1w', 'ses-9_T1w', 'ses-8_T1w', 'ses-11_T2w', 'ses-1_T1w']
    raw = dataset(tmp_path / 'raw', *(f'sub-01_{name}' for name in files))
    (pair,) = find_pairs(Settings(bids_dir=raw, output_dir=tmp_path / 'out', pairing='subject')).pairs
    assert pair.fixed.name == 'sub-01_ses-10_T1w.nii.gz'
    assert sorted(['b10', 'b9', 'a', '2', '10'], key=natural) == ['2', '10', 'a', 'b9', 'b10']


@pytest.mark.parametrize(
    ('name', 'text', 'words'),
    [
        ('sub-01_sessions.tsv', 'no\ttable\n1\t2\n', 'has no column session_id'),
        ('sub-01_sessions.tsv', b'\xff\xfe\x00\x01', 'is not used'),
        ('sub-01_sessions.tsv', 'session_id\nses-1\nses-2\n3\nses-x10\nses-x9\n', 'without a folder: ses-x9, ses-x10'),
        ('sub-01_sessions.tsv', 'session_id\nses-1\n', 'does not list: ses-2, ses-3'),
        ('ses-1/sub-01_ses-1_scans.tsv', '', 'is not used'),
        ('ses-1/sub-01_ses-1_scans.tsv', 'a\tb\nc\td\te\tf\n', 'is not used'),
        ('ses-2/sub-01_ses-2_scans.tsv', 'filename\nanat/sub-01_ses-2_T1w.nii.gz\n', 'lists what is not there'),
        ('ses-3/anat/sub-01_ses-3_T2w.json', '{"EchoTime": ', 'is not used'),
        ('ses-3/anat/sub-01_ses-3_T1w.json', '[1]', 'holds no JSON object'),
    ],
)
def test_what_is_broken_is_told_in_a_line_of_the_plan(tmp_path, name, text, words):
    raw = dataset(tmp_path / 'raw', *(f'sub-01_{file}' for file in FILES))
    path = raw / 'sub-01' / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    found = find_pairs(Settings(bids_dir=raw, output_dir=tmp_path / 'out', pairing='subject'))
    assert len(found.pairs) == 2
    (note,) = found.notes
    assert note.path == path
    assert words in note.reason
    rows = plan_table(found)
    assert rows[rows['decision'] == 'note']['reason'].tolist() == [note.reason]
    assert path.name in note.reason


def test_a_label_that_is_written_otherwise_is_told_twice(tmp_path):
    _, reason, found = the_t1w(tmp_path, {'sub-01_sessions.tsv': SESSIONS.format('n/a').replace('ses-1', 'ses-01')})
    assert 'by the order of the sessions' in reason
    assert [note.reason for note in found.notes] == [
        'sub-01_sessions.tsv lists sessions without a folder: ses-01',
        'sub-01_sessions.tsv does not list: ses-1',
    ]


def test_tables_without_sessions(tmp_path):
    raw = dataset(tmp_path / 'raw', 'sub-01_T1w', 'sub-01_T2w')
    (raw / 'sub-01/sub-01_scans.tsv').write_text('filename\tacq_time\nanat/sub-01_T1w.nii.gz\tn/a\n')
    assert not find_pairs(Settings(bids_dir=raw, output_dir=tmp_path / 'out')).notes
    (raw / 'sub-01/sub-01_scans.tsv').write_text('nonsense')
    assert len(find_pairs(Settings(bids_dir=raw, output_dir=tmp_path / 'out')).notes) == 1


def test_a_plan_of_nothing_broken_has_no_notes(tmp_path):
    assert plan(tmp_path, 'sub-01_T1w', 'sub-01_T2w').notes == ()
