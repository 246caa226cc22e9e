"""Pictures that are drawn again from the derivatives, the same as those of the run."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
import xml.etree.ElementTree as ET

import nibabel as nib
import numpy as np
import pytest

from bidsreg.bids.names import sidecar
from bidsreg.cli import parse_settings
from bidsreg.outcome import Outcome
from bidsreg.registration.itk import read_affine
from bidsreg.reports import canvas, drawings, field, slicing, write_reports
from bidsreg.reports.pictures import PICTURES, picture_path


@pytest.fixture(autouse=True)
def coarse(monkeypatch):
    """Draw with large pixels, which is quicker: here it matters which pictures there are."""
    for module in (slicing, canvas, field):
        monkeypatch.setattr(module, 'PIXEL', 2.0)


def pictures_of(finished):
    return {name: picture_path(finished.pair, finished.settings.output_dir, name) for name in PICTURES}


def page_of(finished, **options):
    settings = dataclasses.replace(finished.settings, **options)
    (page,) = write_reports(settings, finished.plan, ())
    return page.read_text()


def test_every_picture_comes_back_from_the_derivatives(finished, tmp_path):
    page = page_of(finished, reports_only=True)
    paths = pictures_of(finished)
    for path in paths.values():
        ET.parse(path)
        assert f'./{path.relative_to(finished.settings.output_dir).as_posix()}' in page
    outputs = finished.outputs
    matrix = read_affine(outputs['affine_xfm'])
    same = drawings.flicker(
        outputs['fixed_preproc'],
        finished.pair.moving,
        outputs['fixed_mask'],
        tmp_path / 'same.svg',
        'After the linear alignment',
        matrix,
    )
    assert paths['affine'].read_bytes() == same.read_bytes()
    # what is there is left as it is, and one that is lost comes back the same
    before = paths['checker'].read_bytes()
    paths['checker'].unlink()
    paths['grid'].write_text('<svg xmlns="http://www.w3.org/2000/svg"/>')
    page_of(finished)
    assert paths['checker'].read_bytes() == before
    assert paths['grid'].stat().st_size < 100


def test_without_the_t2w_the_page_says_what_it_lacks(finished):
    finished.pair.moving.unlink()
    page = page_of(finished, reports_only=True)
    there = {name for name, path in pictures_of(finished).items() if path.is_file()}
    assert there == set(PICTURES) - {'mask_moving', 'before', 'affine'}
    assert page.count('it was lost, and cannot be drawn again without: moving') == 3


def test_the_t2w_as_it_was_used_is_as_good(finished):
    shutil.move(finished.pair.moving, finished.outputs['moving_preproc'])
    page_of(finished, reports_only=True)
    assert all(path.is_file() for path in pictures_of(finished).values())


def test_a_broken_derivative_costs_its_picture_alone(finished):
    finished.outputs['jacobian'].write_bytes(b'no image')
    page = page_of(finished)
    there = {name for name, path in pictures_of(finished).items() if path.is_file()}
    assert there == set(PICTURES) - {'jacobian'}
    assert 'it could not be drawn: ' in page


def test_where_the_affine_was_kept_no_deformation_is_shown(finished):
    qc = json.loads(finished.outputs['qc'].read_text())
    qc['result']['decision'] = {'kept': 'affine', 'reason': 'the edges got worse'}
    finished.outputs['qc'].write_text(json.dumps(qc))
    page = page_of(finished)
    assert page.count('there is no deformation to show') == 1
    assert 'Jacobian determinant</h2>' not in page
    assert 'The result: the linear alignment was kept' in page
    assert 'The result: the linear alignment was kept' in pictures_of(finished)['diffeo'].read_text()
    assert 'After the deformable registration' not in page


def test_a_failed_pair_shows_its_scans_as_they_came(finished, tmp_path):
    finished.outputs['qc'].unlink()
    (pair,) = finished.plan.pairs
    failed = Outcome(pair.name, pair.subject, None, 'failed', 'check', 'too small')
    (page,) = write_reports(finished.settings, finished.plan, [failed])
    same = drawings.flicker(pair.fixed, pair.moving, None, tmp_path / 'same.svg', 'As the scanner placed them')
    assert pictures_of(finished)['before'].read_bytes() == same.read_bytes()
    assert [name for name, path in pictures_of(finished).items() if path.is_file()] == ['before']
    assert 'desc-before' in page.read_text()


def test_a_scan_whose_place_is_not_known_is_not_drawn_with_a_left_and_a_right(finished):
    finished.outputs['qc'].unlink()
    (pair,) = finished.plan.pairs
    image = nib.load(pair.moving)
    lost = nib.Nifti1Image(np.asarray(image.dataobj), None)
    lost.header['qform_code'] = lost.header['sform_code'] = 0
    lost.to_filename(pair.moving)
    failed = Outcome(pair.name, pair.subject, None, 'failed', 'check', 'neither a qform nor a sform')
    (page,) = write_reports(finished.settings, finished.plan, [failed])
    assert f'This picture is not here: where the voxels of {pair.moving.name} lie is not known' in page.read_text()
    assert not any(path.is_file() for path in pictures_of(finished).values())


def test_a_failed_pair_with_a_broken_scan_says_that_it_cannot_be_drawn(finished):
    finished.outputs['qc'].unlink()
    (pair,) = finished.plan.pairs
    pair.moving.write_bytes(b'')
    failed = Outcome(pair.name, pair.subject, None, 'failed', 'check', 'zero bytes')
    (page,) = write_reports(finished.settings, finished.plan, [failed])
    assert 'This picture is not here: it could not be drawn' in page.read_text()


@pytest.mark.parametrize('words', [None, '{}', '{"Sources": 3}'])
def test_without_the_sidecar_what_does_not_need_it_is_drawn(finished, words):
    path = sidecar(finished.outputs['forward_xfm'])
    path.unlink() if words is None else path.write_text(words)
    page = page_of(finished)
    assert [name for name, path in pictures_of(finished).items() if path.is_file()] == ['ratio', 'loss']
    assert page.count('cannot be drawn again without: fixed') == len(PICTURES) - 3  # two need no T1w


def test_one_file_that_can_be_mailed(finished, tmp_path):
    linked = page_of(finished)
    page = page_of(finished, self_contained=True, reports_only=True)
    moved = {name for name, picture in PICTURES.items() if picture.moves}
    assert len(re.findall('<svg ', page)) == len(moved)
    assert page.count('src="data:image/svg+xml;base64,') == len(PICTURES) - len(moved)
    assert not re.search(r'(src|data|href)="\./', page), 'nothing beside the page is needed'
    assert re.search(r'(src|data|href)="\./', linked)
    assert len(page) < 10e6

    # what a reader can read is the same
    def words(text):
        text = re.sub(r'<(svg|style|small|object)\b.*?</\1>', '', text, flags=re.S)
        return ' '.join(re.sub(r'<[^>]*>', ' ', text).split())

    assert words(page) == words(linked)


def test_the_option_is_read(tmp_path):
    words = [str(tmp_path), str(tmp_path / 'out'), 'participant']
    assert parse_settings([*words, '--self-contained']).self_contained
    assert not parse_settings(words).self_contained
