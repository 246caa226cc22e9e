"""uniGradICON with a pretended program: what it is asked, and its composite transform, which ITK reads for real."""

from __future__ import annotations

import importlib.util

import nibabel as nib
import numpy as np
import pytest

from bidsreg.programs import PROGRAMS, unigradicon
from bidsreg.programs.exchange import LPS, itk_field, world_points
from tests.programs.comparison import awkward, check_brought

PROGRAM = PROGRAMS['unigradicon']
with_itk = pytest.mark.skipif(
    not importlib.util.find_spec('itk'), reason='itk is not installed; pip install itk-elastix'
)


def test_it_is_asked_and_its_transform_read(tmp_path, monkeypatch):
    workspace, fixed, truth = awkward(tmp_path)
    monkeypatch.setenv(unigradicon.WEIGHTS, str(tmp_path / 'Step_2_final.trch'))
    asked = []

    def child(program, words, given):
        """Leave the true displacements as ITK writes them."""
        assert (program, given) == ('unigradicon', workspace)
        transform, image, out = words
        assert (transform, image) == (asked[asked.index('--transform_out') + 1], workspace.path('fixed'))
        field = (truth * LPS)[:, :, :, None].astype(np.float32)
        nib.save(nib.Nifti1Image(field, fixed.grid.affine), out)

    monkeypatch.setattr(unigradicon, 'run_program', lambda words, given: asked.extend(words))
    monkeypatch.setattr(unigradicon, 'run_python', child)
    fields = PROGRAM.run(workspace)
    np.testing.assert_allclose(fields.forward, truth, atol=1e-4)
    assert asked[0] == 'unigradicon-register'
    given = dict(zip(asked[1::2], map(str, asked[2::2]), strict=True))
    check_brought(given.pop('--moving'), workspace)
    assert given == {
        '--fixed': str(workspace.path('fixed')),
        '--fixed_modality': 'mri',
        '--moving_modality': 'mri',
        '--transform_out': str(tmp_path / 'transform.hdf5'),
        '--io_iterations': '50',
        '--io_sim': 'mind',
        '--network_weights': str(tmp_path / 'Step_2_final.trch'),
    }


@with_itk
def test_a_composite_transform_becomes_displacements(tmp_path):
    """An affine within an affine around a shift: what its closed form says, in RAS+."""
    import itk

    workspace, fixed, _ = awkward(tmp_path)
    matrix, shift = np.array([[1.1, 0.1, 0], [0, 0.9, -0.1], [0.05, 0, 1.0]]), np.array([3.0, -2.0, 1.0])
    linear = itk.AffineTransform[itk.D, 3].New()
    linear.SetMatrix(itk.GetMatrixFromArray(matrix))
    moved = itk.TranslationTransform[itk.D, 3].New()
    moved.SetOffset(shift.tolist())
    both = itk.CompositeTransform[itk.D, 3].New()
    both.AddTransform(linear)
    both.AddTransform(moved)  # applied first
    itk.transformwrite([both], str(tmp_path / 'transform.hdf5'))
    words = [str(path) for path in (tmp_path / 'transform.hdf5', workspace.path('fixed'), tmp_path / 'out.nii')]
    assert PROGRAM.child(words) == 0
    points = world_points(fixed)
    expected = ((points * LPS + shift) @ matrix.T) * LPS - points
    np.testing.assert_allclose(itk_field(tmp_path / 'out.nii'), expected, atol=1e-3)


def test_weights_are_named_by_the_environment(tmp_path, monkeypatch):
    monkeypatch.delenv(unigradicon.WEIGHTS, raising=False)
    monkeypatch.setattr('importlib.util.find_spec', lambda name: None)
    assert 'pip install unigradicon' in PROGRAM.missing()
    monkeypatch.setattr('importlib.util.find_spec', lambda name: object())
    monkeypatch.setattr('shutil.which', lambda name: None)
    assert 'not on the PATH' in PROGRAM.missing()
    monkeypatch.setattr('shutil.which', lambda name: '/usr/bin/true')
    assert 'names no file of weights' in PROGRAM.missing()
    (tmp_path / 'w.trch').touch()
    monkeypatch.setenv(unigradicon.WEIGHTS, str(tmp_path / 'w.trch'))
    assert PROGRAM.missing() == ''
