"""The Neural ODE: particles that flow through a velocity field, d phi / dt = v(t, phi) (Chen et al. 2018)."""

from __future__ import annotations

import torch
from torchdiffeq import odeint

from bidsreg.registration.image import sample

Tensor = torch.Tensor

SOLVERS = ('euler', 'rk4')


def integrate(velocity: Tensor, points: Tensor, solver: str = 'rk4', steps: int = 2, backward: bool = False) -> Tensor:
    """Let particles flow for one unit of time.

    Parameters
    ----------
    velocity : Tensor, shape (1, 3, X, Y, Z)
        A stationary velocity in ``grid_sample`` coordinates of its own grid per unit of time, components in that
        order (reversed axes). Zero beyond the grid.
    points : Tensor, shape (1, X', Y', Z', 3)
        Where the particles start, ``grid_sample`` coordinates of the velocity's grid.
    solver : str
        A fixed-step method of torchdiffeq, see `SOLVERS`.
    steps : int
        How many steps.
    backward : bool
        Flow from t = 1 to t = 0: the inverse map.

    Returns
    -------
    Tensor, shape (1, X', Y', Z', 3)
        Where they end.
    """
    span = torch.tensor([1.0, 0.0] if backward else [0.0, 1.0], dtype=points.dtype, device=points.device)

    def rate(t: Tensor, phi: Tensor) -> Tensor:
        return sample(velocity, phi).permute(0, 2, 3, 4, 1)

    return odeint(rate, points, span, method=solver, options={'step_size': 1.0 / steps})[-1]
