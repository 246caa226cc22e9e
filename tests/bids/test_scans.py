"""Which files are scans of their own, wherever the dataset lies, and why each other one is none."""

from __future__ import annotations

import pytest

from bidsreg.bids.pairs import find_pairs, plan_table
from bidsreg.errors import InputError
from bidsreg.settings import Settings
from tests.planning import dataset, names, plan, reasons

PLACES = ['sub-98', 'ses-7', 'part-phase', 'acq-x', 'derivatives', 'sub-98/ses-7/anat', 'space-MNI/desc-x', 'anat',
          'run-3_echo-2', 'a+b/sub-01']  # fmt:skip


@pytest.mark.parametrize(
    ('place', 'database'),
    [
        *((place, False) for place in PLACES[:4]),
        (PLACES[0], True),
        *(pytest.param(place, False, marks=pytest.mark.slow) for place in PLACES[4:]),
        *(pytest.param(place, True, marks=pytest.mark.slow) for place in PLACES[1:]),
    ],
)
def test_folders_above_the_dataset_say_nothing(tmp_path, place, database):
    files = [
        'sub-01_T1w',
        'sub-01_acq-y_T2w',
        'sub-02_ses-1_run-2_T1w',
        'sub-02_ses-1_T2w',
        'sub-02_ses-1_part-phase_T2w',
    ]
    options = {'bids_database_dir': tmp_path / 'database'} if database else {}
    here, there = (
        plan(root, *files, **(options if root != tmp_path else {})) for root in (tmp_path, tmp_path / place / 'x')
    )
    assert names(there) == names(here)
    assert [pair.name for pair in there.pairs] == ['sub-01_acq-y', 'sub-02_ses-1']
    assert [dict(pair.entities) for pair in there.pairs] == [dict(pair.entities) for pair in here.pairs]
    assert reasons(there) == reasons(here)
    assert plan_table(there).equals(plan_table(here))


@pytest.mark.parametrize(
    ('files', 'left'),
    [
        (['part-phase_T2w', 'part-imag_T2w', 'part-real_T1w'], 'is not a magnitude image'),
        (['PDT2'], 'holds two contrasts'),
        (['inv-1_MP2RAGE', 'inv-2_part-mag_MP2RAGE'], 'of an MP2RAGE is no T1w image by itself'),
        (['inv-1_part-phase_MP2RAGE'], 'part-phase is not a magnitude image'),
        (['UNIT1'], 'a UNIT1 is taken only where there is no T1w'),
        (['res-2_T1w', 'space-T2w_T1w', 'label-GM_T1w'], 'made from a scan'),
    ],
)
def test_what_looks_like_a_scan_is_left_out_with_its_reason(tmp_path, files, left):
    found = plan(tmp_path, 'sub-01_T1w', 'sub-01_T2w', *(f'sub-01_{name}' for name in files))
    assert names(found) == [('sub-01_T1w', 'sub-01_T2w')]
    said = reasons(found)
    assert set(said) == {f'sub-01_{name}' for name in files}
    assert all(left in reason for reason in said.values()), said


def test_part_mag_is_a_scan(tmp_path):
    found = plan(tmp_path, 'sub-01_part-mag_T1w', 'sub-01_part-phase_T1w', 'sub-01_part-mag_T2w')
    assert names(found) == [('sub-01_part-mag_T1w', 'sub-01_part-mag_T2w')]


@pytest.mark.parametrize(
    ('more', 'inversions'),
    [
        ((), []),
        (('inv-1_MP2RAGE', 'inv-2_MP2RAGE'), ['inv-1', 'inv-2']),
        (('inv-1_MP2RAGE',), []),
        (('inv-1_part-mag_MP2RAGE', 'inv-1_part-phase_MP2RAGE', 'inv-2_part-mag_MP2RAGE'), ['inv-1', 'inv-2']),
        (('acq-x_inv-1_MP2RAGE', 'acq-x_inv-2_MP2RAGE'), []),
    ],
)
def test_a_uni_image_is_the_t1w_where_there_is_none(tmp_path, more, inversions):
    (pair,) = plan(tmp_path, 'sub-01_UNIT1', 'sub-01_T2w', *(f'sub-01_{name}' for name in more)).pairs
    assert pair.fixed.name == 'sub-01_UNIT1.nii.gz'
    assert pair.is_uni
    assert 'UNIT1: there is no T1w' in pair.reason
    assert [path.name.split('_')[1] for path in pair.inversions] == inversions


