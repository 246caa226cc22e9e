"""What is left of the fields around the brain is found from the tissue of the whole head."""

from __future__ import annotations

import functools
from dataclasses import replace

import nibabel as nb
import numpy as np
import pytest

from bidsreg.preparation.headfield import head_fields, powers

from .faces import face

WHITE = 3


def classes(head):
    """Tissue classes by the brightness of the plain head."""
    return ((1 + np.digitize(head.t1w, (45, 85))) * head.inside).astype(np.uint8)


def left(head, strength):
    """Logarithms of two smooth fields, (..., 2): most is in both, an eighth of it in one alone."""
    index = np.moveaxis(np.indices(head.inside.shape), 0, -1)
    x, y, z = np.moveaxis(nb.affines.apply_affine(head.affine, index) / 100, -1, 0)
    both, own = 0.2 * strength * (y - 0.5 * z + y * z - 0.6 * x * x), 0.025 * strength * (x + z * y)
    return np.stack([both + own, both - own], -1)


def multiplied(head, strength):
    factors = np.exp(left(head, strength))
    return replace(head, t1w=head.t1w * factors[..., 0], t2w=head.t2w * factors[..., 1])


def found(head):
    return head_fields((head.t1w, head.t2w), classes(face()), head.inside, (head.eyes, head.muscle), head.affine)


def at(fields, head, name):
    return fields.at(nb.affines.apply_affine(head.affine, np.argwhere(getattr(head, name))))


@functools.cache
def noisy():
    return face().scaled((1.0, 1.0), noise=0.02)


@functools.cache
def plain():
    """What is found where no field is left."""
    return found(noisy())


@pytest.mark.parametrize('strength', [-1.0, 2.0])
def test_fields_are_found_in_eyes_and_muscle(strength):
    head = multiplied(noisy(), strength)
    fields = found(head)
    truth = left(head, strength)
    truth -= np.median(truth[classes(face()) == WHITE], 0)
    for name in ('eyes', 'muscle'):
        true = truth[getattr(head, name)]
        assert np.sqrt((true**2).mean()) > 0.07  # what N4 would leave
        np.testing.assert_allclose(at(fields, head, name) - at(plain(), head, name), true, atol=0.035)


def test_where_no_field_is_left_hardly_any_is_found():
    for name in ('eyes', 'muscle'):
        assert np.abs(at(plain(), noisy(), name)).max() < 0.08


def test_gains_do_not_matter():
    head = noisy()
    louder = found(replace(head, t1w=300 * head.t1w, t2w=0.01 * head.t2w))
    np.testing.assert_allclose(at(louder, head, 'eyes'), at(plain(), head, 'eyes'), atol=1e-3)


def test_a_head_without_bright_fat_has_its_fields_all_the_same():
    head = noisy()
    fat = ~head.inside & (face().t1w > 80)
    dim = multiplied(replace(head, t1w=np.where(fat, 2, head.t1w), t2w=np.where(fat, 2, head.t2w)), 1.0)
    truth = left(head, 1.0)
    truth -= np.median(truth[classes(face()) == WHITE], 0)
    fields = found(dim)
    for name in ('eyes', 'muscle'):
        assert np.median(np.abs(at(fields, head, name) - truth[getattr(head, name)])) < 0.1


def test_powers_are_those_of_a_polynomial_without_its_constant():
    places = np.array([[0.0, 0, 0], [1, 2, 3]])
    assert powers(places, 4).shape == (2, 34)
    assert not powers(places, 4)[0].any()
    assert sorted(powers(places, 2)[1]) == sorted([1, 2, 3, 1, 4, 9, 2, 3, 6])
