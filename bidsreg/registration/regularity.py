"""What keeps a deformation smooth. Every regulariser is an integral over space in mm, whatever the grid."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
import torch

from bidsreg.registration.numerics.threads import spare_threads
from bidsreg.registration.velocity.base import FlowPath, time_mean
from bidsreg.registration.velocity.lddmm import squared_norms

Tensor = torch.Tensor

TV_EPSILON = 1e-3
"""Slope (mm over mm) below which total variation is smooth instead of a corner."""
NEARLY_FOLDED = 0.1
"""Jacobian determinant below which space is all but folded: the barrier begins, the logarithm goes on as a line."""


def gradient(field: Tensor, spacing: Tensor) -> Tensor:
    """Return derivatives by forward differences.

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
    """Return Jacobian determinants of id + u, by forward and by backward differences.

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


Energy = Callable[[np.ndarray, np.ndarray, int], tuple[np.ndarray, np.ndarray]]
"""From fields (K, 3, X, Y, Z), the voxel size and threads to a sum for each of them, and its gradient."""


def _on_cpu(path: FlowPath) -> bool:
    """Tell whether a kernel can do it, which knows first derivatives alone."""
    return path.velocity.device.type == 'cpu' and path.velocity.dtype == torch.float32


def _compiled_integral(path: FlowPath, energy: Energy) -> Tensor:
    """Return the integral over space, mean over time, of an energy that a kernel computes with its gradient."""
    sums = _Energy.apply(path.velocity, path.spacing, energy)
    return time_mean(sums) * path.spacing.prod()


class _Energy(torch.autograd.Function):
    """Takes the gradient in the forward pass, in which the kernel has all at hand."""

    @staticmethod
    def forward(ctx: Any, field: Tensor, spacing: Tensor, energy: Energy) -> Tensor:
        values = field.detach().contiguous()
        sums, gradient = energy(values.numpy(), spacing.numpy().astype(np.float64), spare_threads(values.numel()))
        ctx.save_for_backward(torch.from_numpy(gradient))
        return torch.from_numpy(sums)

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, None, None]:
        (gradient,) = ctx.saved_tensors
        return upstream[:, None, None, None, None] * gradient, None, None


class Regulariser(ABC):
    """What makes a deformation costly. A member of the family is a function of a path, with a few words about itself.

    Attributes
    ----------
    needs : tuple of str
        Fields of the preset that it reads.
    needs_displacement : bool
        Whether it looks at the displacement of every point of the grid; to the others only the velocity matters.
    """

    needs: ClassVar[tuple[str, ...]] = ()
    needs_displacement: ClassVar[bool] = False

    @abstractmethod
    def __call__(self, path: FlowPath) -> Tensor:
        """Return an integral over space, mean over time: a scalar in mm^3, 0 for no deformation."""


class Magnitude(Regulariser):
    """L2: the integral of |v|^2, mean over time; in mm^3 for |v| in units of 1 mm (mm^5 otherwise)."""

    def __call__(self, path: FlowPath) -> Tensor:
        """See `Regulariser`."""
        return path.integral(path.velocity.square().sum(1))


class GradientEnergy(Regulariser):
    """H1 seminorm: the integral of the squared gradient of v (all nine derivatives), mean over time; in mm^3."""

    def __call__(self, path: FlowPath) -> Tensor:
        """See `Regulariser`."""
        if _on_cpu(path):
            from bidsreg.registration.numerics.kernels.regularity import gradient_energy

            return _compiled_integral(path, gradient_energy)
        return path.integral(gradient(path.velocity, path.spacing).square().sum((1, 2)))


class BendingEnergy(Regulariser):
    """H2 seminorm: the integral of all 27 squared second derivatives of v, mean over time (Rueckert et al. 1999).

    Against H1 it lets broad deformations pass and holds narrow ones back: twice as narrow costs sixteen times as much,
    not four times. Affine velocities cost nothing, but those that vanish at the border are never affine. In mm^3, for
    derivatives in 1 / mm (mm otherwise).
    """

    def __call__(self, path: FlowPath) -> Tensor:
        """See `Regulariser`."""
        if _on_cpu(path):
            from bidsreg.registration.numerics.kernels.regularity import bending_energy

            return _compiled_integral(path, bending_energy)
        first = gradient(path.velocity, path.spacing)
        second = gradient(first.flatten(0, 1), path.spacing)
        return path.integral(second.unflatten(0, first.shape[:2]).square().sum((1, 2, 3)))


class TotalVariation(Regulariser):
    """TV: the integral of |grad v|, the root of the sum of nine squares, mean over time (Rudin et al. 1992); in mm^3.

    The root is sqrt(|grad v|^2 + e^2) - e with e = `TV_EPSILON`, so that it has a gradient at rest. Rotating the axes
    does not change it.
    """

    def __call__(self, path: FlowPath) -> Tensor:
        """See `Regulariser`."""
        squared = gradient(path.velocity, path.spacing).square().sum((1, 2))
        return path.integral((squared + TV_EPSILON**2).sqrt() - TV_EPSILON)


class Divergence(Regulariser):
    """The integral of (div v)^2, mean over time, in mm^3: how fast volumes change."""

    def __call__(self, path: FlowPath) -> Tensor:
        """See `Regulariser`."""
        if _on_cpu(path):
            from bidsreg.registration.numerics.kernels.regularity import divergence_energy

            return _compiled_integral(path, divergence_energy)
        return path.integral(torch.einsum('kiixyz->kxyz', gradient(path.velocity, path.spacing)).square())


class KineticEnergy(Regulariser):
    """The squared V-norm of the velocities, mean over time.

    In mm^3, for lengths in units of 1 mm: at long wavelengths it is `Magnitude` + power * alpha * `GradientEnergy`.
    """

    needs = ('kernel_alpha', 'kernel_power')

    def __call__(self, path: FlowPath) -> Tensor:
        """See `Regulariser`."""
        return time_mean(squared_norms(path.velocity, path.spacing, path.preset))


class VolumeChange(Regulariser):
    """The integral of (log J)^2 with J the Jacobian determinant of the map: twice as large counts as half as large.

    Below `NEARLY_FOLDED` the logarithm goes on as its tangent, so that folded points have a gradient, too. In mm^3.
    """

    needs_displacement = True

    def __call__(self, path: FlowPath) -> Tensor:
        """See `Regulariser`."""
        determinants = jacobians(path.displacement, path.spacing)
        above = determinants.clamp_min(NEARLY_FOLDED)
        logarithms = above.log() + (determinants - above) / NEARLY_FOLDED
        return path.integral(logarithms.square().mean(0, keepdim=True))


class FoldBarrier(Regulariser):
    """The integral of max(0, e - J)^2, J the Jacobian determinant of the map and e = `NEARLY_FOLDED`; in mm^3.

    After the penalty on negative determinants of NODEO (Wu et al. 2022). Zero wherever J is above e: unlike the other
    regularisers, it costs a gentle map nothing. Squared, because the integral of J itself over a fold depends only on
    the fold's rim (determinants are null Lagrangians): a linear penalty would not pull at its inside. It sees the map
    on the velocity's grid alone; folds of the written field are counted apart from it.
    """

    needs_displacement = True

    def __call__(self, path: FlowPath) -> Tensor:
        """See `Regulariser`."""
        missing = (NEARLY_FOLDED - jacobians(path.displacement, path.spacing)).relu()
        return path.integral(missing.square().mean(0, keepdim=True))


class OfDisplacement(Regulariser):
    """Another regulariser of the displacement, as if it were a velocity that does not change in time.

    Parameters
    ----------
    regulariser : Regulariser
        One of the velocity.
    """

    needs_displacement = True

    def __init__(self, regulariser: Regulariser) -> None:
        self.regulariser = regulariser

    def __call__(self, path: FlowPath) -> Tensor:
        """See `Regulariser`."""
        return self.regulariser(dataclasses.replace(path, velocity=path.displacement))


REGULARISERS: dict[str, Regulariser] = {
    'l2': Magnitude(),
    'h1': GradientEnergy(),
    'bending': BendingEnergy(),
    'tv': TotalVariation(),
    'l2-displacement': OfDisplacement(Magnitude()),
    'h1-displacement': OfDisplacement(GradientEnergy()),
    'tv-displacement': OfDisplacement(TotalVariation()),
    'v-norm': KineticEnergy(),
    'divergence': Divergence(),
    'volume': VolumeChange(),
    'jacobian': FoldBarrier(),
}
"""The regularisers by the names that a preset knows them by; add one of your own here."""
