"""The measures are those that the judge finds, each named once."""

from __future__ import annotations

import numpy as np

from bidsreg.benchmark import judge
from bidsreg.benchmark.measures import DICE, FOLDS, MEASURES, RESCAN, RESCAN_PARTS
from bidsreg.registration.deformation import Deformation
from bidsreg.registration.grid import Grid
from bidsreg.registration.image import Image


def test_everything_that_the_judge_finds_has_a_name():
    grid = Grid((8, 8, 8), np.eye(4))
    labels = Image(np.ones(grid.shape, np.int32), grid)
    found, _ = judge.evaluate(
        Deformation.identity(grid),
        labels,
        fixed_labels=labels,
        moving_labels=labels,
        labels={1: 'one'},
        points=np.ones((1, 6)),
    )
    keys = [measure.key for measure in MEASURES]
    assert len(set(keys)) == len(keys)
    assert set(found) - {'labels'} <= set(keys)
    of_maps = {measure.key for measure in (RESCAN, *RESCAN_PARTS)}
    assert {measure.key for measure in MEASURES if measure.of_field} - of_maps == set(
        judge.field_measures(Deformation.identity(grid), labels)
    )


def test_arrows_show_the_better_way():
    assert (DICE.arrow, FOLDS.arrow) == (' ↑', ' ↓')
    assert next(measure for measure in MEASURES if measure.key == 'seconds_total').arrow == ''
