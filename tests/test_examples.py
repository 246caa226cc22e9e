"""The scripts in ``examples/``: they run on small heads, and do what they say."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import nibabel as nib
import numpy as np
import pytest

from bidsreg.registration import Deformation
from tests import data

ROOT = Path(__file__).resolve().parents[1]
SCRIPTS = sorted((ROOT / 'examples').glob('*.py'))


def script(name: str) -> ModuleType:
    """Import an example afresh, as ``python examples/NAME.py`` would."""
    spec = importlib.util.spec_from_file_location(name, ROOT / 'examples' / f'{name}.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope='module')
def pair():
    return data.pair((24, 28, 24), seed=1)


@pytest.fixture
def files(pair, tmp_path):
    return {name: str(path) for name, path in pair.save(tmp_path / 'pair').items()}


@pytest.mark.parametrize('path', SCRIPTS, ids=lambda path: path.stem)
def test_examples_say_what_they_are_and_how_to_run_them(path, capsys):
    words = path.read_text(encoding='utf-8').split('"""')[1]
    assert f'    python examples/{path.name} ' in words
    with pytest.raises(SystemExit, match='0'):
        script(path.stem).main(['--help'])
    assert words.strip().splitlines()[0] in capsys.readouterr().out


@pytest.mark.slow
def test_register_two_files(pair, files, tmp_path, capsys):
    out = tmp_path / 'out'
    arguments = [files['fixed'], files['moving'], str(out), '--fixed-mask', files['fixed_mask']]
    assert script('register_two_files').main([*arguments, '--affine', files['affine'], '--sloppy']) == 0
    said = capsys.readouterr().out
    information = {stage: float(value) for stage, value in re.findall(r'(\w+): mutual information ([\d.]+)', said)}
    assert information['diffeo'] >= 0.98 * information['affine']  # interpolation alone moves it on such voxels
    assert said.endswith('\n0 folds\n')
    warped = nib.load(out / 'warped.nii.gz')
    assert warped.shape == pair.fixed.shape
    np.testing.assert_allclose(warped.affine, pair.fixed.affine, atol=1e-4)
    found = Deformation.load(out / 'forward.h5', out / 'inverse.h5')
    assert pair.error(found.points(pair.points[:, :3])).mean() < pair.error(pair.points[:, :3]).mean() / 2


@pytest.mark.slow
def test_similarity_of_ones_own(files, tmp_path, monkeypatch, capsys):
    from bidsreg.registration import SIMILARITIES

    monkeypatch.setitem(SIMILARITIES, 'edges', None)  # what the script registers is gone after the test
    warped = tmp_path / 'warped.nii.gz'
    arguments = [files['fixed'], files['fixed'], str(warped), '--fixed-mask', files['fixed_mask'], '--sloppy']
    assert script('similarity_of_ones_own').main(arguments) == 0
    assert 'registered by edges: 0 folds' in capsys.readouterr().out
    fixed = nib.load(files['fixed']).get_fdata()
    np.testing.assert_allclose(nib.load(warped).get_fdata(), fixed, atol=0.05 * fixed.max())


@pytest.mark.slow
def test_workflow_in_workflow(pair, files, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv('NIPYPE_NO_ET', '1')
    monkeypatch.chdir(tmp_path)
    arguments = [files['fixed'], files['fixed_mask'], files['moving'], str(tmp_path / 'work'), '--sloppy']
    assert script('workflow_in_workflow').main(arguments) == 0
    (shift,) = re.findall(r'the T2w lies ([\d.]+) mm from', capsys.readouterr().out)
    truth = np.linalg.norm(pair.truth.matrix[:3, 3])
    assert float(shift) == pytest.approx(truth, abs=3.0)


def test_the_graph_of_the_workflow_is_whole():
    workflow = script('workflow_in_workflow').init_motion_wf(name='mine_wf')
    assert workflow.name == 'mine_wf'
    assert {'inputnode', 'outputnode', 'prealign_wf.rigid', 'shift'} <= set(workflow.list_node_names())
