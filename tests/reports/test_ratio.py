"""The picture of a ratio."""

from __future__ import annotations

import re

import numpy as np
import pytest

from bidsreg.reports.ratio import ratio_map
from tests import data


@pytest.fixture(scope='module')
def ratio():
    """The ratio of the two scans of a head, inside its brain."""
    one, other = (data.head(contrast=contrast) for contrast in ('T1w', 'T2w'))
    t1w, t2w, mask = (np.asarray(image.dataobj, np.float32) for image in (one.scan, other.scan, one.mask))
    return data.image(np.where(mask > 0, t1w / np.maximum(t2w, 1), 0).astype(np.float32), one.scan.affine)


def test_the_picture_has_a_bar_that_ends_at_the_brightest(ratio, tmp_path):
    path = ratio_map(ratio, tmp_path / 'ratio.svg')
    text = path.read_text(encoding='utf-8')
    values = ratio.get_fdata()
    end = float(re.search(r'≥ ([\d.]+)</text>', text)[1])
    assert end == pytest.approx(np.percentile(values[values > 0], 98), rel=0.01)
    assert '<image' in text
    assert 'Ratio T1w / T2w' in text


def test_the_same_map_in_another_unit_looks_the_same(ratio, tmp_path):
    texts = []
    for factor in (1, 1000):
        image = data.image((ratio.get_fdata() * factor).astype(np.float32), ratio.affine)
        texts.append(ratio_map(image, tmp_path / f'{factor}.svg').read_text(encoding='utf-8'))
    first, second = (re.findall(r'data:image/[^"]+', text) for text in texts)
    assert first == second
