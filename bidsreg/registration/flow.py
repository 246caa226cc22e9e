"""The Neural ODE: particles that flow through a velocity field, d phi / dt = v(t, phi) (Chen et al. 2018)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from bidsreg.registration.numerics.sampling import interpolate
from bidsreg.registration.numerics.threads import in_threads, spare_threads

if TYPE_CHECKING:
    from bidsreg.registration.numerics.kernels.flow import Carrier

Tensor = torch.Tensor
Rate = Callable[[Tensor, Tensor], Tensor]

FIXED = ('euler', 'midpoint', 'heun2', 'heun3', 'rk4', 'explicit_adams', 'implicit_adams')
"""Methods of torchdiffeq that take steps of a fixed size."""
ADAPTIVE = ('dopri5', 'dopri8', 'bosh3', 'fehlberg2', 'adaptive_heun')
"""Methods of torchdiffeq that choose their steps by a tolerance."""
SOLVERS = (*FIXED, *ADAPTIVE)
Step = Callable[[Rate, Tensor, Tensor, float], Tensor]


def _euler(rate: Rate, t: Tensor, y: Tensor, h: float) -> Tensor:
    return y + h * rate(t, y)


def _midpoint(rate: Rate, t: Tensor, y: Tensor, h: float) -> Tensor:
    return y + h * rate(t + h / 2, y + h / 2 * rate(t, y))


def _three_eighths(rate: Rate, t: Tensor, y: Tensor, h: float) -> Tensor:
    """Take a step of Kutta's 3/8 rule, which torchdiffeq calls rk4."""
    first = rate(t, y)
    second = rate(t + h / 3, y + h / 3 * first)
    third = rate(t + 2 * h / 3, y + h * (second - first / 3))
    fourth = rate(t + h, y + h * (first - second + third))
    return y + h / 8 * (first + 3 * (second + third) + fourth)


STEPS: dict[str, Step] = {'euler': _euler, 'midpoint': _midpoint, 'rk4': _three_eighths}
"""Steps of methods that are taken without torchdiffeq, whose bookkeeping makes a GPU wait; equal to its own."""
CHUNK = 120_000
"""Particles that flow together on a CPU: they do not meet, and fit the cache."""


@dataclass(frozen=True)
class Solver:
    """How to integrate over t in [0, 1].

    Attributes
    ----------
    method : str
        One of `SOLVERS`.
    steps : int
        Of a method with fixed steps.
    tolerance : float
        Relative and absolute, of an adaptive method: in voxels of the velocity's grid, or in mm for a cloud of points.
    adjoint : bool
        Solve the adjoint equation for gradients: memory does not grow with the steps, at the price of another solution
        backward in time, whose error the gradient has. Otherwise gradients go through the steps: exact for the discrete
        flow, with the positions and slopes of every evaluation kept.
    """

    method: str = 'rk4'
    steps: int = 2
    tolerance: float = 1e-4
    adjoint: bool = False

    def __post_init__(self) -> None:
        if self.method not in SOLVERS:
            raise ValueError(f"unknown solver '{self.method}'; known are: {', '.join(SOLVERS)}")
        if self.steps < 1:
            raise ValueError(f'a solver needs at least one step, not {self.steps}')


class Eulerian(torch.nn.Module):
    """The rate of particles in a velocity field: its value where they are.

    Parameters
    ----------
    velocity : Tensor, shape (K, 3, X, Y, Z)
        At K moments spread evenly over [0, 1], linear in between, in voxels of its grid per unit of time.
    """

    def __init__(self, velocity: Tensor) -> None:
        super().__init__()
        self.velocity = velocity

    def forward(self, t: Tensor, phi: Tensor) -> Tensor:
        """Return the velocity at time `t` of particles at `phi` (3, x, y, z), in voxels (the border's beyond it)."""
        knots = len(self.velocity)
        if knots == 1:
            return interpolate(self.velocity[0], phi)
        # every moment at the particles, which are few, instead of a whole field in between
        values = interpolate(self.velocity.flatten(0, 1), phi).unflatten(0, (knots, 3))
        away = (t * (knots - 1)).clamp(0, knots - 1) - torch.arange(knots, device=phi.device)
        return torch.einsum('k,kcxyz->cxyz', (1 - away.abs()).clamp_min(0).to(phi.dtype), values)


