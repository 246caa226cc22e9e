from __future__ import annotations

import gzip

import nibabel as nib
import numpy as np
import pytest

from bidsreg.bids.headers import check_header, head_of, load_sane
from bidsreg.errors import InputError
from tests import data

AFFINE = np.array([[-1.0, 0, 0, 8], [0, 2, 0, -10], [0, 0, 1.5, 4], [0, 0, 0, 1]])


def values(shape=(12, 14, 16), dtype='float32'):
    return np.random.default_rng(0).uniform(10, 200, shape).astype(dtype)


def save(path, data=None, affine=AFFINE, codes=(1, 1), qform=None, **fields):
    """Write an image whose sform is `affine` and whose qform is that too or `qform`."""
    image = nib.Nifti1Image(values() if data is None else data, None)
    image.header.set_xyzt_units('mm')
    image.header['srow_x'], image.header['srow_y'], image.header['srow_z'] = np.asarray(affine)[:3]
    image.header.set_qform(AFFINE if qform is None else qform, codes[0])
    image.header['sform_code'] = codes[1]
    for name, value in fields.items():
        image.header[name] = value
    nib.Nifti1Image(image.dataobj, None, image.header).to_filename(path)
    return path


def rewrite_header(path, **fields):
    """Change header fields in place, past nibabel's wish to keep them consistent."""
    raw = bytearray(gzip.decompress(path.read_bytes()))
    header = nib.Nifti1Header(bytes(raw[:348]), check=False)
    for name, value in fields.items():
        header[name] = value
    raw[:348] = header.binaryblock
    path.write_bytes(gzip.compress(bytes(raw)))
    return path


@pytest.fixture
def path(tmp_path):
    return tmp_path / 'sub-01_T1w.nii.gz'


def test_good_image(path):
    report = check_header(save(path))
    assert report.errors == ()
    assert report.shape == (12, 14, 16)
    assert report.zooms == pytest.approx((1, 2, 1.5))
    assert report.obliqueness_deg == pytest.approx(0, abs=1e-4)
    np.testing.assert_allclose(report.affine, AFFINE, atol=1e-5)
    assert all('slab' in finding for finding in report.findings)


def test_load_sane_has_one_affine_and_the_same_voxels(path):
    data = values(dtype='int16')
    image = load_sane(save(path, data, codes=(0, 2)))
    np.testing.assert_array_equal(np.asanyarray(image.dataobj), data)
    assert image.get_data_dtype() == np.int16
    np.testing.assert_allclose(image.get_qform(), image.get_sform(), atol=1e-5)
    assert (int(image.header['qform_code']), int(image.header['sform_code'])) == (1, 1)
    assert image.header.get_xyzt_units()[0] == 'mm'


def test_scaled_and_wide_types_become_float32(path):
    image = nib.Nifti1Image(values(dtype='int16'), AFFINE)
    image.header.set_slope_inter(0.5, 3)
    nib.save(image, path)
    assert load_sane(path).get_data_dtype() == np.float32
    assert load_sane(save(path, values(dtype='float64'))).get_data_dtype() == np.float32


@pytest.mark.parametrize('dtype', ['uint8', 'int16', 'uint16', 'int32', 'float32'])
def test_written_again_it_reads_the_same(path, tmp_path, dtype):
    sane = load_sane(save(path, values(dtype=dtype)))
    sane.to_filename(tmp_path / 'again.nii.gz')
    again = load_sane(tmp_path / 'again.nii.gz')
    np.testing.assert_array_equal(again.get_fdata(), sane.get_fdata())
    np.testing.assert_array_equal(again.affine, sane.affine)


def test_a_trailing_axis_of_one_is_no_fourth_dimension(path):
    report = check_header(save(path, values((12, 14, 16, 1))))
    assert report.errors == ()
    assert load_sane(path).shape == (12, 14, 16)


@pytest.mark.parametrize(
    ('shape', 'message'),
    [
        ((12, 14, 16, 3), 'is 4-D'),
        ((12, 14, 16, 1, 3), 'is 5-D'),
        ((12, 14), 'is 2-D'),
        ((40, 40, 1), 'only 1 slice'),
        ((40, 5, 40), 'only 5 slice'),
    ],
)
def test_wrong_shapes(path, shape, message):
    assert message in '; '.join(check_header(save(path, values(shape))).errors)
    with pytest.raises(InputError, match=message):
        load_sane(path)


def test_rgb(path):
    rgb = np.zeros((12, 14, 16), dtype=[('R', 'u1'), ('G', 'u1'), ('B', 'u1')])
    assert 'RGB' in check_header(save(path, rgb)).errors[0]


def test_complex(path):
    assert 'complex' in check_header(save(path, values().astype('complex64'))).errors[0]


