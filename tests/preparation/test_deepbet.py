"""The process of deepbet hands its words on; the program itself is pretended."""

from __future__ import annotations

import sys
import types

import pytest
import torch

from bidsreg.execution import lifeline
from bidsreg.preparation import deepbet


@pytest.mark.parametrize(('more', 'no_gpu'), [([], True), (['--gpu'], False)])
def test_words_reach_the_program(monkeypatch, more, no_gpu):
    seen = {}

    class BrainExtraction:
        def __init__(self, **options):
            seen.update(options)

        def run(self, in_file, mask_path):
            seen.update(files=(in_file, mask_path))

    monkeypatch.setitem(sys.modules, 'deepbet', types.SimpleNamespace(BrainExtraction=BrainExtraction))
    monkeypatch.setattr(lifeline, 'follow', lambda: seen.update(follows=True))
    monkeypatch.setattr(torch, 'set_num_threads', lambda count: seen.update(threads=count))
    deepbet.main(['t1w.nii', 'mask.nii', '--threads', '3', *more])
    assert seen == {'no_gpu': no_gpu, 'files': ('t1w.nii', 'mask.nii'), 'follows': True, 'threads': 3}
