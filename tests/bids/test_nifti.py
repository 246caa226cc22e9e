"""Files as they come: content that is elsewhere, compression, and fields of headers that mislead readers."""

from __future__ import annotations

import gzip

import nibabel as nib
import numpy as np
import pytest

from bidsreg.bids.headers import check_header, load_sane
from bidsreg.bids.nifti import UnreadableError, open_nifti, whole_numbers
from bidsreg.errors import InputError
from tests import data

AFFINE = data.grid((20, 22, 18), 'LPS', (4, -7, 9), (4.0, 4.5, 5.0))
POINTERS = {
    'datalad get': '/annex/objects/MD5E-s11211--4b9d3e0e6a9e4a7f5f0b1c2d3e4f5a6b.nii.gz\n',
    'git lfs pull': 'version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n',
}


def head(dtype=np.int16):
    scan = data.head((20, 22, 18), 1, affine=AFFINE).scan
    return np.asanyarray(scan.dataobj).astype(dtype)


def saved(path, values=None, kind=nib.Nifti1Image, **fields):
    """Write an image, then change fields of its header past nibabel's wish to keep them consistent."""
    values = head() if values is None else values
    image = kind(values, None, dtype=values.dtype)
    image.set_qform(AFFINE, 1)
    image.set_sform(AFFINE, 1)
    image.header.set_xyzt_units('mm')
    packed = path.name.endswith('.gz')
    raw = bytearray(image.to_bytes())
    size = int(image.header['sizeof_hdr'])
    header = kind.header_class(bytes(raw[:size]), check=False)
    for name, value in fields.items():
        header[name] = value
    raw[:size] = header.binaryblock
    path.write_bytes(gzip.compress(bytes(raw)) if packed else bytes(raw))
    return path


@pytest.fixture(params=['scan.nii', 'scan.nii.gz'])
def path(request, tmp_path):
    return tmp_path / request.param


@pytest.mark.parametrize('remedy', POINTERS)
def test_content_that_is_elsewhere(path, remedy):
    path.write_text(POINTERS[remedy])
    assert remedy in check_header(path).errors[0]
    path.unlink()
    path.symlink_to('../.git/annex/objects/Xx/Yy/MD5E-s1--1.nii.gz')
    assert 'datalad get' in check_header(path).errors[0]


def test_compression_that_the_name_does_not_tell(tmp_path):
    plain, packed = saved(tmp_path / 'a.nii'), saved(tmp_path / 'b.nii.gz')
    swapped = plain.rename(tmp_path / 'c.nii.gz'), packed.rename(tmp_path / 'd.nii')
    assert 'rename it to .nii, or compress it' in check_header(swapped[0]).errors[0]
    assert 'rename it to .nii.gz' in check_header(swapped[1]).errors[0]


@pytest.mark.parametrize('kind', [nib.Nifti1Image, nib.Nifti2Image])
@pytest.mark.parametrize('offset', [0, 348])
def test_voxels_are_not_read_from_inside_the_header(path, kind, offset):
    image = load_sane(saved(path, kind=kind, vox_offset=offset))
    np.testing.assert_array_equal(np.asanyarray(image.dataobj), head())
    assert any('vox_offset' in finding for finding in check_header(path).findings)


@pytest.mark.parametrize(
    ('code', 'scale', 'words'),
    [
        (1, 1e-3, 'in metres; converted'),
        (3, 1e3, 'in micrometres; converted'),
        (1, 1.0, 'says metres, in which its voxels would be of no size'),
        (3, 1.0, 'says micrometres, in which its voxels would be of no size'),
        (2, 1.0, None),
        (0, 1.0, None),
        (1 + 8, 1e-3, 'in metres; converted'),  # seconds beside
    ],
)
@pytest.mark.parametrize('forms', [(1, 1), (0, 1), (1, 0)])
def test_every_unit_gives_millimetres(path, code, scale, words, forms):
    affine = np.diag([scale] * 3 + [1]) @ AFFINE
    fields = {f'srow_{axis}': affine[k] for k, axis in enumerate('xyz')}
    fields |= {f'qoffset_{axis}': affine[k, 3] for k, axis in enumerate('xyz')}
    fields['pixdim'] = [1, *(nib.affines.voxel_sizes(AFFINE) * scale), 0, 0, 0, 0]
    saved(path, xyzt_units=code, qform_code=forms[0], sform_code=forms[1], **fields)
    report = check_header(path)
    assert report.errors == ()
    np.testing.assert_allclose(load_sane(path).affine, AFFINE, atol=1e-3)
    said = [finding for finding in report.findings if 'metres' in finding]
    assert bool(said) == bool(words)
    assert not words or words in said[0]


