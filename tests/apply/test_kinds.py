"""What a file is: by its name, its header, its voxels, or the user."""

import nibabel as nb
import numpy as np
import pytest

from bidsreg.apply.kinds import kind_of
from bidsreg.errors import InputError
from tests import data

from .conftest import scattered, write_image


@pytest.fixture(scope='module')
def head():
    return data.head((24, 26, 24), 1)


@pytest.mark.parametrize(
    ('name', 'kind'),
    [
        ('sub-01_T2w.nii.gz', 'image'),
        ('sub-01_label-GM_probseg.nii.gz', 'image'),
        ('sub-01_desc-aseg_dseg.nii.gz', 'labels'),
        ('brain_mask.nii', 'labels'),
        ('points.tsv', 'points'),
        ('points.csv', 'points'),
        ('f.mrk.json', 'points'),
        ('lh.white.surf.gii', 'surface'),
    ],
)
def test_by_the_name(tmp_path, name, kind):
    """Before the file is looked at."""
    found, why = kind_of(tmp_path / name)
    assert found.name == kind
    assert 'name' in why


@pytest.mark.parametrize(('part', 'kind'), [('scan', 'image'), ('labels', 'labels'), ('mask', 'labels')])
def test_by_the_voxels_where_the_name_says_nothing(tmp_path, head, part, kind):
    nb.save(getattr(head, part), tmp_path / 'x.nii.gz')
    found, why = kind_of(tmp_path / 'x.nii.gz')
    assert (found.name, why) == (kind, 'by its voxels')


def test_by_the_header(tmp_path, head):
    head.scan.header.set_intent('label')
    nb.save(head.scan, tmp_path / 'x.nii.gz')
    head.scan.header.set_intent('none')
    found, why = kind_of(tmp_path / 'x.nii.gz')
    assert (found.name, why) == ('labels', 'by the intent in its header')


def test_the_user_knows_better(tmp_path, head):
    nb.save(head.labels, tmp_path / 'sub-01_dseg.nii.gz')
    found, why = kind_of(tmp_path / 'sub-01_dseg.nii.gz', 'image')
    assert (found.name, why) == ('image', 'as --kind says')


def test_what_cannot_be_told_is_asked(tmp_path):
    path = write_image(tmp_path / 'x.nii.gz', scattered((20, 20, 20)), np.eye(4))
    with pytest.raises(InputError, match='say --kind labels or --kind image'):
        kind_of(path)


def test_a_file_of_no_kind(tmp_path):
    with pytest.raises(InputError, match=r'what can be carried ends in .*\.nii\.gz.*\.tsv.*\.gii'):
        kind_of(tmp_path / 'x.docx')
    with pytest.raises(InputError, match='--kind points'):
        kind_of(tmp_path / 'x.nii.gz', 'points')
    (tmp_path / 'x.nii.gz').write_bytes(b'no image')
    with pytest.raises(InputError, match=r'x\.nii\.gz'):
        kind_of(tmp_path / 'x.nii.gz')
