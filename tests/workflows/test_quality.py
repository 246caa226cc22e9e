"""The fourth room alone, in a graph of its own, on a small head."""

import json
from pathlib import Path

import nibabel as nb
import numpy as np
import pytest

from bidsreg.registration.grid import Grid
from bidsreg.registration.itk import write_affine, write_composite
from bidsreg.reports.pictures import PICTURES
from bidsreg.workflows import init_quality_wf
from tests.graph_fixtures import run_room


@pytest.mark.slow  # all measures and pictures of a pair
def test_quality(heads, tmp_path):
    write_affine(tmp_path / 'a.txt', np.eye(4))
    scan = nb.load(heads['t1w'])
    still = np.zeros((*scan.shape, 3), np.float32)
    write_composite(tmp_path / 'forward.h5', np.eye(4), still, Grid(scan.shape, scan.affine))
    history = [{'level': 4.0, 'iteration': k, 'loss': 1.0, 'similarity': 1.0, 'regularity': 0.0} for k in range(3)]
    (tmp_path / 'result.json').write_text(json.dumps({'method': 'node-mind', 'loss_history': history}))
    out = run_room(
        init_quality_wf(),
        tmp_path,
        fixed=heads['t1w'],
        fixed_mask=heads['mask'],
        moving=heads['t2w'],
        moving_mask=heads['mask'],
        affine=str(tmp_path / 'a.txt'),
        warped=heads['t1w'],
        forward=str(tmp_path / 'forward.h5'),
        jacobian=heads['t1w'],
        result=str(tmp_path / 'result.json'),
    )
    assert out['facts']['result']['method'] == 'node-mind'
    assert json.loads(Path(out['facts_file']).read_text()) == out['facts']
    assert [Path(path).stem for path in out['figures']] == [name for name in PICTURES if name != 'ratio']
    for path in out['figures']:
        assert '<svg' in Path(path).read_text()
