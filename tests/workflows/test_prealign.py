"""The second room alone, in a graph of its own, on a small head."""

import nibabel as nb
import numpy as np
import pytest

from bidsreg.registration.itk import read_affine
from bidsreg.workflows import init_prealign_wf
from tests import data
from tests.graph_fixtures import dice, run_room


@pytest.mark.slow  # ANTs at full length
def test_prealign(heads, tmp_path):
    known = data.truth(0, turn=(3, -2, 4), shift=(3, -2, 4), amplitude=1.0)
    out = run_room(
        init_prealign_wf(sloppy=True), tmp_path, fixed=heads['t1w'], fixed_mask=heads['mask'], moving=heads['t2w']
    )
    pair = data.pair((40, 46, 40), 0, known=known)
    for name, limit in (('rigid', 1.5), ('affine', 1.5)):
        error = pair.error(nb.affines.apply_affine(read_affine(out[name]), pair.points[:, :3]))
        assert error.mean() < limit
    choice = out['linear_choice']
    np.testing.assert_array_equal(read_affine(out['linear']), read_affine(out[choice['kept']]))
    stretches = np.linalg.svd(read_affine(out['affine'])[:3, :3], compute_uv=False)
    assert choice['stretch'] == pytest.approx(np.abs(stretches - 1).max(), abs=1e-6)
    lower = 1 - choice['mind_heldout']['affine'] / choice['mind_heldout']['rigid']
    assert choice['kept'] == ('affine' if lower >= choice['stretch'] else 'rigid')
    nb.save(pair.moving_mask, tmp_path / 'goal.nii.gz')
    assert dice(out['mask'], tmp_path / 'goal.nii.gz') > 0.95
    assert set(out['seconds']) == {'conform', 'rigid', 'moving_mask', 'n4', 'affine', 'linear'}
    np.testing.assert_allclose(nb.load(out['preproc']).affine, pair.moving.affine, atol=1e-3)


@pytest.mark.slow  # ANTs at full length
def test_a_mask_of_the_moving_image_is_taken(heads, tmp_path):
    goal = data.pair((40, 46, 40), 0, known=data.truth(0, turn=(3, -2, 4), shift=(3, -2, 4), amplitude=1.0)).moving_mask
    turned = goal.as_reoriented([[0, -1], [2, 1], [1, 1]])
    nb.save(turned, tmp_path / 'mine_mask.nii.gz')
    out = run_room(
        init_prealign_wf(sloppy=True, user_mask=True),
        tmp_path,
        fixed=heads['t1w'],
        fixed_mask=heads['mask'],
        moving=heads['t2w'],
        moving_mask=str(tmp_path / 'mine_mask.nii.gz'),
    )
    np.testing.assert_array_equal(nb.load(out['mask']).get_fdata(), goal.get_fdata() > 0)
    assert 'mine_mask.nii.gz, its voxels put into the order' in out['mask_method']
