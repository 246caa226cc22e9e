"""What is said beside the files of a pair."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from bidsreg.bids.names import pair_outputs, sidecar
from bidsreg.bids.sidecars import bids_uri


def test_sidecars(pair, settings, finish):
    finish(pair, settings, mask_method='deepbet, because', t1w_skull_stripped=True)
    texts = {
        key: json.loads(sidecar(path).read_text())
        for key, path in pair_outputs(pair, settings.output_dir).items()
        if key != 'qc'
    }
    raw_t2w = 'bids:raw:sub-02/ses-2/anat/sub-02_ses-2_T2w.nii.gz'
    own_t1w = 'bids::sub-02/ses-1/anat/sub-02_ses-1_run-1_desc-preproc_T1w.nii.gz'
    assert texts['t2w_in_t1w']['SpatialReference'] == own_t1w
    assert texts['t2w_in_t1w']['SkullStripped'] is False
    assert texts['t1w_preproc']['SkullStripped'] is True
    assert texts['t1w_in_t2w']['SpatialReference'] == texts['t2w_mask']['SpatialReference'] == raw_t2w
    assert texts['t1w_mask']['Type'] == texts['t2w_mask']['Type'] == 'Brain'
    assert texts['t1w_mask']['Method'] == 'deepbet, because'
    assert (texts['forward_xfm']['From'], texts['forward_xfm']['To']) == (raw_t2w, own_t1w)
    for text in texts.values():
        assert text['Sources']
        assert text['SoftwareVersions'].startswith('bidsreg ')
        for source in text['Sources']:
            dataset, _, path = source.removeprefix('bids:').partition(':')
            root = {'raw': settings.bids_dir, '': settings.output_dir}[dataset]
            assert (root / path).is_file()


def test_bids_uri(settings, tmp_path):
    inside = replace(settings, output_dir=settings.bids_dir / 'derivatives' / 'bidsreg', derivatives=[tmp_path / 'f p'])
    assert bids_uri(inside.output_dir / 'a', inside) == 'bids::a'
    assert bids_uri(inside.bids_dir / 'a', inside) == 'bids:raw:a'
    assert bids_uri(tmp_path / 'f p' / 'sub-01' / 'm.nii', inside) == 'bids:fp:sub-01/m.nii'
    assert bids_uri(Path('/else where/m'), inside) == 'file:///else%20where/m'
