"""Each room alone, in a graph of its own, on a small head; the app's graph; and the example of the docs."""

import dataclasses
import json
import re
import subprocess
import sys
from pathlib import Path

import nibabel as nb
import numpy as np
import pytest
from bidsreg.workflows.app import init_bidsreg_wf
from bidsreg.workflows.masking import init_masking_wf
from bidsreg.workflows.prealign import init_prealign_wf
from bidsreg.workflows.quality import init_quality_wf
from bidsreg.workflows.registration import init_registration_wf
from nipype import config
from nipype.interfaces import utility as niu
from nipype.pipeline import engine as pe

from bidsreg.bids.names import pair_outputs
from bidsreg.bids.pairs import find_pairs
from bidsreg.bids.publish import is_complete, read_qc
from bidsreg.registration.grid import Grid
from bidsreg.registration.itk import read_affine, write_affine, write_composite
from bidsreg.reports.pictures import PICTURES
from bidsreg.settings import Settings
from tests import data


def run(room, tmp_path, **inputs) -> dict:
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
    one, other = (np.asanyarray(nb.load(image).dataobj) > 0 for image in (one, other))
    return float(2 * (one & other).sum() / (one.sum() + other.sum()))


def test_masking(heads, tmp_path):
    out = run(init_masking_wf(sloppy=True), tmp_path, in_file=heads['t1w'], user_mask=heads['mask'])
    assert dice(out['mask'], heads['mask']) == 1
    assert 'user' in out['method']
    assert any('thick slices' in finding for finding in out['findings'])  # its voxels have 4.5 mm and more
    assert out['skull_stripped'] is False
    assert set(out['seconds']) == {'conform', 'brain_mask', 'n4'}
    image, preproc = nb.load(out['image']), nb.load(out['preproc'])
    np.testing.assert_allclose(image.affine, preproc.affine, atol=1e-5)
    assert not np.allclose(image.get_fdata(), preproc.get_fdata())


def test_masking_without_a_mask_or_n4(heads, tmp_path):
    out = run(init_masking_wf(skull_strip='skip', bias_correction='none'), tmp_path, in_file=heads['t1w'])
    assert 'not zero' in out['method']
    assert out['preproc'] == out['image']


def test_prealign(heads, tmp_path):
    known = data.truth(0, turn=(3, -2, 4), shift=(3, -2, 4), amplitude=1.0)
    out = run(
        init_prealign_wf(sloppy=True), tmp_path, fixed=heads['t1w'], fixed_mask=heads['mask'], moving=heads['t2w']
    )
    pair = data.pair((40, 46, 40), 0, known=known)
    for name, limit in (('rigid', 1.5), ('affine', 1.5)):
        error = pair.error(nb.affines.apply_affine(read_affine(out[name]), pair.points[:, :3]))
        assert error.mean() < limit
    nb.save(pair.moving_mask, tmp_path / 'goal.nii.gz')
    assert dice(out['mask'], tmp_path / 'goal.nii.gz') > 0.95
    assert set(out['seconds']) == {'conform', 'rigid', 'moving_mask', 'n4', 'affine'}
    np.testing.assert_allclose(nb.load(out['preproc']).affine, pair.moving.affine, atol=1e-3)


def test_registration(heads, tmp_path):
    """The real solver, at a resolution as coarse as the head."""
    room = init_registration_wf(sloppy=True, working_resolution=6.0)
    out = run(room, tmp_path, fixed=heads['t1w'], fixed_mask=heads['mask'], moving=heads['t2w'])
    assert json.loads(Path(out['result']).read_text())['jacobian']['folds'] == 0
    for name, like in (('warped', 't1w'), ('jacobian', 't1w'), ('fixed_in_moving', 't2w')):
        assert nb.load(out[name]).shape == nb.load(heads[like]).shape
        np.testing.assert_allclose(nb.load(out[name]).affine, nb.load(heads[like]).affine, atol=1e-3)
    assert Path(out['forward']).suffix == Path(out['inverse']).suffix == '.h5'


