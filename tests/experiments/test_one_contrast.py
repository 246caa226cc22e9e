"""Two T1w of one head: what is known of the warp between them is true, and presets are compared by it."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import one_contrast
import pytest
from scipy import ndimage as ndi

from bidsreg.registration import PRESETS

from .test_hard_pairs import label_map


@pytest.fixture(scope='module')
def labels(tmp_path_factory):
    folder = tmp_path_factory.mktemp('labels')
    large = ndi.zoom(label_map(), 2, order=0)
    nib.save(nib.Nifti1Image(large, np.eye(4)), folder / 'anat-02_dseg.nii.gz')
    return folder


@pytest.fixture(scope='module')
def pair(labels):
    return one_contrast.simulate(labels / 'anat-02_dseg.nii.gz', 2)


def at(image, points):
    return ndi.map_coordinates(image.data, image.grid.to_voxels(points).T, order=1)


def test_points_show_the_same_tissue_in_both_scans(pair):
    fixed, moving = at(pair.fixed, pair.points[:, :3]), at(pair.moving, pair.points[:, 3:])
    there = np.corrcoef(fixed, moving)[0, 1]
    assert there > np.corrcoef(fixed, at(pair.moving, pair.points[:, :3]))[0, 1]
    assert there > 0.8
    moved = np.linalg.norm(pair.points[:, 3:] - pair.points[:, :3], axis=1)
    assert 0.5 < moved.mean() < moved.max() < 5
    np.testing.assert_allclose(pair.fixed.grid.spacing, 2)
    assert (at(pair.mask, pair.points[:, :3]) > 0).all()


def test_the_scans_are_no_copies_of_each_other(pair):
    deep = pair.mask.data > 0
    assert np.corrcoef(pair.fixed.data[deep], pair.moving.data[deep])[0, 1] < 0.99


def test_factors_are_on_the_weights():
    names, found = zip(*one_contrast.presets([1.0, 5.0]), strict=True)
    assert names == ('node-mind', 'lncc, 1 of its weight', 'lncc, 5 of its weight')
    assert [preset.similarity for preset in found] == ['mind', 'lncc', 'lncc']
    (_, weight), *_ = found[2].regularity
    assert weight == 5 * PRESETS['node-mind'].regularity[0][1]


def test_a_table_is_printed(labels, monkeypatch, capsys):
    quick = PRESETS['node-mind'].at_resolution(8.0)
    monkeypatch.setattr(one_contrast, 'presets', lambda factors: [('quick', quick)])
    one_contrast.main([str(labels), '--people', '02'])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split('|')[1].strip() for line in lines[2:]] == ['no deformation', 'quick']
    assert lines[2].split('|')[5:7] == [' 0 ', ' 0 ']
