"""The dataset has one T1w a head and scans of every contrast in one place; the table is that of the files."""

from __future__ import annotations

import json

import contrasts
import nibabel as nib
import numpy as np
import pytest

from bidsreg.bids.names import Contrasts, output_name
from bidsreg.bids.pairs import find_pairs
from bidsreg.qc.verdict import judge
from bidsreg.registration import Deformation
from bidsreg.settings import Settings
from tests import data
from tests.qc.good import GOOD

from .test_hard_pairs import label_map

NAMES = ('T2w', 'FLAIR')


@pytest.fixture(scope='module')
def raw(tmp_path_factory):
    folder = tmp_path_factory.mktemp('contrasts')
    path = folder / 'anat-03_dseg.nii.gz'
    nib.save(nib.Nifti1Image(label_map().repeat(3, 0).repeat(3, 1).repeat(3, 2), np.eye(4)), path)
    return contrasts.make_dataset(folder, folder, ['03'], NAMES, 5.0)


def test_every_contrast_is_a_pair_with_the_mask_of_its_t1w(raw, tmp_path):
    derivatives = (raw / 'derivatives' / 'masks',)
    settings = Settings(bids_dir=raw, output_dir=tmp_path, modalities=NAMES, derivatives=derivatives)
    found = find_pairs(settings).pairs
    assert {pair.moving_contrast for pair in found} == set(NAMES)
    assert all(pair.fixed_mask is not None for pair in found)


def test_scans_have_thick_slices_in_one_place_and_other_greys(raw):
    images = [nib.load(raw / f'sub-03/anat/sub-03_{name}.nii.gz') for name in NAMES]
    assert all(np.allclose(nib.affines.voxel_sizes(image.affine), (1, 1, 5)) for image in images)
    t2w, flair = (image.get_fdata() for image in images)
    truth = raw / 'derivatives/truth/sub-03/anat'
    points = [np.loadtxt(truth / f'sub-03_from-T1w_to-{name}_points.tsv') for name in NAMES]
    np.testing.assert_allclose(points[0], points[1])
    assert np.corrcoef(t2w.ravel(), flair.ravel())[0, 1] < 0.9
    bright = t2w > np.percentile(t2w, 99.5)  # fluid
    assert np.median(flair[bright]) < np.median(flair[flair > 100])


def test_the_t1w_does_not_depend_on_the_contrast_that_was_made_last(raw, tmp_path):
    again = contrasts.make_dataset(raw.parent, tmp_path, ['03'], NAMES[:1], 5.0)
    one, other = (nib.load(folder / 'sub-03/anat/sub-03_T1w.nii.gz').get_fdata() for folder in (raw, again))
    np.testing.assert_array_equal(one, other)


def test_the_table_has_errors_and_verdicts(raw, tmp_path):
    truth = np.loadtxt(raw / 'derivatives/truth/sub-03/anat/sub-03_from-T1w_to-FLAIR_points.tsv')
    kind, shift = Contrasts(moving='FLAIR'), np.eye(4)
    shift[:3, 3] = (truth[:, 3:] - truth[:, :3]).mean(0)
    image = nib.load(raw / 'sub-03/anat/sub-03_T1w.nii.gz')
    paths = {
        key: tmp_path / output_name(key, {'subject': '03'}, kind)
        for key in ('forward_xfm', 'inverse_xfm', 'affine_xfm', 'qc')
    }
    paths['qc'].parent.mkdir(parents=True)
    from bidsreg.registration import Grid

    found = Deformation.from_affine(shift, Grid(image.shape, image.affine))
    found.save(paths['forward_xfm'])
    found.inverted().save(paths['inverse_xfm'])
    data.write_itk_affine(shift, paths['affine_xfm'])
    facts = {**GOOD, 'contrasts': {'fixed': 'T1w', 'moving': 'FLAIR'}, 'contrast': 0.9, 'depth_contrast': -0.1}
    facts['result'] = {**GOOD['result'], 'decision': {'kept': 'affine'}}
    paths['qc'].write_text(json.dumps({**facts, 'verdict': judge(facts).as_dict()}))
    seen = contrasts.errors(raw, tmp_path, '03', 'FLAIR')
    expected = np.linalg.norm(truth[:, 3:] - truth[:, :3] - shift[:3, 3], axis=1)
    np.testing.assert_allclose(seen['after'], expected, atol=0.01)
    np.testing.assert_allclose(seen['affine'], expected, atol=0.01)
    lines = list(contrasts.report(raw, tmp_path, ['03'], ['FLAIR']))
    assert '(affine) | CHECK | `depth_contrast`' in lines[1]
    assert f'{expected.mean():.2f} / {np.percentile(expected, 95):.2f}' in lines[1]
    assert '| 03 | FLAIR | 0.90 | -0.10 |' in lines[3]
