"""The script that brings a dataset to larger voxels: what is where stays there."""

from __future__ import annotations

import coarsen
import nibabel as nb
import numpy as np
import pytest

from tests import data

SHAPE, AXES = (40, 44, 20), data.grid((40, 44, 20), 'LPI', (-8, 12, 17), (1.0, 1.0, 2.4))


@pytest.fixture(scope='module')
def coarse(tmp_path_factory):
    """A dataset of one scan with labels, mask and points, and what the script makes of it."""
    source, out = tmp_path_factory.mktemp('fine'), tmp_path_factory.mktemp('coarse') / 'out'
    at = data.world(SHAPE, AXES)
    radius = np.linalg.norm(at, axis=-1)
    labels = np.select([radius < 7, radius < 13], [53, 2]).astype(np.uint8)
    truth = source / 'derivatives/truth/sub-01/anat'
    truth.mkdir(parents=True)
    (source / 'sub-01/anat').mkdir(parents=True)
    scan = (500 + 10 * at[..., 0]).astype(np.int16)
    for path, values in (
        (source / 'sub-01/anat/sub-01_T1w.nii.gz', scan),
        (truth / 'sub-01_dseg.nii.gz', labels),
        (truth / 'sub-01_desc-brain_mask.nii.gz', (labels > 0).astype(np.uint8)),
    ):
        nb.save(nb.Nifti1Image(values, AXES), path)
    (truth / 'sub-01_points.tsv').write_text('x\ty\n1\t2\n')
    (source / 'dataset_description.json').write_text('{"Name": "fine"}')
    coarsen.main([str(source), str(out)])
    return source, out


def test_every_file_is_there_and_what_is_no_image_is_the_same(coarse):
    source, out = coarse
    names = sorted(path.relative_to(source) for path in source.rglob('*'))
    assert names == sorted(path.relative_to(out) for path in out.rglob('*'))
    for name in ('dataset_description.json', 'derivatives/truth/sub-01/anat/sub-01_points.tsv'):
        assert (out / name).read_bytes() == (source / name).read_bytes()


def test_voxels_are_of_the_size_or_as_coarse_as_they_were(coarse):
    for path in coarse[1].rglob('*.nii.gz'):
        image = nb.load(path)
        np.testing.assert_allclose(image.header.get_zooms(), (2, 2, 2.4), rtol=1e-5)
        assert image.get_data_dtype() == (np.int16 if 'T1w' in path.name else np.uint8)


def test_values_stay_where_they_were(coarse):
    scan = nb.load(coarse[1] / 'sub-01/anat/sub-01_T1w.nii.gz')
    at = data.world(scan.shape, scan.affine)
    inner = (slice(3, -3), slice(3, -3), slice(1, -1))
    np.testing.assert_allclose(scan.get_fdata()[inner], (500 + 10 * at[..., 0])[inner], atol=1.5)


def test_labels_keep_their_place_and_volume(coarse):
    image = nb.load(coarse[1] / 'derivatives/truth/sub-01/anat/sub-01_dseg.nii.gz')
    labels = np.asanyarray(image.dataobj)
    mask = np.asanyarray(nb.load(coarse[1] / 'derivatives/truth/sub-01/anat/sub-01_desc-brain_mask.nii.gz').dataobj)
    assert set(np.unique(labels)) == {0, 2, 53}
    at, voxel = data.world(image.shape, image.affine), np.prod(image.header.get_zooms())
    for inside, radius in ((labels == 53, 7), (labels > 0, 13), (mask > 0, 13)):
        assert inside.sum() * voxel == pytest.approx(4 / 3 * np.pi * radius**3, rel=0.07)
        np.testing.assert_allclose(at[inside].mean(0), 0, atol=0.2)


def test_a_folder_that_is_there_is_left_alone(coarse):
    source, out = coarse
    with pytest.raises(SystemExit, match='exists already'):
        coarsen.main([str(source), str(out)])
