"""The pictures: right places, right sides, small, whole, and readable by an XML parser."""

from __future__ import annotations

import dataclasses
import json
import xml.etree.ElementTree as ET

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage as ndi

from bidsreg.registration import evidence
from bidsreg.reports import canvas, drawings, slicing
from tests import data
from tests.heart import QUICK, solved
from tests.reports.heads import GRIDS, rasters, scan_on


@pytest.mark.parametrize('name', GRIDS)
def test_flicker_on_any_grid(name, tmp_path):
    fixed, moving = scan_on(name), scan_on('oblique', 'T2w') if name != 'far' else scan_on(name, 'T2w')
    out = drawings.flicker(fixed.scan, moving.scan, fixed.mask, tmp_path / 'f.svg', 'before & <after>')
    root = ET.parse(out).getroot()
    assert 'width' not in root.attrib
    assert 'height' not in root.attrib
    assert 'viewBox' in root.attrib
    assert out.stat().st_size < 1.5e6
    first, second = rasters(out)
    assert first.shape == second.shape
    assert first.mean() > 15, 'the head is in the picture'
    assert second.mean() > 8
    text = out.read_text()
    assert 'before &amp; &lt;after&gt;' in text
    assert 'http:' not in text.replace('http://www.w3.org/2000/svg', '')
    assert 'https:' not in text
    assert list(tmp_path.iterdir()) == [out], 'nothing temporary is left'


def test_mask_outline_follows_the_mask(tmp_path):
    head = scan_on('thick')
    nib.save(head.scan, tmp_path / 'scan.nii.gz')
    nib.save(head.mask, tmp_path / 'mask.nii.gz')
    out = drawings.mask_outline(tmp_path / 'scan.nii.gz', tmp_path / 'mask.nii.gz', tmp_path / 'm.svg', 'Mask')
    root = ET.parse(out).getroot()
    path = root.find('{*}defs/{*}path')
    halo, line = (use for use in root.findall('{*}use') if use.get('href') == f'#{path.get("id")}')
    assert (halo.get('stroke'), line.get('stroke')) == ('#000', canvas.ORANGE), 'seen on any grey'
    assert float(halo.get('stroke-width')) > float(line.get('stroke-width'))
    assert path.get('d').count('M') >= slicing.COLUMNS * 3
    assert out.stat().st_size < 1.5e6


def test_a_lesion_has_an_outline_of_its_own(tmp_path):
    head = scan_on('ras')
    inside = np.asarray(head.mask.dataobj) > 0
    at = np.argwhere(inside).mean(0).astype(int)
    marked = np.zeros(inside.shape, np.uint8)
    marked[tuple(slice(centre - 5, centre + 6) for centre in at)] = 1
    lesion = nib.Nifti1Image(marked, head.scan.affine)
    plain = drawings.mask_outline(head.scan, head.mask, tmp_path / 'plain.svg').read_text()
    ill = drawings.mask_outline(head.scan, head.mask, tmp_path / 'ill.svg', lesion=lesion).read_text()
    assert canvas.SKY not in plain
    assert ill.count(canvas.SKY) == 2
    assert 'outline: lesion' in ill
    (tmp_path / 'ill.svg').write_text(ill)
    line = next(use for use in ET.parse(tmp_path / 'ill.svg').findall('{*}use') if use.get('stroke') == canvas.SKY)
    paths = {path.get('id'): path.get('d') for path in ET.parse(tmp_path / 'ill.svg').findall('{*}defs/{*}path')}
    assert paths[line.get('href')[1:]].count('M') >= 3, 'in a slice of each direction'


def test_empty_mask_constant_image_and_nan_still_make_a_picture(tmp_path):
    head = scan_on('ras')
    empty = nib.Nifti1Image(np.zeros(head.scan.shape, np.uint8), head.scan.affine)
    broken = np.asarray(head.scan.dataobj).astype(np.float32)
    broken[:5] = np.nan
    drawings.mask_outline(head.scan, empty, tmp_path / 'a.svg')
    drawings.flicker(nib.Nifti1Image(broken, head.scan.affine), empty, None, tmp_path / 'b.svg')
    flat = nib.Nifti1Image(np.full(head.scan.shape, 7, np.int16), head.scan.affine)
    drawings.flicker(flat, flat, head.mask, tmp_path / 'c.svg')
    for name in 'abc':
        ET.parse(tmp_path / f'{name}.svg')


