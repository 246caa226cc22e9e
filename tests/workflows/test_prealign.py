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
    nb.save(pair.moving_mask, tmp_path / 'goal.nii.gz')
    assert dice(out['mask'], tmp_path / 'goal.nii.gz') > 0.95
    assert set(out['seconds']) == {'conform', 'rigid', 'moving_mask', 'n4', 'affine'}
    np.testing.assert_allclose(nb.load(out['preproc']).affine, pair.moving.affine, atol=1e-3)
