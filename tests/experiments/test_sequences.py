"""The contrasts are what their names say, and their equations have the limits that they must have."""

from __future__ import annotations

import numpy as np
import pytest
from hard_pairs import TISSUES
from sequences import SEQUENCES, T2_STAR, flair, gradient_echo, proton_density

TIMES = {name: times for name, (times, _) in TISSUES.items()}


def relative(contrast: str) -> dict[str, float]:
    equation = SEQUENCES[contrast]
    return {name: equation(*times) / equation(*TIMES['white matter']) for name, times in TIMES.items()}


@pytest.mark.parametrize(
    ('contrast', 'order'),
    [
        ('T1w', ('fluid', 'cortex', 'white matter')),
        ('T2w', ('white matter', 'cortex', 'fluid')),
        ('FLAIR', ('fluid', 'white matter', 'cortex')),
        ('PDw', ('white matter', 'cortex')),
        ('T2starw', ('white matter', 'cortex')),
    ],
)
def test_tissues_are_as_bright_as_in_scans_of_that_name(contrast, order):
    values = relative(contrast)
    shown = [values[name] for name in order]
    assert shown == sorted(shown)
    assert min(np.diff(shown)) > 0.02


def test_fluid_is_as_good_as_gone_in_a_flair():
    assert relative('FLAIR')['fluid'] < 0.2


def test_equations_in_their_limits():
    t1, t2, pd = 1000.0, 80.0, 0.7
    assert flair(t1, t2, pd, ti=t1 * np.log(2), te=0, tr=1e9) == pytest.approx(0, abs=1e-12)  # the null of inversion
    assert flair(t1, t2, pd, ti=1e8, te=0, tr=1e9) == pytest.approx(pd)
    assert flair(t1, t2, pd, ti=1e8, te=t2, tr=1e9) == pytest.approx(pd / np.e)
    assert gradient_echo(t1, t2, pd, te=0, tr=1e9, flip=90) == pytest.approx(pd)
    assert gradient_echo(t1, t2, pd, te=T2_STAR * t2, tr=1e9, flip=30) == pytest.approx(pd / 2 / np.e)
    # at Ernst's angle it is brightest
    ernst = np.degrees(np.arccos(np.exp(-650 / t1)))
    assert gradient_echo(t1, t2, pd, flip=ernst) > max(gradient_echo(t1, t2, pd, flip=ernst + d) for d in (-3, 3))
    assert proton_density(t1, t2, pd) < pd
