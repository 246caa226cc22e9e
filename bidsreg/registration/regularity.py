"""What keeps a deformation smooth. Every regulariser is an integral over space in mm, whatever the grid."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from bidsreg.registration.velocity.lddmm import time_mean, v_norm

if TYPE_CHECKING:
    from bidsreg.registration.presets import Preset

Tensor = torch.Tensor

TV_EPSILON = 1e-3
"""Slope (mm over mm) below which total variation is smooth instead of a corner."""
NEARLY_FOLDED = 0.1
"""Jacobian determinant below which space is all but folded: the barrier begins, the logarithm goes on as a line."""


@dataclass(frozen=True, eq=False)
class Path:
    """What a regulariser looks at: a flow on the velocity's grid.

    Attributes
    ----------
    velocity : Tensor, shape (K, 3, X, Y, Z)
        Velocities at K moments of time, in mm per unit of time along the grid's axes.
    displacement : Tensor, shape (1, 3, X, Y, Z)
        phi(1) - id in mm along the grid's axes, at the grid's points.
    spacing : Tensor, shape (3,)
        Voxel size in mm.
    preset : Preset
        Where some of them have parameters.
    """

    velocity: Tensor
    displacement: Tensor
    spacing: Tensor
    preset: Preset

    def integral(self, density: Tensor) -> Tensor:
        """Over space, mean over time, of (K, X, Y, Z): evenly spaced moments, one value a voxel."""
        return time_mean(density.sum((1, 2, 3))) * self.spacing.prod()


def gradient(field: Tensor, spacing: Tensor) -> Tensor:
    """Derivatives by forward differences.

    Parameters
    ----------
    field : Tensor, shape (K, 3, X, Y, Z)
        In mm along the grid's axes.
    spacing : Tensor, shape (3,)
        Voxel size in mm.

    Returns
    -------
    Tensor, shape (K, 3, 3, X - 1, Y - 1, Z - 1)
        Of each component (second index) along each axis (third), without unit, at the voxels with a neighbour ahead on
        every axis; fields that vanish at the border have no gradient elsewhere.
    """
    here = field[..., :-1, :-1, :-1]
    ahead = (field[..., 1:, :-1, :-1], field[..., :-1, 1:, :-1], field[..., :-1, :-1, 1:])
    return torch.stack([(there - here) / h for there, h in zip(ahead, spacing.unbind(), strict=True)], 2)


def jacobians(displacement: Tensor, spacing: Tensor) -> Tensor:
    """Jacobian determinants of id + u, by forward and by backward differences.

    Either alone errs in the first order of the voxel size, in opposite directions; the two are also among those by
    which the folds of a written field are counted.

    Parameters
    ----------
    displacement : Tensor, shape (1, 3, X, Y, Z)
        In mm along the grid's axes.
    spacing : Tensor, shape (3,)
        Voxel size in mm.

    Returns
    -------
    Tensor, shape (2, X - 1, Y - 1, Z - 1)
        Forward, at the voxels with neighbours ahead; backward, at those with neighbours behind, all axes reversed.
    """
    reversed_axes = displacement.flip((2, 3, 4))
    gradients = torch.cat([gradient(displacement, spacing), gradient(reversed_axes, -spacing)])
    # by components: several times faster than torch.linalg on many small matrices
    xx, xy, xz, yx, yy, yz, zx, zy, zz = gradients.flatten(1, 2).unbind(1)
    xx, yy, zz = xx + 1, yy + 1, zz + 1
    return xx * (yy * zz - yz * zy) - xy * (yx * zz - yz * zx) + xz * (yx * zy - yy * zx)


def magnitude(path: Path) -> Tensor:
    """L2: the integral of |v|^2, mean over time.

    Returns
    -------
    Tensor
        In mm^3, for |v| in units of 1 mm (mm^5 otherwise).
    """
    return path.integral(path.velocity.square().sum(1))


def gradient_energy(path: Path) -> Tensor:
    """H1 seminorm: the integral of the squared gradient of v (all nine derivatives), mean over time.

    Returns
    -------
    Tensor
        In mm^3.
    """
    return path.integral(gradient(path.velocity, path.spacing).square().sum((1, 2)))


def bending_energy(path: Path) -> Tensor:
    """H2 seminorm: the integral of all 27 squared second derivatives of v, mean over time (Rueckert et al. 1999).

    Against H1 it lets broad deformations pass and holds narrow ones back: twice as narrow costs sixteen times as much,
    not four times. Affine velocities cost nothing, but those that vanish at the border are never affine.

    Returns
    -------
    Tensor
        In mm^3, for derivatives in 1 / mm (mm otherwise).
    """
    first = gradient(path.velocity, path.spacing)
    second = gradient(first.flatten(0, 1), path.spacing)
    return path.integral(second.unflatten(0, first.shape[:2]).square().sum((1, 2, 3)))


def total_variation(path: Path) -> Tensor:
    """TV: the integral of |grad v|, the root of the sum of nine squares, mean over time (Rudin et al. 1992).

    The root is sqrt(|grad v|^2 + e^2) - e with e = `TV_EPSILON`, so that it has a gradient at rest. Rotating the axes
    does not change it.

    Returns
    -------
    Tensor
        In mm^3.
    """
    squared = gradient(path.velocity, path.spacing).square().sum((1, 2))
    return path.integral((squared + TV_EPSILON**2).sqrt() - TV_EPSILON)


def divergence(path: Path) -> Tensor:
    """The integral of (div v)^2, mean over time: how fast volumes change.

    Returns
    -------
    Tensor
        In mm^3.
    """
    return path.integral(torch.einsum('kiixyz->kxyz', gradient(path.velocity, path.spacing)).square())


def volume_change(path: Path) -> Tensor:
    """The integral of (log J)^2 with J the Jacobian determinant of the map: twice as large counts as half as large.

    Below `NEARLY_FOLDED` the logarithm goes on as its tangent, so that folded points have a gradient, too.

    Returns
    -------
    Tensor
        In mm^3.
    """
    determinants = jacobians(path.displacement, path.spacing)
    above = determinants.clamp_min(NEARLY_FOLDED)
    logarithms = above.log() + (determinants - above) / NEARLY_FOLDED
    return path.integral(logarithms.square().mean(0, keepdim=True))


def fold_barrier(path: Path) -> Tensor:
    """The integral of max(0, e - J)^2, J the Jacobian determinant of the map and e = `NEARLY_FOLDED`.

    After the penalty on negative determinants of NODEO (Wu et al. 2022). Zero wherever J is above e: unlike the other
    regularisers, it costs a gentle map nothing. Squared, because the integral of J itself over a fold depends only on
    the fold's rim (determinants are null Lagrangians): a linear penalty would not pull at its inside. It sees the map
    on the velocity's grid alone; folds of the written field are counted apart from it.

    Returns
    -------
    Tensor
        In mm^3.
    """
    missing = (NEARLY_FOLDED - jacobians(path.displacement, path.spacing)).relu()
    return path.integral(missing.square().mean(0, keepdim=True))


Regulariser = Callable[[Path], Tensor]


def of_displacement(regulariser: Regulariser) -> Regulariser:
    """The same of the displacement, as if it were a velocity that does not change in time."""
    return lambda path: regulariser(dataclasses.replace(path, velocity=path.displacement))


REGULARISERS: dict[str, Regulariser] = {
    'l2': magnitude,
    'h1': gradient_energy,
    'bending': bending_energy,
    'tv': total_variation,
    'l2-displacement': of_displacement(magnitude),
    'h1-displacement': of_displacement(gradient_energy),
    'tv-displacement': of_displacement(total_variation),
    'v-norm': v_norm,
    'divergence': divergence,
    'volume': volume_change,
    'jacobian': fold_barrier,
}
OF_DISPLACEMENT = frozenset({'l2-displacement', 'h1-displacement', 'tv-displacement', 'volume', 'jacobian'})
"""Those that need the displacement at every point of the grid; to the others only the velocity matters."""
