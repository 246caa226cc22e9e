"""Lesions of the user: which files say where they are, in whose space, and what is told of the others."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest

from bidsreg.bids.lesions import lesion_values, means_lesion
from bidsreg.bids.pairs import find_pairs, plan_table
from bidsreg.settings import Settings
from tests import data
from tests.planning import dataset, plan

TABLE = 'index\tname\n0\tbackground\n1\tcerebrospinal fluid\n3\tenhancing tumor\n4\tnon-lesion\n5\tleft lesion\n'


def names(lesions):
    return [lesion.path.name.partition('.')[0] for lesion in lesions]


@pytest.mark.parametrize(
    'name', ['label-lesion_roi', 'label-lesion_mask', 'desc-tumor_mask', 'space-T1w_label-lesion_mask',
             'label-Lesion_desc-manual_mask']
)  # fmt:skip
@pytest.mark.parametrize('where', ['drawn', 'raw'])
def test_every_name_of_a_lesion_of_the_t1w(tmp_path, name, where):
    dataset(tmp_path / where, f'sub-01_{name}')
    found = plan(tmp_path, 'sub-01_T1w', 'sub-01_T2w', derivatives=[tmp_path / 'drawn'] * (where != 'raw'))
    (pair,) = found.pairs
    assert names(pair.fixed_lesions) == [f'sub-01_{name}']
    assert pair.moving_lesions == ()
    assert pair.fixed_lesions[0].values == ()
    assert 'lesion of the T1w' in plan_table(found)['reason'][0]
    assert pair.fixed_mask is None


@pytest.mark.parametrize(
    'name', ['desc-brain_mask', 'label-GM_mask', 'space-MNI152NLin6Asym_label-lesion_mask', 'acq-x_label-lesion_roi',
             'label-lesion_probseg', 'desc-aseg_dseg', 'dseg']
)  # fmt:skip
def test_other_files_are_no_lesions(tmp_path, name):
    dataset(tmp_path / 'drawn', f'sub-01_{name}')
    (tmp_path / 'drawn' / 'desc-aseg_dseg.tsv').write_text('index\tname\n25\tLeft-Lesion\n')
    (pair,) = plan(tmp_path, 'sub-01_T1w', 'sub-01_T2w', derivatives=[tmp_path / 'drawn']).pairs
    assert pair.fixed_lesions == pair.moving_lesions == pair.lesion_reasons == pair.lesion_problems == ()


@pytest.mark.parametrize(
    ('t2w', 'name'),
    [('T2w', 'space-T2w_label-lesion_roi'), ('acq-tse_T2w', 'acq-tse_label-lesion_mask')],
)
def test_a_lesion_of_the_t2w(tmp_path, t2w, name):
    (pair,) = plan(tmp_path, 'sub-01_T1w', f'sub-01_{t2w}', f'sub-01_{name}').pairs
    assert names(pair.moving_lesions) == [f'sub-01_{name}']
    assert pair.fixed_lesions == ()


@pytest.mark.parametrize(
    ('name', 'why'),
    [
        ('space-FLAIR_label-lesion_roi', 'it is of a FLAIR'),
        ('acq-x_label-lesion_mask', 'its name fits none'),
        ('run-2_space-T2w_label-lesion_dseg', 'it is of a T2w'),
    ],
)
@pytest.mark.parametrize('where', ['drawn', 'raw'])
def test_a_lesion_of_no_scan_that_is_registered_is_told_once(tmp_path, name, why, where):
    dataset(tmp_path / where, f'sub-01_{name}')
    scans = 'sub-01_T1w', 'sub-01_run-1_T2w', 'sub-01_run-3_T2w'
    found = plan(tmp_path, *scans, derivatives=[tmp_path / 'drawn'] * (where != 'raw'))
    assert not any(pair.fixed_lesions or pair.moving_lesions for pair in found.pairs)
    assert [note.reason for note in found.notes] == [
        f'sub-01_{name}.nii.gz is a lesion of no scan that is registered ({why}): it is not left out'
    ]


@pytest.mark.parametrize(
    'name', ['space-MNI152NLin6Asym_label-lesion_mask', 'label-lesion_probseg', 'label-lesion_roi']
)
def test_lesions_of_templates_and_those_that_are_left_out_are_no_note(tmp_path, name):
    dataset(tmp_path / 'drawn', f'sub-01_{name}')
    assert plan(tmp_path, 'sub-01_T1w', 'sub-01_T2w', derivatives=[tmp_path / 'drawn']).notes == ()


def test_lesions_in_both_spaces_and_folders_are_all_taken_each_in_its_own(tmp_path):
    dataset(tmp_path / 'drawn', 'sub-01_label-lesion_mask', 'sub-01_space-T2w_label-lesion_desc-two_mask')
    files = ['sub-01_T1w', 'sub-01_T2w', 'sub-01_label-lesion_roi', 'sub-01_space-T2w_label-lesion_roi']
    (pair,) = plan(tmp_path, *files, derivatives=[tmp_path / 'drawn']).pairs
    assert names(pair.fixed_lesions) == ['sub-01_label-lesion_mask', 'sub-01_label-lesion_roi']
    assert names(pair.moving_lesions) == [
        'sub-01_space-T2w_label-lesion_desc-two_mask', 'sub-01_space-T2w_label-lesion_roi'
    ]  # fmt:skip
    assert len(pair.lesion_reasons) == 4


def write(path, like):
    nib.save(nib.Nifti1Image(np.ones(like.shape, 'uint8'), like.affine), path)


@pytest.mark.parametrize('contrast', ['T1w', 'T2w'])
def test_without_space_a_lesion_is_of_the_scan_on_whose_grid_it_lies(tmp_path, contrast):
    raw = data.write_dataset(tmp_path / 'raw', {'01': {None: ['T1w', 'T2w']}})
    folder = raw / 'sub-01/anat'
    t2w = nib.load(folder / 'sub-01_T2w.nii.gz')
    moved = t2w.affine.copy()
    moved[:3, 3] += 7
    nib.save(nib.Nifti1Image(np.asanyarray(t2w.dataobj), moved), folder / 'sub-01_T2w.nii.gz')
    write(folder / 'sub-01_label-lesion_roi.nii.gz', nib.load(folder / f'sub-01_{contrast}.nii.gz'))
    (pair,) = find_pairs(Settings(bids_dir=raw, output_dir=tmp_path / 'out')).pairs
    assert (len(pair.fixed_lesions), len(pair.moving_lesions)) == ((1, 0) if contrast == 'T1w' else (0, 1))


def test_the_lesion_of_another_subject_is_told_and_not_taken(tmp_path):
    dataset(tmp_path / 'drawn', 'sub-01_T1w')
    (tmp_path / 'drawn/sub-01/anat/sub-02_label-lesion_mask.nii.gz').touch()
    found = plan(tmp_path, 'sub-01_T1w', 'sub-01_T2w', derivatives=[tmp_path / 'drawn'])
    (pair,) = found.pairs
    assert pair.fixed_lesions == pair.moving_lesions == ()
    (reason,) = pair.lesion_reasons
    assert 'its name says sub-02, its folder sub-01' in reason
    assert reason in plan_table(found)['reason'][0]


# ---------------------------------------------------------------------------------------------------- segmentations
@pytest.mark.parametrize('table', ['sub-01/anat/sub-01_desc-manual_dseg.tsv', 'desc-manual_dseg.tsv', 'dseg.tsv'])
def test_a_segmentation_says_by_its_table_which_values_are_lesions(tmp_path, table):
    dataset(tmp_path / 'drawn', 'sub-01_desc-manual_dseg')
    (tmp_path / 'drawn' / table).write_text(TABLE)
    (pair,) = plan(tmp_path, 'sub-01_T1w', 'sub-01_T2w', derivatives=[tmp_path / 'drawn']).pairs
    (lesion,) = pair.fixed_lesions
    assert lesion.values == (3, 5)
    assert lesion.table == tmp_path / 'drawn' / table


def test_the_nearest_table_counts(tmp_path):
    dataset(tmp_path / 'drawn', 'sub-01_desc-manual_dseg')
    (tmp_path / 'drawn/dseg.tsv').write_text(TABLE)
    (tmp_path / 'drawn/sub-01/anat/sub-01_dseg.tsv').write_text('index\tname\n9\tstroke\n')
    (tmp_path / 'drawn/sub-01/anat/sub-01_desc-other_dseg.tsv').write_text('index\tname\n8\tstroke\n')
    (pair,) = plan(tmp_path, 'sub-01_T1w', 'sub-01_T2w', derivatives=[tmp_path / 'drawn']).pairs
    assert pair.fixed_lesions[0].values == (9,)


@pytest.mark.parametrize(
    ('table', 'words'),
    [
        (None, 'there is no lookup table'),
        ('index\tname\n1\tthalamus\n', 'names no lesion'),
        ('value\tname\n1\tlesion\n', 'cannot be read as one with the columns index and name'),
        ('index\tname\none\tlesion\n', 'cannot be read as one with the columns index and name'),
        ('index\tname\n1.5\tlesion\n', 'cannot be read as one with the columns index and name'),
        ('index\tname\n1\tlesion\tred\n', 'line 2 has 3 cells under a header of 2'),
    ],
)
@pytest.mark.parametrize('named', [True, False])
def test_a_segmentation_whose_lesions_are_not_known_is_a_problem_where_it_says_that_it_is_of_one(
    tmp_path, table, words, named
):
    name = f'sub-01_{"label-lesion" if named else "desc-tissue"}_dseg'
    dataset(tmp_path / 'drawn', name)
    if table is not None:
        (tmp_path / f'drawn/sub-01/anat/{name}.tsv').write_text(table)
    (pair,) = plan(tmp_path, 'sub-01_T1w', 'sub-01_T2w', derivatives=[tmp_path / 'drawn']).pairs
    assert pair.fixed_lesions == ()
    if not named:
        assert pair.lesion_problems == ()
        # what might name a lesion is told; a table without one, or none at all, is that of any segmentation
        assert any(words in reason for reason in pair.lesion_reasons) == ('cannot be read' in words or 'cells' in words)
        return
    (problem,) = pair.lesion_problems
    assert name in problem
    assert words in problem


@pytest.mark.parametrize(
    ('name', 'meant'),
    [
        ('necrotic and non-enhancing tumor core', True),  # of BraTS
        ('peritumoral edema', True),
        ('Non-Enhancing_Tumor', True),
        ('lesion, not treated', True),
        ('not a lesion', False),
        ('tissue without any lesion', False),
        ('tumour-free tissue', False),
        ('healthy tissue around the tumour', False),
    ],
)
def test_a_no_that_is_not_said_of_the_lesion_makes_it_none(name, meant):
    assert means_lesion(name) == meant


def test_words_that_mean_a_lesion(tmp_path):
    assert all(map(means_lesion, ('Lesion', 'WM_lesion', 'enhancing tumour', 'Left-Lesion', 'stroke (acute)')))
    assert not any(map(means_lesion, ('', 'non-lesion', 'no lesion', 'perilesional', 'Thalamus', 'healthy tissue')))
    (tmp_path / 't_dseg.tsv').write_text(TABLE)
    assert lesion_values(tmp_path / 't_dseg.tsv') == (3, 5)


@pytest.mark.parametrize('rows', ['1\tgrey\t\n3\tlesion\t\n', '1.0\tgrey\n3.0\tlesion\n', '3\tlesion\n\n1\n'])
def test_tables_as_programs_write_them_name_their_lesions(tmp_path, rows):
    (tmp_path / 't_dseg.tsv').write_text(f'index\tname\n{rows}', encoding='utf-8-sig')
    assert lesion_values(tmp_path / 't_dseg.tsv') == (3,)
