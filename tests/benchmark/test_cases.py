"""Which pairs a table or a dataset offers, and everything that can be wrong with them."""

from __future__ import annotations

import itertools
import shutil

import nibabel as nb
import numpy as np
import pytest

from bidsreg.benchmark.cases import check_cases, find_cases, read_points, read_table
from bidsreg.benchmark.labels import read_label_list
from bidsreg.benchmark.settings import BenchmarkSettings
from bidsreg.errors import InputError

from .conftest import write_tsv

NAMES = {1: 'white', 2: 'grey', 4: 'deep'}


def settings(source, tmp_path, **options):
    return BenchmarkSettings(input=source, output_dir=tmp_path / 'out', methods=('affine',), **options)


def lines_of(table):
    return [line.split('\t') for line in table.read_text().splitlines()]


# ---------------------------------------------------------------------------------------------------- tables
def test_table_is_read_relative_to_itself(table, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    one, two = read_table(table)
    assert (one.name, two.name) == ('pair-001', 'pair-002')
    assert one.fixed == table.parent / '0' / 'fixed.nii.gz'
    assert one.moving_labels == table.parent / '0' / 'moving_labels.nii.gz'
    assert one.has_labels
    assert one.points is not None


def test_empty_cells_and_na_are_none(table):
    columns, first, second = lines_of(table)
    first[columns.index('points')], second[columns.index('moving_mask')] = 'n/a', ''
    write_tsv(table, columns, [first, second])
    one, two = read_table(table)
    assert one.points is None
    assert two.moving_mask is None
    assert two.points is not None


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (lambda columns, rows: columns.__setitem__(1, 'floating'), "no column 'moving'"),
        (lambda columns, rows: columns.__setitem__(2, 'fixed_label'), r"'fixed_label' is not known\. Did you mean '"),
        (lambda columns, rows: rows[1].__setitem__(3, 'nowhere.nii'), r'line 3: moving_labels .*nowhere\.nii is not'),
        (lambda columns, rows: rows[0].__setitem__(0, ''), 'line 2: no fixed image'),
        (lambda columns, rows: rows.append(rows[0]), 'line 4: this pair is listed already in line 2'),
        (lambda columns, rows: rows[0].__setitem__(1, rows[0][0]), 'the same file'),
        (lambda columns, rows: rows.clear(), 'lists no pair'),
    ],
)  # fmt:skip
def test_bad_tables_are_refused(table, change, message):
    columns, *rows = lines_of(table)
    change(columns, rows)
    write_tsv(table, columns, rows)
    with pytest.raises(InputError, match=message) as raised:
        read_table(table)
    assert str(table) in str(raised.value)


def test_a_pair_listed_twice_under_two_names_is_found(table):
    columns, first, _ = lines_of(table)
    write_tsv(table, columns, [first, ['./' + first[0], '../my data/' + first[1], *first[2:]]])
    with pytest.raises(InputError, match='listed already'):
        read_table(table)


def test_commas_are_no_tabs(table):
    table.write_text(table.read_text().replace('\t', ','))
    with pytest.raises(InputError, match="no column 'fixed'"):
        read_table(table)


def test_no_file_at_all(tmp_path):
    with pytest.raises(InputError, match='is not there'):
        find_cases(settings(tmp_path / 'pairs.tsv', tmp_path))


# ---------------------------------------------------------------------------------------------------- files
def test_good_files_pass(table):
    check_cases(read_table(table), NAMES)


def test_labels_on_another_grid(table):
    path = table.parent / '1' / 'moving_labels.nii.gz'
    labels = nb.load(path)
    affine = labels.affine.copy()
    affine[0, 3] += 5
    nb.save(nb.Nifti1Image(np.asanyarray(labels.dataobj), affine), path)
    with pytest.raises(InputError, match=r'labels image .*1/moving_labels.nii.gz lies elsewhere than moving.nii.gz'):
        check_cases(read_table(table), NAMES)
    nb.save(nb.Nifti1Image(np.asanyarray(labels.dataobj)[:-1], labels.affine), path)
    with pytest.raises(InputError, match='voxels, but'):
        check_cases(read_table(table), NAMES)


