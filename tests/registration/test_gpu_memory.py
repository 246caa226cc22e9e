"""A GPU whose memory does not suffice: told, tried once more box by box, and explained. No GPU is needed here."""

from __future__ import annotations

import dataclasses
import logging

import numpy as np
import pytest
import torch

from bidsreg.registration import Image, preset, register, solve
from bidsreg.registration.errors import RegistrationError
from bidsreg.registration.similarity.dataterm import DataTerm
from tests import data

QUICK = dataclasses.replace(preset('node-mind'), levels=((8.0, 5),), loosened=())
MESSAGE = 'CUDA out of memory. Tried to allocate 2.00 GiB.'


@pytest.fixture(scope='module')
def pair():
    return data.pair(seed=1, known=data.truth(1))


def solved(pair):
    fixed, moving, mask = (Image(np.asarray(i.get_fdata(), 'f4'), solve.Grid(i.shape, i.affine)) for i in
                           (pair.fixed, pair.moving, pair.fixed_mask))  # fmt: skip
    return register(fixed, moving, QUICK, fixed_mask=mask, affine=pair.truth.matrix)


@pytest.fixture
def small_card(monkeypatch):
    """Pretend a card that can hold nothing (``'none'``), or single boxes (``'boxes'``)."""
    real = DataTerm.__init__

    def use(holds: str) -> None:
        def init(self, *args, boxed=False, **options):
            if holds == 'none' or not boxed:
                raise torch.cuda.OutOfMemoryError(MESSAGE)
            real(self, *args, boxed=boxed, **options)

        monkeypatch.setattr(DataTerm, '__init__', init)

    return use


def test_once_more_box_by_box(pair, small_card, caplog):
    whole = solved(pair)
    small_card('boxes')
    with caplog.at_level(logging.WARNING):
        boxed = solved(pair)
    assert caplog.text.count('the GPU ran out of memory; once more, box by box') == 1
    assert boxed.boxed
    assert np.array_equal(boxed.deformation.forward, whole.deformation.forward)


def test_what_to_do_when_boxes_are_too_much(pair, small_card):
    small_card('none')
    with pytest.raises(RegistrationError, match=r'too little memory even .*2\.00 GiB.*--working-resolution 1\.5'):
        solved(pair)


@pytest.mark.parametrize('size', [12, 1000])
def test_the_answer_does_not_depend_on_the_boxes(pair, monkeypatch, size):
    """Small boxes, and one box, as a GPU takes it."""
    usual = solved(pair)
    monkeypatch.setattr('bidsreg.registration.similarity.dataterm.BOX_SIZE', size)
    other = solved(pair)
    np.testing.assert_allclose(other.deformation.forward, usual.deformation.forward, atol=1e-3)  # mm
