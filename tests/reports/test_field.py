"""The pictures of a deformation against deformations that are known."""

from __future__ import annotations

import base64
import io
import re

import nibabel as nib
import numpy as np
import pytest
from PIL import Image
from scipy import ndimage as ndi

from bidsreg.registration.grid import Grid
from bidsreg.registration.itk import write_composite
from bidsreg.reports import canvas, field, slicing
from tests import data


@pytest.fixture(scope='module')
def head():
    shape, affine = data.GRIDS['oblique-left-handed']
    return data.head(shape, 0, 'T1w', affine)


def raster(path):
    code = re.search('base64,([^"]+)"', path.read_text())[1]
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(code)))).astype(float)


def composite(path, displacement, affine=None, moved=None):
    grid = Grid(displacement.shape[:3], np.diag([4.0, 4, 4, 1]) if affine is None else affine)
    write_composite(path, np.eye(4) if moved is None else moved, displacement, grid)
    return path


def box(fill):
    """A field on a grid of 4 mm that holds every head of the tests."""
    affine = np.diag([4.0, 4.0, 4.0, 1.0])
    affine[:3, 3] = -140
    points = nib.affines.apply_affine(affine, np.stack(np.indices((70, 70, 70)), -1))
    return fill(points).astype(np.float32), affine


def starts(path):
    """First points of all grid lines."""
    data_of_grid = max(re.findall(r' d="([^"]+)"', path.read_text()), key=len)
    return np.array([[float(x) for x in pair.split()] for pair in re.findall(r'M([-\d.]+ [-\d.]+)l', data_of_grid)])