def test_zero_bytes(path):
    path.touch()
    assert 'empty (0 bytes)' in check_header(path).errors[0]


def test_missing_and_dangling(path):
    assert 'not there' in check_header(path).errors[0]
    path.symlink_to(path.parent / 'annex' / 'key')
    assert 'datalad get' in check_header(path).errors[0]


def test_not_nifti(path):
    path.write_bytes(gzip.compress(b'something else' * 100))
    assert 'cannot be read as NIfTI' in check_header(path).errors[0]
    path.write_bytes(b'not even gzip')
    assert 'cannot be read as NIfTI' in check_header(path).errors[0]


@pytest.mark.parametrize('keep', [0.3, 0.7, 0.99])
def test_truncated(path, keep):
    content = save(path, values((30, 30, 30))).read_bytes()
    path.write_bytes(content[: int(len(content) * keep)])
    with pytest.raises(InputError, match=r'sub-01_T1w.nii.gz: .*(truncated|cannot be read)'):
        load_sane(path)


def test_truncated_uncompressed(tmp_path):
    path = save(tmp_path / 'a_T1w.nii')
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(InputError, match='truncated'):
        load_sane(path)


@pytest.mark.parametrize('bad', [np.nan, np.inf, -np.inf])
def test_not_finite(path, bad):
    data = values()
    data[3, 4, 5] = data[3, 4, 6] = bad
    with pytest.raises(InputError, match='2 voxel'):
        load_sane(save(path, data))


def test_too_large_for_float32(path):
    data = values(dtype='float64')
    data[0, 0, 0] = 1e300
    with pytest.raises(InputError, match='too large for an image'):
        load_sane(save(path, data))


@pytest.mark.parametrize('dtype', [np.int16, np.float32])
def test_an_image_below_zero_is_refused(path, dtype):
    nib.save(data.image(-1 - np.arange(1000, dtype=dtype).reshape(10, 10, 10), np.eye(4) * (10, 10, 10, 1)), path)
    with pytest.raises(InputError, match=r'no voxel is above zero \(from -1000 to -1\).*scl_slope'):
        load_sane(path)


def test_constant(path):
    with pytest.raises(InputError, match='every voxel is 7'):
        load_sane(save(path, np.full((12, 14, 16), 7, 'int16')))


def test_forms_that_disagree_the_sform_wins(path):
    moved = AFFINE.copy()
    moved[:3, 3] += (0, 0, 12)
    report = check_header(save(path, affine=moved))
    assert report.errors == ()
    assert 'qform and sform disagree by up to 12.0 mm; the sform is used' in report.findings
    np.testing.assert_allclose(report.affine, moved, atol=1e-5)
    np.testing.assert_allclose(load_sane(path).get_qform(), moved, atol=1e-5)


def test_only_one_form_set(path):
    other = AFFINE.copy()
    other[0, 3] += 50
    np.testing.assert_allclose(check_header(save(path, affine=other, codes=(1, 0))).affine, AFFINE, atol=1e-5)
    np.testing.assert_allclose(check_header(save(path, affine=other, codes=(0, 4))).affine, other, atol=1e-5)


def test_no_valid_form(path):
    assert 'neither a qform nor a sform' in check_header(save(path, codes=(0, 0))).errors[0]


def test_a_qform_without_handedness_is_right_handed(path):
    """nifti1.h: "If pixdim[0]=0.0 (which should not occur), we take qfac=1"; nibabel refuses such a file."""
    right = AFFINE.copy()
    right[:, 0] *= -1
    pixdim = nib.load(save(path, codes=(1, 0), qform=right)).header['pixdim'].copy()
    assert pixdim[0] == 1
    pixdim[0] = 0
    rewrite_header(path, pixdim=pixdim)
    report = check_header(path)
    assert report.errors == ()
    np.testing.assert_allclose(report.affine, right, atol=1e-5)
    assert any('pixdim[0] is 0' in finding for finding in report.findings)
    np.testing.assert_allclose(load_sane(path).affine, right, atol=1e-5)
    rewrite_header(save(path), pixdim=pixdim)  # a sform says it all
    assert not any('pixdim[0]' in finding for finding in check_header(path).findings)


def test_a_header_of_another_size(path):
    rewrite_header(save(path), sizeof_hdr=349)
    assert 'of a size that NIfTI has not' in check_header(path).errors[0]


def test_bad_quaternion(path):
    save(path, codes=(1, 0))
    rewrite_header(path, quatern_b=3.0, quatern_c=3.0)
    assert 'cannot be decoded' in check_header(path).errors[0]


def test_bad_quaternion_beside_a_good_sform(path):
    save(path)
    rewrite_header(path, quatern_b=3.0, quatern_c=3.0)
    report = check_header(path)
    assert report.errors == ()
    assert any('the sform is used' in finding for finding in report.findings)


