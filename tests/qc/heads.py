"""Pairs of small heads, and what can be done to them."""

import numpy as np

from tests import data

SHAPE = (36, 42, 36)
THICK = {'moving_shape': (60, 72, 24), 'moving_affine': data.grid((60, 72, 24), 'LPS', (9, 0, 0), (3.2, 3.2, 7.0))}


def scans(seed: int = 0, still: bool = False, **options) -> data.Pair:
    """Return a pair with noise, a bias field and a distortion of up to 3 mm; `still`: not moved as a whole."""
    known = data.truth(seed, amplitude=3.0)
    if still:
        known = data.Truth(np.eye(4), known.waves, known.phases, known.vectors)
    return data.pair(SHAPE, seed, known=known, noise=0.03, bias=0.2, **options)


def flipped(image):
    """Return an image with left and right exchanged, and the header of the old one."""
    return data.image(np.asarray(image.dataobj)[::-1].copy(), image.affine)
