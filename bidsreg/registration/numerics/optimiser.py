"""Adam with one step size for each tensor, so that a gradient keeps its shape in space."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch


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
        self.squares, self.seen = [s.clone() for s in then.squares], [*then.seen]

    @torch.no_grad()
    def step(self) -> None:
        """Take one step with every tensor that has a gradient."""
        first, second = self.betas
        for i, (p, momentum, square) in enumerate(zip(self.parameters, self.momenta, self.squares, strict=True)):
            if p.grad is None:
                continue
            self.seen[i] += 1
            momentum.lerp_(p.grad, 1 - first)
            square.lerp_(p.grad.square().mean(), 1 - second)
            size = (square / (1 - second ** self.seen[i])).sqrt_().clamp_min_(1e-30)
            p.sub_(momentum / size * (self.lr / (1 - first ** self.seen[i])))
