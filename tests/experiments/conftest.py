"""The scripts import each other from their own folder, as they do when they are run."""

from __future__ import annotations

import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from tests import data

FOLDER = Path(__file__).resolve().parents[2] / 'experiments'
if str(FOLDER) not in sys.path:
    sys.path.insert(0, str(FOLDER))


@pytest.fixture(scope='session')
def datasets(tmp_path_factory):
    """Folders of one labelled pair and of one head with truth, and a list of the labels."""
    root = tmp_path_factory.mktemp('data')
    there = data.pair(known=data.truth(1, turn=(0, 0, 0), shift=(0, 0, 0)))
    one = root / 'people/a-b'
    one.mkdir(parents=True)
    for end, contrast in (('fixed', 'T1w'), ('moving', 'T2w')):
        scan, mask = getattr(there, end), getattr(there, f'{end}_mask')
        nib.save(
            data.image(np.asarray(scan.dataobj) * np.asarray(mask.dataobj), scan.affine),
            one / f'{end}_{contrast}.nii.gz',
        )
        nib.save(getattr(there, f'{end}_labels'), one / f'{end}_dseg.nii.gz')
    (root / 'labels.tsv').write_text('index\tname\n1\tWhite\n2\tGrey\n4\tDeep\n')
    head = data.pair(seed=2, known=data.truth(2, turn=(3, 2, -4), amplitude=10))
    truth = root / 'heads/derivatives/truth/sub-01/anat'
    truth.mkdir(parents=True)
    data.write_dataset(root / 'heads', images={'sub-01_T1w.nii.gz': head.fixed, 'sub-01_T2w.nii.gz': head.moving})
    nib.save(head.fixed_mask, truth / 'sub-01_desc-brain_mask.nii.gz')
    np.savetxt(truth / 'sub-01_from-T1w_to-T2w_points.tsv', head.points, header='x y z x y z', comments='')
    return root


@pytest.fixture(scope='session')
def anatomy(tmp_path_factory):
    """A small head, blown up threefold, for the cases of the verdict."""
    import verdict_cases

    from .test_hard_pairs import label_map

    path = tmp_path_factory.mktemp('labels') / 'anat-03_dseg.nii.gz'
    nib.save(nib.Nifti1Image(label_map().repeat(3, 0).repeat(3, 1).repeat(3, 2), np.eye(4)), path)
    return verdict_cases.Anatomy(path)


@pytest.fixture(scope='session')
def scans(anatomy):
    """Scans of it without noise."""
    import verdict_cases

    return verdict_cases.scan(anatomy, verdict_cases.Look(noise=0.0, bias=0.0), (3, 0))
