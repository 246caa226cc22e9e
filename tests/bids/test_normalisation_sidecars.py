"""The descriptions of a normalisation without a pair: the scan and its mask are described, too."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from bidsreg.bids.lesions import Lesion
from bidsreg.bids.normalisation_sidecars import normalisation_sidecars
from bidsreg.bids.normalisations import normalisation_outputs
from bidsreg.bids.sidecars import bids_uri
from tests.bids.test_normalisations import unit


def test_everything_but_the_qc_file_is_described(settings):
    one = unit()
    facts = {'mask_method': 'deepbet', 'skull_stripped': True, 'result': {'method': 'm', 'settings': {'a': 1}}}
    texts = normalisation_sidecars(one, settings, facts, {'image': [1, 1, 1]})
    assert set(texts) == set(normalisation_outputs(one, settings.output_dir)) - {'qc'}
    assert texts['brain']['Method'] == 'deepbet'
    assert texts['preproc']['SkullStripped'] is True
    assert (texts['forward']['Method'], texts['forward']['Settings']) == ('m', {'a': 1})
    assert 'Resolution' not in texts['image'], 'its grid has no number'
    assert 'larger than that of the template' in texts['jacobian']['Description']


def test_ratios_and_lesions_name_what_they_are_made_of(pair, settings):
    lesion = Lesion(settings.bids_dir / 'sub-01' / 'anat' / 'sub-01_label-lesion_roi.nii.gz')
    one = unit(pairs=(replace(pair, moving_lesions=(lesion,)),))
    one = replace(one, reference=replace(one.reference, lesions=(lesion,)), ratio='calibrated', rated=(0,))
    texts = normalisation_sidecars(one, settings, {}, {})
    assert set(texts) == set(normalisation_outputs(one, settings.output_dir)) - {'qc'}
    paths = normalisation_outputs(one, settings.output_dir)
    ways = {key: bids_uri(paths[key], settings) for key in ('forward', 'pair0_forward')}
    native, way = texts['pair0_ratio']['Sources']
    assert native.endswith('_space-T1w_desc-calibrated_T1wT2wratio.nii.gz')
    assert way == ways['forward']
    assert texts['lesion']['Sources'] == [bids_uri(lesion.path, settings), ways['forward']]
    assert texts['pair0_lesion']['Sources'][1] == ways['pair0_forward']
    assert texts['pair0_lesion']['SpatialReference'] == bids_uri(Path('/t/T1w.nii.gz'), settings)
