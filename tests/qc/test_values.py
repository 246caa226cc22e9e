"""Values are found by their paths, and the fixed scan's wherever its contrast is in them."""

from __future__ import annotations

import pytest

from bidsreg.bids.names import T2W_TO_T1W, Contrasts
from bidsreg.qc.values import At, contrasts_of, value_at

FACTS = {'masks': {'t1w_ml': 1.0, 't2w_ml': 2.0, 'flair_ml': 3.0}, 'contrast': -0.5, 'empty': None}


@pytest.mark.parametrize(
    ('path', 'value'),
    [('contrast', -0.5), ('masks.t2w_ml', 2.0), ('masks.none', None), ('contrast.deeper', None), ('empty.x', None)],
)
def test_what_is_not_there_is_none(path, value):
    assert value_at(FACTS, path) == value


@pytest.mark.parametrize(
    ('contrasts', 'fixed', 'moving'),
    [(None, 1.0, 2.0), (('T1w', 'FLAIR'), 1.0, 3.0), (('T2w', 'T1w'), 2.0, 1.0), (('T2w', 'FLAIR'), 2.0, 3.0)],
)
def test_a_path_follows_the_contrasts(contrasts, fixed, moving):
    facts = (
        FACTS if contrasts is None else {**FACTS, 'contrasts': dict(zip(('fixed', 'moving'), contrasts, strict=True))}
    )
    assert (At('masks.t1w_ml')(facts), At('masks.t2w_ml')(facts)) == (fixed, moving)
    assert At('contrast')(facts) == -0.5


@pytest.mark.parametrize(('said', 'found'), [({}, T2W_TO_T1W), ({'contrasts': 'x'}, T2W_TO_T1W)])
def test_a_file_that_says_no_contrasts_is_of_the_usual_ones(said, found):
    assert contrasts_of(said) == found
    assert contrasts_of({'contrasts': {'fixed': 'T1w', 'moving': 'PDw'}}) == Contrasts('T1w', 'PDw')