@pytest.mark.slow  # SyN takes its time on one thread
def test_the_app_with_another_program(bids, tmp_path):
    """From the command line to the page: the same files as with a method of our own, and nothing says otherwise."""
    options = ['-w', tmp_path / 'work', '--sloppy', '--nprocs', '1', '--skip-bids-validation']
    words = [bids, tmp_path / 'out', 'participant', '--participant-label', '01', '--method', 'ants-syn', *options]
    done = subprocess.run([sys.executable, '-m', 'bidsreg', *map(str, words)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    settings = Settings(bids_dir=bids, output_dir=tmp_path / 'out', work_dir=tmp_path / 'work', nprocs=1)
    settings = dataclasses.replace(settings, method='ants-syn', sloppy=True, participant_label=('01',))
    [pair] = find_pairs(settings).pairs
    assert is_complete(pair, settings)
    for path in pair_outputs(pair, settings.output_dir).values():
        assert Path(path).is_file()
    result = read_qc(pair, settings)['result']
    assert (result['method'], result['device'], result['threads']) == ('ants-syn', 'cpu', 1)
    assert result['evidence']['diffeo']['mi'] > result['evidence']['affine']['mi']
    page = (tmp_path / 'out/sub-01.html').read_text()
    assert 'ants-syn' in page
    assert 'Avants et al. 2008' in page
    assert 'Neural ordinary' not in page


def test_quality(heads, tmp_path):
    write_affine(tmp_path / 'a.txt', np.eye(4))
    scan = nb.load(heads['t1w'])
    still = np.zeros((*scan.shape, 3), np.float32)
    write_composite(tmp_path / 'forward.h5', np.eye(4), still, Grid(scan.shape, scan.affine))
    history = [{'level': 4.0, 'iteration': k, 'loss': 1.0, 'similarity': 1.0, 'regularity': 0.0} for k in range(3)]
    (tmp_path / 'result.json').write_text(json.dumps({'method': 'node-mind', 'loss_history': history}))
    out = run(
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
    assert [Path(path).stem for path in out['figures']] == list(PICTURES)
    for path in out['figures']:
        assert '<svg' in Path(path).read_text()


def test_a_failing_pair_leaves_the_others_alone(bids, tmp_path, fake_register):
    """Two pairs, one with a T2w of NaN: the other is complete, facts, figures and all."""
    import shutil

    mine = tmp_path / 'raw'
    shutil.copytree(bids, mine)
    path = mine / 'sub-01' / 'anat' / 'sub-01_T2w.nii.gz'
    scan = nb.load(path)
    array = scan.get_fdata(dtype=np.float32)
    array[5, 5, 5] = np.nan
    nb.save(nb.Nifti1Image(array, scan.affine), path)
    settings = Settings(
        bids_dir=mine, output_dir=tmp_path / 'out', work_dir=tmp_path / 'work', sloppy=True, nprocs=1, device='cpu'
    )
    pairs = find_pairs(settings).pairs
    config.update_config({'execution': {'crashdump_dir': str(tmp_path / 'crashes'), 'stop_on_first_crash': False}})
    workflow = init_bidsreg_wf(settings=settings, pairs=pairs)
    workflow.base_dir = str(settings.work_dir)
    with pytest.raises(RuntimeError):
        workflow.run(plugin='Linear')
    assert [is_complete(pair, settings) for pair in pairs] == [False, True]
    (crash,) = (tmp_path / 'crashes').glob('crash-*.txt')
    assert 'NaN' in crash.read_text()
    qc = read_qc(pairs[1], settings)
    assert qc['seconds_per_step']['registration']['register'] > 0
    assert 'user' in qc['mask_method']
    assert len(list((settings.output_dir / 'sub-02' / 'figures').glob('*.svg'))) == len(PICTURES)

    # derivatives that were removed come back from the work folder, without the solver
    shutil.rmtree(settings.output_dir)
    again = init_bidsreg_wf(settings=settings, pairs=pairs[1:])
    again.base_dir = str(settings.work_dir)
    again.run(plugin='Linear')
    assert is_complete(pairs[1], settings)
    assert read_qc(pairs[1], settings) == qc
    assert (tmp_path / 'calls.txt').read_text() == 'once'


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
