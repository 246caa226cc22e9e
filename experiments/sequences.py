"""Signal equations of the contrasts that the simulated heads are scanned with.

Times are milliseconds; a tissue is its T1, its T2 and its proton density. T2* is taken as :data:`T2_STAR` of T2, as the
example head takes it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from bidsreg.app.example import mprage, turbo_spin_echo

#: T2* by T2.
T2_STAR = 0.6


def flair(t1: float, t2: float, pd: float, ti: float = 2400.0, te: float = 100.0, tr: float = 9000.0) -> float:
    """Compute the magnitude of a spin echo after an inversion whose delay nulls fluid.

    Hajnal et al. 1992, Journal of Computer Assisted Tomography 16:841-844; the magnetisation after inversion and
    recovery within a repetition is that of Bydder and Young 1985, the same journal 9:659-675.
    """
    return float(abs(pd * (1 - 2 * np.exp(-ti / t1) + np.exp(-tr / t1))) * np.exp(-te / t2))


def proton_density(t1: float, t2: float, pd: float) -> float:
    """Compute the magnitude of a spin echo with an early echo and a late repetition: a PDw."""
    return float(turbo_spin_echo(t1, t2, pd, te=15.0))


def gradient_echo(t1: float, t2: float, pd: float, te: float = 20.0, tr: float = 650.0, flip: float = 20.0) -> float:
    """Compute the magnitude of a spoiled gradient echo with a late echo (a T2starw), `flip` in degrees.

    Haase et al. 1986, Journal of Magnetic Resonance 67:258-266.
    """
    left, angle = np.exp(-tr / t1), np.deg2rad(flip)
    steady = np.sin(angle) * (1 - left) / (1 - np.cos(angle) * left)
    return float(pd * steady * np.exp(-te / (T2_STAR * t2)))


#: The equation of each contrast, by the suffix of its scans.
SEQUENCES: Mapping[str, Callable[..., float]] = {
    'T1w': mprage,
    'T2w': turbo_spin_echo,
    'FLAIR': flair,
    'PDw': proton_density,
    'T2starw': gradient_echo,
}
