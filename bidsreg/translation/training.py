"""The loop of a training: steps, learning rates, what was lost, and checkpoints from which it goes on."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bidsreg.errors import InputError
from bidsreg.translation.base import Translator
from bidsreg.translation.model import untrained
from bidsreg.translation.settings import FitSettings
from bidsreg.translation.slices import SliceDraw, SliceSampler
from bidsreg.translation.tensorfiles import read_header, read_tensors, require_like, write_tensors

Tensor = torch.Tensor

KIND = 'checkpoint'
WHAT = 'a checkpoint of bidsreg-translate'
#: Beginnings of the names of tensors in a checkpoint.
NETWORKS, OPTIMISERS, HISTORY = 'networks.', 'optimisers.', 'history'


class DivergedError(RuntimeError):
    """A training came upon numbers that are not finite."""


class Training:
    """The state of one training.

    Every step follows from the state before it, the seed and its number alone: a training that goes on from a
    checkpoint ends with the same bits, on a CPU and with as many threads.

    Parameters
    ----------
    settings : FitSettings
        What was asked for.
    sampler : SliceSampler
        Draws slices.
    device : str
        A torch device.

    Attributes
    ----------
    translator : Translator
        What is trained.
    history : list of tuple of float
        The losses of each step that was taken.
    seconds, cpu_seconds : float
        What the steps took, those before a checkpoint included.
    """

    def __init__(self, settings: FitSettings, sampler: SliceSampler, device: str) -> None:
        self.settings, self.sampler, self.device = settings, sampler, device
        self.translator: Translator[Any] = untrained(settings).to(device)
        recipe = settings.recipe
        self.optimisers = {
            name: torch.optim.Adam(list(parameters), lr=recipe.learning_rate, betas=recipe.betas)
            for name, parameters in self.translator.parts().items()
        }
        self.history: list[tuple[float, ...]] = []
        self.seconds = self.cpu_seconds = 0.0

    @property
    def done(self) -> int:
        """Return how many steps were taken."""
        return len(self.history)

    def run(self, tell: Callable[[int], None], save: Callable[[], None]) -> None:
        """Take the steps that are left.

        Parameters
        ----------
        tell : callable
            Called with the number of steps taken, after each.
        save : callable
            Called after every so many steps, and after the last.

        Raises
        ------
        DivergedError
            If a loss is not finite.
        """
        began, used = time.perf_counter(), time.process_time()
        while self.done < self.settings.recipe.steps:
            self._step(self.done)
            tell(self.done)
            if self.done % self.settings.every == 0 or self.done == self.settings.recipe.steps:
                now, cpu = time.perf_counter(), time.process_time()
                self.seconds, self.cpu_seconds = self.seconds + now - began, self.cpu_seconds + cpu - used
                save()
                began, used = time.perf_counter(), time.process_time()

    def _step(self, step: int) -> None:
        recipe = self.settings.recipe
        for optimiser in self.optimisers.values():
            for group in optimiser.param_groups:
                group['lr'] = recipe.rate(step)
        draw = self.sampler.draw(step, recipe.batch_size)
        draw = SliceDraw(draw.source.to(self.device), draw.target.to(self.device))
        losses = self.translator.step(draw, step, self.optimisers, noise_of(self.settings.seed, step))
        numbers = tuple(float(losses[name]) for name in self.translator.losses)
        if not np.isfinite(numbers).all():
            told = ', '.join(f'{name} {number:g}' for name, number in zip(self.translator.losses, numbers, strict=True))
            raise DivergedError(f'the training diverged in step {step + 1} ({told}); try a smaller --learning-rate')
        self.history.append(numbers)

    # ------------------------------------------------------------------------------------------------ checkpoints
    def save(self, path: Path, identity: dict[str, Any]) -> None:
        """Write a checkpoint of the training that `identity` tells from others."""
        header = {'kind': KIND, 'identity': identity, 'seconds': self.seconds, 'cpu_seconds': self.cpu_seconds}
        history = torch.tensor(self.history, dtype=torch.float64)
        write_tensors(path, {**self._state(), HISTORY: history}, header)

    def load(self, path: Path, identity: dict[str, Any]) -> None:
        """Go on from a checkpoint.

        Raises
        ------
        InputError
            If it cannot be used, or is of another training.
        """
        header = read_header(path, WHAT)
        if header.get('kind') != KIND or header.get('identity') != identity:
            raise InputError(f'{path} is of another training: remove it to begin anew, or give another folder.')
        _, tensors = read_tensors(path, WHAT)
        history = tensors.pop(HISTORY, torch.zeros(0))
        if history.ndim != 2 or history.shape[1] != len(self.translator.losses):
            raise InputError(f'{path} cannot be used as {WHAT}: its history has the shape {tuple(history.shape)}.')
        self._restore(path, tensors)
        self.history = [tuple(row) for row in history.tolist()]
        self.seconds, self.cpu_seconds = (float(header.get(name, 0)) for name in ('seconds', 'cpu_seconds'))

    def _state(self) -> dict[str, Tensor]:
        state = {NETWORKS + name: tensor for name, tensor in self.translator.state_dict().items()}
        for name, optimiser in self.optimisers.items():
            for number, moments in optimiser.state_dict()['state'].items():
                state |= {f'{OPTIMISERS}{name}.{number}.{key}': tensor for key, tensor in moments.items()}
        return state

    def _restore(self, path: Path, tensors: dict[str, Tensor]) -> None:
        networks = {name.removeprefix(NETWORKS): t for name, t in tensors.items() if name.startswith(NETWORKS)}
        require_like(path, networks, self.translator.state_dict(), WHAT)
        self.translator.load_state_dict(networks)
        for name, optimiser in self.optimisers.items():
            begin = f'{OPTIMISERS}{name}.'
            moments = {key.removeprefix(begin): t for key, t in tensors.items() if key.startswith(begin)}
            if moments:  # an optimiser that has not stepped has none
                require_like(path, moments, _moments_like(optimiser), WHAT)
            state: dict[int, dict[str, Tensor]] = {}
            for key, tensor in moments.items():
                number, _, what = key.partition('.')
                state.setdefault(int(number), {})[what] = tensor
            optimiser.load_state_dict({'state': state, 'param_groups': optimiser.state_dict()['param_groups']})


def _moments_like(optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Return tensors of the names, shapes and types that the state of Adam has."""
    parameters = [parameter for group in optimiser.param_groups for parameter in group['params']]
    out = {}
    for number, parameter in enumerate(parameters):
        out[f'{number}.step'] = torch.tensor(0.0)
        out |= {f'{number}.{key}': torch.empty_like(parameter, device='cpu') for key in ('exp_avg', 'exp_avg_sq')}
    return out


def noise_of(seed: int, step: int) -> torch.Generator:
    """Return the random numbers of a step, on the CPU, which follow from the seed and its number alone."""
    state = np.random.SeedSequence((seed, step, 1)).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(state >> np.uint64(1)))