@pytest.mark.parametrize('bad', ['zeros', 'flat'])
def test_singular(path, bad):
    affine = AFFINE.copy()
    affine[:3, 1] = 0 if bad == 'zeros' else affine[:3, 0]
    assert 'singular' in check_header(save(path, affine=affine)).errors[0]


def test_affine_with_nan(path):
    affine = AFFINE.copy()
    affine[0, 0] = np.nan
    assert 'not finite' in check_header(save(path, affine=affine)).errors[0]


def test_sheared(path):
    affine = AFFINE.copy()
    affine[0, 1] = 0.3
    with pytest.raises(InputError, match='sheared'):
        load_sane(save(path, affine=affine))


def test_a_little_shear_is_repaired(path):
    affine = AFFINE.copy()
    affine[0, 1] = 0.005
    report = check_header(save(path, affine=affine))
    assert report.errors == ()
    assert any('repaired' in finding for finding in report.findings)
    directions = report.affine[:3, :3] / np.linalg.norm(report.affine[:3, :3], axis=0)
    np.testing.assert_allclose(directions.T @ directions, np.eye(3), atol=1e-12)


@pytest.mark.parametrize(
    ('zooms', 'origin', 'word'),
    [
        ((0.5, 0.5, 4), 0, 'thick slices'),
        ((0.1, 0.1, 0.5), 0, 'unusual voxel size'),
        ((1, 1, 1), 900, 'away from the origin'),
    ],
)
def test_oddities_are_findings(path, zooms, origin, word):
    affine = np.diag([*zooms, 1.0])
    affine[0, 3] = origin
    report = check_header(save(path, affine=affine, codes=(0, 1)))
    assert report.errors == ()
    assert any(word in finding for finding in report.findings)


def test_oblique_left_handed_affine_is_kept(path):
    turn = nib.eulerangles.euler2mat(0.2, -0.1, 0.3) @ np.diag([-1, 1, 2])
    affine = nib.affines.from_matvec(turn, [5, -7, 9])
    report = check_header(save(path, affine=affine, qform=affine))
    assert report.errors == ()
    assert report.obliqueness_deg > 5
    np.testing.assert_allclose(report.affine, affine, atol=1e-5)


def test_a_head_is_told_from_air_at_every_noise():
    scan = data.t1w((60, 72, 60), 3, noise=0.0)
    values, spacing = scan.get_fdata(), nib.affines.voxel_sizes(scan.affine)
    quiet = head_of(values, spacing)
    assert 0.2 < quiet.mean() < 0.6
    rng = np.random.default_rng(0)
    for noise in (0.02, 0.05, 0.1, 0.15, 0.2):  # of the bright tissue's signal
        parts = rng.normal(0, noise * values.max(), (2, *values.shape))
        noisy = head_of(np.hypot(values + parts[0], parts[1]), spacing)
        assert 2 * (quiet & noisy).sum() / (quiet.sum() + noisy.sum()) > 0.97, noise
    raised = head_of(values + values.max(), spacing)
    assert 2 * (quiet & raised).sum() / (quiet.sum() + raised.sum()) > 0.95


def test_a_head_is_told_from_noisy_air_where_the_face_was_cut_off():
    scan = data.t1w((60, 72, 60), 3, noise=0.0)
    values, spacing = scan.get_fdata(), nib.affines.voxel_sizes(scan.affine)
    parts = np.random.default_rng(0).normal(0, 0.08 * values.max(), (2, *values.shape))
    noisy = np.hypot(values + parts[0], parts[1])
    quiet, whole = head_of(values, spacing), head_of(noisy, spacing)
    cut = np.zeros(values.shape, bool)
    cut[:, 60:, :20] = True  # two corners, in front and below
    bare = head_of(np.where(cut, 0, noisy), spacing)
    assert (bare & ~cut).sum() == pytest.approx((whole & ~cut).sum(), rel=0.05)
    assert 2 * (quiet & bare & ~cut).sum() / ((quiet & ~cut).sum() + bare.sum()) > 0.95


def test_what_is_alike_up_to_its_corners_is_all_head():
    tissue = np.random.default_rng(0).uniform(300, 900, (30, 32, 28))
    assert head_of(tissue, (1, 1, 1)).all()


def test_the_head_has_the_shape_of_the_image_and_no_head_is_none():
    cube = np.zeros((20, 20, 20, 1), np.float32)
    assert not head_of(cube, (1, 1, 1)).any()
    cube[5:15, 5:15, 5:15] = 7
    cube[10, 10, 10] = np.nan
    assert head_of(cube, (1, 1, 1)).shape == cube.shape
    assert head_of(cube, (1, 1, 1)).sum() == 1000
