"""The steps that only a benchmark has: which mask is taken."""

from __future__ import annotations

from pathlib import Path

import nibabel as nb
import numpy as np
import pytest

from bidsreg.benchmark.interfaces import CaseMask, Strip
from bidsreg.benchmark.masks import filled_union

VALUES = [1, 2, 4]


@pytest.fixture
def files(heads, tmp_path):
    """A head, its mask and its labels."""
    heads[0].save(tmp_path)
    return {name: str(tmp_path / f'{name}.nii.gz') for name in ('fixed', 'fixed_mask', 'fixed_labels')}


def voxels(path):
    return np.asanyarray(nb.load(path).dataobj)


def test_the_mask_that_was_given_goes_before_labels(files, tmp_path):
    found = CaseMask(
        in_file=files['fixed'], user_mask=files['fixed_mask'], labels=files['fixed_labels'], values=VALUES
    ).run(cwd=tmp_path)
    np.testing.assert_array_equal(voxels(found.outputs.out_mask), voxels(files['fixed_mask']) > 0)


def test_without_a_mask_the_brain_is_where_the_labels_are(files, tmp_path):
    found = CaseMask(in_file=files['fixed'], labels=files['fixed_labels'], values=VALUES).run(cwd=tmp_path).outputs
    assert found.method == 'union of the labels'
    mask = nb.load(found.out_mask)
    assert mask.get_data_dtype() == np.uint8
    np.testing.assert_array_equal(voxels(found.out_mask), filled_union(voxels(files['fixed_labels']), VALUES))


def test_an_image_without_a_skull_is_its_own_mask(files, tmp_path):
    # a tenth of the voxels is zero, and the brain as large as one: voxels of 5 mm
    head, inside = nb.load(files['fixed']), voxels(files['fixed_mask']) > 0
    brain = nb.Nifti1Image(np.where(inside, voxels(files['fixed']), 0), np.diag([5.0, 5, 5, 1]))
    labels = nb.Nifti1Image(inside.astype(np.uint8), brain.affine)
    assert head.shape == brain.shape
    nb.save(brain, tmp_path / 'brain.nii.gz')
    nb.save(labels, tmp_path / 'labels.nii.gz')
    made = CaseMask(in_file=str(tmp_path / 'brain.nii.gz'), labels=str(tmp_path / 'labels.nii.gz'), values=[1])
    found = made.run(cwd=tmp_path).outputs
    assert 'stripped already' in found.method


def test_errors_name_the_contrast(files, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(
        'bidsreg.interfaces.skullstrip.brain_mask',
        lambda path, **options: asked.append(options) or (voxels(files['fixed_mask']) > 0, 'pretended'),
    )
    CaseMask(in_file=files['fixed'], contrast='T2w').run(cwd=tmp_path)
    CaseMask(in_file=files['fixed']).run(cwd=tmp_path)
    assert [options.get('contrast') for options in asked] == ['T2w', None]


def test_a_stripped_image_is_named_after_its_head(files, tmp_path):
    found = Strip(in_file=files['fixed'], mask=files['fixed_mask']).run(cwd=tmp_path).outputs
    assert Path(found.out_file).name == 'fixed_brain.nii.gz'
    assert not voxels(found.out_file)[voxels(files['fixed_mask']) == 0].any()