def test_mask_on_another_grid(table):
    path = table.parent / '0' / 'fixed_mask.nii.gz'
    mask = nb.load(path)
    nb.save(nb.Nifti1Image(np.asanyarray(mask.dataobj)[..., 1:], mask.affine), path)
    with pytest.raises(InputError, match=r'fixed_mask.nii.gz has 36x42x35 voxels'):
        check_cases(read_table(table), NAMES)


def test_labels_of_another_list(table):
    with pytest.raises(InputError, match='none of the 1 labels that count'):
        check_cases(read_table(table), {999: 'nothing'})


def test_interpolated_labels(table):
    path = table.parent / '0' / 'fixed_labels.nii.gz'
    labels = nb.load(path)
    nb.save(nb.Nifti1Image(labels.get_fdata(dtype=np.float32) * 0.7, labels.affine), path)
    with pytest.raises(InputError, match='fractions'):
        check_cases(read_table(table), NAMES)


def test_broken_image(table):
    (table.parent / '0' / 'fixed.nii.gz').write_bytes(b'')
    with pytest.raises(InputError, match='is empty'):
        check_cases(read_table(table), NAMES)


def empty(table, *names):
    """Leave some columns of a table without values."""
    columns, *rows = lines_of(table)
    for row in rows:
        for name in names:
            row[columns.index(name)] = ''
    write_tsv(table, columns, rows)


def test_nothing_to_judge_by(table):
    empty(table, 'points', 'fixed_labels')
    with pytest.raises(InputError, match='nothing can be measured'):
        check_cases(read_table(table), NAMES)


def test_but_within_a_head_the_moving_brain_must_be_known(table):
    empty(table, 'moving_mask', 'moving_labels')
    check_cases(read_table(table), NAMES)
    with pytest.raises(InputError, match='give a mask or labels of the moving image'):
        check_cases(read_table(table), NAMES, need_moving_mask=True)


@pytest.mark.parametrize(
    'text', ['', 'x\ty\tz\n1\t2\t3\n', 'a\tb\tc\td\te\tf\n', 'a\tb\tc\td\te\tf\n1\t2\t3\t4\t5\tsix\n']
)
def test_points_that_are_none(tmp_path, text):
    (tmp_path / 'points.tsv').write_text(text)
    with pytest.raises(InputError, match='points'):
        read_points(tmp_path / 'points.tsv')


# ---------------------------------------------------------------------------------------------------- BIDS
def test_one_head_each(bids, tmp_path, caplog):
    cases = find_cases(settings(bids, tmp_path, task='intra'))
    assert [case.name for case in cases] == ['sub-01', 'sub-02']
    assert 'sub-03 is left out' in caplog.text
    first = cases[0]
    assert first.fixed.name == 'sub-01_T1w.nii.gz'
    assert first.fixed_labels.name == 'sub-01_dseg.nii.gz'
    assert first.moving_labels.name == 'sub-01_space-T2w_dseg.nii.gz'
    assert first.fixed_mask.name == 'sub-01_desc-brain_mask.nii.gz'
    assert first.points.name == 'sub-01_from-T1w_to-T2w_points.tsv'
    assert cases[1].points is None


def test_two_people_never_one(bids, tmp_path):
    cases = find_cases(settings(bids, tmp_path, task='inter'))
    people = [(case.fixed.name[:6], case.moving.name[:6]) for case in cases]
    # the third one has labels of the T1w alone
    known = [(a, b) for a, b in itertools.product(('sub-01', 'sub-02', 'sub-03'), ('sub-01', 'sub-02')) if a != b]
    assert sorted(people) == sorted(known)
    for case in cases:
        assert case.fixed.name.endswith('_T1w.nii.gz')
        assert case.moving.name.endswith('_T2w.nii.gz')
        assert case.fixed_labels.name[:6] == case.fixed.name[:6]
        assert case.moving_labels.name[:6] == case.moving.name[:6]
        assert case.points is None


