"""The tables of the whole app, from files as it writes them."""

from __future__ import annotations

import json

import app as whole_app
import numpy as np
import pytest

from bidsreg.registration import Deformation, Grid
from tests import data


@pytest.fixture
def derivatives(tmp_path):
    """A run of one pair whose affine is 2 mm off and whose deformation is right, with truth beside its raw data."""
    grid = Grid((9, 9, 9), data.grid((9, 9, 9), voxel=4.0))
    affine = np.eye(4)
    affine[:3, 3] = 3, 0, 0
    field = np.zeros((*grid.shape, 3), np.float32)
    field[1:-1, 1:-1, 1:-1, 0] = 2
    found = Deformation(affine, field, -field, grid)
    points = grid.to_world(np.array([[3, 3, 3], [4, 4, 4], [5, 4, 3]]))
    truth = tmp_path / 'bids/derivatives/truth/sub-01/anat'
    truth.mkdir(parents=True)
    moved = points + np.array([5, 0, 0])
    np.savetxt(truth / 'sub-01_from-T1w_to-T2w_points.tsv', np.hstack([points, moved]), header='a b c d e f')
    anat = tmp_path / 'out/sub-01/anat'
    anat.mkdir(parents=True)
    found.save(anat / 'sub-01_from-T2w_to-T1w_mode-image_xfm.h5')
    found.inverted().save(anat / 'sub-01_from-T1w_to-T2w_mode-image_xfm.h5')
    data.write_itk_affine(affine, anat / 'sub-01_from-T2w_to-T1w_mode-image_desc-affine_xfm.tfm')
    result = {
        'peak_memory_mb': 512,
        'decision': {'kept': 'diffeo'},
        'jacobian': {'folds': 0},
        'displacement_mm': {'mean': 1.234},
    }
    facts = {'seconds_per_step': {'masking': {'n4': 3.0}, 'registration': {'register': 40.0}}, 'result': result}
    (anat / 'sub-01_desc-registration_qc.json').write_text(json.dumps(facts))
    return tmp_path


def test_errors_are_those_of_the_judge(derivatives, capsys):
    whole_app.report(derivatives / 'bids', derivatives, 100.0, 2000.0)
    said = capsys.readouterr().out
    assert '1 pairs, 100 s in all, peak memory of all processes 2000 MB' in said
    assert '| registration: register | 40.0 | 40.0 |' in said
    assert '| registration: peak memory of the solver, MB | 512.0 | 512.0 |' in said
    assert '| sub-01 | diffeo | 0 | 1.23 | 5.00 / 5.00 | 2.00 / 2.00 | 0.00 / 0.00 |' in said


def test_without_truth_there_are_no_errors(derivatives, capsys):
    whole_app.report(derivatives / 'elsewhere', derivatives, 100.0, 2000.0)
    assert '| sub-01 | diffeo | 0 | 1.23 | - | - | - |' in capsys.readouterr().out


def test_options_go_to_the_app_and_a_failure_ends_it(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(whole_app, 'run_watched', lambda command, **_: asked.append(command) or (1, 0.0, 0))
    with pytest.raises(SystemExit, match=r'bidsreg ended with 1; see .*log\.txt'):
        whole_app.main([str(tmp_path), '--keep', str(tmp_path / 'kept'), '--', '--sloppy'])
    [words] = asked
    assert words[1:4] == ['-m', 'bidsreg', str(tmp_path)]
    assert words[-4:] == ['--nprocs', '2', '--skip-bids-validation', '--sloppy']