def test_same_picture_twice(tmp_path):
    head = scan_on('ras')
    first = drawings.mask_outline(head.scan, head.mask, tmp_path / 'a.svg').read_bytes()
    assert drawings.mask_outline(head.scan, head.mask, tmp_path / 'b.svg').read_bytes() == first


def history_of(*stages: tuple[float, float, int]) -> list[dict[str, float]]:
    """Rows as the solver writes them: for each stage its level (mm), factor on the weights, and iterations."""
    return [
        {
            'level': level,
            'iteration': i,
            'loss': 1 / (i + level),
            'similarity': 0.9 / (i + level),
            'regularity': 0.1 / (i + level),
            'factor': factor,
        }
        for level, factor, iterations in stages
        for i in range(1, iterations + 1)
    ]


HISTORY = history_of((4.0, 1.0, 10), (2.0, 1.0, 10), (1.0, 1.0, 10))


def test_loss_curve_marks_the_levels(tmp_path):
    result = tmp_path / 'result.json'
    result.write_text(json.dumps({'loss_history': HISTORY}))
    out = drawings.loss_curve(result, tmp_path / 'loss.svg')
    assert out.read_text().startswith('<svg')
    assert all(f'{level} mm' in out.read_text() for level in (4, 2, 1))
    assert drawings.loss_curve({'loss_history': HISTORY}, tmp_path / 'again.svg').read_bytes() == out.read_bytes()


@pytest.mark.parametrize('content', [{}, {'loss_history': []}, {'loss_history': [{'level': 4, 'loss': 1.0}]}])
def test_loss_curve_of_little(content, tmp_path):
    ET.parse(drawings.loss_curve(content, tmp_path / 'loss.svg'))


def test_loss_curve_marks_the_loosened_stage(tmp_path):
    """Looser weights make the curve jump within a level: another part, no line across the jump."""
    history = history_of((2.0, 1.0, 4), (1.0, 1.0, 4), (1.0, 0.0045, 4))
    parts = [(0, '2 mm'), (4, '1 mm,\nweights x 1'), (8, '1 mm,\nweights x 0.0045')]
    assert drawings._parts(history) == parts
    assert drawings._parts(HISTORY) == [(0, '4 mm'), (10, '2 mm'), (20, '1 mm')]
    text = drawings.loss_curve({'loss_history': history}, tmp_path / 'loss.svg').read_text()
    assert 'weights x 0.0045' in text


def test_a_solution_that_was_loosened_shows_it(monkeypatch):
    monkeypatch.setattr(evidence, 'improves', lambda *_: True)
    quick = dataclasses.replace(QUICK, levels=((8.0, 3),), loosened=((0.1, 2),))
    history = solved(data.pair(seed=1, known=data.truth(1, amplitude=6.0)), quick).history
    assert history[0].keys() == HISTORY[0].keys()
    assert drawings._parts(history) == [(0, '8 mm,\nweights x 1'), (3, '8 mm,\nweights x 0.1')]


def test_a_matrix_shows_what_resampling_would(tmp_path):
    """A T2w that lies elsewhere, looked at through the matrix that leads there, is the T2w that lies here."""
    head = scan_on('oblique')
    there = data.truth(5, turn=(10, -6, 8), shift=(12, 7, -9), amplitude=0.0).matrix
    elsewhere = nib.Nifti1Image(np.asarray(head.scan.dataobj), there @ head.scan.affine)
    here = drawings.flicker(head.scan, head.scan, head.mask, tmp_path / 'a.svg')
    through = drawings.flicker(head.scan, elsewhere, head.mask, tmp_path / 'b.svg', matrix=there)
    apart = drawings.flicker(head.scan, elsewhere, head.mask, tmp_path / 'c.svg')
    shown = [rasters(path)[1].astype(float) for path in (here, through, apart)]
    assert np.abs(shown[0] - shown[1]).mean() < 1
    assert np.abs(shown[0] - shown[2]).mean() > 10


def test_lines_at_rest_and_pictures_under_the_pointer(tmp_path):
    head = scan_on('ras')
    text = drawings.flicker(head.scan, head.scan, head.mask, tmp_path / 'a.svg').read_text()
    root = ET.fromstring(text)
    groups = {group.get('class'): group for group in root.findall('{*}g')}
    assert groups['bidsreg-lines'].find('{*}use') is not None
    assert groups['bidsreg-top'].find('{*}image') is not None
    assert 'svg:hover .bidsreg-lines{visibility:hidden}' in text
    assert '@media print' in text


