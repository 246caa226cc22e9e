"""Brain masks of the user: where they are found, and for which scan."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest

from bidsreg.bids.pairs import find_pairs
from bidsreg.settings import Settings
from tests import data
from tests.planning import dataset, plan


def test_masks_of_the_user(tmp_path):
    fmriprep = tmp_path / 'fmriprep'
    files = ['sub-01_ses-1_T1w', 'sub-01_ses-1_T2w', 'sub-02_T1w', 'sub-02_T2w', 'sub-03_T1w', 'sub-03_T2w']
    dataset(
        fmriprep, 'sub-01_ses-1_desc-brain_mask', 'sub-02_space-MNI_desc-brain_mask', 'sub-02_acq-x_desc-brain_mask'
    )
    found = plan(tmp_path, *files, 'sub-03_label-brain_mask', 'sub-01_ses-1_desc-brain_mask', derivatives=[fmriprep])
    first, second, third = found.pairs
    assert first.fixed_mask == fmriprep / 'sub-01/ses-1/anat/sub-01_ses-1_desc-brain_mask.nii.gz'
    assert str(fmriprep) in first.fixed_mask_reason
    assert second.fixed_mask is None
    assert 'sub-02_desc-brain_mask.nii.gz is in none of --derivatives' in second.fixed_mask_reason
    assert third.fixed_mask.name == 'sub-03_label-brain_mask.nii.gz'
    assert 'beside the T1w' in third.fixed_mask_reason
    assert not found.left_out


def write(path, affine=None, shape=(16, 18, 16)):
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(np.ones(shape, 'uint8'), np.diag([4.0, 4, 4, 1]) if affine is None else affine), path)
    return path


def pairs_of(raw, *derivatives, **options):
    return find_pairs(Settings(bids_dir=raw, output_dir=raw.parent / 'out', derivatives=derivatives, **options)).pairs


def flipped(affine, shape):
    """The grid read from the other end of its first axis."""
    turned = affine @ np.diag([-1.0, 1, 1, 1])
    turned[:3, 3] = affine[:3, 3] + affine[:3, 0] * (shape[0] - 1)
    return turned


def test_a_mask_of_all_sessions_is_taken_where_it_lies_on_the_grid(tmp_path):
    raw = data.write_dataset(tmp_path / 'raw', {'01': {'1': ['T1w', 'T2w'], '2': ['T1w', 'T2w']}})
    scan = nib.load(raw / 'sub-01/ses-1/anat/sub-01_ses-1_T1w.nii.gz')
    other = scan.affine.copy()
    other[0, 3] += 3
    second = raw / 'sub-01/ses-2/anat/sub-01_ses-2_T1w.nii.gz'
    nib.save(nib.Nifti1Image(np.asanyarray(scan.dataobj), other), second)
    mask = write(
        tmp_path / 'fmriprep/sub-01/anat/sub-01_desc-brain_mask.nii.gz', flipped(scan.affine, scan.shape), scan.shape
    )
    first, second = pairs_of(raw, tmp_path / 'fmriprep')
    assert first.fixed_mask == mask
    assert second.fixed_mask is None
    assert 'of another grid' in second.fixed_mask_reason


@pytest.mark.parametrize(
    'name', ['space-T1w_desc-brain_mask', 'label-brain_mask', 'space-T1w_label-brain_mask', 'desc-synthstrip_mask',
             'space-orig_desc-brain_mask', 'brainmask', 'desc-brain_mask']
)  # fmt:skip
@pytest.mark.parametrize('where', ['fmriprep', 'raw'])
def test_every_name_of_a_mask_of_the_t1w(tmp_path, name, where):
    dataset(tmp_path / where, f'sub-01_{name}')
    (pair,) = plan(tmp_path, 'sub-01_T1w', 'sub-01_T2w', derivatives=[tmp_path / 'fmriprep'] * (where != 'raw')).pairs
    assert pair.fixed_mask.name == f'sub-01_{name}.nii.gz'
    assert pair.moving_mask is None


@pytest.mark.parametrize(
    'name', ['space-MNI152NLin6Asym_desc-brain_mask', 'desc-head_mask', 'label-lesion_mask', 'desc-brain_label-GM_mask',
             'acq-x_desc-brain_mask', 'desc-brain_dseg']
)  # fmt:skip
def test_other_masks_are_not_the_brains(tmp_path, name):
    dataset(tmp_path / 'fmriprep', f'sub-01_{name}')
    (pair,) = plan(tmp_path, 'sub-01_T1w', 'sub-01_T2w', derivatives=[tmp_path / 'fmriprep']).pairs
    assert pair.fixed_mask is pair.moving_mask is None


@pytest.mark.parametrize(
    ('t1w', 't2w', 'mask'),
    [
        ('T1w', 'T2w', 'space-T2w_desc-brain_mask'),
        ('T1w', 'T2w', 'space-T2w_label-brain_mask'),
        ('acq-mprage_T1w', 'acq-tse_T2w', 'acq-tse_desc-brain_mask'),
        ('run-1_T1w', 'run-2_T2w', 'run-2_space-T2w_desc-brain_mask'),
    ],
)
@pytest.mark.parametrize('where', ['nibabies', 'raw'])
def test_a_mask_of_the_t2w_is_used(tmp_path, t1w, t2w, mask, where):
    dataset(tmp_path / where, f'sub-01_{mask}')
    found = plan(tmp_path, f'sub-01_{t1w}', f'sub-01_{t2w}', derivatives=[tmp_path / 'nibabies'] * (where != 'raw'))
    (pair,) = found.pairs
    assert pair.moving_mask.name == f'sub-01_{mask}.nii.gz'
    assert pair.fixed_mask is None
    assert ('beside the T2w' if where == 'raw' else 'nibabies') in pair.moving_mask_reason


@pytest.mark.parametrize('file', ['brainmask.mgz', 'brainmask.nii.gz', 'aparc+aseg.nii.gz'])
@pytest.mark.parametrize(
    ('names', 'subject', 'found'),
    [
        (('sub-01_T1w', 'sub-01_T2w'), 'sub-01', [True]),
        (('sub-01_ses-1_T1w', 'sub-01_ses-1_T2w'), 'sub-01_ses-1', [True]),
        (('sub-01_ses-1_T1w', 'sub-01_ses-1_T2w'), 'sub-01', [True]),
        (('sub-01_ses-1_T1w', 'sub-01_ses-1_T2w', 'sub-01_ses-2_T1w', 'sub-01_ses-2_T2w'), 'sub-01', [False, False]),
        (('sub-01_run-1_T1w', 'sub-01_run-2_T1w', 'sub-01_T2w'), 'sub-01', [False]),
    ],
)
def test_freesurfers_files_where_its_subject_can_mean_one_t1w(tmp_path, file, names, subject, found):
    (tmp_path / 'freesurfer' / subject / 'mri').mkdir(parents=True)
    (tmp_path / 'freesurfer' / subject / 'mri' / file).touch()
    pairs = plan(tmp_path, *names, derivatives=[tmp_path / 'freesurfer']).pairs
    assert [pair.fixed_mask is not None for pair in pairs] == found
