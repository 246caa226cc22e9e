"""syntx: what its package is asked, and its field against what ANTs makes of the transforms."""

from __future__ import annotations

import json

import nibabel as nib
import numpy as np
import pytest

from bidsreg.programs import PROGRAMS, syntx
from bidsreg.programs.exchange import LPS
from bidsreg.registration import Image
from bidsreg.registration.itk import write_affine
from tests.programs.comparison import awkward, relative_difference, usable


def test_the_affine_that_it_found_comes_after_its_warp(tmp_path, monkeypatch):
    workspace, fixed, truth = awkward(tmp_path)
    asked = []
    other = workspace.affine.copy()
    other[:3, 3] += 1  # it may round, or move it

    def child(program, words, given):
        """Save half of the displacements as a warp, ITK's way, before another affine."""
        assert (program, given) == ('syntx', workspace)
        asked.extend(words)
        nib.save(nib.Nifti1Image((truth * LPS)[:, :, :, None].astype(np.float32), fixed.grid.affine), words[3])
        write_affine(tmp_path / 'text.txt', other)
        words[4].write_text((tmp_path / 'text.txt').read_text())

    monkeypatch.setattr(syntx, 'run_python', child)
    monkeypatch.setattr('bidsreg.registration.itk.read_affine', lambda path: other)
    fields = PROGRAMS['syntx'].run(workspace)
    extra = np.linalg.inv(workspace.affine[:3, :3]) @ np.ones(3)
    np.testing.assert_allclose(fields.forward, truth + extra, atol=1e-3)
    assert asked[:3] == [workspace.path('fixed'), workspace.path('moving'), workspace.itk_affine]
    assert json.loads(asked[-1]) == {'syn_metric': 'mattes', 'reg_iterations': [100, 100, 20], 'n_time_steps': 3}


@pytest.mark.slow
@pytest.mark.parametrize('name', [usable('syntx')])
def test_its_field_is_what_ants_applies(name, heads, found):
    import ants

    workspace, fields = found(name)
    fixed, moving = (ants.image_read(str(workspace.path(end))) for end in ('fixed', 'moving'))
    transforms = [str(workspace.folder / end) for end in ('warp.nii.gz', 'found.mat')]
    ants.image_write(ants.apply_transforms(fixed, moving, transforms), str(workspace.path('theirs')))
    assert np.linalg.norm(fields.forward, axis=-1).max() > 0.5
    difference = relative_difference(heads, fields, Image.load(workspace.path('theirs')).data)
    assert np.percentile(difference, 99) < 2e-3
    assert np.median(difference) < 1e-5


def test_another_version_does_not_do(monkeypatch):
    monkeypatch.setattr('importlib.util.find_spec', lambda name: object())
    monkeypatch.setattr('importlib.metadata.version', lambda name: '5.4.15')
    assert 'pip install syntx==5.1.0' in PROGRAMS['syntx'].missing()
    monkeypatch.setattr('importlib.metadata.version', lambda name: '5.1.0')
    assert PROGRAMS['syntx'].missing() == ''