def test_checkerboard_of_what_agrees_has_no_squares(tmp_path):
    """With contrast exactly turned over and in place the squares vanish; moved by 8 mm they show."""
    head = scan_on('ras')
    turned = 500 - 2 * np.asarray(head.scan.dataobj, np.float32)
    apart = head.scan.affine.copy()
    apart[0, 3] += 8
    plain = drawings.checkerboard(head.scan, head.scan, None, tmp_path / 'p.svg')
    boards = [
        rasters(drawings.checkerboard(head.scan, nib.Nifti1Image(turned, affine), head.mask, tmp_path / f'{k}.svg'))[0]
        for k, affine in enumerate((head.scan.affine, apart))
    ]
    planes = slicing.choose_planes(head.mask)
    layout = canvas.Layout.of(planes)
    first = slicing.slices(head.scan, planes)
    brain = slicing.flat(first, slicing.slices(head.mask, planes))
    window = tuple(float(x) for x in np.percentile(brain, [1, 99]))
    (tmp_path / 'r.svg').write_text(canvas.raster(slicing.greys(first, window=window), layout))
    (reference,) = rasters(tmp_path / 'r.svg')
    good, bad = (np.abs(board.astype(float) - reference).mean() for board in boards)
    assert good < 2
    assert bad > 4 * good
    assert plain.is_file()


def test_greys_are_turned_over_only_where_they_are_contrary(tmp_path):
    """A FLAIR has dark fluid as a T1w has: shown with the greys of that, no square is seen where they agree."""
    head = scan_on('ras')
    same = nib.Nifti1Image(100 + 2 * np.asarray(head.scan.dataobj, np.float32), head.scan.affine)
    plain = drawings.checkerboard(head.scan, head.scan, head.mask, tmp_path / 'plain.svg')
    path = drawings.checkerboard(head.scan, same, head.mask, tmp_path / 'same.svg', names=('T1w', 'FLAIR'))
    (board,), (reference,) = rasters(path), rasters(plain)
    assert np.abs(board.astype(float) - reference).mean() < 2
    assert 'T1w, and FLAIR with the greys of the T1w' in path.read_text()
    turned = nib.Nifti1Image(500 - 2 * np.asarray(head.scan.dataobj, np.float32), head.scan.affine)
    path = drawings.checkerboard(head.scan, turned, head.mask, tmp_path / 'turned.svg')
    assert 'T1w, and T2w with its greys turned over' in path.read_text()


def test_fat_does_not_make_the_brain_dark(tmp_path):
    """A scalp five times as bright as the brain, as in a T1w of fat and thick slices: the greys are the brain's."""
    head = scan_on('ras')
    values, inside = np.asarray(head.scan.dataobj, np.float32), np.asarray(head.mask.dataobj) > 0
    near = ndi.binary_dilation(inside, iterations=2)  # bone lies between
    fat = nib.Nifti1Image(np.where(near, values, 5 * values.max()).astype(np.float32), head.scan.affine)
    shown = []
    for name, scan in (('plain', head.scan), ('fat', fat)):
        path = drawings.mask_outline(scan, head.mask, tmp_path / f'{name}.svg')
        planes = slicing.choose_planes(head.mask)
        layout = canvas.Layout.of(planes)
        (picture,) = rasters(path)
        x, y = ((layout.corner(0, 3) - [0, canvas.TITLE]) / layout.scale).astype(int)
        rows, columns = planes[0][3].points.shape[:2]
        middle = picture[y + rows // 3 : y + 2 * rows // 3, x + columns // 3 : x + 2 * columns // 3]
        shown.append(middle.astype(float).mean())
    assert shown[1] == pytest.approx(shown[0], rel=0.15)
    assert shown[1] > 60
    # a scan that lies apart from the mask has nothing inside it: its own greys
    gone = head.scan.affine.copy()
    gone[0, 3] += 1000
    empty = slicing.slices(nib.Nifti1Image(values, gone), planes)
    assert slicing._window(empty, slicing.slices(head.mask, planes)) == (0.0, 1.0)
