"""The graph of one pair."""

import dataclasses
import shutil
from pathlib import Path

import nibabel as nb
import numpy as np
import pytest

from bidsreg.bids.names import lesion_path, pair_outputs, sidecar
from bidsreg.bids.pairs import find_pairs
from bidsreg.bids.publish import is_complete, read_qc
from bidsreg.bids.sidecars import read_json
from bidsreg.reports.pictures import picture_path
from bidsreg.settings import Settings
from bidsreg.workflows import init_pair_wf
from tests.graph_fixtures import expanded, expanded_graph


def test_a_broken_header_is_left_to_its_node(bids, tmp_path):
    """Building the graph of a pair whose file is broken must not end the run of the others."""
    settings = Settings(bids_dir=bids, output_dir=tmp_path / 'out', work_dir=tmp_path / 'work')
    (one, _) = find_pairs(settings).pairs
    (tmp_path / 'broken.nii.gz').write_bytes(b'')
    assert expanded(init_pair_wf(pair=dataclasses.replace(one, fixed=tmp_path / 'broken.nii.gz'), settings=settings))


def drawn(raw, name, like, box, value=1):
    """Draw a lesion of a scan in a raw dataset."""
    folder = raw / 'sub-01' / 'anat'
    image = nb.load(folder / f'sub-01_{like}.nii.gz')
    values = np.zeros(image.shape, np.int16)
    values[box] = value
    nb.save(nb.Nifti1Image(values, image.affine), folder / f'sub-01_{name}.nii.gz')
    return values > 0


@pytest.fixture
def ill(bids, tmp_path):
    """A copy of the dataset whose first subject has a lesion in each scan: settings, and both lesions."""
    raw = Path(shutil.copytree(bids, tmp_path / 'raw'))
    lesions = {
        'fixed': drawn(raw, 'desc-manual_dseg', 'T1w', np.s_[22:28, 20:26, 18:24], value=4),
        'moving': drawn(raw, 'space-T2w_label-lesion_roi', 'T2w', np.s_[12:18, 20:26, 20:26]),
    }
    (raw / 'desc-manual_dseg.tsv').write_text('index\tname\n1\tbrain\n4\tenhancing tumor\n')
    settings = Settings(
        bids_dir=raw, output_dir=tmp_path / 'out', work_dir=tmp_path / 'work', sloppy=True, device='cpu'
    )
    return settings, lesions


def test_lesions_reach_all_that_looks_at_a_scan_and_nothing_is_there_without(ill, bids, tmp_path):
    settings, _ = ill
    with_lesions, without = find_pairs(settings).pairs
    graph = expanded_graph(init_pair_wf(pair=with_lesions, settings=settings))
    wires = {
        (source.fullname.split('.', 1)[1], goal.fullname.split('.', 1)[1], field)
        for source, goal, data in graph.edges(data=True)
        for _, field in data['connect']
        if 'lesion' in field
    }
    here, there = 'masking_wf.lesion', 'prealign_wf.lesion'
    everywhere = {
        'registration_wf.register',
        'quality_wf.measure',
        'publish',
        'prealign_wf.rigid',
        'prealign_wf.affine',
        'prealign_wf.linear',
    }
    assert wires == {
        *((here, goal, 'fixed_lesion') for goal in (*everywhere, 'quality_wf.draw_mask_fixed')),
        *((there, goal, 'moving_lesion') for goal in (*everywhere, 'quality_wf.draw_mask_moving')),
        (here, 'masking_wf.n4', 'lesion'),
        (there, 'prealign_wf.n4', 'lesion'),
        (here, 'masking_wf.timing', 'lesion'),
        (there, 'prealign_wf.timing', 'lesion'),
        (here, 'quality_wf.measure', 'fixed_lesion_method'),
        (there, 'quality_wf.measure', 'moving_lesion_method'),
    }
    assert not any('lesion' in node.name for node in expanded(init_pair_wf(pair=without, settings=settings)))


@pytest.mark.slow  # the real programs, but for the solver
def test_lesions_go_from_the_dataset_to_the_solver_and_the_derivatives(ill, tmp_path, fake_register):
    settings, lesions = ill
    pair = find_pairs(settings).pairs[0]
    workflow = init_pair_wf(pair=pair, settings=settings)
    workflow.base_dir = str(settings.work_dir)
    workflow.run(plugin='Linear')
    assert is_complete(pair, settings)
    (command,) = [path.read_text() for path in settings.work_dir.rglob('register/command.txt')]
    assert all(f'--{end}-lesion ' in command for end in ('fixed', 'moving'))
    qc = read_qc(pair, settings)
    for end, values in lesions.items():
        path = lesion_path(pair.entities, settings.output_dir, end, pair.contrasts)
        np.testing.assert_array_equal(np.asanyarray(nb.load(path).dataobj) > 0, values)
        volume = values.sum() * np.prod(nb.affines.voxel_sizes(nb.load(path).affine)) / 1000
        assert qc['lesions'][end] == pytest.approx(volume, rel=1e-3)
        assert 'ml left out' in qc[f'{end}_lesion_method']
        assert 'lesion' in picture_path(pair, settings.output_dir, f'mask_{end}').read_text()
        uri = read_json(sidecar(path))['Sources'][0]
        assert uri in read_json(sidecar(pair_outputs(pair, settings.output_dir)['forward_xfm']))['Sources']
    assert {'masking', 'prealign'} <= {room for room, steps in qc['seconds_per_step'].items() if 'lesion' in steps}


@pytest.mark.slow  # the real programs, but for the solver
def test_empty_lesions_are_told_and_leave_nothing_out(ill, fake_register):
    settings, _ = ill
    for name, like in (('desc-manual_dseg', 'T1w'), ('space-T2w_label-lesion_roi', 'T2w')):
        drawn(settings.bids_dir, name, like, np.s_[:], value=0)
    pair = find_pairs(settings).pairs[0]
    workflow = init_pair_wf(pair=pair, settings=settings)
    workflow.base_dir = str(settings.work_dir)
    workflow.run(plugin='Linear')
    assert is_complete(pair, settings)
    qc = read_qc(pair, settings)
    assert 'lesions' not in qc
    assert all('(empty)' in qc[f'{end}_lesion_method'] for end in ('fixed', 'moving'))
    assert not list(settings.output_dir.rglob('*label-lesion*'))
