"""The first room alone, in a graph of its own, on a small head."""

import nibabel as nb
import numpy as np
from nipype.interfaces.base import Undefined

from bidsreg.workflows import init_masking_wf
from tests.graph_fixtures import dice, run_room


def test_masking(heads, tmp_path):
    out = run_room(init_masking_wf(sloppy=True), tmp_path, in_file=heads['t1w'], user_mask=heads['mask'])
    assert dice(out['mask'], heads['mask']) == 1
    assert 'user' in out['method']
    assert any('thick slices' in finding for finding in out['findings'])  # its voxels have 4.5 mm and more
    assert out['skull_stripped'] is False
    assert set(out['seconds']) == {'conform', 'brain_mask', 'n4'}
    image, preproc = nb.load(out['image']), nb.load(out['preproc'])
    np.testing.assert_allclose(image.affine, preproc.affine, atol=1e-5)
    assert not np.allclose(image.get_fdata(), preproc.get_fdata())


def test_a_second_mask_beside_that_of_the_user(heads, tmp_path):
    """The head is stripped, so that the voxels that are not zero are found without the network."""
    scan, mask = nb.load(heads['t1w']), nb.load(heads['mask'])
    stripped = str(tmp_path / 'stripped.nii')
    nb.save(nb.Nifti1Image(scan.get_fdata() * (mask.get_fdata() > 0), scan.affine), stripped)
    room = init_masking_wf(bias_correction='none', user_mask=True, skull_strip='skip')
    out = run_room(room, tmp_path, in_file=stripped, user_mask=heads['mask'])
    assert 'user' in out['method']
    assert 'stripped already' in out['second_mask_method']
    assert dice(out['second_mask'], heads['mask']) > 0.95


def test_masking_without_a_mask_or_n4(heads, tmp_path):
    out = run_room(init_masking_wf(skull_strip='skip', bias_correction='none'), tmp_path, in_file=heads['t1w'])
    assert 'not zero' in out['method']
    assert out['preproc'] == out['image']


def test_the_contrast_is_told_to_both_masks_and_the_usual_one_to_none():
    for contrast in ('T1w', 'T2w'):
        room = init_masking_wf(user_mask=True, contrast=contrast)
        told = [room.get_node(name).inputs.contrast for name in ('brain_mask', 'second_mask')]
        # so that the work folder of a T1w stays as good as it was
        assert told == (['T2w', 'T2w'] if contrast == 'T2w' else [Undefined, Undefined])
