"""The graph of a benchmark: what is shared, and how pairs are aligned."""

from __future__ import annotations

import nibabel as nb
import numpy as np
import pytest

from bidsreg.benchmark.case import Case
from bidsreg.benchmark.methods import resolve_all
from bidsreg.benchmark.settings import BenchmarkSettings
from bidsreg.benchmark.workflow import cell_nodes, init_benchmark_wf


@pytest.fixture
def cases(tmp_path):
    """Two pairs with one fixed image; empty images will do for a graph."""
    files = {}
    for name in ('t1', 't2', 'other', 'labels'):
        files[name] = tmp_path / f'{name}.nii.gz'
        nb.save(nb.Nifti1Image(np.zeros((9, 9, 9), np.uint8), np.eye(4)), files[name])
    known = {'fixed': files['t1'], 'fixed_labels': files['labels'], 'moving_labels': files['labels']}
    return [Case(name=name, moving=files[moving], **known) for name, moving in (('a', 't2'), ('b', 'other'))]


def graph(cases, tmp_path, methods=('affine', 'ants-syn', 'node-mind'), **options):
    settings = BenchmarkSettings(
        input=tmp_path / 'x.tsv', output_dir=tmp_path / 'out', methods=methods, device='cpu', **options
    )
    chosen = resolve_all(methods, settings.task)
    work = [(case, [(method, {'cell': str(tmp_path / 'cell')}) for method in chosen]) for case in cases]
    return init_benchmark_wf(settings=settings, work=work, labels={1: 'one'}, name='wf'), chosen


def test_an_image_of_several_pairs_is_made_ready_once(cases, tmp_path):
    workflow, _ = graph(cases, tmp_path)
    names = workflow.list_node_names()
    assert sum(name.endswith('.n4') for name in names) == 3  # one fixed, two moving
    assert sum('image_fixed' in name and name.endswith('.n4') for name in names) == 1
    assert sum(name.split('.')[-1].startswith('register_') for name in names) == 4  # none for the affine
    assert sum(name.split('.')[-1].startswith('evaluate_') for name in names) == 6


def test_all_nodes_that_a_cell_names_are_there(cases, tmp_path):
    workflow, methods = graph(cases, tmp_path)
    names = {part for name in workflow.list_node_names() for part in (name, name.split('.')[0])}
    for case in cases:
        for method in methods:
            missing = [node for node in cell_nodes(case, method) if node not in names]
            assert missing == ([f'{case.node_name}.register_affine'] if method.name == 'affine' else [])


def test_pairs_are_aligned_by_the_task(cases, tmp_path):
    between = graph(cases[:1], tmp_path, task='inter')[0]
    assert {'pair_a.fixed_brain', 'pair_a.moving_brain', 'pair_a.rigid'} <= set(between.list_node_names())
    affine = between.get_node('pair_a.affine')
    sources = {end for _, end in _links(between, affine)}
    assert sources == {'fixed', 'moving', 'initial'}  # no masks
    within = graph(cases[:1], tmp_path, task='intra')[0]
    assert not any('_brain' in name for name in within.list_node_names())
    assert {'fixed_mask', 'moving_mask'} <= {end for _, end in _links(within, within.get_node('pair_a.affine'))}
    as_is = graph(cases[:1], tmp_path, prealign='none')[0]
    assert not any(name.endswith(('rigid', 'affine')) and 'evaluate' not in name for name in as_is.list_node_names())


def test_all_methods_are_asked_alike(cases, tmp_path):
    workflow = graph(cases[:1], tmp_path, random_seed=7, nprocs=3, omp_nthreads=3, sloppy=True)[0]
    ours, theirs = (workflow.get_node(f'pair_a.register_{name}') for name in ('node_mind_inter', 'ants_syn'))
    for node in (ours, theirs):
        asked = node.inputs
        assert (asked.keep, asked.seed, asked.threads, asked.sloppy) == ('diffeo', 7, 3, True)
        assert node.n_procs == 3
    assert {end for _, end in _links(workflow, ours)} == {end for _, end in _links(workflow, theirs)}


def test_without_a_moving_brain_the_fixed_ones_mask_is_carried_over(cases, tmp_path):
    case = Case(name='c', fixed=cases[0].fixed, moving=cases[0].moving, points=cases[0].fixed)
    names = graph([case], tmp_path, task='intra')[0].list_node_names()
    assert 'pair_c.prealign_wf.moving_mask' in names
    assert sum('image_' in name and name.endswith('.n4') for name in names) == 1


def _links(workflow, node):
    """What leads into a node: pairs of names of its source's output and its input."""
    inner = workflow.get_node(node.fullname.split('.')[-2])
    return [link for _, _, data in inner._graph.in_edges(node, data=True) for link in data['connect']]
