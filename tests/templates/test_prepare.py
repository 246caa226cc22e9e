"""Templates made ready: their masks, their grids, and what is refused."""

from __future__ import annotations

import gzip
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from nilearn.datasets import load_mni152_brain_mask

from bidsreg.bids.spaces import parse_spaces
from bidsreg.errors import InputError
from bidsreg.templates.prepare import check_template, make_template
from tests import data
from tests.templates.flow import head, write_template


def make(word: str, home: Path, folder: Path):
    (space,) = parse_spaces([word])
    return make_template(space, home, folder)


def test_the_embedded_template_has_the_brain_of_nilearn(tmp_path):
    made = make('MNI:res-1:res-2', tmp_path, tmp_path / 'work')
    mask, theirs = nib.load(made.mask), load_mni152_brain_mask(resolution=1)
    np.testing.assert_allclose(mask.affine, theirs.affine)
    one, other = np.asarray(mask.dataobj) > 0, np.asarray(theirs.dataobj) > 0
    assert 2 * (one & other).sum() / (one.sum() + other.sum()) > 0.995
    assert made.references[1] == made.image
    wide = nib.load(made.references[2])
    np.testing.assert_allclose(wide.header.get_zooms(), 2)
    assert wide.shape == (99, 117, 95)


def test_grids_of_templateflow_are_its_own(tmp_path):
    place = write_template(tmp_path, 'Pretended')
    made = make('Pretended:res-2', tmp_path, tmp_path / 'work')
    theirs = nib.load(place / 'tpl-Pretended_res-02_T1w.nii.gz')
    ours = nib.load(made.references[2])
    assert ours.shape == theirs.shape
    np.testing.assert_allclose(ours.affine, theirs.affine, atol=1e-4)
    assert list(made.references) == [2]


def test_one_content_is_one_folder_and_another_one_another(tmp_path):
    image, mask = head()
    word = f'mystudy:{tmp_path / "t.nii.gz"}:{tmp_path / "m.nii.gz"}'
    image.to_filename(tmp_path / 't.nii.gz')
    mask.to_filename(tmp_path / 'm.nii.gz')
    one, again = (make(word, tmp_path, tmp_path / 'work') for _ in range(2))
    assert one == again
    nib.Nifti1Image(np.asarray(image.dataobj) * 2, image.affine).to_filename(tmp_path / 't.nii.gz')
    other = make(word, tmp_path, tmp_path / 'work')
    assert other.stamp != one.stamp
    assert other.image.parent != one.image.parent


def test_what_cannot_be_a_template_is_refused(tmp_path):
    image, mask = head()
    image.to_filename(tmp_path / 't.nii.gz')
    mask.to_filename(tmp_path / 'm.nii.gz')
    inside = np.asarray(mask.dataobj)
    away = mask.affine.copy()
    away[:3, 3] += 300
    nib.Nifti1Image(inside, away).to_filename(tmp_path / 'away.nii.gz')
    nib.Nifti1Image(inside * 0, mask.affine).to_filename(tmp_path / 'empty.nii.gz')
    nib.Nifti1Image(np.zeros((40, 40, 40, 3), np.float32), np.eye(4)).to_filename(tmp_path / '4d.nii.gz')
    (tmp_path / 'text.nii.gz').write_text('no image')
    for name, said in {
        't.nii.gz': 'has no brain mask, and is not skull-stripped',
        't.nii.gz:away.nii.gz': 'away.nii.gz',
        '4d.nii.gz:m.nii.gz': '4-D',
        't.nii.gz:empty.nii.gz': 'is empty',
        '4d.nii.gz': '4',
        'text.nii.gz': 'text.nii.gz',
    }.items():
        word = 'mystudy:' + ':'.join(str(tmp_path / part) for part in name.split(':'))
        with pytest.raises(InputError, match=said) as caught:
            check_template(parse_spaces([word])[0], tmp_path)
        assert '--output-spaces mystudy' in str(caught.value)


def test_a_mask_is_no_template(tmp_path):
    _, mask = head()
    mask.to_filename(tmp_path / 'm.nii.gz')
    (space,) = parse_spaces([f'mystudy:{tmp_path / "m.nii.gz"}:{tmp_path / "m.nii.gz"}'])
    with pytest.raises(
        InputError, match=r'--output-spaces mystudy: .*m\.nii\.gz is 1 everywhere inside its brain mask'
    ):
        check_template(space, tmp_path)


def test_a_stripped_template_of_ones_own_has_its_mask_in_it(tmp_path):
    image, mask = head()
    inside = np.asarray(mask.dataobj) > 0
    nib.Nifti1Image(np.where(inside, np.asarray(image.dataobj), 0), image.affine).to_filename(tmp_path / 't.nii.gz')
    made = make(f'mystudy:{tmp_path / "t.nii.gz"}', tmp_path, tmp_path / 'work')
    found = np.asarray(nib.load(made.mask).dataobj) > 0
    assert (found & inside).sum() > 0.98 * inside.sum()
    assert 'not zero' in made.origin


