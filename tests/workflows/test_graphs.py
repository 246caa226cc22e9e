"""The graphs can be built and expanded under every option, and say what they need."""

import inspect
import re

import pytest
from bidsreg.workflows import masking, pair, prealign, quality, registration
from bidsreg.workflows.app import init_bidsreg_wf
from bidsreg.workflows.resources import NEEDS, gigabytes, solver_gigabytes
from nipype.pipeline.engine.utils import generate_expanded_graph

from bidsreg.bids.pairs import find_pairs
from bidsreg.settings import Settings

ROOMS = {
    'masking': masking.init_masking_wf,
    'prealign': prealign.init_prealign_wf,
    'registration': registration.init_registration_wf,
    'quality': quality.init_quality_wf,
}


def expanded(workflow):
    return list(generate_expanded_graph(workflow._create_flat_graph()).nodes())


def settings_for(bids, tmp_path, **options):
    return Settings(bids_dir=bids, output_dir=tmp_path / 'out', work_dir=tmp_path / 'work', **options)


@pytest.mark.parametrize(
    'options',
    [
        {},
        {'skull_strip': 'force', 'bias_correction': 'none'},
        {'skull_strip': 'skip', 'sloppy': True, 'working_resolution': 2.0},
        {'device': 'cuda:0', 'omp_nthreads': 3, 'nprocs': 4},
        {'device': 'cpu', 'random_seed': 0},
    ],
)
def test_the_whole_graph_under_options(bids, tmp_path, options, monkeypatch):
    monkeypatch.setattr('bidsreg.execution.devices.count_gpus', lambda: 0)
    settings = settings_for(bids, tmp_path, **options)
    pairs = find_pairs(settings).pairs
    workflow = init_bidsreg_wf(settings=settings, pairs=pairs)
    nodes = expanded(workflow)
    assert {node.fullname.split('.')[1] for node in nodes} == {pair.node_name for pair in pairs}
    assert sum(node.name == 'publish' for node in nodes) == 2
    by_name = {node.name: node for node in nodes}
    assert by_name['brain_mask'].inputs.mode == settings.skull_strip
    assert by_name['n4'].inputs.method == settings.bias_correction
    assert by_name['rigid'].inputs.seed == settings.random_seed
    register = by_name['register']
    assert register.inputs.device == {'auto': 'cpu'}.get(settings.device, settings.device)
    assert register.inputs.threads == settings.omp_nthreads
    gpu = settings.device.startswith('cuda')
    assert register.inputs.use_gpu is gpu
    assert register.n_procs == (1 if gpu else settings.omp_nthreads)
    assert all(node.mem_gb > 0 for node in nodes)


def test_no_edge_leads_from_one_pair_to_another(bids, tmp_path):
    settings = settings_for(bids, tmp_path)
    workflow = init_bidsreg_wf(settings=settings, pairs=find_pairs(settings).pairs)
    for one, other in workflow._create_flat_graph().edges():
        assert one.fullname.split('.')[1] == other.fullname.split('.')[1]


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


@pytest.mark.parametrize('module', [masking, prealign, registration, quality, pair])
def test_a_node_is_called_as_its_variable(module):
    source = inspect.getsource(module)
    names = re.findall(r'^    (\w+) = pe\.Node\(', source, re.M)
    assert len(names) >= 4
    for name in names:
        assert f"name='{name}'" in source


def test_declared_memory_grows_with_the_images():
    assert gigabytes('n4', (512, 512, 256)) > gigabytes('n4', (128, 128, 128)) > NEEDS['n4'].base
    assert solver_gigabytes((256,) * 3, (256,) * 3, 1.0) > solver_gigabytes((256,) * 3, (256,) * 3, 2.0)


def test_a_broken_header_is_left_to_its_node(bids, tmp_path):
    """Building the graph of a pair whose file is broken must not end the run of the others."""
    import dataclasses

    settings = settings_for(bids, tmp_path)
    (one, _) = find_pairs(settings).pairs
    (tmp_path / 'broken.nii.gz').write_bytes(b'')
    assert expanded(pair.init_pair_wf(pair=dataclasses.replace(one, t1w=tmp_path / 'broken.nii.gz'), settings=settings))


@pytest.mark.parametrize('device', ['auto', 'cpu'])
def test_another_program_takes_its_threads_and_no_gpu(device, monkeypatch):
    """On a machine with a GPU as well; and it is not told of a working resolution, which it does not have."""
    monkeypatch.setattr('bidsreg.execution.devices.count_gpus', lambda: 1)
    register = registration.init_registration_wf(method='ants-syn', device=device, omp_nthreads=3).get_node('register')
    assert (register.inputs.device, register.inputs.use_gpu, register.n_procs) == ('cpu', False, 3)
    words = '--method ants-syn', '--working-resolution'
    register.inputs.fixed = register.inputs.moving = __file__
    assert [word in register.interface.cmdline for word in words] == [True, False]
    small, large = (
        registration.init_registration_wf(method='ants-syn', fixed_shape=(n, n, n), moving_shape=(n, n, n))
        for n in (64, 512)
    )
    assert large.get_node('register').mem_gb > 10 * small.get_node('register').mem_gb > 0
    ours = registration.init_registration_wf(device=device).get_node('register')
    assert (ours.inputs.device, ours.inputs.use_gpu) == (('cuda', True) if device == 'auto' else ('cpu', False))
    assert ours.inputs.working_resolution == 1
