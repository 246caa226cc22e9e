"""Pairs out of a BIDS dataset: whose answer is known, and who is paired with whom."""

from __future__ import annotations

import itertools
import shutil

import pytest

from bidsreg.benchmark.cases import find_cases
from bidsreg.errors import InputError

from .conftest import settings


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


def test_one_head_of_other_contrasts(flair, tmp_path):
    first, second = find_cases(settings(flair, tmp_path, task='intra', contrasts=('T1w', 'FLAIR')))
    assert (first.name, second.name) == ('sub-01_from-FLAIR_to-T1w', 'sub-02_from-FLAIR_to-T1w')
    assert first.moving.name == 'sub-01_FLAIR.nii.gz'
    assert first.fixed_labels.name == 'sub-01_dseg.nii.gz'
    assert first.moving_labels.name == 'sub-01_space-FLAIR_dseg.nii.gz'
    assert first.points.name == 'sub-01_from-T1w_to-FLAIR_points.tsv'


def test_two_people_of_other_contrasts(flair, tmp_path):
    cases = find_cases(settings(flair, tmp_path, contrasts=('T1w', 'FLAIR')))
    names = {f'sub-{a}-T1w_sub-{b}-FLAIR' for a in ('01', '02', '03') for b in ('01', '02') if a != b}
    assert {case.name for case in cases} == names
    assert {case.moving.name for case in cases} == {'sub-01_FLAIR.nii.gz', 'sub-02_FLAIR.nii.gz'}


def test_the_t2w_may_be_fixed(bids, tmp_path):
    first, _ = find_cases(settings(bids, tmp_path, task='intra', contrasts=('T2w', 'T1w')))
    assert first.name == 'sub-01_from-T1w_to-T2w'
    assert (first.fixed.name, first.moving.name) == ('sub-01_T2w.nii.gz', 'sub-01_T1w.nii.gz')
    assert first.fixed_labels.name == 'sub-01_space-T2w_dseg.nii.gz'
    assert first.moving_labels.name == 'sub-01_dseg.nii.gz'
    assert first.moving_mask.name == 'sub-01_desc-brain_mask.nii.gz'
    # the points lead from the T1w to the T2w
    assert first.points is None


@pytest.mark.parametrize('alone', [False, True])
def test_two_people_of_one_contrast(bids, tmp_path, alone):
    root = shutil.copytree(bids, tmp_path / 'raw')
    if alone:
        for path in [path for path in root.rglob('*T2w*') if path.is_file()]:
            path.unlink()
    cases = find_cases(settings(root, tmp_path, contrasts=('T1w', 'T1w')))
    everybody = itertools.permutations(('01', '02', '03'), 2)
    assert [case.name for case in cases] == [f'sub-{a}-T1w_sub-{b}-T1w' for a, b in everybody]
    for case in cases:
        for end in ('fixed', 'moving'):
            label = getattr(case, f'{end}_subject')
            assert getattr(case, end).name == f'sub-{label}_T1w.nii.gz'
            assert getattr(case, f'{end}_labels').name == f'sub-{label}_dseg.nii.gz'
            assert getattr(case, f'{end}_mask').name == f'sub-{label}_desc-brain_mask.nii.gz'
        assert case.fixed_subject != case.moving_subject


def test_two_people_in_t2w(bids, tmp_path):
    cases = find_cases(settings(bids, tmp_path, contrasts=('T2w', 'T2w')))
    # the third one has labels of the T1w alone
    assert [case.name for case in cases] == ['sub-01-T2w_sub-02-T2w', 'sub-02-T2w_sub-01-T2w']
    assert {case.moving_labels.name for case in cases} == {f'sub-0{n}_space-T2w_dseg.nii.gz' for n in (1, 2)}


def test_a_contrast_that_nobody_has(bids, flair, tmp_path):
    with pytest.raises(InputError, match=r'--contrasts T1w FLAIR: nobody in .* has a FLAIR'):
        find_cases(settings(bids, tmp_path, contrasts=('T1w', 'FLAIR')))
    with pytest.raises(InputError, match='no subject with a T2w and a FLAIR'):
        find_cases(settings(flair, tmp_path, contrasts=('T2w', 'FLAIR')))
    for contrasts, message in ((('T1w', 'T2w'), 'a T1w and a T2w'), (('T2w', 'T2w'), 'a T2w')):
        with pytest.raises(InputError, match=rf'no subject with {message}\.'):
            find_cases(settings(flair, tmp_path, contrasts=contrasts))
    for labels in flair.rglob('*_space-FLAIR_dseg.nii.gz'):
        labels.unlink()
    with pytest.raises(InputError, match=r'no labels \(\*_dseg.nii.gz, of the FLAIR with space-FLAIR\) or points'):
        find_cases(settings(flair, tmp_path, contrasts=('T1w', 'FLAIR')))


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


@pytest.mark.parametrize(
    ('contrasts', 'message'),
    [
        (('T1w', 'T2w'), 'only sub-01 has labels of both scans; --task intra'),
        (('T1w', 'T1w'), r'only sub-01 has labels of both scans\.'),
    ],
)
def test_one_person_is_no_two(bids, tmp_path, contrasts, message):
    root = shutil.copytree(bids, tmp_path / 'raw')
    for path in root.rglob('sub-0[23]'):
        shutil.rmtree(path)
    with pytest.raises(InputError, match=message):
        find_cases(settings(root, tmp_path, contrasts=contrasts))
