"""How two images are aligned, by the task (the graphs with it are those of test_workflow.py)."""

from __future__ import annotations

import pytest
from nipype.interfaces import utility as niu
from nipype.pipeline import engine as pe

from bidsreg.benchmark.alignment import ALIGNMENTS
from bidsreg.benchmark.settings import BenchmarkSettings
from bidsreg.benchmark.tasks import TASKS


@pytest.mark.parametrize('task', ALIGNMENTS)
def test_the_affine_starts_from_the_rigid_with_the_run_s_seed(task, tmp_path):
    assert task in TASKS
    settings = BenchmarkSettings(
        input=tmp_path, output_dir=tmp_path / 'out', methods=('affine',), task=task, random_seed=5, sloppy=True
    )
    workflow = pe.Workflow(name='wf')
    fields = [f'{end}_{what}' for end in ('fixed', 'moving') for what in ('preproc', 'mask')]
    inputnode = pe.Node(niu.IdentityInterface(fields=fields), name='inputnode')
    ready = pe.Node(niu.IdentityInterface(fields=['affine']), name='ready')
    shapes = {'fixed_shape': (9, 9, 9), 'moving_shape': (9, 9, 9)}
    ALIGNMENTS[task](workflow, inputnode=inputnode, ready=ready, shapes=shapes, settings=settings)
    rigid, affine = workflow.get_node('rigid'), workflow.get_node('affine')
    assert workflow._graph.edges[rigid, affine]['connect'] == [('out_matrix', 'initial')]
    # people differ in size, so that between them the affine is always kept
    last = {'inter': 'affine', 'intra': 'linear'}[task]
    assert workflow._graph.edges[workflow.get_node(last), ready]['connect'] == [('out_matrix', 'affine')]
    assert (rigid.inputs.stage, affine.inputs.stage) == ('rigid', 'affine')
    assert {(node.inputs.seed, node.inputs.sloppy) for node in (rigid, affine)} == {(5, True)}
