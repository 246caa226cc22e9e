"""The contract of velocities, and the path that each of them makes.

A velocity says how points move: as a field over space (`EulerianVelocity`), whose flow can be solved backward for the
inverse, or as a function of the whole cloud of points (`LagrangianVelocity`), whose inverse has to be searched for.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import torch
from torch import nn

from bidsreg.registration.flow import Solver, flow, integrate
from bidsreg.registration.numerics.positions import voxel_indices

if TYPE_CHECKING:
    from bidsreg.registration.grid import Grid
    from bidsreg.registration.presets import Preset

Tensor = torch.Tensor


@dataclass(frozen=True, eq=False)
class FlowPath:
    """A flow on the velocity's grid: what regularisers look at.

    Attributes
    ----------
    velocity : Tensor, shape (K, 3, X, Y, Z)
        Velocities at K evenly spaced moments of time, in mm per unit of time along the grid's axes; of a cloud of
        points those at the evaluations of its solver.
    displacement : Tensor, shape (1, 3, X, Y, Z)
        phi(1) - id in mm along the grid's axes, at the grid's points.
    spacing : Tensor, shape (3,)
        Voxel size in mm.
    preset : Preset
        Where some regularisers have parameters.
    """

    velocity: Tensor
    displacement: Tensor
    spacing: Tensor
    preset: Preset

    def integral(self, density: Tensor) -> Tensor:
        """Return the integral over space, mean over time, of (K, X, Y, Z): evenly spaced moments, a value a voxel."""
        return time_mean(density.sum((1, 2, 3))) * self.spacing.prod()


def time_mean(values: Tensor) -> Tensor:
    """Return the mean over t in [0, 1] of values (K,) at evenly spaced moments, the ends among them.

    The trapezoidal rule; a single moment stands for all.
    """
    return values[0] if len(values) == 1 else torch.trapezoid(values, dx=1 / (len(values) - 1))


@dataclass(frozen=True, eq=False)
class StartPoints:
    """Where the points that flow begin: at the points of a grid, made once for many flows.

    Attributes
    ----------
    grid : Grid
        The grid, whose points are all meant or some of them.
    spacing : Tensor, shape (3,)
        Its voxel size in mm.
    voxels : Tensor, shape (3, x, y, z)
        Voxel indices of the points that flow.
    needed : Tensor, shape (N,), or None
        Flat indices of these points, where not all of them flow.
    """

    grid: Grid
    spacing: Tensor
    voxels: Tensor
    needed: Tensor | None = None

    @classmethod
    def of(cls, grid: Grid, device: torch.device | str = 'cpu', needed: Tensor | None = None) -> StartPoints:
        """Return the points of a grid, or those of them whose flat indices are `needed`."""
        voxels = voxel_indices(grid.shape, device)
        if needed is not None:
            voxels = voxels.flatten(1)[:, needed, None, None]
        return cls(grid, torch.as_tensor(grid.spacing, dtype=torch.float32, device=device), voxels, needed)

    @property
    def unit(self) -> Tensor:
        """Return the spacing as a tensor of shape (3, 1, 1, 1)."""
        return self.spacing[:, None, None, None]

    def on_grid(self, values: Tensor) -> Tensor:
        """Return values (3, x, y, z) of the points on the whole grid, (1, 3, X, Y, Z); zero where none flows."""
        if self.needed is not None:
            whole = values.new_zeros(3, math.prod(self.grid.shape))
            values = whole.index_copy(1, self.needed, values[:, :, 0, 0])
        return values.view(1, 3, *self.grid.shape)


class Velocity(nn.Module, ABC):
    """What moves the points. A member of the family states what differs.

    Parameters
    ----------
    shape : tuple of int
        Of the velocity's grid, (X, Y, Z).
    spacing : ndarray, shape (3,)
        Its voxel size in mm.
    taper : float
        Over how many mm from the border velocities rise from zero to their full size.
    preset : Preset
        Gives the fields that `needs` names.

    Attributes
    ----------
    needs : tuple of str
        Fields of the preset that it reads, of those that not every registration reads.
    eulerian : bool
        Whether a velocity belongs to a place, so that the flow solved backward is the inverse map and coarse levels can
        do with a coarser grid; otherwise it belongs to a point of the grid.
    has_metric : bool
        Whether its paths have a length (`path_length`).
    """

    needs: ClassVar[tuple[str, ...]] = ()
    eulerian: ClassVar[bool]
    has_metric: ClassVar[bool] = False

    def __init__(self, shape: tuple[int, ...], spacing: np.ndarray, taper: float, preset: Preset) -> None:
        super().__init__()

    @abstractmethod
    def path(self, start: StartPoints, solver: Solver, preset: Preset, coarser: int = 0) -> FlowPath:
        """Let points flow for one unit of time, differentiable by the parameters.

        Parameters
        ----------
        start : StartPoints
            Points of the velocity's grid with every length halved `coarser` times. Where the velocity allows it, only
            the needed ones flow, and the displacement of the others is zero.
        solver : Solver
            How to integrate.
        preset : Preset
            Passed on to the path.
        coarser : int
            How often the grid was halved; always 0 for one that is not Eulerian.
        """

    def path_length(self, spacing: Tensor, preset: Preset) -> Tensor:
        """Return how long the path is that the velocity takes, in mm^(5/2).

        Over the square root of a brain's volume in mm^3 that is a (root mean square) length in mm.

        Raises
        ------
        TypeError
            If the velocity has no metric.
        """
        raise TypeError(f'{type(self).__name__} has no metric, and its paths have no length')


class EulerianVelocity(Velocity):
    """A velocity field over space, at one or several moments of time, linear in between."""

    eulerian = True

    @abstractmethod
    def forward(self, coarser: int = 0) -> Tensor:
        """Return velocities in mm per unit of time along the grid's axes, shape (knots, 3, X, Y, Z).

        On the velocity's grid, or on one with lengths halved `coarser` times. They vanish at the border.
        """

    def path(self, start: StartPoints, solver: Solver, preset: Preset, coarser: int = 0) -> FlowPath:
        """Let particles flow through the field; see `Velocity.path`."""
        velocity = self(coarser)
        moved = flow(velocity, start.voxels, start.spacing, solver)
        return FlowPath(velocity, start.on_grid(moved), start.spacing, preset)


class LagrangianVelocity(Velocity):
    """Velocities of a cloud of points as a function of where all of them are."""

    eulerian = False

    @abstractmethod
    def at(self, t: Tensor, state: Tensor) -> Tensor:
        """Return the velocities of the grid's points.

        Parameters
        ----------
        t : Tensor
            Time in [0, 1].
        state : Tensor, shape (1, 3, X, Y, Z)
            Where the points are, in mm along the grid's axes from its centre.

        Returns
        -------
        Tensor, shape (1, 3, X, Y, Z)
            In mm per unit of time along the grid's axes; zero for the points at the border.
        """

    def path(self, start: StartPoints, solver: Solver, preset: Preset, coarser: int = 0) -> FlowPath:
        """Let the whole cloud flow, since every point depends on all; see `Velocity.path`.

        Raises
        ------
        ValueError
            If the solver asks for gradients by the adjoint equation, or only some points are to flow.
        """
        if solver.adjoint:
            raise ValueError('adjoint: the cloud of points has gradients through the steps of its solver alone')
        if start.needed is not None:
            raise ValueError('a cloud of points flows as a whole: every point depends on all')
        cloud = self.cloud(start)
        seen: list[Tensor] = []

        def rate(t: Tensor, state: Tensor) -> Tensor:
            seen.append(self.at(t, state))
            return seen[-1]

        end = integrate(rate, cloud, solver)
        return FlowPath(torch.cat(seen), end - cloud, start.spacing, preset)

    @staticmethod
    def cloud(start: StartPoints) -> Tensor:
        """Return the points (1, 3, X, Y, Z) in mm along the grid's axes from its centre."""
        middle = start.voxels[:, -1:, -1:, -1:] / 2
        return ((start.voxels - middle) * start.unit)[None]
