"""What all graphs have in common, their door, and the example of the docs."""

import inspect
import re
import subprocess
import sys
from pathlib import Path

import nibabel as nb
import numpy as np
import pytest

from bidsreg import workflows
from bidsreg.workflows import masking, pair, prealign, quality, ratio, registration
from tests import data
from tests.graph_fixtures import expanded

ROOMS = {
    'masking': masking.init_masking_wf,
    'prealign': prealign.init_prealign_wf,
    'registration': registration.init_registration_wf,
    'quality': quality.init_quality_wf,
    'ratio': ratio.init_ratio_wf,
}


def test_the_door_has_every_graph():
    for name in workflows.__all__:
        assert getattr(workflows, name).__name__ == name
    found = {path.stem for path in Path(workflows.__file__).parent.glob('*.py') if 'def init_' in path.read_text()}
    assert len(workflows.__all__) == len(found - {'__init__'})
    with pytest.raises(AttributeError, match='no attribute'):
        workflows.init_nothing_wf  # noqa: B018


def test_the_door_is_opened_without_nipype():
    code = 'import sys, bidsreg.workflows; print(sorted({"nipype", "torch", "numpy"} & set(sys.modules)))'
    assert subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True).stdout == '[]\n'


@pytest.mark.parametrize('room', sorted(ROOMS))
def test_a_room_is_a_graph_of_its_own(room):
    init = ROOMS[room]
    workflow = init()
    assert workflow.name == f'{room}_wf'
    assert init(name='mine').name == 'mine'
    assert expanded(workflow)
    for parameter in inspect.signature(init).parameters.values():
        assert parameter.kind is parameter.KEYWORD_ONLY
    text = inspect.getdoc(init)
    inputs, outputs = text.split('Inputs\n------')[1].split('Outputs\n-------')
    for node, part in (('inputnode', inputs), ('outputnode', outputs)):
        for field in workflow.get_node(node).outputs.copyable_trait_names():
            assert re.search(rf'\b{field}\b', part), f'{field} is not documented'
        assert len(workflow.get_node(node).outputs.copyable_trait_names()) >= 2
    for parameter in inspect.signature(init).parameters:
        assert re.search(rf'\b{parameter}\b', text.split('Inputs\n------')[0])


@pytest.mark.parametrize('module', [masking, prealign, registration, quality, ratio, pair])
def test_a_node_is_called_as_its_variable(module):
    source = inspect.getsource(module)
    names = re.findall(r'^    (\w+) = pe\.Node\(', source, re.M)
    assert len(names) >= 4
    for name in names:
        assert f"name='{name}'" in source


@pytest.mark.slow  # all rooms with the real programs
def test_the_example_of_the_docs(heads, tmp_path):
    """The first snippet of docs/python-api.md, which builds a graph, run on a head with a drawn lesion."""
    text = (Path(__file__).parents[2] / 'docs' / 'python-api.md').read_text()
    code, *_ = re.findall(r'```python\n(.*?)```', text, re.S)
    names: dict = {}
    exec(code, names)
    moving = nb.load(heads['t2w'])
    known = data.truth(0, turn=(3, -2, 4), shift=(3, -2, 4), amplitude=1.0)
    place = np.array([20.0, 10.0, 15.0])  # world mm, T1w
    goal = known.forward(place[None])[0]
    far = np.linalg.norm(data.world(moving.shape, moving.affine) - goal, axis=-1)
    nb.save(nb.Nifti1Image((far < 15).astype(np.uint8), moving.affine), tmp_path / 'lesion.nii.gz')
    workflow, source = names['lesions'], names['source']
    workflow.base_dir = str(tmp_path / 'work')
    source.inputs.t1w, source.inputs.t2w, source.inputs.brain_mask = heads['t1w'], heads['t2w'], heads['mask']
    source.inputs.lesion_map = str(tmp_path / 'lesion.nii.gz')
    graph = workflow.run()
    (node,) = (node for node in graph.nodes() if node.name == 'lesions_on_t1w')
    lesion = nb.load(node.result.outputs.out_file)
    fixed = nb.load(heads['t1w'])
    assert lesion.shape == fixed.shape
    centre = nb.affines.apply_affine(lesion.affine, np.argwhere(lesion.get_fdata() > 0).mean(0))
    assert np.linalg.norm(centre - place) < 2.5
