"""The known warp: points and image must tell the same story."""

import nibabel as nib
import numpy as np
import pytest
import warp
from scipy import ndimage as ndi

from tests import data


def run(*arguments):
    warp.main([str(word) for word in arguments])


def write_derivatives(folder, pair):
    folder.mkdir()
    pair.fixed.to_filename(folder / 'sub-01_desc-preproc_T1w.nii.gz')
    pair.fixed_mask.to_filename(folder / 'sub-01_desc-brain_mask.nii.gz')
    pair.fixed_mask.to_filename(folder / 'sub-01_space-T2w_desc-brain_mask.nii.gz')  # must not be taken
    data.write_itk_affine(pair.truth.matrix, folder / 'sub-01_from-T2w_to-T1w_mode-image_desc-affine_xfm.tfm')
    at = data.world(pair.moving.shape, pair.moving.affine)
    data.image(waves(at).astype(np.float32), pair.moving.affine).to_filename(folder / 'T2w.nii.gz')


def waves(points):
    """Intensities that are known everywhere."""
    return 1000 + 100 * np.sin(points / (34, 26, 38)).sum(-1)


def value_at(image, points):
    voxels = nib.affines.apply_affine(np.linalg.inv(image.affine), points)
    return ndi.map_coordinates(np.asarray(image.dataobj, np.float32), voxels.T, order=1)


def test_points_show_the_same_values_in_the_scan_and_in_the_warped_one(tmp_path):
    pair = data.pair((40, 44, 40), seed=3)
    write_derivatives(tmp_path / 'anat', pair)
    run(tmp_path / 'anat', tmp_path / 'anat/T2w.nii.gz', tmp_path / 'out')
    points = np.loadtxt(tmp_path / 'out/derivatives/truth/sub-01/anat/sub-01_from-T1w_to-T2w_points.tsv', skiprows=1)
    in_scan = nib.affines.apply_affine(pair.truth.matrix, points[:, :3])
    moved = np.linalg.norm(in_scan - points[:, 3:], axis=1)
    assert 1 < moved.mean() < moved.max() < 5
    moved_scan = nib.load(tmp_path / 'out/sub-01/anat/sub-01_T2w.nii.gz')
    found = value_at(moved_scan, points[:, 3:])
    assert np.abs(found - waves(in_scan)).max() < 1.5  # linear interpolation between voxels of 4.5 mm
    assert np.abs(found - waves(points[:, 3:])).mean() > 3


def test_what_is_missing_or_there_already_is_told(tmp_path):
    (tmp_path / 'anat').mkdir()
    with pytest.raises(SystemExit, match=r'has 0 files \*_desc-preproc_T1w.nii.gz'):
        run(tmp_path / 'anat', tmp_path / 'T2w.nii.gz', tmp_path / 'out')
    assert not (tmp_path / 'out').exists()
    with pytest.raises(SystemExit, match='exists already'):
        run(tmp_path / 'anat', tmp_path / 'T2w.nii.gz', tmp_path / 'anat')
