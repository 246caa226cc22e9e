"""FireANTs: what it is asked, and what is made of the warp it saves, with a pretended library."""

from __future__ import annotations

import json

import nibabel as nib
import numpy as np

from bidsreg.programs import PROGRAMS, fireants
from bidsreg.programs.exchange import LPS, world_points
from tests.programs.comparison import made_ready


def test_the_affine_is_taken_off_the_warp_that_it_saves(heads, tmp_path, monkeypatch):
    workspace = made_ready(tmp_path, heads)
    points = world_points(heads.fixed)
    asked = []

    def child(program, words, given):
        """Save the true warp, affine included, as ITK writes it."""
        asked.extend([program, *words])
        assert given is workspace
        total = (heads.truth.forward(points) - points) * LPS
        nib.save(nib.Nifti1Image(total[:, :, :, None].astype(np.float32), heads.fixed.grid.affine), words[3])

    monkeypatch.setattr(fireants, 'run_python', child)
    fields = PROGRAMS['fireants'].run(workspace)
    np.testing.assert_allclose(fields.forward, heads.displacement(), atol=1e-3)
    assert fields.inverse is None
    program, *files, device, threads, options = asked
    assert (program, device, threads) == ('fireants', 'cpu', '1')
    assert files[:3] == [workspace.path('fixed'), workspace.path('moving'), workspace.plain_affine]
    assert json.loads(options)['iterations'] == [20, 10, 5]
