"""The panels show heads as they stand."""

from __future__ import annotations

import numpy as np
import pytest

from bidsreg.benchmark.panels import panel
from bidsreg.bids.names import Contrasts
from bidsreg.registration.grid import Grid
from bidsreg.registration.image import Image
from tests import data

METHODS = ['affine', 'ants-syn', 'node-mind']


def test_panels_show_every_method_in_three_views(tmp_path):
    """An oblique left-handed grid with thick slices: shown as the head stands."""
    head = data.head((20, 24, 12), affine=data.grid((20, 24, 12), 'LPS', (6, 0, 0), (9.0, 9.0, 15.0)))
    grid = Grid((20, 24, 12), head.scan.affine)
    image = Image(np.asarray(head.scan.dataobj, np.float32), grid)
    labels = Image(np.asarray(head.labels.dataobj, np.int32), grid)
    assert panel(tmp_path, METHODS, {1: 'a'}) is None
    for name in ('fixed_T1w', 'affine_T2w', 'node-mind_T2w'):
        image.save(tmp_path / f'{name}.nii.gz')
    for name in ('fixed_dseg', 'affine_dseg'):
        labels.save(tmp_path / f'{name}.nii.gz')
    figure = panel(tmp_path, METHODS, {1: 'White', 2: 'Grey'})
    assert len(figure.axes) == 3 * 3
    assert [axes.get_title() for axes in figure.axes[:3]] == ['sagittal', 'coronal', 'axial']
    assert [axes.get_ylabel() for axes in figure.axes[::3]] == ['fixed T1w', 'affine', 'node-mind']
    # millimetres are square: the axial view is as wide as 9 mm voxels are, the coronal one as tall as 15 mm ones
    assert figure.axes[2].get_aspect() == pytest.approx(1)
    assert figure.axes[1].get_aspect() == pytest.approx(15 / 9)


def test_panels_of_other_contrasts(tmp_path):
    grid = Grid((12, 14, 12), np.diag([4.0, 4, 4, 1]))
    image = Image(np.random.default_rng(0).random(grid.shape, np.float32), grid)
    for name in ('fixed_T2w', 'affine_T2w', 'affine_FLAIR'):
        image.save(tmp_path / f'{name}.nii.gz')
    assert panel(tmp_path, ['affine'], {}) is None  # no fixed T1w is there
    figure = panel(tmp_path, ['affine', 'node-mind'], {}, Contrasts('T2w', 'FLAIR'))
    assert [axes.get_ylabel() for axes in figure.axes[::3]] == ['fixed T2w', 'affine']
