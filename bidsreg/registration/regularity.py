"""What keeps a velocity smooth. Every regulariser is an integral over space in mm, whatever the grid."""

from __future__ import annotations

from collections.abc import Callable

import torch

Tensor = torch.Tensor


def gradient_energy(velocity: Tensor, spacing: Tensor) -> Tensor:
    """H1 seminorm: the integral of the squared gradient.

    Parameters
    ----------
    velocity : Tensor, shape (K, 3, X, Y, Z)
        K velocity fields in mm per unit of time, components along the grid's axes.
    spacing : Tensor, shape (3,)
        Voxel size in mm.

    Returns
    -------
    Tensor
        Mean over K of the integral of |grad v|^2, in mm^3 (the gradient of mm over mm has no unit). Forward
        differences; zero beyond the border, where velocities vanish.
    """
    total = velocity.new_zeros(())
    for axis in range(3):
        total = total + (velocity.diff(dim=axis + 2) / spacing[axis]).square().sum()
    return total * spacing.prod() / velocity.shape[0]


Regulariser = Callable[[Tensor, Tensor], Tensor]

REGULARISERS: dict[str, Regulariser] = {'h1': gradient_energy}