def test_a_shift_of_known_length_moves_the_lines_by_it(head, tmp_path):
    """3 mm to the left of the head are 3 mm to the right of the picture; the affine is no part of it."""
    affine_part = data.truth(1, turn=(5, 5, 5), shift=(9, 9, 9), amplitude=0.0).matrix
    moved = {}
    for name, shift in (('still', 0.0), ('left', -3.0)):
        values, affine = box(lambda points, shift=shift: np.broadcast_to([shift, 0, 0], points.shape))
        path = composite(tmp_path / f'{name}.h5', values, affine, affine_part)
        moved[name] = field.deformation_grid(head.scan, head.mask, path, tmp_path / f'{name}.svg')
    planes = slicing.planes_through(head.mask, [np.zeros(3), np.zeros(3)])
    unit = canvas.Layout.of(planes).scale / slicing.PIXEL  # of the picture, per mm
    step = round(field.SPACING / slicing.PIXEL)
    rows, columns = planes[0][0].points.shape[:2]
    across = len(range(step // 2, rows, step))  # the lines that run across come first
    down = slice(across, across + len(range(step // 2, columns, step)) - 2)
    assert (starts(moved['left'])[down] - starts(moved['still'])[down])[:, 0] == pytest.approx(3 * unit, abs=0.15)
    assert (starts(moved['left'])[down] - starts(moved['still'])[down])[:, 1] == pytest.approx(0, abs=0.15)
    said = moved['left'].read_text()
    assert '3.0 mm on average, 3.0 mm at most' in said
    assert 'times as large' not in said
    assert 'circle' not in moved['still'].read_text()


def test_the_ring_is_where_the_largest_displacement_is(head, tmp_path):
    peak = np.array([30.0, -20.0, 10.0])

    def bump(points):
        return 2.4 * np.exp(-((points - peak) ** 2).sum(-1, keepdims=True) / 2 / 25**2) * [0, 0, 1]

    values, affine = box(bump)
    out = field.deformation_grid(head.scan, head.mask, composite(tmp_path / 'f.h5', values, affine), tmp_path / 'g.svg')
    text = out.read_text()
    assert '2.4 mm at most' in text
    assert 'bending drawn 2 times as large as it is' in text
    found = [[float(x) for x in ring] for ring in re.findall(r'<circle cx="([\d.]+)" cy="([\d.]+)"', text)]
    inside = nib.affines.apply_affine(head.mask.affine, np.argwhere(np.asarray(head.mask.dataobj) > 0))
    planes = slicing.planes_through(head.mask, [inside.mean(0), peak])
    layout = canvas.Layout.of(planes)
    for column, ring in enumerate(found):
        plane = planes[1][column]
        expected = layout.corner(1, column) + plane.pixels(peak) * layout.scale
        assert np.linalg.norm(expected - ring) < 5 / slicing.PIXEL * layout.scale  # a voxel
    assert len(found) == 3


def test_enlarging_makes_no_folds(head):
    """A field of little reach but steep: 0.5 mm, which could be drawn five times as large, folds at twice."""
    steep = np.zeros((20, 20, 20, 3), np.float32)
    steep[::2, ..., 0] = 0.5
    smooth = np.zeros((20, 20, 20, 3), np.float32)
    smooth[..., 0] = np.linspace(0, 0.5, 20)[:, None, None]
    assert field._Field(smooth, np.eye(4)).enlargement(0.5) == 5
    steep_at_ends = np.abs(np.gradient(steep, axis=0)).max()
    assert field._Field(steep, np.eye(4)).enlargement(0.5) * steep_at_ends < 0.8
    assert field._Field(smooth, np.eye(4)).enlargement(0.0) == 1


def test_what_is_no_composite_is_refused(head, tmp_path):
    (tmp_path / 'no.h5').write_bytes(b'no')
    with pytest.raises(ValueError, match='not an ITK composite'):
        field.deformation_grid(head.scan, head.mask, tmp_path / 'no.h5', tmp_path / 'g.svg')


# ------------------------------------------------------------------------------------------------- the Jacobian
def halves(head, right, left):
    """A Jacobian image with one value in the right half of the head and another in the left."""
    points = data.world(head.scan.shape, head.scan.affine)
    return nib.Nifti1Image(np.where(points[..., 0] > 0, right, left).astype(np.float32), head.scan.affine)


def test_larger_and_smaller_are_told_apart_in_colour_and_in_grey(head, tmp_path):
    """1.2 in the right hemisphere, on the left of the picture: yellow and light; 1/1.2 in the other: blue and dark."""
    out = field.jacobian_map(head.scan, head.mask, halves(head, 1.2, 1 / 1.2), tmp_path / 'j.svg')
    planes = slicing.choose_planes(head.mask)
    layout = canvas.Layout.of(planes)
    picture, middle = raster(out), slicing.COLUMNS // 2
    x, y = layout.corners[0][middle]
    rows, columns = planes[0][middle].points.shape[:2]
    top, first = round((y - canvas.TITLE) / layout.scale), round(x / layout.scale)
    cut = picture[top + rows // 3 : top + 2 * rows // 3, first : first + columns]
    right, left = cut[:, columns // 4 : columns // 2 - 8], cut[:, columns // 2 + 8 : 3 * columns // 4]
    assert right[..., 0].mean() > right[..., 2].mean() + 100, 'yellow'
    assert left[..., 2].mean() > left[..., 0].mean() + 30, 'blue'
    light = [0.2126, 0.7152, 0.0722]
    assert (right @ light).mean() > (left @ light).mean() + 100, 'in a print without colours too'


def test_histogram_and_colour_bar_are_symmetric_and_have_their_units(head, tmp_path):
    out = field.jacobian_map(head.scan, head.mask, halves(head, 1.2, 1 / 1.2), tmp_path / 'j.svg')
    text = out.read_text()
    ticks = re.findall(r'text-anchor="middle">([≤≥]? ?[\d.]+)</text>', text)
    assert ticks == ['≤ 0.833', '0.913', '1', '1.1', '≥ 1.2']
    bars = np.array([float(high) for high in re.findall(r'height="([\d.]+)" fill="#bbb"', text)])
    inside = np.asarray(head.mask.dataobj) > 0
    share = (data.world(head.scan.shape, head.scan.affine)[..., 0] > 0)[inside].mean()
    assert len(bars) == field.BINS
    assert np.flatnonzero(bars).tolist() == [0, field.BINS - 1]
    assert bars[-1] / bars.sum() == pytest.approx(share, abs=0.02)
    assert '% of the brain, per bar' in text
    assert 'ratio of volumes, no unit; logarithmic' in text
    assert '0 folded voxels;' in text


def test_folds_are_counted_and_coloured(head, tmp_path):
    values = np.ones(head.scan.shape, np.float32)
    inside = np.argwhere(ndi.binary_erosion(np.asarray(head.mask.dataobj) > 0, iterations=3))
    centre = inside[np.linalg.norm(inside - inside.mean(0), axis=1).argmin()]
    low, high = centre - 2, centre + 3
    values[low[0] : high[0], low[1] : high[1], low[2] : high[2]] = -0.1
    image = nib.Nifti1Image(values, head.scan.affine)
    out = field.jacobian_map(head.scan, head.mask, image, tmp_path / 'j.svg')
    assert '125 folded voxels (vermillion)' in out.read_text()
    red = raster(out)
    assert ((red[..., 0] > 180) & (red[..., 1] < 130) & (red[..., 2] < 60)).sum() > 100


@pytest.mark.parametrize(('spread', 'limit'), [(0.0, 1.02), (0.01, 1.05), (0.2, 2.0), (3.0, 8.0)])
def test_the_colour_bar_holds_nearly_all(spread, limit):
    values = np.exp(np.random.default_rng(0).normal(0, spread, 10000))
    assert field._limit(values) == limit
    assert field._place(np.array([1 / limit, 1.0, limit, 1e9, -1.0]), limit) == pytest.approx([0, 0.5, 1, 1, 0])