def test_the_draw_is_fixed_and_grows(bids, tmp_path):
    def draw(count, seed=1):
        return [case.name for case in find_cases(settings(bids, tmp_path, pairs=count, seed=seed))]

    assert draw(3) == draw(3)
    assert draw(2) == draw(3)[:2]
    assert len({tuple(draw(3, seed)) for seed in range(6)}) > 1
    with pytest.raises(InputError, match='--pairs 9: there are only 4'):
        draw(9)


def test_several_label_images_need_a_word(bids, tmp_path):
    root = tmp_path / 'raw'
    shutil.copytree(bids, root)
    anat = root / 'derivatives' / 'truth' / 'sub-01' / 'anat'
    shutil.copy(anat / 'sub-01_dseg.nii.gz', anat / 'sub-01_desc-aseg_dseg.nii.gz')
    with pytest.raises(InputError, match=r'sub-01 has several label images .*--label-desc'):
        find_cases(settings(root, tmp_path, task='intra'))
    shutil.copy(anat / 'sub-01_space-T2w_dseg.nii.gz', anat / 'sub-01_space-T2w_desc-aseg_dseg.nii.gz')
    only = find_cases(settings(root, tmp_path, task='intra', label_desc='aseg'))
    assert [case.fixed_labels.name for case in only] == ['sub-01_desc-aseg_dseg.nii.gz']


def test_labels_elsewhere(bids, tmp_path):
    root = tmp_path / 'raw'
    shutil.copytree(bids, root)
    (root / 'derivatives' / 'truth').rename(tmp_path / 'labels')
    with pytest.raises(InputError, match='No pair for the task'):
        find_cases(settings(root, tmp_path))
    assert find_cases(settings(root, tmp_path, derivatives=(tmp_path / 'labels',)))
    with pytest.raises(InputError, match=r'--derivatives .* is not a folder'):
        find_cases(settings(root, tmp_path, derivatives=(tmp_path / 'nowhere',)))


def test_a_folder_that_is_no_dataset(tmp_path):
    with pytest.raises(InputError, match='no BIDS dataset'):
        find_cases(settings(tmp_path, tmp_path))


# ---------------------------------------------------------------------------------------------------- labels
def test_the_default_list_is_synthsegs():
    names = read_label_list()
    assert len(names) == 32
    assert names[17] == 'Left-Hippocampus'
    assert names[53] == 'Right-Hippocampus'
    lefts = [name.removeprefix('Left-') for name in names.values() if name.startswith('Left-')]
    rights = [name.removeprefix('Right-') for name in names.values() if name.startswith('Right-')]
    assert sorted(lefts) == sorted(rights)
    assert len(lefts) == 14


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('value\tname\n1\ta\n', "no column 'index'"),
        ('index\tname\n', 'whole numbers above zero'),
        ('index\tname\n0\tbackground\n', 'whole numbers above zero'),
        ('index\tname\n1.5\ta\n', 'whole numbers above zero'),
        ('index\tname\none\ta\n', 'whole numbers above zero'),
        ('index\tname\n1\ta\n1\tb\n', "index '1' is listed twice"),
        ('index\tname\n1\ta\n2\ta\n', "name 'a' is listed twice"),
    ],
)
def test_bad_label_lists(tmp_path, text, message):
    (tmp_path / 'labels.tsv').write_text(text)
    with pytest.raises(InputError, match=message):
        read_label_list(tmp_path / 'labels.tsv')
    with pytest.raises(InputError, match='cannot be read'):
        read_label_list(tmp_path / 'none.tsv')
