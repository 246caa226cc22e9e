"""deepbet as a process of its own; the network is pretended."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest
import torch

from bidsreg.execution import lifeline, machine
from bidsreg.preparation import deepbet


@pytest.fixture
def seen(monkeypatch):
    """What the network is asked for; ``seen['error']`` is what it raises."""
    told: dict = {'error': None}

    class Network:
        def __init__(self, no_gpu):
            told['no_gpu'] = no_gpu

        def run(self, image, mask_path):
            told.update(image=image, mask_path=mask_path)
            if told['error'] is not None:
                raise told['error']

    monkeypatch.setitem(sys.modules, 'deepbet', SimpleNamespace(BrainExtraction=Network))
    monkeypatch.setattr(lifeline, 'follow', lambda: told.update(followed=True))
    monkeypatch.setattr(torch, 'set_num_threads', lambda threads: told.update(threads=threads))
    return told


def test_the_network_runs_on_the_cpu_and_ends_with_the_run(seen, monkeypatch):
    monkeypatch.setattr(machine, 'cpu_count', lambda: 8)
    assert deepbet.main(['a T1w.nii.gz', 'mask.nii.gz', '--threads', '3']) == 0
    assert (seen['image'], seen['mask_path']) == ('a T1w.nii.gz', 'mask.nii.gz')
    assert (seen['no_gpu'], seen['threads'], seen['followed']) == (True, 3, True)


@pytest.mark.parametrize('error', [AssertionError('an empty box'), ValueError('no region')])
def test_no_brain_has_an_exit_code_of_its_own(seen, error, capsys):
    seen['error'] = error
    assert deepbet.main(['T1w.nii.gz', 'mask.nii.gz']) == deepbet.NO_BRAIN
    assert capsys.readouterr().err == f'{error}\n'


def test_what_else_goes_wrong_is_raised(seen):
    seen['error'] = OSError(28, 'No space left on device')
    with pytest.raises(OSError, match='No space'):
        deepbet.main(['T1w.nii.gz', 'mask.nii.gz'])
