"""The graph of a benchmark: what is shared, and how pairs are aligned."""

from __future__ import annotations

import nibabel as nb
import numpy as np
import pytest
from nipype.interfaces.base import isdefined

from bidsreg.benchmark.case import Case
from bidsreg.benchmark.folds import deal
from bidsreg.benchmark.methods import resolve_all
from bidsreg.benchmark.settings import BenchmarkSettings
from bidsreg.benchmark.translation_nodes import fit_name
from bidsreg.benchmark.workflow import cell_nodes, image_name, init_benchmark_wf


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


def test_a_fixed_image_that_is_no_t1w_is_called_what_it_is(cases, tmp_path):
    asked = {}
    for contrasts in (('T1w', 'T2w'), ('T2w', 'T1w')):
        workflow = graph(cases[:1], tmp_path, contrasts=contrasts)[0]
        for end in ('fixed', 'moving'):
            asked[contrasts[0], end] = workflow.get_node(f'{image_name(cases[0], end)}.mask').inputs.contrast
    assert asked.pop(('T2w', 'fixed')) == 'T2w'
    # said of no other, so that earlier steps are not done again
    assert not any(isdefined(contrast) for contrast in asked.values())


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


@pytest.fixture
def people(tmp_path):
    """Both orders of three pairs of two people each; the moving images have masks of their own."""
    image = nb.Nifti1Image(np.zeros((9, 9, 9), np.uint8), np.eye(4))
    for name in ('labels', *(f'{one}_{what}' for one in 'abcdef' for what in ('T1w', 'T2w'))):
        nb.save(image, tmp_path / f'{name}.nii.gz')
    labels = dict.fromkeys(('fixed_labels', 'moving_labels'), tmp_path / 'labels.nii.gz')
    return [
        Case(
            name=one + other,
            fixed=tmp_path / f'{one}_T1w.nii.gz',
            moving=tmp_path / f'{other}_T2w.nii.gz',
            fixed_subject=one,
            moving_subject=other,
            **labels,
        )
        for one, other in ('ab', 'ba', 'cd', 'dc', 'ef', 'fe')
    ]


def translated(people, tmp_path, methods, todo=None, **options):
    settings = BenchmarkSettings(
        input=tmp_path / 'x.tsv', output_dir=tmp_path / 'out', methods=methods, device='cpu', **options
    )
    folds = deal(people, 6, 0)
    chosen = resolve_all(methods, settings.task)
    work = [(case, [(method, {'cell': 'x'}) for method in chosen]) for case in todo or people]
    made = init_benchmark_wf(settings=settings, work=work, labels={1: 'one'}, folds=folds, cases=people, name='wf')
    return made, folds, chosen


def test_a_model_is_trained_once_on_all_heads_but_those_of_its_pairs(people, tmp_path):
    workflow, folds, _ = translated(people, tmp_path, ('cut', 'cut+mind', 'not'), translation_steps=5, random_seed=3)
    names = workflow.list_node_names()
    fits = [name for name in names if name.startswith('fit_') and not name.endswith(('_images', '_masks'))]
    assert len(fits) == 2 * 3  # two translations, three models: both orders of a pair share one
    for case in people:
        fit = workflow.get_node(fit_name('cut', folds.left_out(case)))
        assert not set(fit.inputs.heads) & set(case.heads.values())
        assert len(fit.inputs.heads) == 8
        assert sorted(fit.inputs.contrasts) == ['fixed'] * 4 + ['moving'] * 4
        assert (fit.inputs.method, fit.inputs.steps, fit.inputs.seed) == ('cut', 5, 3)
    assert sum(name.endswith('.translate_cut') for name in names) == 6  # one for both ways to register
    assert sum(name.endswith('.n4') for name in names) == 12


def test_images_and_masks_of_a_training_are_in_one_order(people, tmp_path):
    workflow, folds, _ = translated(people, tmp_path, ('cut',))
    name = fit_name('cut', folds.left_out(people[0]))
    scans = folds.scans(people, folds.left_out(people[0]))
    for field, output in (('images', 'outputnode.preproc'), ('masks', 'outputnode.mask')):
        edges = workflow._graph.in_edges(workflow.get_node(f'{name}_{field}'), data=True)
        found = {into: (source.name, out) for source, _, data in edges for out, into in data['connect']}
        assert found == {
            f'in{number}': (image_name(case, end), output) for number, (case, end) in enumerate(scans, start=1)
        }


def test_a_translated_image_takes_the_place_of_the_moving_one(people, tmp_path):
    workflow, _, _ = translated(people, tmp_path, ('cut', 'cut+mind', 'node-mind'))
    links = {
        name: {(source.name, out, into) for source, node, data in inner._graph.in_edges(data=True)
               if node.name == name for out, into in data['connect']}
        for inner in [workflow.get_node('pair_ab')]
        for name in ('register_cut', 'register_cut_mind', 'register_node_mind_inter', 'evaluate_cut', 'translate_cut')
    }  # fmt: skip
    for name, preset in (('cut', 'node-lncc-inter'), ('cut_mind', 'node-mind-inter')):
        assert ('translate_cut', 'out_file', 'moving') in links[f'register_{name}']
        assert ('ready', 'moving', 'moving') not in links[f'register_{name}']
        assert workflow.get_node(f'pair_ab.register_{name}').inputs.method == preset
    assert ('ready', 'moving', 'moving') in links['register_node_mind_inter']
    assert {('ready', 'moving', 'moving'), ('translate_cut', 'facts', 'translation')} <= links['evaluate_cut']
    assert {('ready', 'moving', 'in_file'), ('ready', 'moving_mask', 'mask')} <= links['translate_cut']


def test_what_is_left_to_do_needs_the_scans_of_all(people, tmp_path):
    workflow, folds, methods = translated(people, tmp_path, ('cut',), todo=people[:1])
    names = workflow.list_node_names()
    assert sum(name.split('.')[-1].startswith('register_') for name in names) == 1
    assert sum(name.endswith('.n4') for name in names) == 10  # its own two, and the eight of its training
    tops = {part for name in names for part in (name, name.split('.')[0])}
    assert all(node in tops for node in cell_nodes(people[0], methods[0], folds, people))


def test_moving_images_without_masks_come_from_their_pairs(tmp_path, people):
    within = [
        Case(name=case.name, fixed=case.fixed, moving=case.moving, points=case.fixed, fixed_labels=case.fixed_labels,
             fixed_subject=case.name, moving_subject=case.name)
        for case in people
    ]  # fmt: skip
    workflow, folds, _ = translated(within, tmp_path, ('cut',), task='intra')
    merge = workflow.get_node(f'{fit_name("cut", folds.left_out(within[0]))}_images')
    sources = {source.name for source, _, _ in workflow._graph.in_edges(merge, data=True)}
    assert sum(name.startswith('pair_') for name in sources) == 5
    assert sum(name.startswith('image_fixed') for name in sources) == 5


def _links(workflow, node):
    """What leads into a node: pairs of names of its source's output and its input."""
    inner = workflow.get_node(node.fullname.split('.')[-2])
    return [link for _, _, data in inner._graph.in_edges(node, data=True) for link in data['connect']]
