"""A pair made ready: what is refused, and how the grids lie."""

import numpy as np
import pytest

from bidsreg.registration import Image
from tests.heart import loaded, solved


def test_moving_mask_elsewhere_is_refused(pair):
    moving = loaded(pair.moving)
    corner = np.zeros_like(moving.data)
    corner[:2, :2, :2] = 1
    with pytest.raises(ValueError, match='right way round'):
        solved(pair, moving_mask=Image(corner, moving.grid))
