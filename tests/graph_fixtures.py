"""A small raw dataset of heads worth registering, a solver that does nothing, and the running of graphs."""

import shlex
import sys

import nibabel as nb
import numpy as np
import pytest
from nipype import config
from nipype.interfaces import utility as niu
from nipype.pipeline import engine as pe
from nipype.pipeline.engine.utils import generate_expanded_graph

from tests import data

FAKE_PAIR = """\
import json, sys, numpy as np, nibabel as nb
from pathlib import Path
from bidsreg.registration.grid import Grid
from bidsreg.registration.itk import write_composite
args = sys.argv[1:]
out = Path(args[args.index('--out') + 1])
fixed, moving = nb.load(args[0]), nb.load(args[1])
out.mkdir()
with open(Path(sys.argv[0]).with_name('calls.txt'), 'a') as calls:
    calls.write('once')
for name in ('warped', 'jacobian'):
    nb.save(nb.Nifti1Image(fixed.get_fdata(dtype='f4'), fixed.affine), out / f'{name}.nii.gz')
grid, still = Grid(fixed.shape, fixed.affine), np.zeros((*fixed.shape, 3), 'f4')
for name in ('forward', 'inverse'):
    write_composite(out / f'{name}.h5', np.eye(4), still, grid, affine_first=name == 'inverse')
row = {'level': 4.0, 'loss': 1.0, 'similarity': 1.0, 'regularity': 0.0, 'factor': 1.0}
history = [{**row, 'iteration': i} for i in range(1, 4)]
(out / 'result.json').write_text(json.dumps({'method': 'node-mind', 'loss_history': history}))
"""


@pytest.fixture(autouse=True)
def quick_nipype(monkeypatch):
    """No crash files in the repository, no waiting."""
    monkeypatch.setenv('NIPYPE_NO_ET', '1')
    config.update_config({'execution': {'poll_sleep_duration': 0.2, 'crashfile_format': 'txt', 'check_version': False}})


@pytest.fixture(scope='session')
def bids(tmp_path_factory):
    """Two subjects; a brain mask beside each T1w, so that no network is needed."""
    root = tmp_path_factory.mktemp('données bids') / 'raw'
    images = {}
    for number, subject in enumerate(('01', '02')):
        known = data.truth(number, turn=(3, -2, 4), shift=(3, -2, 4), amplitude=1.0)
        pair = data.pair((40, 46, 40), number, known=known)
        images[f'sub-{subject}_T1w.nii.gz'], images[f'sub-{subject}_T2w.nii.gz'] = pair.fixed, pair.moving
    data.write_dataset(root, {'01': {None: ['T1w', 'T2w']}, '02': {None: ['T1w', 'T2w']}}, images=images)
    for number, subject in enumerate(('01', '02')):
        mask = data.head((40, 46, 40), number).mask
        nb.save(mask, root / f'sub-{subject}' / 'anat' / f'sub-{subject}_desc-brain_mask.nii.gz')
    return root


@pytest.fixture
def heads(bids):
    """T1w, T2w and the T1w's mask of the first subject: paths."""
    anat = bids / 'sub-01' / 'anat'
    return {
        't1w': str(anat / 'sub-01_T1w.nii.gz'),
        't2w': str(anat / 'sub-01_T2w.nii.gz'),
        'mask': str(anat / 'sub-01_desc-brain_mask.nii.gz'),
    }


@pytest.fixture
def fake_register(tmp_path, monkeypatch):
    """A solver that does nothing, quickly."""
    from bidsreg.interfaces.register import Register

    script = tmp_path / 'fake pair.py'
    script.write_text(FAKE_PAIR)
    monkeypatch.setattr(Register, '_cmd', f'{shlex.quote(sys.executable)} {shlex.quote(str(script))}')


def run_room(room, tmp_path, **inputs) -> dict:
    """Run a room in a workflow whose last node keeps what comes out."""
    config.update_config({'execution': {'crashdump_dir': str(tmp_path)}})
    outer = pe.Workflow(name='outer', base_dir=str(tmp_path / 'work'))
    names = room.get_node('outputnode').outputs.copyable_trait_names()
    keep = pe.Node(niu.IdentityInterface(fields=names), name='keep')
    outer.connect([(room, keep, [(f'outputnode.{name}', name) for name in names])])
    for name, value in inputs.items():
        setattr(room.get_node('inputnode').inputs, name, value)
    graph = outer.run()
    found = {}
    for node in graph.nodes():
        for edge in room._graph.in_edges(room.get_node('outputnode'), data=True):
            inner, _, wires = edge
            if inner.fullname.split('.')[-1] == node.name:
                for source, goal in wires['connect']:
                    found[goal] = getattr(node.result.outputs, source)
    return found


def dice(one, other) -> float:
    """Return the Dice overlap of two files of masks."""
    one, other = (np.asanyarray(nb.load(image).dataobj) > 0 for image in (one, other))
    return float(2 * (one & other).sum() / (one.sum() + other.sum()))


def expanded_graph(workflow):
    """Return the graph of a workflow as it is run, without the nodes that only pass things on."""
    return generate_expanded_graph(workflow._create_flat_graph())


def expanded(workflow):
    """Return the nodes of a workflow as they are run."""
    return list(expanded_graph(workflow).nodes())
