"""The ratio of a finished pair, from the derivatives and back there."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import nibabel as nb
import numpy as np
import pytest

from bidsreg.bids.names import Contrasts, pair_outputs, ratio_path
from bidsreg.bids.pairs import find_pairs
from bidsreg.bids.publish import publish, read_qc
from bidsreg.bids.ratios import RatioWork, why_without_ratio
from bidsreg.registration.grid import Grid
from bidsreg.registration.itk import write_composite
from bidsreg.reports.pictures import picture_path
from bidsreg.settings import Settings
from bidsreg.workflows import init_pair_ratio_wf
from bidsreg.workflows.pair_ratio import init_ratios_wf
from tests import data
from tests.fake_app import fake_files


@pytest.fixture(params=[True, False], ids=['T1w fixed', 'T2w fixed'])
def finished(request, tmp_path):
    """A pair of the dataset that is registered by the true matrix: pair, settings, truth."""
    known = data.truth(3, turn=(3, -2, 4), shift=(3, -2, 4), amplitude=0)
    heads = data.pair(known=known, noise=0.01)
    images = {'sub-01_T1w.nii.gz': heads.fixed, 'sub-01_T2w.nii.gz': heads.moving}
    raw = data.write_dataset(tmp_path / 'raw', {'01': {None: ['T1w', 'T2w']}}, images=images)
    settings = Settings(bids_dir=raw, output_dir=tmp_path / 'out', work_dir=tmp_path / 'work', ratio='uncalibrated')
    [pair] = find_pairs(settings).pairs
    files = fake_files(pair, tmp_path / 'made')
    t1w, t2w = ('fixed', 'moving') if request.param else ('moving', 'fixed')
    matrix = known.matrix if request.param else np.linalg.inv(known.matrix)
    if not request.param:
        pair = dataclasses.replace(pair, fixed=pair.moving, moving=pair.fixed, contrasts=Contrasts('T2w', 'T1w'))
    for key, image in (
        (f'{t1w}_preproc', heads.fixed),
        (f'{t1w}_mask', heads.fixed_mask),
        (f'{t2w}_preproc', heads.moving),
        (f'{t2w}_mask', heads.moving_mask),
    ):
        nb.save(image, files[key])
    grid = nb.load(files['fixed_preproc'])
    still = np.zeros((*grid.shape, 3), np.float32)
    for key, way in (('forward_xfm', matrix), ('inverse_xfm', np.linalg.inv(matrix))):
        write_composite(files[key], way, still, Grid(grid.shape, grid.affine), affine_first=key == 'inverse_xfm')
    publish(files, pair, settings, {'mask_method': 'true'})
    return pair, settings, heads


def test_the_map_lies_on_the_t1w_and_the_pair_tells_of_it(finished):
    pair, settings, heads = finished
    workflow = init_ratios_wf(settings=settings, units=[RatioWork(pair)])
    workflow.base_dir = str(settings.work_dir)
    workflow.run(plugin='Linear')
    assert why_without_ratio(pair, settings) is None
    image = nb.load(ratio_path(pair.entities, settings.output_dir, 'uncalibrated', pair.contrasts))
    np.testing.assert_allclose(image.affine, heads.fixed.affine, atol=1e-5)
    labels, inside = (np.asanyarray(one.dataobj) for one in (heads.fixed_labels, heads.fixed_mask))
    white = (labels == list(data.TISSUES).index('wm')) & (inside > 0)
    place = list(data.TISSUES).index('wm')
    expected = data.CONTRASTS['T1w'][place] / data.CONTRASTS['T2w'][place]
    assert np.median(image.get_fdata()[white]) == pytest.approx(expected, rel=0.1)
    qc = read_qc(pair, settings)
    assert (qc['ratio']['kind'], qc['mask_method']) == ('uncalibrated', 'true')
    assert set(qc['seconds_per_step']['ratio']) == {'t2w_in_t1w', 'ratio'}
    assert '<svg' in picture_path(pair, settings.output_dir, 'ratio').read_text()


def test_a_t2w_without_signal_fails_the_ratio_and_nothing_else(finished):
    pair, settings, heads = finished
    t2w = pair.moving if pair.contrasts.moving == 'T2w' else pair.fixed
    without = -np.abs(heads.moving.get_fdata(dtype=np.float32)) - 1
    without[0, 0, 0] = 1  # nowhere above zero it would be no scan at all
    nb.save(data.image(without, heads.moving.affine), t2w)
    before = {path: path.read_bytes() for path in pair_outputs(pair, settings.output_dir).values()}
    workflow = init_pair_ratio_wf(pair=pair, settings=settings)
    workflow.base_dir = str(settings.work_dir)
    workflow.config['execution'] = {'crashdump_dir': str(settings.work_dir)}
    with pytest.raises(Exception, match='both are above zero in 0 % of the brain only'):
        workflow.run(plugin='Linear')
    assert {path: path.read_bytes() for path in before} == before
    assert not ratio_path(pair.entities, settings.output_dir, 'uncalibrated', pair.contrasts).exists()


@pytest.mark.parametrize('kind', ['uncalibrated', 'calibrated'])
def test_calibrated_maps_are_made_of_scans_without_their_bias(bids, tmp_path, kind):
    settings = Settings(bids_dir=Path(shutil.copytree(bids, tmp_path / 'raw')), output_dir=tmp_path / 'out', ratio=kind)
    pair = find_pairs(settings).pairs[0]
    workflow = init_pair_ratio_wf(pair=pair, settings=settings)
    left = pair_outputs(pair, settings.output_dir)
    inputs = workflow.get_node('ratio_wf.inputnode').inputs
    assert (inputs.t1w_preproc, inputs.t2w_preproc) == (str(left['fixed_preproc']), str(left['moving_preproc']))
    assert workflow.get_node('ratio_wf.ratio').interface.inputs.kind == kind
