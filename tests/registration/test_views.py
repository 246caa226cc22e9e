"""What is seen of an image, by torch and by compiled kernels."""

import numpy as np
import pytest
import torch
from scipy import ndimage as ndi

from bidsreg.registration import Grid, looking, views
from bidsreg.registration.numerics import boxes
from bidsreg.registration.numerics.compute import Compute
from bidsreg.registration.volume import Volume

SHAPE = (31, 34, 29)


@pytest.fixture(autouse=True)
def _several_boxes(monkeypatch):
    monkeypatch.setattr(boxes, 'BOX_SIZE', 16)
    monkeypatch.setattr(looking, 'COLUMN', (9, 14, 17))


def smooth(shape, seed, sigma=1.5):
    return ndi.gaussian_filter(np.random.default_rng(seed).normal(size=shape), sigma).astype(np.float32)


def brain_of(border):
    brain = np.zeros(SHAPE, bool)
    core = tuple(slice(border, n - border) for n in SHAPE)
    brain[core] = (smooth(SHAPE, 2, 3) > 0)[core]
    return brain


def seen_by(kind, brain, grid, image, matrix, displacement, threads=1):
    """Return a view in the order of the voxels, and which of them lie deep."""
    viewer = kind(brain, grid, Compute(torch.device('cpu'), threads))
    number = Volume(torch.arange(brain.size, dtype=torch.float32).view(SHAPE), grid)
    where = viewer.look(views.Source(number), np.eye(4)).values.round().long()
    assert sorted(where.tolist()) == np.flatnonzero(brain).tolist()
    order = where.argsort()
    view = viewer.look(views.Source(image), matrix, displacement)
    parts = view.seen, view.values, view.edges, view.distances, view.variance
    return [part[..., order] for part in parts], viewer.deep[order]


@pytest.mark.parametrize('spacing', [(1.0, 1.3, 0.9), (0.45, 1.0, 3.0)])
@pytest.mark.parametrize('border', [0, 3, 9])
def test_both_see_the_same_at_the_border_of_the_grid_and_within(border, spacing):
    grid = Grid(SHAPE, np.diag([*spacing, 1.0]))
    onto = np.eye(4)
    onto[:3] = [[0.98, 0.1, 0, 0.4], [-0.1, 0.98, 0.05, -0.7], [0, 0, 1, 0.3]]
    image = Volume(torch.from_numpy(smooth((33, 20, 31), 1)), Grid((33, 20, 31), onto @ grid.affine))
    displacement = torch.from_numpy(np.stack([3 * smooth(SHAPE, seed, 4) for seed in (3, 4, 5)])) * 4
    given = brain_of(border), grid, image, onto, displacement
    plain, deep = seen_by(views.TiledViewer, *given)
    found, same = seen_by(views.CompiledViewer, *given)
    assert torch.equal(deep, same)
    assert deep.all() if border >= looking.MARGIN else not deep.all()
    assert 0.1 < plain[0].float().mean() < 0.9
    assert torch.equal(found[0], plain[0])
    for one, other in zip(found[1:3], plain[1:3], strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)
    for one, other in zip(found[3:], plain[3:], strict=True):
        # those that are not deep are not looked at
        torch.testing.assert_close(one[..., deep], other[..., deep], rtol=1e-3, atol=1e-7)
    for one, other in zip(found, seen_by(views.CompiledViewer, *given, threads=3)[0], strict=True):
        assert torch.equal(one, other)


def test_both_compare_alike():
    brain, grid = brain_of(6), Grid(SHAPE, np.eye(4))
    first, second = (Volume(torch.from_numpy(smooth(SHAPE, seed)), grid) for seed in (6, 7))
    answers = []
    for kind in (views.TiledViewer, views.CompiledViewer):
        viewer = kind(brain, grid, Compute(torch.device('cpu')))
        a, b = (viewer.look(views.Source(image), np.eye(4)) for image in (first, second))
        counted = a.values > 0
        bins = viewer.bins(a.values, a.values), viewer.bins(b.values, b.values[counted])
        answers.append(
            (
                viewer.mind_mismatch(b, 1e-4, viewer.mind(a, 1e-4), counted),
                viewer.joint_counts(*bins, counted),
                viewer.correlation(a.edges, b.edges, counted),
            )
        )
    (mind, counts, correlation), (other_mind, other_counts, other_correlation) = answers
    assert other_mind == pytest.approx(mind, rel=1e-4)
    assert abs(other_counts - counts).sum() <= 1e-3 * counts.sum()
    assert other_correlation == pytest.approx(correlation, abs=1e-5)


def test_gpus_are_looked_from_by_torch():
    assert views.viewer_on(Compute(torch.device('cuda'))) is views.TiledViewer
    assert views.viewer_on(Compute(torch.device('cpu'))) is views.CompiledViewer
