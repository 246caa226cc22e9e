"""Pictures: they are there, whole, and show what they are to show."""

from __future__ import annotations

import numpy as np
from matplotlib import image

from bidsreg.translation import plots
from bidsreg.translation.model import TranslationModel


def test_losses_are_drawn(tmp_path, monkeypatch):
    seen = {}
    monkeypatch.setattr(plots, '_save', lambda figure, path: seen.update(figure=figure))
    history = np.stack([np.arange(1000.0), np.full(1000, 7.0)], 1)
    plots.draw_losses(tmp_path / 'x.png', ('rising', 'flat'), history)
    rising, flat = seen['figure'].axes
    assert (rising.get_title(), flat.get_title()) == ('rising', 'flat')
    x, y = rising.lines[0].get_data()
    np.testing.assert_allclose(y, x - 0.5)  # the mean of steps from a to b - 1
    assert len(x) == plots.POINTS
    assert set(flat.lines[0].get_ydata()) == {7.0}


def test_a_single_step_has_a_plot(tmp_path):
    plots.draw_losses(tmp_path / 'losses.png', ('a',), [(0.5,)])
    assert image.imread(tmp_path / 'losses.png').std() > 0


def test_samples_are_drawn(tmp_path, model_file, brains):
    model = TranslationModel.load(model_file)
    plots.draw_samples(tmp_path / 's' / 'x.png', model, brains['T2w']['01'][0], brains['T1w']['02'][0], 'cpu')
    picture = image.imread(tmp_path / 's' / 'x.png')
    assert picture.shape[0] > 500
    assert picture[..., :3].std() > 0.05
    assert [file.name for file in (tmp_path / 's').iterdir()] == ['x.png']
