"""What is written on the slices."""

from __future__ import annotations

import re

import pytest

from bidsreg.reports import canvas, slicing
from tests.reports.heads import scan_on


def test_places_are_told_below_the_slices(tmp_path):
    """On bone a place of 10 mm has been read as -10 mm."""
    head = scan_on('ras')
    planes = slicing.choose_planes(head.mask)
    layout = canvas.Layout.of(planes)
    text = canvas.labels(planes, layout)
    told = re.findall(r'y="(\d+)"[^>]*>([xyz]) = (-?\d+) mm<', text)
    assert len(told) == 3 * slicing.COLUMNS
    expected = [
        (top + plane.points.shape[0] * layout.scale, plane.place)
        for row, line in zip(planes, layout.corners, strict=True)
        for plane, (_, top) in zip(row, line, strict=True)
    ]
    for (y, axis, place), (bottom, said) in zip(told, expected, strict=True):
        assert bottom < int(y) < bottom + canvas.STRIP
        assert f'{axis} = {place} mm' == said
    bar = float(re.search(r'h([\d.]+)m0 -4v8', text)[1])
    assert bar == pytest.approx(canvas.BAR / slicing.PIXEL * layout.scale, abs=0.1)


def test_text_is_safe_in_svg():
    assert canvas.escape_xml('a<b> & "c" d\'s') == "a&lt;b&gt; &amp; &quot;c&quot; d's"
