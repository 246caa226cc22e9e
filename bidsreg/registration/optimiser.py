"""Adam with one step size for each tensor, so that a gradient keeps its shape in space."""

from __future__ import annotations

from collections.abc import Iterable

import torch


class TensorwiseAdam(torch.optim.Optimizer):
    """Momentum, divided by the root mean square of the whole tensor's gradient.

    Adam (Kingma and Ba 2015) divides every element by its own size, so places where nothing is to be seen move as fast
    as edges do, in the direction of noise. Here the elements of one tensor share the second moment: each scale of
    latents gets steps of a known size, and within a scale the gradient decides where they are taken.

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
        super().__init__(parameters, {'lr': lr, 'betas': betas})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Take one step."""
        for group in self.param_groups:
            first, second = group['betas']
            for p in (p for p in group['params'] if p.grad is not None):
                state = self.state[p]
                if not state:
                    state.update(step=0, momentum=torch.zeros_like(p), square=p.new_zeros(()))
                state['step'] += 1
                state['momentum'].lerp_(p.grad, 1 - first)
                state['square'].lerp_(p.grad.square().mean(), 1 - second)
                size = (state['square'] / (1 - second ** state['step'])).sqrt_().clamp_min_(1e-30)
                p.sub_(state['momentum'] / size * (group['lr'] / (1 - first ** state['step'])))
