"""Two sessions of one person in the benchmark: the pairs, the graph and a whole run."""

from __future__ import annotations

import json

import nibabel as nb
import numpy as np
import pandas as pd
import pytest

from bidsreg.benchmark.case import RescanCase
from bidsreg.benchmark.cases import check_cases, find_cases
from bidsreg.benchmark.cli import main
from bidsreg.benchmark.interfaces import MapStart
from bidsreg.benchmark.measures import MAPS, RESCAN
from bidsreg.benchmark.methods import resolve_all
from bidsreg.benchmark.workflow import cell_nodes, init_benchmark_wf
from bidsreg.errors import InputError
from bidsreg.preparation.affine import rigid_matrix
from bidsreg.registration.itk import read_affine, write_affine
from tests import data

from .conftest import settings


@pytest.fixture
def sessions(heads, tmp_path):
    """A person with two sessions and masks of all scans, and one with a single session."""
    root = tmp_path / 'raw'
    again = heads[1]
    images = {
        'sub-01_ses-1_T1w.nii.gz': heads[0].fixed,
        'sub-01_ses-1_T2w.nii.gz': heads[0].moving,
        'sub-01_ses-2_T1w.nii.gz': again.fixed,
        'sub-01_ses-2_T2w.nii.gz': again.moving,
    }
    subjects = {'01': {'1': ['T1w', 'T2w'], '2': ['T1w', 'T2w']}, '02': {'1': ['T1w', 'T2w']}}
    data.write_dataset(root, subjects, images=images)
    masks = root / 'derivatives' / 'masks'
    for name, head in (('1', heads[0]), ('2', again)):
        anat = masks / 'sub-01' / f'ses-{name}' / 'anat'
        anat.mkdir(parents=True)
        nb.save(head.fixed_mask, anat / f'sub-01_ses-{name}_desc-brain_mask.nii.gz')
        nb.save(head.moving_mask, anat / f'sub-01_ses-{name}_space-T2w_desc-brain_mask.nii.gz')
    (masks / 'dataset_description.json').write_text('{"Name": "masks", "BIDSVersion": "1.10.0"}')
    return root


def test_the_first_two_sessions_of_everybody_who_has_two(sessions, tmp_path):
    (case,) = find_cases(settings(sessions, tmp_path, task='rescan'))
    assert isinstance(case, RescanCase)
    assert case.name == 'sub-01_ses-1_ses-2'
    assert [getattr(case, role).name for role in case.IMAGES] == [
        'sub-01_ses-1_T1w.nii.gz',
        'sub-01_ses-2_T1w.nii.gz',
        'sub-01_ses-1_T2w.nii.gz',
        'sub-01_ses-2_T2w.nii.gz',
    ]
    assert case.moving_t2w_mask.name == 'sub-01_ses-2_space-T2w_desc-brain_mask.nii.gz'
    assert case.heads == {'fixed': '01', 'moving': '01'}
    check_cases([case], {}, need_moving_mask=True)


def test_a_mask_of_a_t2w_is_checked_before_any_work(sessions, tmp_path, heads):
    (case,) = find_cases(settings(sessions, tmp_path, task='rescan'))
    mask = heads[1].moving_mask
    nb.save(nb.Nifti1Image(np.asanyarray(mask.dataobj)[..., 1:], mask.affine), case.moving_t2w_mask)
    with pytest.raises(InputError, match=r'space-T2w_desc-brain_mask.nii.gz has 36x42x35'):
        check_cases([case], {})


def test_nobody_has_two_sessions(bids, tmp_path):
    with pytest.raises(InputError, match='nobody has two sessions'):
        find_cases(settings(bids, tmp_path, task='rescan'))


def test_what_a_rescan_cannot_be_asked(sessions, table, tmp_path):
    for source, more, words in (
        (table, {}, 'wants a BIDS dataset'),
        (sessions, {'label_with': 'atropos'}, 'needs no labels'),
        (sessions, {'prealign': 'none'}, 'through the prealignment'),
    ):
        with pytest.raises(InputError, match=words):
            settings(source, tmp_path, task='rescan', **more)
    with pytest.raises(InputError, match='cut: --task rescan has maps within one contrast'):
        resolve_all(['cut'], 'rescan')
    assert resolve_all(['node-mind'], 'rescan')[0].name == 'node-mind'  # the form for one head