def integrate(
    rate: Rate, start: Tensor, solver: Solver, backward: bool = False, parameters: Sequence[Tensor] = ()
) -> Tensor:
    """Let particles flow for one unit of time.

    Parameters
    ----------
    rate : callable
        d phi / dt as a function of t and phi; a Module if `solver.adjoint`.
    start : Tensor
        Where they start; any shape that `rate` takes.
    solver : Solver
        How.
    backward : bool
        Flow from t = 1 to t = 0: the inverse map of a velocity field's flow.
    parameters : sequence of Tensor
        What the adjoint's gradient is wanted by.

    Returns
    -------
    Tensor
        Where they end, like `start`.
    """
    if solver.method in STEPS and not solver.adjoint:
        return _in_steps(rate, start, solver, backward)
    # not before it is needed: it brings more of SciPy, which takes a tenth of a second
    from torchdiffeq import odeint, odeint_adjoint

    span = torch.tensor([1.0, 0.0] if backward else [0.0, 1.0], dtype=start.dtype, device=start.device)
    how: dict[str, Any] = {'method': solver.method, 'rtol': solver.tolerance, 'atol': solver.tolerance}
    if solver.method in FIXED:
        how['options'] = {'step_size': 1.0 / solver.steps}
    if solver.adjoint:
        return odeint_adjoint(rate, start, span, adjoint_params=tuple(parameters), **how)[-1]
    return odeint(rate, start, span, **how)[-1]


def _in_steps(rate: Rate, start: Tensor, solver: Solver, backward: bool) -> Tensor:
    """Integrate by steps of a fixed size; times are numbers in the computer's memory, so that a GPU need not wait."""
    step, h = STEPS[solver.method], (-1 if backward else 1) / solver.steps
    phi = start
    for k in range(solver.steps):
        t = torch.tensor(float(backward) + k * h, dtype=torch.float64)
        phi = step(rate, t, phi, h)
    return phi


def flow(velocity: Tensor, start: Tensor, spacing: Tensor, solver: Solver) -> Tensor:
    """Return how far a velocity field takes particles, differentiable by the field.

    Parameters
    ----------
    velocity : Tensor, shape (K, 3, X, Y, Z)
        At K moments spread evenly over [0, 1], linear in between, in mm per unit of time along the grid's axes.
    start : Tensor, shape (3, x, y, z)
        In voxels of the velocity's grid.
    spacing : Tensor, shape (3,)
        Its voxel size in mm.
    solver : Solver
        How.

    Returns
    -------
    Tensor, shape (3, x, y, z)
        In mm along the grid's axes.
    """
    if _is_compiled(velocity, solver):
        return _Compiled.apply(velocity, start, spacing, solver)
    unit = spacing[:, None, None, None]
    in_voxels = velocity / unit
    return (integrate(Eulerian(in_voxels), start, solver, parameters=[in_voxels]) - start) * unit


@torch.no_grad()
def carried(
    velocity: Tensor, start: Tensor, spacing: Tensor, solver: Solver, backward: bool = False, threads: int = 1
) -> Tensor:
    """Return the same as `flow` without gradients, for many particles; `backward` flows from t = 1 to t = 0."""
    if _is_compiled(velocity, solver):
        return _forward(velocity, start, spacing, solver, backward, threads)[0]
    unit = spacing[:, None, None, None]
    rate = Eulerian(velocity / unit)

    def moved(particles: Tensor) -> Tensor:
        with torch.no_grad():
            return (integrate(rate, particles, solver, backward) - particles) * unit

    return torch.cat(in_threads(moved, _chunks(start), threads), 1)


def _chunks(start: Tensor) -> list[Tensor]:
    """Return particles (3, X, Y, Z) in slabs along the first axis; all together on a GPU."""
    if start.device.type != 'cpu':
        return [start]
    return list(start.split(max(1, CHUNK // (start.shape[2] * start.shape[3])), 1))


def _is_compiled(velocity: Tensor, solver: Solver) -> bool:
    """Tell whether a kernel does it: on a CPU, in single precision, the methods of `STEPS` with exact gradients."""
    on_cpu = velocity.device.type == 'cpu' and velocity.dtype == torch.float32
    return on_cpu and solver.method in STEPS and not solver.adjoint


def _forward(
    velocity: Tensor, start: Tensor, spacing: Tensor, solver: Solver, backward: bool, threads: int
) -> tuple[Tensor, Carrier, np.ndarray]:
    """Return how far particles get, what took them there, and which planes they met."""
    from bidsreg.registration.numerics.kernels.flow import Carrier

    carrier = Carrier(velocity.detach().numpy(), spacing.numpy(), solver.method, solver.steps, backward, threads)
    moved, reach = carrier.forward(start.detach().flatten(1).contiguous().numpy())
    return torch.from_numpy(moved).view(start.shape), carrier, reach


class _Compiled(torch.autograd.Function):
    """Differentiable by the velocity alone."""

    @staticmethod
    def forward(ctx: Any, velocity: Tensor, start: Tensor, spacing: Tensor, solver: Solver) -> Tensor:
        threads = spare_threads(start.numel())
        moved, ctx.carrier, ctx.reach = _forward(velocity, start, spacing, solver, False, threads)
        ctx.save_for_backward(start)
        return moved

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, None, None, None]:
        start, by_moved = (t.flatten(1).contiguous().numpy() for t in (*ctx.saved_tensors, upstream))
        return torch.from_numpy(ctx.carrier.by_velocity(start, by_moved, ctx.reach)), None, None, None