def test_a_uni_image_counts_for_its_session(tmp_path):
    files = ['ses-1_T1w', 'ses-1_UNIT1', 'ses-1_T2w', 'ses-2_UNIT1', 'ses-2_T2w']
    found = plan(tmp_path, *(f'sub-01_{name}' for name in files))
    assert [t1w for t1w, _ in names(found)] == ['sub-01_ses-1_T1w', 'sub-01_ses-2_UNIT1']


@pytest.mark.parametrize(
    ('patterns', 'ignored'),
    [
        ('sub-02_T2w.nii.gz', ['sub-02_T2w']),
        ('/sub-02/anat/*T2w*', ['sub-02_T2w']),
        ('# a comment\n\nsub-02/\n', ['sub-02_T1w', 'sub-02_T2w']),
        ('**/*_T2w.nii.gz\n!sub-01*', ['sub-02_T2w']),
        ('extra_data/\n', []),
    ],
)
def test_bidsignore_is_honoured(tmp_path, patterns, ignored):
    root = dataset(tmp_path / 'raw', *(f'sub-{s}_{m}' for s in ('01', '02') for m in ('T1w', 'T2w')))
    (root / '.bidsignore').write_text(patterns)
    found = find_pairs(Settings(bids_dir=root, output_dir=tmp_path / 'out'))
    listed = [name for name, reason in reasons(found).items() if reason == 'listed in .bidsignore']
    assert listed == ignored
    assert len(found.pairs) == (1 if ignored else 2)


def test_a_bidsignore_that_cannot_be_read_is_an_error(tmp_path):
    root = dataset(tmp_path / 'raw', 'sub-01_T1w', 'sub-01_T2w')
    (root / '.bidsignore').write_bytes(b'\xff\xfe\x00')
    with pytest.raises(InputError, match='bidsignore cannot be read'):
        find_pairs(Settings(bids_dir=root, output_dir=tmp_path / 'out'))


@pytest.mark.parametrize(
    ('folder', 'name', 'words'),
    [
        ('sub-01/anat', 'sub-02_T2w.nii.gz', 'its name says sub-02, its folder sub-01'),
        ('sub-01/ses-1/anat', 'sub-01_ses-2_T2w.nii.gz', 'its name says ses-2, its folder ses-1'),
    ],
)
def test_a_file_in_the_folder_of_another_is_left_out(tmp_path, folder, name, words):
    root = dataset(tmp_path / 'raw', 'sub-01_T1w', 'sub-01_T2w')
    (root / folder).mkdir(parents=True, exist_ok=True)
    (root / folder / name).touch()
    found = find_pairs(Settings(bids_dir=root, output_dir=tmp_path / 'out'))
    assert len(found.pairs) == 1
    assert words in reasons(found)[name.removesuffix('.nii.gz')]


def test_other_contrasts_are_named_where_one_is_missing(tmp_path):
    found = plan(tmp_path, 'sub-01_T1w', 'sub-01_FLAIR', 'sub-01_PDw', 'sub-02_inplaneT2')
    assert found.subjects_without_pair['01'] == (
        'only T1w, no T2w; FLAIR, PDw are not registered unless asked for (-m FLAIR PDw)'
    )
    assert found.subjects_without_pair['02'] == 'no T1w and no T2w; inplaneT2 is not registered'


def test_labels_that_differ_by_a_plus_stay_apart(tmp_path):
    found = plan(tmp_path, 'sub-01_T1w', 'sub-01_acq-a+run+1_T2w', 'sub-01_acq-a_run-1_T2w')
    assert len({pair.name for pair in found.pairs}) == len({pair.node_name for pair in found.pairs}) == 2
    assert all(pair.node_name.isidentifier() for pair in found.pairs)
