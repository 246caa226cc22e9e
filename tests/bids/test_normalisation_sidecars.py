"""The descriptions of a normalisation without a pair: the scan and its mask are described, too."""

from __future__ import annotations

from bidsreg.bids.normalisation_sidecars import normalisation_sidecars
from bidsreg.bids.normalisations import normalisation_outputs
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
