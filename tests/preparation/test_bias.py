"""N4: a known field goes away; the image stays where it was."""

import nibabel as nb
import numpy as np
import pytest

from bidsreg.errors import InputError
from bidsreg.preparation.affine import rigid_matrix
from bidsreg.preparation.bias import correct_bias
from tests import data


@pytest.fixture(scope='module')
def biased(tmp_path_factory):
    """A head on an anisotropic grid with a smooth field of +-35 % on it."""
    folder = tmp_path_factory.mktemp('biased')
    shape, affine = data.GRIDS['thick']
    head = data.head(shape, seed=2, affine=affine, noise=0.01)
    points = data.world(shape, affine)
    field = np.exp(0.35 * np.sin(points[..., 0] / 70) + 0.25 * np.sin(points[..., 2] / 50 + 0.5))
    scan = np.asanyarray(head.scan.dataobj) * field
    nb.save(data.image(scan.astype(np.float32), affine), folder / 'scan.nii.gz')
    nb.save(head.mask, folder / 'mask.nii.gz')
    return folder, field, head


def run(folder, **options):
    return correct_bias(str(folder / 'scan.nii.gz'), str(folder / 'mask.nii.gz'), **options)


def test_the_field_is_found(biased, here):
    folder, field, head = biased
    image = run(folder)
    white = np.asanyarray(head.labels.dataobj) == list(data.TISSUES).index('wm')
    clean, scan = image.get_fdata()[white], nb.load(folder / 'scan.nii.gz').get_fdata()[white]
    assert clean.std() / clean.mean() < 0.5 * scan.std() / scan.mean()
    inside = np.asanyarray(head.mask.dataobj) > 0
    before, after = (
        np.log(x)
        for x in (
            field[inside],
            field[inside] * image.get_fdata()[inside] / nb.load(folder / 'scan.nii.gz').get_fdata()[inside].clip(1),
        )
    )
    assert after.std() < 0.35 * before.std()
    np.testing.assert_allclose(image.affine, head.scan.affine, atol=1e-4)
    mean = nb.load(folder / 'scan.nii.gz').get_fdata()[inside].mean()
    assert image.get_fdata()[inside].mean() == pytest.approx(mean, rel=1e-3)
    assert np.isfinite(image.get_fdata()).all()


@pytest.mark.parametrize('off', [1.0, 0.999])
def test_an_image_whose_mean_was_taken_off_is_refused(biased, here, off):
    """The field of such values is none, and the mean that is kept is about zero: it came out turned over."""
    folder, _, head = biased
    scan, inside = nb.load(folder / 'scan.nii.gz').get_fdata(), np.asanyarray(head.mask.dataobj) > 0
    centred = (scan - off * scan[inside].mean()) / scan[inside].std()
    nb.save(data.image(centred.astype(np.float32), head.scan.affine), 'centred.nii')
    with pytest.raises(InputError, match=r'below zero in [3-7]\d % of the brain.*--bias-correction none'):
        correct_bias('centred.nii', str(folder / 'mask.nii.gz'), sloppy=True)


def test_some_voxels_below_zero_are_those_of_interpolation(biased, here):
    folder, _, head = biased
    scan, inside = nb.load(folder / 'scan.nii.gz').get_fdata(), np.asanyarray(head.mask.dataobj) > 0
    dark = inside & (scan < np.percentile(scan[inside], 1))
    nb.save(data.image(np.where(dark, -5, scan).astype(np.float32), head.scan.affine), 'spline.nii')
    plain = run(folder, sloppy=True).get_fdata()[inside & ~dark]
    found = correct_bias('spline.nii', str(folder / 'mask.nii.gz'), sloppy=True).get_fdata()[inside & ~dark]
    assert np.corrcoef(plain, found)[0, 1] > 0.99


def test_same_bits_twice(biased):
    first, second = (run(biased[0], sloppy=True).get_fdata() for _ in range(2))
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize('axes', ['LAS', 'PSR', 'IPR'])
def test_same_bits_in_any_order_of_the_voxels(biased, tmp_path, axes):
    order = nb.orientations.ornt_transform(nb.io_orientation(biased[2].scan.affine), nb.orientations.axcodes2ornt(axes))
    for name in ('scan', 'mask'):
        image = nb.load(biased[0] / f'{name}.nii.gz').as_reoriented(order)
        nb.save(image, tmp_path / f'{name}.nii.gz')
    found = run(tmp_path, sloppy=True)
    assert ''.join(nb.aff2axcodes(found.affine)) == axes
    goal = run(biased[0], sloppy=True).as_reoriented(order)
    np.testing.assert_allclose(found.affine, goal.affine, atol=1e-4)
    np.testing.assert_array_equal(found.get_fdata(), goal.get_fdata())


def test_same_bits_wherever_the_header_puts_the_head(biased, tmp_path):
    world = rigid_matrix((14, -9, 7), (130, -40, 25))
    for name in ('scan', 'mask'):
        image = nb.load(biased[0] / f'{name}.nii.gz')
        nb.save(data.image(np.asanyarray(image.dataobj), world @ image.affine), tmp_path / f'{name}.nii.gz')
    np.testing.assert_array_equal(run(tmp_path, sloppy=True).get_fdata(), run(biased[0], sloppy=True).get_fdata())


def test_a_mask_that_does_not_fit_is_refused(biased, tmp_path, here):
    mask = nb.load(biased[0] / 'mask.nii.gz')
    nb.save(nb.Nifti1Image(np.asanyarray(mask.dataobj)[1:], mask.affine), tmp_path / 'other.nii.gz')
    nb.save(nb.Nifti1Image(np.asanyarray(mask.dataobj) * 0, mask.affine), tmp_path / 'empty.nii.gz')
    for name, words in (('other', 'voxels'), ('empty', 'empty')):
        with pytest.raises(InputError, match=words):
            correct_bias(str(biased[0] / 'scan.nii.gz'), str(tmp_path / f'{name}.nii.gz'))


def test_an_image_without_a_brain_is_refused(biased, tmp_path):
    scan = nb.load(biased[0] / 'scan.nii.gz')
    nb.save(nb.Nifti1Image(np.zeros(scan.shape, np.float32), scan.affine), tmp_path / 'dark.nii.gz')
    with pytest.raises(InputError, match='zero everywhere'):
        correct_bias(str(tmp_path / 'dark.nii.gz'), str(biased[0] / 'mask.nii.gz'))