@pytest.mark.parametrize('name', ['image.nii.gz', 'mask.nii.gz', 'res-2.nii.gz'])
@pytest.mark.parametrize('damage', ['empty', 'cut off', 'a bit', 'the checksum', 'zeros', 'another image'])
def test_what_was_damaged_in_the_work_folder_is_written_again(tmp_path, name, damage):
    """People of an earlier run may have been killed with it, by a disk that is full."""
    image, mask = head()
    word = f'mystudy:{tmp_path / "t.nii.gz"}:{tmp_path / "m.nii.gz"}:res-2'
    image.to_filename(tmp_path / 't.nii.gz')
    mask.to_filename(tmp_path / 'm.nii.gz')
    path = make(word, tmp_path, tmp_path / 'work').image.parent / name
    content = path.read_bytes()
    middle, before = len(content) // 2, path.stat().st_ino
    make(word, tmp_path, tmp_path / 'work')
    assert path.stat().st_ino == before  # what is whole is left alone
    if damage == 'another image':
        nib.Nifti1Image(np.zeros((5, 5, 5), np.uint8), np.eye(4)).to_filename(path)
    else:
        spoilt = {
            'empty': b'',
            'cut off': content[:middle],
            'a bit': content[:middle] + bytes([content[middle] ^ 8]) + content[middle + 1 :],
            'the checksum': content[:-6] + bytes([content[-6] ^ 8]) + content[-5:],
            'zeros': bytes(len(content)),
        }
        path.write_bytes(spoilt[damage])
    make(word, tmp_path, tmp_path / 'work')
    assert np.array_equal(nib.load(path).get_fdata(), nib.Nifti1Image.from_bytes(gzip.decompress(content)).get_fdata())
    assert gzip.decompress(path.read_bytes())


@pytest.mark.parametrize('grid', ['oblique-left-handed', 'sagittal', 'thick'])
def test_a_template_of_ones_own_may_lie_as_it_likes_and_hold_any_numbers(grid, tmp_path):
    """Oblique, left-handed, anisotropic, of integers with a scale, and with a fourth axis of one volume."""
    shape, affine = data.GRIDS[grid]
    one = data.head(shape, 4, affine=affine)
    values = np.asarray(one.scan.dataobj, np.float32)
    stored = nib.Nifti1Image((values[..., None] / 0.2).astype(np.int16), affine)
    stored.header.set_slope_inter(0.2, 0)
    stored.to_filename(tmp_path / 't.nii.gz')
    one.mask.to_filename(tmp_path / 't_mask.nii.gz')
    made = make(f'mystudy:{tmp_path / "t.nii.gz"}:res-1:res-2', tmp_path, tmp_path / 'work')
    image, mask = (nib.load(path) for path in (made.image, made.mask))
    np.testing.assert_allclose(image.affine, affine, atol=1e-4)
    np.testing.assert_array_equal(np.asarray(mask.dataobj) > 0, np.asarray(one.mask.dataobj) > 0)
    np.testing.assert_allclose(image.get_fdata(), values, atol=0.3)
    assert image.get_data_dtype() == np.float32
    wide = nib.load(made.references[2])
    np.testing.assert_allclose(wide.header.get_zooms(), 2 * np.array(image.header.get_zooms()), rtol=0.01)
    middle = [nib.affines.apply_affine(each.affine, (np.array(each.shape) - 1) / 2) for each in (image, wide)]
    np.testing.assert_allclose(middle[0], middle[1], atol=1e-2)


def test_a_mask_in_another_order_of_voxels_or_on_another_grid_is_brought_to_the_template(tmp_path):
    image, mask = head()
    image.to_filename(tmp_path / 't.nii.gz')
    inside = np.asarray(mask.dataobj)
    nib.Nifti1Image(inside[::-1], mask.affine @ _flipped(inside.shape[0])).to_filename(tmp_path / 'flipped.nii.gz')
    fine = nib.Nifti1Image(inside.repeat(2, 0), mask.affine @ np.diag([0.5, 1, 1, 1]))
    fine.affine[:3, 3] -= 0.25 * mask.affine[:3, 0]
    fine.to_filename(tmp_path / 'fine.nii.gz')
    for name, words in (('flipped', 'order of the image'), ('fine', 'resampled from')):
        made = make(f'mystudy:{tmp_path / "t.nii.gz"}:{tmp_path / name}.nii.gz', tmp_path, tmp_path / 'work')
        np.testing.assert_array_equal(np.asarray(nib.load(made.mask).dataobj), inside)
        assert words in made.origin


def _flipped(length: int) -> np.ndarray:
    """Return the matrix from the voxels of an image whose first axis is turned over to those it had."""
    matrix = np.diag([-1.0, 1, 1, 1])
    matrix[0, 3] = length - 1
    return matrix
