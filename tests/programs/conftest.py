"""Small pairs of heads on awkward grids, as images and on disk."""

from types import SimpleNamespace

import pytest

from bidsreg.registration import Image
from tests import data


@pytest.fixture(scope='session')
def heads(tmp_path_factory):
    """A T1w on an oblique, left-handed grid and its distorted T2w on another oblique one; paths, images and truth."""
    known = data.truth(1, turn=(2, -3, 4), shift=(1.0, 2.0, -3.0), amplitude=12.0)
    shape, affine = (36, 42, 34), data.grid((36, 42, 34), 'LPI', (-8, 12, 17), 5.4)
    moving_shape, moving_affine = (34, 40, 36), data.grid((34, 40, 36), 'RAS', (14, -9, 7), (5.6, 5.5, 5.2))
    pair = data.pair(shape, 1, moving_shape, affine, moving_affine, known=known)
    paths = pair.save(tmp_path_factory.mktemp('heads of a program'))  # a path with spaces
    names = ('fixed', 'moving', 'fixed_mask', 'moving_mask')
    images = {name: Image.load(paths[name]) for name in names}
    return SimpleNamespace(paths=paths, truth=known, pair=pair, **images)
