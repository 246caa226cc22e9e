"""anatomix with a pretended script: what it is asked, and its voxels as millimetres."""

from __future__ import annotations

import dataclasses
import sys

import nibabel as nib
import numpy as np
import pytest

from bidsreg.programs import PROGRAMS, ProgramError, anatomix
from tests.programs.comparison import awkward, check_brought

PROGRAM = PROGRAMS['anatomix+convexadam']


def test_its_voxels_become_millimetres(tmp_path, monkeypatch):
    workspace, fixed, truth = awkward(tmp_path)
    workspace = dataclasses.replace(workspace, device='cuda')
    monkeypatch.setenv(anatomix.WEIGHTS, str(tmp_path / 'anatomix.pth'))
    asked = []

    def program(words, given):
        """Save the true displacements in voxels, under the name that its script makes."""
        assert given is workspace
        asked.extend(words)
        voxels = truth @ np.linalg.inv(fixed.grid.affine[:3, :3]).T
        name = 'disp_resampled_g2_hw1_l0.75_ga2_icTrue_bidsreg.nii.gz'
        nib.save(nib.Nifti1Image(voxels.astype(np.float32), fixed.grid.affine), tmp_path / name)

    monkeypatch.setattr(anatomix, 'run_program', program)
    fields = PROGRAM.run(workspace)
    np.testing.assert_allclose(fields.forward, truth, atol=1e-4)
    assert fields.inverse is None
    assert asked[:3] == [sys.executable, '-m', anatomix.SCRIPT]
    given = dict(zip(asked[3::2], asked[4::2], strict=True))
    assert given.pop('--fixed').name == 'fixed.nii.gz'
    assert check_brought(given.pop('--moving'), workspace).grid.same_as(fixed.grid)
    assert {name: str(value) for name, value in given.items()} == {
        '--exp_name': 'bidsreg',
        '--ckpt_path': str(tmp_path / 'anatomix.pth'),
        '--result_path': str(tmp_path),
        '--selected_niter': '80',
    }


def test_without_a_gpu_it_says_so(tmp_path):
    workspace, *_ = awkward(tmp_path)
    with pytest.raises(ProgramError, match='GPU only'):
        PROGRAM.run(workspace)


def test_weights_are_named_by_the_environment(tmp_path, monkeypatch):
    monkeypatch.delenv(anatomix.WEIGHTS, raising=False)
    monkeypatch.setattr('importlib.util.find_spec', lambda name: None)
    assert 'pip install git+https' in PROGRAM.missing()
    monkeypatch.setattr('importlib.util.find_spec', lambda name: object())
    assert 'names no file of weights' in PROGRAM.missing()
    (tmp_path / 'anatomix.pth').touch()
    monkeypatch.setenv(anatomix.WEIGHTS, str(tmp_path / 'anatomix.pth'))
    assert PROGRAM.missing() == ''
