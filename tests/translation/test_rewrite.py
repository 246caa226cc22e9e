"""A scan is rewritten on its own grid, with its own header, whatever that is."""

from __future__ import annotations

import json

import nibabel as nb
import numpy as np
import pytest

from bidsreg import __version__
from bidsreg.errors import InputError
from bidsreg.translation.model import TranslationModel
from bidsreg.translation.rewrite import rewrite_scan
from tests import data

from .conftest import inside_of


@pytest.fixture
def model(model_file, monkeypatch):
    """A model that inverts every slice."""
    monkeypatch.setattr(TranslationModel, 'translate', lambda self, values, inside: (1 - values) * inside)
    return TranslationModel.load(model_file)


def written(tmp_path, name, head):
    for what, image in (('scan', head.scan), ('mask', head.mask)):
        nb.save(image, tmp_path / f'{name}_{what}.nii.gz')
    return tmp_path / f'{name}_scan.nii.gz', tmp_path / f'{name}_mask.nii.gz'


@pytest.mark.parametrize('name', [name for name in data.GRIDS if name != 'sheared'])
def test_the_grid_and_the_header_stay(model, tmp_path, name):
    shape, affine = data.GRIDS[name]
    centre = (120, -340, 260) if name == 'far' else (0, 0, 0)
    head = data.head(shape, 1, 'T2w', affine, centre=centre, noise=0.0)
    head.scan.set_sform(affine, 2)
    head.scan.set_qform(affine, 4)
    head.scan.header['descrip'] = b'of a scanner'
    scan, mask = written(tmp_path, name, head)
    facts = rewrite_scan(model, scan, tmp_path / 'out.nii.gz', mask)
    out, before = nb.load(tmp_path / 'out.nii.gz'), nb.load(scan)
    assert out.shape == shape
    np.testing.assert_array_equal(out.affine, before.affine)
    assert (int(out.header['sform_code']), int(out.header['qform_code'])) == (2, 4)
    np.testing.assert_array_equal(out.header.get_qform(), before.header.get_qform())
    assert bytes(out.header['descrip']).rstrip(b'\0') == b'of a scanner'
    assert out.header.get_xyzt_units() == ('mm', 'sec')
    assert out.get_data_dtype() == np.float32
    values, inside = np.asarray(out.dataobj), inside_of(head)
    assert not values[~inside].any()
    assert 0 <= values.min() <= values.max() <= 1
    # on voxels of 8 mm only what is broad is left: the inverted scan, blurred
    original = np.asarray(before.dataobj)[inside].astype(float)
    assert np.corrcoef(values[inside], -original)[0, 1] > 0.55
    assert 0 <= facts['MindDistance'] < 0.5


def test_the_sidecar_says_how(model, tmp_path, heads):
    scan, mask = written(tmp_path, 'sub-01', heads['T2w']['01'])
    facts = rewrite_scan(model, scan, tmp_path / 'sub-01_desc-cut_T1w.nii.gz', mask)
    read = json.loads((tmp_path / 'sub-01_desc-cut_T1w.json').read_text())
    assert read == json.loads(json.dumps(facts))
    assert read['GeneratedBy'] == [{'Name': 'bidsreg-translate', 'Version': __version__}]
    assert read['Model']['Digest'] == f'sha256:{model.digest}'
    assert read['Sources'] == [scan.as_uri(), mask.as_uri()]
    assert 'no measurement' in read['Description']
    assert 'details finer than 8 mm are lost' in read['Description']
    assert read['SkullStripped'] is True
    assert read['BiasCorrection'] == 'none'


def test_a_header_in_metres_stays_so(model, tmp_path, heads):
    scan, mask = written(tmp_path, 'm', heads['T2w']['01'])
    image = nb.load(scan)
    affine = np.diag([1e-3, 1e-3, 1e-3, 1]) @ image.affine
    other = nb.Nifti1Image(np.asarray(image.dataobj), affine)
    other.header.set_xyzt_units('meter')
    nb.save(other, scan)
    rewrite_scan(model, scan, tmp_path / 'out.nii', mask)
    out = nb.load(tmp_path / 'out.nii')
    np.testing.assert_allclose(out.affine, affine, rtol=1e-5)
    assert out.header.get_xyzt_units()[0] == 'meter'


def test_what_cannot_be_written_is_told_before_any_work(model, tmp_path, heads):
    scan, mask = written(tmp_path, 'x', heads['T2w']['01'])
    for out, words in (
        (scan, 'is what is read'),
        (mask, 'is what is read'),
        (tmp_path / 'out.png', 'ends in .nii'),
        (tmp_path / 'out', 'ends in .nii'),
    ):
        with pytest.raises(InputError, match=words):
            rewrite_scan(model, scan, out, mask)


def test_nothing_half_written_is_left(model, tmp_path, heads, monkeypatch):
    scan, mask = written(tmp_path, 'x', heads['T2w']['01'])
    there = {path.name for path in tmp_path.iterdir()}

    def full(self, path):
        path.write_bytes(b'half')
        raise OSError('no space left')

    monkeypatch.setattr(nb.Nifti1Image, 'to_filename', full)
    with pytest.raises(InputError, match=r'out.nii.gz cannot be written: no space left'):
        rewrite_scan(model, scan, tmp_path / 'out.nii.gz', mask)
    assert {path.name for path in tmp_path.iterdir()} == there


def test_a_folder_that_is_none_is_told_before_any_work(model, tmp_path, heads, monkeypatch):
    scan, mask = written(tmp_path, 'x', heads['T2w']['01'])
    monkeypatch.setattr('bidsreg.translation.rewrite.read_scan', lambda *_, **__: pytest.fail('work was done'))
    with pytest.raises(InputError, match=r'output folder .*x_scan\.nii\.gz cannot be written'):
        rewrite_scan(model, scan, scan / 'out.nii.gz', mask)


@pytest.mark.parametrize('name', ['x_scan.nii', 'x_T1w.nii.gz'])
def test_what_others_made_is_not_replaced(model, tmp_path, heads, name):
    """An invention in the place of a scan, or of what its scanner said."""
    scan, mask = written(tmp_path, 'x', heads['T2w']['01'])
    (tmp_path / 'x_scan.json').write_text('{"EchoTime": 0.1}')
    (tmp_path / 'x_T1w.nii.gz').write_bytes(b'a scan')
    before = data.files_below(tmp_path)
    with pytest.raises(InputError, match='is there already, and bidsreg-translate did not write it'):
        rewrite_scan(model, scan, tmp_path / name, mask)
    assert data.files_below(tmp_path) == before


def test_its_own_earlier_result_is_replaced(model, tmp_path, heads):
    scan, mask = written(tmp_path, 'x', heads['T2w']['01'])
    rewrite_scan(model, scan, tmp_path / 'out.nii.gz', mask)
    once = data.files_below(tmp_path)
    rewrite_scan(model, scan, tmp_path / 'out.nii.gz', mask)
    assert data.files_below(tmp_path) == once
