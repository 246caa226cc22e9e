"""A training that was interrupted ends with the same bits as one that was not."""

from __future__ import annotations

import pytest
import torch

from bidsreg.errors import InputError
from bidsreg.translation.recipes import RECIPES
from bidsreg.translation.tensorfiles import read_tensors, write_tensors
from bidsreg.translation.training import DivergedError, Training, noise_of

from .conftest import settings_for

IDENTITY = {'seed': 5}


def new(tmp_path, sampler, name='cut', **changes) -> Training:
    return Training(settings_for(tmp_path, tmp_path, name, **changes), sampler, 'cpu')


def nothing(*_):
    pass


@pytest.mark.parametrize('name', RECIPES)
def test_a_training_goes_on_to_the_same_bits(name, tmp_path, sampler):
    whole = new(tmp_path, sampler, name)
    whole.run(nothing, nothing)
    path = tmp_path / 'checkpoint.safetensors'
    first = new(tmp_path, sampler, name)

    class Killed(Exception):
        pass

    def save():
        first.save(path, IDENTITY)
        raise Killed

    with pytest.raises(Killed):
        first.run(nothing, save)
    torch.manual_seed(1234)  # whatever else the process has drawn
    second = new(tmp_path, sampler, name)
    second.load(path, IDENTITY)
    assert second.done == 3
    second.run(nothing, nothing)
    assert second.history == whole.history
    assert len(whole.history) == 6
    for key, tensor in whole._state().items():
        assert torch.equal(tensor, second._state()[key]), key


def test_what_is_told_and_saved(tmp_path, sampler):
    training = new(tmp_path, sampler, steps=5, every=2)
    told, saved = [], []
    training.run(told.append, lambda: saved.append(training.done))
    assert told == [1, 2, 3, 4, 5]
    assert saved == [2, 4, 5]
    assert training.cpu_seconds > 0
    before = training.seconds
    training.save(tmp_path / 'c', IDENTITY)
    again = new(tmp_path, sampler, steps=5)
    again.load(tmp_path / 'c', IDENTITY)
    assert again.seconds == before > 0


def test_learning_rates_are_those_of_the_recipe(tmp_path, sampler):
    training = new(tmp_path, sampler)
    rates = []
    training.run(lambda n: rates.append(training.optimisers['generator'].param_groups[0]['lr']), nothing)
    assert rates == [training.settings.recipe.rate(step) for step in range(6)]


def test_a_training_that_diverges_says_so(tmp_path, sampler, monkeypatch):
    training = new(tmp_path, sampler)
    step = training.translator.step

    def broken(draw, number, *more):
        losses = step(draw, number, *more)
        return {**losses, 'contrast': torch.tensor(float('nan'))} if number == 2 else losses

    monkeypatch.setattr(training.translator, 'step', broken)
    with pytest.raises(DivergedError, match=r'diverged in step 3 \(.*contrast nan.*--learning-rate'):
        training.run(nothing, nothing)


@pytest.fixture
def checkpoint(tmp_path, sampler):
    training = new(tmp_path, sampler, 'not', steps=1)  # the potential has not moved yet
    training.run(nothing, nothing)
    training.save(tmp_path / 'checkpoint.safetensors', IDENTITY)
    return tmp_path / 'checkpoint.safetensors'


def test_an_optimiser_that_has_not_moved_has_nothing_to_keep(tmp_path, sampler, checkpoint):
    again = new(tmp_path, sampler, 'not', steps=2)
    again.load(checkpoint, IDENTITY)
    again.run(nothing, nothing)
    whole = new(tmp_path, sampler, 'not', steps=2)
    whole.run(nothing, nothing)
    assert all(torch.equal(tensor, again._state()[key]) for key, tensor in whole._state().items())


@pytest.mark.parametrize(
    ('change', 'words'),
    [
        (lambda h, t: h.update(identity={'seed': 6}), 'is of another training'),
        (lambda h, t: h.update(kind='translation'), 'is of another training'),
        (lambda h, t: t.pop('history'), 'its history has the shape'),
        (lambda h, t: t.update(history=torch.zeros(2, 7)), 'its history has the shape'),
        (lambda h, t: t.pop('networks.cost.knots'), 'cost.knots is missing'),
        (lambda h, t: t.pop('optimisers.map.0.exp_avg'), '0.exp_avg is missing'),
        (lambda h, t: t.update({'optimisers.map.0.more': torch.zeros(1)}), '0.more is unknown'),
        (lambda h, t: t.update({'optimisers.map.0.step': torch.tensor(float('nan'))}), 'not finite'),
    ],
)
def test_checkpoints_that_cannot_be_used(tmp_path, sampler, checkpoint, change, words):
    header, tensors = read_tensors(checkpoint, 'a checkpoint')
    change(header, tensors)
    write_tensors(checkpoint, tensors, header)
    with pytest.raises(InputError, match=words) as raised:
        new(tmp_path, sampler, 'not').load(checkpoint, IDENTITY)
    assert str(checkpoint) in str(raised.value)


def test_noise_follows_from_seed_and_step():
    one, same, later, other = (torch.rand(3, generator=noise_of(*key)) for key in ((1, 2), (1, 2), (1, 3), (2, 2)))
    assert torch.equal(one, same)
    assert not torch.equal(one, later)
    assert not torch.equal(one, other)