def test_millimetres_that_are_metres_in_truth_are_refused(path):
    affine = np.diag([1e-3] * 3 + [1]) @ AFFINE
    saved(path, xyzt_units=2, qform_code=0, **{f'srow_{axis}': affine[k] for k, axis in enumerate('xyz')})
    assert 'correct the unit' in check_header(path).errors[0]


def test_zooms_of_zero(path):
    saved(path, pixdim=[1, 0, 0, 0, 0, 0, 0, 0])
    report = check_header(path)
    assert report.errors == ()
    assert any('size zero (pixdim); the sform is used' in finding for finding in report.findings)
    np.testing.assert_allclose(load_sane(path).affine, AFFINE, atol=1e-4)
    saved(path, pixdim=[1, 0, 0, 0, 0, 0, 0, 0], sform_code=0)
    assert 'size zero (pixdim)' in check_header(path).errors[0]


@pytest.mark.parametrize('slope', [0, np.nan, np.inf])
def test_a_scale_that_is_no_number_is_none(path, slope):
    image = load_sane(saved(path, scl_slope=slope, scl_inter=np.nan))
    np.testing.assert_array_equal(np.asanyarray(image.dataobj), head())
    said = any('scl_slope' in finding for finding in check_header(path).findings)
    assert said == (not np.isfinite(slope))


def test_a_scale_is_applied(path):
    image = load_sane(saved(path, scl_slope=0.5, scl_inter=3))
    np.testing.assert_allclose(np.asanyarray(image.dataobj), head() * 0.5 + 3)


@pytest.mark.parametrize('intent', [5, 1002, 1005])
def test_an_intent_is_told_and_not_written_on(path, intent):
    saved(path, intent_code=intent)
    assert any('intent' in finding for finding in check_header(path).findings)
    assert int(load_sane(path).header['intent_code']) == 0


@pytest.mark.parametrize('more', [(1,), (1, 1)])
def test_last_axes_of_one_are_dropped_and_told(path, more):
    saved(path, head().reshape(*head().shape, *more))
    report = check_header(path)
    assert report.shape == head().shape
    assert any('of length one, are dropped' in finding for finding in report.findings)


def with_nan(where):
    values, label = head(np.float32), np.asanyarray(data.head((20, 22, 18), 1, affine=AFFINE).labels.dataobj)
    inside = label > 0
    if where == 'all the air':
        values[~inside] = np.nan
    elif where == 'some of the air':
        values[:2, :, :] = -np.inf
    elif where == 'a voxel of the brain':
        values[10, 11, 9] = np.nan
    else:
        values[9:12, 10:13, 8:11] = np.inf
    return values


@pytest.mark.parametrize('where', ['all the air', 'some of the air'])
@pytest.mark.parametrize('dtype', [np.float32, np.float64])
def test_air_that_is_not_finite_is_zero(path, where, dtype):
    values = with_nan(where).astype(dtype)
    loaded = np.asanyarray(load_sane(saved(path, values)).dataobj)
    assert (loaded[~np.isfinite(values)] == 0).all()
    np.testing.assert_array_equal(loaded[np.isfinite(values)], values[np.isfinite(values)].astype(np.float32))


@pytest.mark.parametrize('where', ['a voxel of the brain', 'a part of the brain'])
def test_a_brain_that_is_not_finite_is_refused(path, where):
    values = with_nan(where)
    with pytest.raises(InputError, match=rf'{(~np.isfinite(values)).sum()} voxel\(s\) in the head are NaN'):
        load_sane(saved(path, values))


