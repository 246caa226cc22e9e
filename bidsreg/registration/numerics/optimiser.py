"""Adam with one step size for each tensor, so that a gradient keeps its shape in space."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch

from bidsreg.registration.numerics.threads import spare_threads

LEAST = 1e-30
"""Root mean square of a gradient below which it is not divided by."""


@dataclass(frozen=True, eq=False)
class Snapshot:
    """Parameters, second moments and numbers of steps of a `TensorwiseAdam` at one time."""

    parameters: list[torch.Tensor]
    squares: list[torch.Tensor]
    seen: list[int]


class TensorwiseAdam:
    """Momentum, divided by the root mean square of the whole tensor's gradient.

    Adam (Kingma and Ba 2015) divides every element by its own size, so places where nothing is to be seen move as fast
    as edges do, in the direction of noise. Here the elements of one tensor share the second moment: each scale of
    latents gets steps of a known size, and within a scale the gradient decides where they are taken. Not a
    ``torch.optim.Optimizer``: to make one of those imports torch's compiler, two seconds that are of no use here.

    Parameters
    ----------
    parameters : iterable of Tensor
        What to optimise.
    lr : float
        Root mean square of a step on a tensor whose gradient does not change.
    betas : tuple of float
        Decay of the first and of the second moment.
    """

    def __init__(self, parameters: Iterable[torch.Tensor], lr: float, betas: tuple[float, float] = (0.9, 0.99)) -> None:
        self.parameters, self.lr, self.betas = list(parameters), lr, betas
        self.momenta = [torch.zeros_like(p) for p in self.parameters]
        self.squares = [p.new_zeros(()) for p in self.parameters]
        self.seen = [0] * len(self.parameters)
        self.scales = self.parameters[0].new_ones(len(self.parameters), 2)

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for p in self.parameters:
            p.grad = None

    def snapshot(self) -> Snapshot:
        """Return where it is now, to return to."""
        return Snapshot([p.detach().clone() for p in self.parameters], [s.clone() for s in self.squares], [*self.seen])

    @torch.no_grad()
    def back_to(self, then: Snapshot) -> None:
        """Return to where it was, at rest: the direction it travelled in is forgotten."""
        for p, momentum, value in zip(self.parameters, self.momenta, then.parameters, strict=True):
            p.copy_(value)
            momentum.zero_()
        for square, value in zip(self.squares, then.squares, strict=True):
            square.copy_(value)
        self.seen = [*then.seen]

    def step(self) -> None:
        """Take one step with every tensor that has a gradient."""
        self.prepare()
        self.move()

    def prepare(self) -> None:
        """Count a step, and set the scales that it takes: numbers that `move` finds where it works."""
        first, second = self.betas
        rows = []
        for i, p in enumerate(self.parameters):
            self.seen[i] += p.grad is not None
            n = max(self.seen[i], 1)
            rows.append((1 - second**n, self.lr / (1 - first**n)))
        self.scales.copy_(torch.tensor(rows), non_blocking=True)

    @torch.no_grad()
    def move(self) -> None:
        """Take the step that was prepared: the same operations on the same memory every time."""
        first, second = self.betas
        each = zip(self.parameters, self.momenta, self.squares, self.scales, strict=True)
        for p, momentum, square, (share, rate) in each:
            if p.grad is None:
                continue
            if _is_compiled(p):
                _move_by_kernel(p, momentum, square, share, rate, self.betas)
                continue
            square.lerp_(p.grad.square().mean(), 1 - second)
            size = (square / share).sqrt_().clamp_min_(LEAST)
            momentum.lerp_(p.grad, 1 - first)
            p.sub_(momentum / size * rate)


def _is_compiled(p: torch.Tensor) -> bool:
    """Tell whether a kernel does it: on a CPU, in single precision."""
    return p.device.type == 'cpu' and p.dtype == torch.float32


def _move_by_kernel(
    p: torch.Tensor,
    momentum: torch.Tensor,
    square: torch.Tensor,
    share: torch.Tensor,
    rate: torch.Tensor,
    betas: tuple[float, float],
) -> None:
    """Take the step of one tensor in two passes over its memory."""
    from bidsreg.registration.numerics.kernels.fields import mean_square, step_along

    assert p.grad is not None
    gradient, threads = p.grad.contiguous().view(-1).numpy(), spare_threads(p.numel())
    average = square.numpy()
    average += (1 - betas[1]) * (mean_square(gradient, threads) - average)
    size = max(math.sqrt(average / share.numpy()), LEAST)
    length = float(rate.numpy()) / size
    step_along(p.detach().view(-1).numpy(), momentum.view(-1).numpy(), gradient, betas[0], length, threads)
