"""The graph of one pair."""

import dataclasses

import pytest

from bidsreg.bids.names import Contrasts
from bidsreg.bids.pairs import find_pairs
from bidsreg.settings import Settings
from bidsreg.workflows import init_pair_wf
from tests.graph_fixtures import expanded, expanded_graph


def test_a_broken_header_is_left_to_its_node(bids, tmp_path):
    """Building the graph of a pair whose file is broken must not end the run of the others."""
    settings = Settings(bids_dir=bids, output_dir=tmp_path / 'out', work_dir=tmp_path / 'work')
    (one, _) = find_pairs(settings).pairs
    (tmp_path / 'broken.nii.gz').write_bytes(b'')
    assert expanded(init_pair_wf(pair=dataclasses.replace(one, fixed=tmp_path / 'broken.nii.gz'), settings=settings))


def one_pair(bids, tmp_path, **options):
    settings = Settings(bids_dir=bids, output_dir=tmp_path / 'out', work_dir=tmp_path / 'work', **options)
    return find_pairs(settings).pairs[0], settings


def sources(workflow, node, field):
    """Where an input of a node of the expanded graph comes from: the full name and the output."""
    graph = expanded_graph(workflow)
    [found] = [one for one in graph if one.fullname.endswith(node)]
    for before, _, wires in graph.in_edges(found, data=True):
        for output, goal in wires['connect']:
            if goal == field:
                return before.fullname.partition('.')[2], output
    raise AssertionError(f'nothing leads to {field} of {node}')


@pytest.mark.parametrize('kind', ['uncalibrated', 'calibrated'])
@pytest.mark.parametrize('t1w_is_fixed', [True, False])
def test_the_ratio_lies_on_the_t1w_whichever_scan_that_is(bids, tmp_path, kind, t1w_is_fixed):
    pair, settings = one_pair(bids, tmp_path, ratio=kind)
    if not t1w_is_fixed:
        pair = dataclasses.replace(pair, fixed=pair.moving, moving=pair.fixed, contrasts=Contrasts('T2w', 'T1w'))
    workflow = init_pair_wf(pair=pair, settings=settings)
    rooms = ['masking_wf', 'prealign_wf'] if t1w_is_fixed else ['prealign_wf', 'masking_wf']
    step = 'conform' if kind == 'uncalibrated' else 'n4'
    apply, divide = 'ratio_wf.t2w_in_t1w', 'ratio_wf.ratio'
    assert sources(workflow, divide, 't1w') == (f'{rooms[0]}.{step}', 'out_file')
    assert sources(workflow, divide, 'mask')[0].startswith(rooms[0])
    assert sources(workflow, divide, 'preproc') == (f'{rooms[0]}.n4', 'out_file')
    assert sources(workflow, apply, 'in_file') == (f'{rooms[1]}.{step}', 'out_file')
    assert sources(workflow, apply, 'reference') == (f'{rooms[0]}.conform', 'out_file')
    transform = 'forward' if t1w_is_fixed else 'inverse'
    assert sources(workflow, apply, 'transforms') == ('registration_wf.register', transform)
    assert sources(workflow, 'publish', 'ratio') == (divide, 'out_file')
    assert sources(workflow, 'measure', 'ratio_facts') == (divide, 'facts')
    assert sources(workflow, 'draw_ratio', 'ratio') == (divide, 'out_file')


@pytest.mark.parametrize('other', [{'contrasts': Contrasts('T1w', 'FLAIR')}, {'is_uni': True}], ids=['FLAIR', 'UNIT1'])
def test_other_pairs_have_no_ratio(bids, tmp_path, other):
    pair, settings = one_pair(bids, tmp_path, ratio='uncalibrated')
    workflow = init_pair_wf(pair=dataclasses.replace(pair, **other), settings=settings)
    assert not [node for node in expanded(workflow) if '.ratio_wf.' in node.fullname]


def test_without_the_option_there_is_no_ratio(bids, tmp_path):
    pair, settings = one_pair(bids, tmp_path)
    assert not [node for node in expanded(init_pair_wf(pair=pair, settings=settings)) if '.ratio_wf.' in node.fullname]
