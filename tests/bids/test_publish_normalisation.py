"""The files of a normalisation come into their places complete or not at all, with a description each."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from bidsreg.bids.names import sidecar
from bidsreg.bids.normalisations import (
    Normalisation,
    find_references,
    finished_pairs,
    normalisation_outputs,
    why_not_normalised,
)
from bidsreg.bids.pairs import find_pairs
from bidsreg.bids.publish import is_complete
from bidsreg.bids.publish_normalisation import publish_normalisation, read_normalisation_qc
from bidsreg.bids.scans import Scan
from bidsreg.bids.spaces import Space


@pytest.fixture
def unit(pair, settings, finish, tmp_path):
    """The T1w of a finished pair, and a space with two grids."""
    finish(pair, settings)
    template = tmp_path / 'template_T1w.nii.gz'
    template.write_bytes(b'template')
    plan = find_pairs(settings)
    (reference,) = (found for found in find_references(plan, settings) if found.scan.path == pair.fixed)
    pairs = finished_pairs(reference, plan, settings)
    return Normalisation(reference, Space('A', None, (1, 2)), 'stamp', 'given', (template,), pairs)


@pytest.fixture
def files(unit, tmp_path):
    """A small file for everything but the QC file."""
    found = {}
    for key, path in normalisation_outputs(unit, tmp_path).items():
        found[key] = tmp_path / 'made' / f'{key}{"".join(path.suffixes[-2:]) if ".nii" in path.name else path.suffix}'
        found[key].parent.mkdir(exist_ok=True)
        if '.nii' in path.name:
            step = 2 if key.endswith('res-2') else 1
            nib.save(nib.Nifti1Image(np.ones((4, 4, 4), np.float32), np.diag([step, step, step, 1])), found[key])
        else:
            found[key].write_text(key)
    found.pop('qc')
    return found


def test_publish_and_complete(unit, settings, files, pair):
    assert why_not_normalised(unit, settings) == 'not done yet'
    qc = publish_normalisation(files, unit, settings, {'result': {'method': 'm'}})
    assert why_not_normalised(unit, settings) is None
    assert is_complete(pair, settings), 'the pair is as it was'
    content = read_normalisation_qc(unit, settings)
    assert content == json.loads(qc.read_text())
    assert (content['space'], content['template']) == ('A', {'origin': 'given', 'stamp': 'stamp'})
    assert any('from-T2w_to-T1w' in source for source in content['sources'])
    paths = normalisation_outputs(unit, settings.output_dir)
    texts = {key: json.loads(sidecar(path).read_text()) for key, path in paths.items() if key != 'qc'}
    assert all(text['Description'] and text['Fingerprint'] for text in texts.values())
    assert texts['image_res-2']['Resolution'] == '2 x 2 x 2 mm'
    assert texts['pair0_image_res-1']['SpatialReference'].endswith('template_T1w.nii.gz')
    assert texts['pair0_forward']['From'].endswith('T2w.nii.gz')
    assert texts['inverse']['From'] == texts['forward']['To']
    known = {f'bids::{path.relative_to(settings.output_dir).as_posix()}' for path in settings.output_dir.rglob('*.*')}
    ours = {source for text in texts.values() for source in text['Sources'] if source.startswith('bids::')}
    assert ours <= known, 'a description names a file that is not there'


def test_what_was_made_in_a_hurry_says_so(unit, settings, files):
    for sloppy in (True, False):
        quick = replace(settings, sloppy=sloppy)
        publish_normalisation(files, unit, quick, {})
        assert read_normalisation_qc(unit, quick).get('sloppy') == (sloppy or None)


def test_what_makes_it_incomplete(unit, settings, files):
    publish_normalisation(files, unit, settings, {})
    assert 'another template' in why_not_normalised(replace(unit, stamp='other'), settings)
    assert 'another template' in why_not_normalised(unit, replace(settings, random_seed=1))
    assert 'have changed' in why_not_normalised(replace(unit, pairs=()), settings)
    more = replace(unit, space=Space('A', None, (1, 2, 3)))
    assert 'res-3' in why_not_normalised(more, settings)
    paths = normalisation_outputs(unit, settings.output_dir)
    paths['mask_res-2'].write_bytes(b'')
    assert 'mask.nii.gz is missing' in why_not_normalised(unit, settings)
    sidecar(paths['jacobian']).unlink()
    assert 'jacobian_xfm.json is missing' in why_not_normalised(unit, settings)


def test_a_product_that_is_missing_is_an_error_and_what_was_there_stays_whole(unit, settings, files):
    publish_normalisation(files, unit, settings, {})
    files.pop('jacobian')
    with pytest.raises(ValueError, match='nothing to publish as jacobian'):
        publish_normalisation(files, unit, settings, {})
    assert why_not_normalised(unit, settings) is None
    files['jacobian'] = Path('/nowhere/j.nii.gz')
    with pytest.raises(OSError):  # noqa: PT011
        publish_normalisation(files, unit, settings, {})
    assert why_not_normalised(unit, settings) == 'not done yet', 'half-written is not complete'


def test_a_scan_that_was_normalised_by_itself_is_no_more_when_it_is_brought_along(
    unit, settings, files, pair, tmp_path
):
    """Its images and transforms are written anew: the numbers of before would be said of them."""
    alone = replace(
        unit,
        reference=replace(unit.reference, scan=Scan(pair.moving, 'T2w', {'subject': '01', 'session': '9'})),
        pairs=(),
    )
    made = {
        key: files.get(key, files['image_res-1'] if '.nii' in path.name else files['forward'])
        for key, path in normalisation_outputs(alone, tmp_path).items()
    }
    made.pop('qc')
    qc = publish_normalisation(made, alone, settings, {'result': {'method': 'm'}})
    along = replace(unit, pairs=(replace(pair, entities={'subject': '01', 'session': '9'}),))
    made = {
        key: files.get(key, files['image_res-1'] if '.nii' in path.name else files['forward'])
        for key, path in normalisation_outputs(along, tmp_path).items()
    }
    made.pop('qc')
    assert qc.is_file()
    publish_normalisation(made, along, settings, {'result': {'method': 'm'}})
    assert not qc.exists()
    assert read_normalisation_qc(along, settings) is not None