def test_freesurfers_format_is_read(tmp_path):
    nib.save(nib.MGHImage(head(np.float32), AFFINE), tmp_path / 'brainmask.mgz')
    np.testing.assert_array_equal(np.asanyarray(open_nifti(tmp_path / 'brainmask.mgz').dataobj), head())
    report = check_header(tmp_path / 'brainmask.mgz')
    assert report.errors == ()
    np.testing.assert_allclose(report.affine, AFFINE, atol=1e-3)


def test_a_header_without_voxels_behind_it(tmp_path):
    nib.save(nib.Nifti1Pair(head(), AFFINE), tmp_path / 'scan.img')
    (tmp_path / 'scan.hdr').rename(tmp_path / 'scan.nii')
    with pytest.raises(UnreadableError, match='without a NIfTI mark'):
        open_nifti(tmp_path / 'scan.nii')


@pytest.mark.parametrize(
    'fields',
    [
        {},
        {'vox_offset': 0},
        {'scl_slope': np.nan},
        {'scl_slope': 0.5, 'scl_inter': 3},
        {'intent_code': 1002},
        {'xyzt_units': 3},
        {'pixdim': [1, 0, 0, 0, 0, 0, 0, 0]},
        {'qform_code': 0},
    ],
    ids=str,
)
@pytest.mark.parametrize('dtype', ['int16', 'float64', '>i2', 'uint8', 'int64'])
def test_itk_and_nibabel_see_the_same_in_what_is_written(path, tmp_path, fields, dtype):
    import ants

    load_sane(saved(path, head().clip(0, 200).astype(dtype), **fields)).to_filename(tmp_path / 'sane.nii.gz')
    ours, theirs = nib.load(tmp_path / 'sane.nii.gz'), ants.image_read(str(tmp_path / 'sane.nii.gz'))
    np.testing.assert_array_equal(theirs.numpy(), np.asanyarray(ours.dataobj).astype(np.float32))
    affine = np.eye(4)
    affine[:3, :3] = theirs.direction * theirs.spacing
    affine[:3, 3] = theirs.origin
    np.testing.assert_allclose(np.diag([-1, -1, 1, 1]) @ affine, ours.affine, atol=1e-4)


@pytest.mark.parametrize('dtype', [np.uint8, np.int16, np.uint16, np.int32])
@pytest.mark.parametrize('labels', [(0, 1), (0, 1, 2, 3, 4, 5, 6), (0, 17, 53), (-3, 0, 4)])
def test_labels_that_nibabel_stored_with_a_scale_are_whole_again(tmp_path, dtype, labels):
    """As floats are saved under the header of a scan of integers."""
    values = np.random.default_rng(0).choice(np.array(labels, float), (20, 22, 18))
    header = nib.Nifti1Header()
    header.set_data_dtype(dtype)
    nib.save(nib.Nifti1Image(values, AFFINE, header), tmp_path / 'a.nii')
    opened = open_nifti(tmp_path / 'a.nii')
    stored = np.asanyarray(opened.dataobj)
    np.testing.assert_array_equal(whole_numbers(stored, opened.header), values)


@pytest.mark.parametrize('dtype', [np.uint8, np.int16, np.float32])
@pytest.mark.parametrize(
    'values',
    [
        np.linspace(0, 3, 50),
        np.array([0, 0.5, 1]),
        np.array([0, 4e-4]),
        np.array([0, 1, 1.02]),
        np.array([0, 1, np.nan]),
    ],
)
def test_what_lies_between_whole_numbers_stays_there(tmp_path, dtype, values):
    header = nib.Nifti1Header()
    header.set_data_dtype(dtype)
    filled = (
        np.resize(values, (20, 22, 18))
        if np.issubdtype(dtype, np.floating)
        else np.resize(np.nan_to_num(values, nan=0.3), (20, 22, 18))
    )
    nib.save(nib.Nifti1Image(filled, AFFINE, header), tmp_path / 'a.nii')
    opened = open_nifti(tmp_path / 'a.nii')
    assert whole_numbers(np.asanyarray(opened.dataobj), opened.header) is None
