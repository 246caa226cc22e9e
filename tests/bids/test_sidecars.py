"""What is said beside the files of a pair."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from bidsreg.bids.names import Contrasts, pair_outputs, sidecar
from bidsreg.bids.pairs import find_pairs
from bidsreg.bids.sidecars import bids_uri, ratio_sidecar, read_json, source_stamps
from bidsreg.settings import Settings
from tests import data


def test_sidecars(pair, settings, finish):
    finish(pair, settings, mask_method='deepbet, because', t1w_skull_stripped=True)
    texts = {
        key: json.loads(sidecar(path).read_text())
        for key, path in pair_outputs(pair, settings.output_dir).items()
        if key != 'qc'
    }
    raw_t2w = 'bids:raw:sub-02/ses-2/anat/sub-02_ses-2_T2w.nii.gz'
    own_t1w = 'bids::sub-02/ses-1/anat/sub-02_ses-1_run-1_desc-preproc_T1w.nii.gz'
    assert texts['moving_in_fixed']['SpatialReference'] == own_t1w
    assert texts['moving_in_fixed']['SkullStripped'] is False
    assert texts['fixed_preproc']['SkullStripped'] is True
    assert texts['fixed_in_moving']['SpatialReference'] == texts['moving_mask']['SpatialReference'] == raw_t2w
    assert texts['fixed_mask']['Type'] == texts['moving_mask']['Type'] == 'Brain'
    assert texts['fixed_mask']['Method'] == 'deepbet, because'
    assert (texts['forward_xfm']['From'], texts['forward_xfm']['To']) == (raw_t2w, own_t1w)
    for text in texts.values():
        assert text['Sources']
        assert text['SoftwareVersions'].startswith('bidsreg ')
        for source in text['Sources']:
            dataset, _, path = source.removeprefix('bids:').partition(':')
            root = {'raw': settings.bids_dir, '': settings.output_dir}[dataset]
            assert (root / path).is_file()


@pytest.mark.parametrize('kept', ['rigid', 'affine'])
def test_the_matrix_says_which_of_the_two_was_kept(pair, settings, finish, kept):
    distances = {'rigid': 0.02, 'affine': 0.03}
    finish(pair, settings, linear={'kept': kept, 'mind_heldout': distances, 'stretch': 0.031})
    beside = {key: json.loads(sidecar(path).read_text())
              for key, path in pair_outputs(pair, settings.output_dir).items() if key.endswith('_xfm')}  # fmt: skip
    assert beside['affine_xfm']['Kept'] == kept
    assert beside['affine_xfm']['HeldOutMindDistance'] == distances
    assert beside['affine_xfm']['LargestStretch'] == 0.031
    assert 'Kept' not in beside['forward_xfm']


def test_bids_uri(settings, tmp_path):
    inside = replace(settings, output_dir=settings.bids_dir / 'derivatives' / 'bidsreg', derivatives=[tmp_path / 'f p'])
    assert bids_uri(inside.output_dir / 'a', inside) == 'bids::a'
    assert bids_uri(inside.bids_dir / 'a', inside) == 'bids:raw:a'
    assert bids_uri(tmp_path / 'f p' / 'sub-01' / 'm.nii', inside) == 'bids:fp:sub-01/m.nii'
    assert bids_uri(Path('/else where/m'), inside) == 'file:///else%20where/m'


@pytest.mark.parametrize('inversions', [(), ('inv-1_MP2RAGE', 'inv-2_MP2RAGE')])
def test_the_sidecar_of_a_uni_image_says_what_was_done(tmp_path, finish, inversions):
    raw = data.write_dataset(tmp_path / 'raw', {'01': {None: ['UNIT1', 'T2w', *inversions]}})
    settings = Settings(bids_dir=raw, output_dir=tmp_path / 'out', work_dir=tmp_path / 'work')
    (pair,) = find_pairs(settings).pairs
    finish(pair, settings)
    outputs = pair_outputs(pair, settings.output_dir)
    assert outputs['fixed_preproc'].name == 'sub-01_desc-preproc_T1w.nii.gz'
    told = json.loads(sidecar(outputs['fixed_preproc']).read_text())
    names = [source.rpartition('/')[2] for source in told['Sources']]
    assert names == ['sub-01_UNIT1.nii.gz', *(f'sub-01_{name}.nii.gz' for name in inversions)]
    assert 'a UNIT1 whose' in told['Description']
    assert ('both inversion images' in told['Description']) == bool(inversions)
    assert told['SpatialReference'] == 'bids:raw:sub-01/anat/sub-01_UNIT1.nii.gz'


def test_the_sidecar_of_a_mask_names_the_users_own(tmp_path, finish):
    raw = data.write_dataset(tmp_path / 'raw')
    mask = raw / 'sub-01/anat/sub-01_space-T2w_desc-brain_mask.nii.gz'
    shutil.copy(raw / 'sub-01/anat/sub-01_T2w.nii.gz', mask)
    settings = Settings(bids_dir=raw, output_dir=tmp_path / 'out', work_dir=tmp_path / 'work')
    (pair,) = find_pairs(settings).pairs
    finish(pair, settings)
    told = json.loads(sidecar(pair_outputs(pair, settings.output_dir)['moving_mask']).read_text())
    assert told['Sources'] == [f'bids:raw:sub-01/anat/{mask.name}']
    assert 'given by the user' in told['Description']
    stamps = source_stamps(pair, settings)
    assert f'bids:raw:sub-01/anat/{mask.name}' in stamps


MADE = {'kind': 'uncalibrated', 'without': 0.01, 'clamped': 0.02, 'ceiling': 3.0, 'median': {'white': 1.2, 'grey': 0.6}}


def test_the_sidecar_of_a_ratio_says_what_was_done_about_bias_and_outliers(pair, settings):
    told = ratio_sidecar(pair, settings, {}, MADE)
    assert 'neither scan was corrected' in told['Bias']
    assert (told['Ceiling'], told['ClampedShare'], told['WithoutRatioShare']) == (3.0, 0.02, 0.01)
    assert (told['MedianWhiteMatter'], told['MedianGreyMatter']) == (1.2, 0.6)
    assert told['SpatialReference'].endswith('run-1_desc-preproc_T1w.nii.gz')
    assert any(source.endswith('from-T2w_to-T1w_mode-image_xfm.h5') for source in told['Sources'])
    assert 'Calibration' not in told
    assert told['Fingerprint'] == settings.fingerprint()


def test_on_a_pair_whose_fixed_scan_is_the_t2w_the_ratio_lies_on_the_t1w_all_the_same(pair, settings):
    turned = replace(pair, fixed=pair.moving, moving=pair.fixed, contrasts=Contrasts('T2w', 'T1w'))
    told = ratio_sidecar(turned, settings, {}, MADE)
    assert told['SpatialReference'].endswith('T1w.nii.gz')
    assert any('from-T2w_to-T1w' in source for source in told['Sources'])


def test_a_sidecar_of_windows_is_read_as_the_check_of_sidecars_reads_it(tmp_path):
    (tmp_path / 'a.json').write_text('{"EchoTime": 0.1}', encoding='utf-8-sig')
    assert read_json(tmp_path / 'a.json') == {'EchoTime': 0.1}
