"""SynthMorph with a pretended program: what it is asked, and the warps that surfa writes for it."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest

from bidsreg.programs import PROGRAMS, ProgramError, synthmorph
from tests.fake_program import executable
from tests.programs.comparison import awkward, check_brought


@pytest.mark.parametrize('five', [True, False], ids=['X Y Z 1 3', 'X Y Z 3'])
def test_its_warps_are_millimetres_on_the_fixed_grid(tmp_path, monkeypatch, five):
    workspace, fixed, truth = awkward(tmp_path)
    asked = []

    def program(words, given):
        """Save the true warp, and half of it for the inverse, as RAS+ vectors."""
        assert given is workspace
        asked.extend(words)
        for option, scale in (('-t', 1), ('-T', 0.5)):
            field = (scale * truth).astype(np.float32)
            path = words[words.index(option) + 1]
            nib.save(nib.Nifti1Image(field[:, :, :, None] if five else field, fixed.grid.affine), path)

    monkeypatch.setattr(synthmorph, 'run_program', program)
    fields = PROGRAMS['synthmorph'].run(workspace)
    np.testing.assert_allclose(fields.forward, truth, atol=1e-4)
    np.testing.assert_allclose(fields.inverse, truth / 2, atol=1e-4)
    *options, moving, last = asked
    assert options[:-4] == ['mri_synthmorph', *['-m', 'deform', '-j', '1', '-r', '0.5', '-n', '7', '-e', '256']]
    assert last == workspace.path('fixed')
    assert check_brought(moving, workspace).grid.same_as(fixed.grid)
    assert '-g' not in asked


def test_it_is_looked_for_on_the_path(tmp_path, monkeypatch):
    monkeypatch.setenv('PATH', '/usr/bin:/bin')
    assert 'FreeSurfer' in PROGRAMS['synthmorph'].missing()
    monkeypatch.setenv('PATH', f'{executable(tmp_path / "path", "mri_synthmorph")}:/usr/bin:/bin')
    assert PROGRAMS['synthmorph'].missing() == ''


def test_a_program_that_leaves_nothing_is_an_error(tmp_path, monkeypatch):
    workspace, *_ = awkward(tmp_path)
    monkeypatch.setattr(synthmorph, 'run_program', lambda words, given: None)
    with pytest.raises(ProgramError, match='left no forward'):
        PROGRAMS['synthmorph'].run(workspace)
