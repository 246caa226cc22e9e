"""The app's graph under every option and with a pair that fails, and another program from end to end."""

import dataclasses
import json
import shutil
import subprocess
import sys
from pathlib import Path

import networkx as nx
import nibabel as nb
import numpy as np
import pytest
from nipype import config

from bidsreg.bids.names import pair_outputs, ratio_path, sidecar
from bidsreg.bids.pairs import find_pairs
from bidsreg.bids.publish import is_complete, read_qc
from bidsreg.bids.ratios import find_ratios, why_without_ratio
from bidsreg.reports.pictures import PICTURES, picture_path
from bidsreg.settings import Settings
from bidsreg.workflows import init_bidsreg_wf
from bidsreg.workflows.pair_ratio import init_ratios_wf
from tests.graph_fixtures import expanded, expanded_graph


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


def test_the_rigid_does_not_wait_for_the_brain(bids, tmp_path):
    """On two CPUs the mask and the bias field of the T1w are found while the rigid runs."""
    settings = settings_for(bids, tmp_path, nprocs=2)
    graph = expanded_graph(init_bidsreg_wf(settings=settings, pairs=find_pairs(settings).pairs[:1]))
    by_name = {node.fullname.split('.', 2)[2]: node for node in graph}
    before = {node.name for node in nx.ancestors(graph, by_name['prealign_wf.rigid'])}
    assert 'conform' in before
    assert not {'brain_mask', 'n4'} & before
    assert by_name['masking_wf.brain_mask'].n_procs + by_name['prealign_wf.rigid'].n_procs <= settings.nprocs


def test_no_edge_leads_from_one_pair_to_another(bids, tmp_path):
    settings = settings_for(bids, tmp_path)
    workflow = init_bidsreg_wf(settings=settings, pairs=find_pairs(settings).pairs)
    for one, other in workflow._create_flat_graph().edges():
        assert one.fullname.split('.')[1] == other.fullname.split('.')[1]


@pytest.mark.slow  # all rooms with the real programs, but for the solver
def test_a_failing_pair_leaves_the_others_alone(bids, tmp_path, fake_register):
    """Two pairs, one with a T2w that is NaN in the brain: the other is complete, facts, figures and all."""
    mine = tmp_path / 'raw'
    shutil.copytree(bids, mine)
    path = mine / 'sub-01' / 'anat' / 'sub-01_T2w.nii.gz'
    scan = nb.load(path)
    array = scan.get_fdata(dtype=np.float32)
    array[tuple(np.array(array.shape) // 2)] = np.nan
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
    drawn = [name for name, picture in PICTURES.items() if not picture.tells_of]
    assert len(list((settings.output_dir / 'sub-02' / 'figures').glob('*.svg'))) == len(drawn)

    # derivatives that were removed come back from the work folder, without the solver
    shutil.rmtree(settings.output_dir)
    again = init_bidsreg_wf(settings=settings, pairs=pairs[1:])
    again.base_dir = str(settings.work_dir)
    again.run(plugin='Linear')
    assert is_complete(pairs[1], settings)
    assert read_qc(pairs[1], settings) == qc
    assert (tmp_path / 'calls.txt').read_text() == 'once'


@pytest.mark.slow  # all rooms with the real programs, but for the solver
def test_a_ratio_is_published_told_and_drawn(bids, tmp_path, fake_register):
    """The heads have no face: cerebrospinal fluid and grey matter are taken, and that is said."""
    settings = settings_for(
        bids, tmp_path, sloppy=True, nprocs=1, device='cpu', participant_label=('01',), ratio='calibrated'
    )
    plan = find_pairs(settings)
    [pair] = plan.pairs
    config.update_config({'execution': {'crashdump_dir': str(tmp_path / 'crashes'), 'stop_on_first_crash': False}})
    pairs = init_bidsreg_wf(settings=settings, pairs=[pair])
    ratios = init_ratios_wf(settings=settings, units=find_ratios(plan, settings))
    for workflow in (pairs, ratios):
        workflow.base_dir = str(settings.work_dir)
    pairs.run(plugin='Linear')
    assert is_complete(pair, settings)
    assert why_without_ratio(pair, settings)
    ratios.run(plugin='Linear')
    assert why_without_ratio(pair, settings) is None
    assert is_complete(pair, dataclasses.replace(settings, ratio='none')), 'a ratio more harms nobody'
    path = ratio_path(pair.entities, settings.output_dir, 'calibrated')
    assert path.name == 'sub-01_space-T1w_desc-calibrated_T1wT2wratio.nii.gz'
    told, image = json.loads(sidecar(path).read_text()), nb.load(path)
    assert told['Calibration'] == 'csf-grey'
    assert told['CalibrationPassedOver'] == {'eyes-muscle': 'not found'}
    assert set(told['CalibrationPoints']) == set(told['CalibrationReference']) == {'csf', 'grey'}
    assert 'N4' in told['Bias']
    np.testing.assert_allclose(image.affine, nb.load(pair.fixed).affine, atol=1e-4)
    qc = read_qc(pair, settings)
    assert qc['ratio']['median']['white'] == told['MedianWhiteMatter'] > told['MedianGreyMatter'] > 0
    assert qc['seconds_per_step']['ratio']['ratio'] > 0
    assert picture_path(pair, settings.output_dir, 'ratio').is_file()
    path.unlink()
    assert why_without_ratio(pair, settings) == f'{path.name} is missing'
    assert is_complete(pair, settings)


@pytest.mark.slow  # SyN takes its time on one thread
def test_the_app_with_another_program(bids, tmp_path):
    """From the command line to the page: the same files as with a method of our own, and nothing says otherwise."""
    options = ['-w', tmp_path / 'work', '--nprocs', '1', '--skip-bids-validation']
    words = [bids, tmp_path / 'out', 'participant', '--participant-label', '01', '--method', 'ants-syn', *options]
    done = subprocess.run([sys.executable, '-m', 'bidsreg', *map(str, words)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    settings = Settings(bids_dir=bids, output_dir=tmp_path / 'out', work_dir=tmp_path / 'work', nprocs=1)
    settings = dataclasses.replace(settings, method='ants-syn', participant_label=('01',))
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
