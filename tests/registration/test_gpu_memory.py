"""A GPU whose memory does not suffice: told, tried once more box by box, and explained. No GPU is needed here."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from bidsreg.registration import preset
from bidsreg.registration.errors import RegistrationError
from bidsreg.registration.events import BoxByBox
from bidsreg.registration.similarity.dataterm import DataTerm
from tests.heart import solved

FEW = dataclasses.replace(preset('node-mind'), levels=((8.0, 5),), loosened=())
MESSAGE = 'CUDA out of memory. Tried to allocate 2.00 GiB.'


@pytest.fixture
def small_card(monkeypatch):
    """Pretend a card that can hold nothing (``'none'``), or single boxes (``'boxes'``)."""
    real = DataTerm.__init__

    def use(holds: str) -> None:
        def init(self, *args, compute, **options):
            if holds == 'none' or not compute.boxed:
                raise torch.cuda.OutOfMemoryError(MESSAGE)
            real(self, *args, compute=compute, **options)

        monkeypatch.setattr(DataTerm, '__init__', init)

    return use


def test_once_more_box_by_box(pair, small_card):
    whole = solved(pair, FEW)
    small_card('boxes')
    told = []
    boxed = solved(pair, FEW, callback=told.append)
    short = BoxByBox(MESSAGE)
    assert short.warning
    assert [event for event in told if isinstance(event, BoxByBox)] == [short]
    assert boxed.events[0] == short
    assert boxed.boxed
    assert np.array_equal(boxed.deformation.forward, whole.deformation.forward)


def test_what_to_do_when_boxes_are_too_much(pair, small_card):
    small_card('none')
    with pytest.raises(RegistrationError, match=r'too little memory even .*2\.00 GiB.*on a coarser grid'):
        solved(pair, FEW)


@pytest.mark.parametrize('size', [12, pytest.param(1000, marks=pytest.mark.slow)])
def test_the_answer_does_not_depend_on_the_boxes(pair, monkeypatch, size):
    """Small boxes, and one box, as a GPU takes it."""
    usual = solved(pair, FEW)
    monkeypatch.setattr('bidsreg.registration.numerics.boxes.BOX_SIZE', size)
    other = solved(pair, FEW)
    np.testing.assert_allclose(other.deformation.forward, usual.deformation.forward, atol=1e-3)  # mm
