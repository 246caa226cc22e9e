"""The first room alone, in a graph of its own, on a small head."""

import nibabel as nb
import numpy as np

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


def test_masking_without_a_mask_or_n4(heads, tmp_path):
    out = run_room(init_masking_wf(skull_strip='skip', bias_correction='none'), tmp_path, in_file=heads['t1w'])
    assert 'not zero' in out['method']
    assert out['preproc'] == out['image']
