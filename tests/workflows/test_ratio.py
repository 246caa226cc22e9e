"""The ratio alone, in a graph of its own."""

from __future__ import annotations

import nibabel as nb
import numpy as np
import pytest

from bidsreg.workflows import init_ratio_wf
from tests import data
from tests.graph_fixtures import run_room


@pytest.fixture(scope='module')
def one(tmp_path_factory):
    """A head in two scans that are turned against each other, and the matrix between them: a folder and the pair."""
    folder = tmp_path_factory.mktemp('heads')
    pair = data.pair(known=data.truth(3, turn=(3, -2, 4), shift=(3, -2, 4), amplitude=0), noise=0.01)
    return pair.save(folder), pair


def inputs(paths):
    return {
        't1w': str(paths['fixed']),
        't1w_preproc': str(paths['fixed']),
        't1w_mask': str(paths['fixed_mask']),
        't2w': str(paths['moving']),
        't2w_preproc': str(paths['moving']),
        'transform': str(paths['affine']),
    }


def test_the_ratio_is_that_of_the_contrasts(one, tmp_path):
    paths, pair = one
    out = run_room(init_ratio_wf(), tmp_path, **inputs(paths))
    ratio, labels = nb.load(out['ratio']), np.asanyarray(pair.fixed_labels.dataobj)
    np.testing.assert_allclose(ratio.affine, pair.fixed.affine, atol=1e-5)
    medians = {}
    for tissue in ('wm', 'gm'):
        place = list(data.TISSUES).index(tissue)
        medians[tissue] = np.median(ratio.get_fdata()[(labels == place) & (np.asarray(pair.fixed_mask.dataobj) > 0)])
        expected = data.CONTRASTS['T1w'][place] / data.CONTRASTS['T2w'][place]
        # voxels of 4 mm are mixed, the more so where a sheet is thin
        assert medians[tissue] == pytest.approx(expected, rel=0.1 if tissue == 'wm' else 0.35)
    assert medians['wm'] > 1.5 * medians['gm']
    assert out['facts']['kind'] == 'uncalibrated'
    assert set(out['seconds']) == {'t2w_in_t1w', 'ratio'}


def test_calibrated_takes_the_scans_without_bias():
    for kind, end in (('uncalibrated', ''), ('calibrated', '_preproc')):
        workflow = init_ratio_wf(kind=kind)
        begin = workflow.get_node('inputnode')
        wires = {
            goal.name: {there: here for here, there in workflow._graph.get_edge_data(begin, goal)['connect']}
            for goal in (workflow.get_node('ratio'), workflow.get_node('t2w_in_t1w'))
        }
        assert wires['ratio']['t1w'] == f't1w{end}'
        assert wires['t2w_in_t1w']['in_file'] == f't2w{end}'
        assert workflow.get_node('ratio').interface.inputs.kind == kind