def test_every_map_has_its_own_scans_and_one_chain_of_affines(sessions, tmp_path):
    asked = settings(sessions, tmp_path, task='rescan', device='cpu')
    (case,) = find_cases(asked)
    methods = resolve_all(['affine', 'node-mind'], 'rescan')
    work = [(case, [(method, {'cell': 'x'}) for method in methods])]
    workflow = init_benchmark_wf(settings=asked, work=work, labels={}, name='wf')
    names = {part for name in workflow.list_node_names() for part in (name, name.split('.')[0])}
    ours = cell_nodes(case, methods[1])
    assert not [node for node in ours if node not in names]
    assert sum('.register_' in name for name in names) == 3  # none for the affine
    assert sum(name.endswith('.n4') for name in names) == 4  # every scan once
    inner = workflow.get_node(case.node_name)
    into = {
        which: {
            end: f'{source.name}.{out}'
            for source, node, edge in inner._graph.in_edges(data=True)
            if node.name == f'register_node_mind_{which.replace("-", "_")}'
            for out, end in edge['connect']
        }
        for which in MAPS
    }
    first, second = 'fixed_session_wf.outputnode', 'moving_session_wf.outputnode'
    assert (into['T1w-T1w']['fixed'], into['T1w-T1w']['moving']) == (
        'inputnode.fixed_preproc',
        'inputnode.moving_preproc',
    )
    assert (into['T2w-T2w']['fixed'], into['T2w-T2w']['moving']) == (f'{first}.preproc', f'{second}.preproc')
    assert (into['T1w-T2w']['fixed'], into['T1w-T2w']['moving']) == ('inputnode.fixed_preproc', f'{second}.preproc')
    assert (into['T1w-T2w']['fixed_mask'], into['T1w-T2w']['moving_mask']) == ('inputnode.fixed_mask', f'{second}.mask')
    assert {into[which]['affine'] for which in MAPS} == {f'start_{which.replace("-", "_")}.out_file' for which in MAPS}


def test_the_start_of_a_map_goes_through_both_t1w(tmp_path):
    between, first, second = (
        rigid_matrix(turn, shift)
        for turn, shift in (((1, 2, 3), (4, 5, 6)), ((9, 0, 1), (1, 1, 2)), ((0, 8, 1), (3, 2, 1)))
    )
    for name, matrix in (('between', between), ('first', first), ('second', second)):
        write_affine(tmp_path / f'{name}.txt', matrix)
    asked = {'between': str(tmp_path / 'between.txt')}
    ends = {'fixed_to_scan': str(tmp_path / 'first.txt'), 'moving_to_scan': str(tmp_path / 'second.txt')}
    for more, expected in (
        ({}, between),
        (ends, second @ between @ np.linalg.inv(first)),
        ({'moving_to_scan': ends['moving_to_scan']}, second @ between),
    ):
        found = MapStart(**asked, **more).run(cwd=tmp_path).outputs.out_file
        np.testing.assert_allclose(read_affine(found), expected, atol=1e-9)


@pytest.mark.slow
def test_one_command_on_two_sessions(sessions, pretender, tmp_path, capsys):
    """The pretender answers every map alike, so its maps do not agree; the affines of one chain do."""
    words = ['--task', 'rescan', '--methods', 'affine', 'node-mind', '--bias-correction', 'none', '--sloppy']
    out = tmp_path / 'out'
    asked = [str(sessions), str(out), '-w', str(tmp_path / 'work'), '--nprocs', '1', '--device', 'cpu', *words]
    assert main(asked) == 0, capsys.readouterr().out
    results = pd.read_csv(out / 'results.tsv', sep='\t', na_values=['n/a']).set_index('method')
    assert results.loc['affine', RESCAN.key] < 1e-4
    assert results.loc['node-mind', RESCAN.key] > 0.1
    assert results.loc['node-mind', 'seconds'] == 7
    calls = [json.loads(line) for line in (pretender / 'calls.txt').read_text().splitlines()]
    assert len(calls) == 3
    assert all('--affine' in words for words in calls)
    text = (out / 'table.md').read_text()
    assert 'two sessions' in text
    assert 'Maps apart (mm)' in text
    assert 'Labels:' not in text  # none are looked at
    assert (out / 'figures' / 'rescan.png').is_file()
    assert (out / 'figures' / 'example.png').is_file()
