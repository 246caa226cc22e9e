"""Small heads on disk, made once."""

import nibabel as nb
import pytest

from tests import data

#: A head that has been moved by a known rigid transform, and nothing else.
RIGID = data.truth(seed=3, turn=(6, -4, 8), shift=(6.0, -9.0, 5.0), amplitude=0.0)


@pytest.fixture(scope='session')
def rigid_pair(tmp_path_factory):
    """T1w and T2w of one head, the T2w turned and shifted; an oblique left-handed and an anisotropic grid."""
    shape, affine = (46, 54, 44), data.grid((46, 54, 44), 'LPI', (-8, 12, 17), 4.2)
    moving_shape, moving_affine = (60, 72, 30), data.grid((60, 72, 30), 'LPS', (9, 0, 0), (3.2, 3.2, 6.0))
    pair = data.pair(shape, 3, moving_shape, affine, moving_affine, known=RIGID)
    return pair, pair.save(tmp_path_factory.mktemp('rigid'))


@pytest.fixture(scope='session')
def heads(tmp_path_factory):
    """A T1w scan and its brain mask: paths."""
    folder = tmp_path_factory.mktemp('heads')
    head = data.head((44, 52, 44), seed=1)
    nb.save(head.scan, folder / 'T1w.nii.gz')
    nb.save(head.mask, folder / 'mask.nii.gz')
    return folder / 'T1w.nii.gz', folder / 'mask.nii.gz'


@pytest.fixture
def here(tmp_path, monkeypatch):
    """Work in a folder whose path has spaces and accents, as an interface's working folder may."""
    folder = tmp_path / 'été, work dir'
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder
