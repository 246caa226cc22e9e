"""Iterations that a GPU repeats by itself: they ask for nothing from the computer."""

import dataclasses

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from bidsreg.registration import preset
from bidsreg.registration.numerics import optimiser
from bidsreg.registration.numerics.compute import Compute
from bidsreg.registration.numerics.graphs import recorded
from bidsreg.registration.optimise import Optimisation, Stage, _StageRun
from bidsreg.registration.problem import prepare
from bidsreg.registration.similarity import SIMILARITIES
from bidsreg.registration.similarity.level import WeightedTerms
from tests.heart import QUICK, loaded

WAITING = {'_local_scalar_dense', 'nonzero', 'is_nonzero', 'masked_select', 'unique', '_unique2', 'equal'}
"""Operations whose answer a GPU has to give before Python can go on."""


class Counter(TorchDispatchMode):
    """Notes the operations that torch does."""

    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.names.append(func.__name__.split('.')[0])
        return func(*args, **(kwargs or {}))


CASES = {
    'within': dataclasses.replace(preset('node-mind'), levels=((8.0, 5),), loosened=()),
    'between': dataclasses.replace(preset('node-mind-inter'), levels=((8.0, 5),)),
    'metric': dataclasses.replace(preset('node-lddmm-mind'), levels=((8.0, 5),), loosened=()),
    'cloud': dataclasses.replace(preset('nodeo-mind'), levels=((8.0, 5),), loosened=()),
    'information': dataclasses.replace(QUICK, similarity='gmi', levels=((8.0, 5),)),
    'cubes': dataclasses.replace(QUICK, similarity='lmi', levels=((8.0, 5),)),
}


def stage_run(pair, chosen, device):
    compute = Compute(torch.device(device))
    images = loaded(pair.fixed), loaded(pair.moving), chosen, loaded(pair.fixed_mask), None, pair.truth.matrix
    problem = prepare(*images, compute=compute)
    optimisation = Optimisation(problem, chosen, compute, 1)
    spacing, iterations = chosen.levels[0]
    similarities = [(SIMILARITIES[name](1), weight, max(spacing, least)) for name, weight, least in chosen.similarities]
    coarser = optimisation.coarser(spacing)
    term = WeightedTerms.at(problem, coarser, similarities, compute)
    return _StageRun(optimisation, Stage(spacing, iterations, 1), term, coarser)


@pytest.mark.parametrize('name', CASES)
def test_an_iteration_waits_for_no_number(pair, name, monkeypatch):
    # by torch, as on a GPU
    monkeypatch.setattr(optimiser, '_is_compiled', lambda p: False)
    run = stage_run(pair, CASES[name], 'cpu')
    run._evaluate()
    run.step()
    with Counter() as counter:
        run._evaluate()
        run.optimisation.optimiser.move()
    assert len(counter.names) > 50
    assert not WAITING & set(counter.names)


@pytest.mark.skipif(not torch.cuda.is_available(), reason='no GPU')
@pytest.mark.parametrize('name', CASES)
def test_a_recorded_iteration_is_the_plain_one(pair, name, monkeypatch):
    plain, again = (stage_run(pair, CASES[name], 'cuda') for _ in range(2))
    monkeypatch.setattr(Optimisation, 'recordable', property(lambda self: False))
    plain.iterate()
    again._record()
    assert again.evaluate != again._evaluate
    for i in range(1, 6):
        again._iteration(i, look=i == 5)
    torch.testing.assert_close(again.values, plain.values, rtol=1e-4, atol=1e-6)


@pytest.mark.skipif(not torch.cuda.is_available(), reason='no GPU')
def test_work_that_waits_cannot_be_recorded():
    number = torch.ones((), device='cuda')
    with pytest.raises(RuntimeError):
        recorded(lambda: number.add_(number.item()))
