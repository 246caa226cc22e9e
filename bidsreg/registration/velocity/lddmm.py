"""Large deformation diffeomorphic metric mapping: velocities v = K m with a V-norm (Beg et al. 2005, IJCV 61:139)."""

from __future__ import annotations

import numpy as np
import torch

from bidsreg.registration.numerics import separable
from bidsreg.registration.presets import Preset
from bidsreg.registration.velocity.base import EulerianVelocity, time_mean
from bidsreg.registration.velocity.network import LatentNetwork

Tensor = torch.Tensor
AXES = (-3, -2, -1)


class SobolevKernel:
    """K, the Green's function of L = (Id - alpha Laplacian)^power on a periodic grid.

    The Laplacian is the grid's own (second differences), so that L K = Id to the last digit, and <L v, v> with power 1
    is the integral of |v|^2 + alpha |grad v|^2 with forward differences. As an operator on functions of mm it tends to
    the continuous one as voxels shrink; there is no factor of a voxel's volume. Constants pass unchanged (unit gain at
    zero frequency), a wave of length l mm is damped by (1 + alpha (2 pi / l)^2)^-power.

    Periodic without padding: velocities vanish at the border, and for powers 1 and 2 the V-norm of such a field is the
    same, to the last digit, on a grid padded with zeros. Momenta are windowed before, velocities after K, so nothing
    passes through the border but the kernel's tail over twice the window's width.

    Parameters
    ----------
    shape : tuple of int
        Of the grid, (X, Y, Z).
    spacing : Tensor, shape (3,)
        Voxel size in mm; gives type and device.
    alpha : float
        In mm^2; sqrt(alpha) is the length over which the kernel decays.
    power : float
        Also called s. The theory of flows wants more than 5/2 in three dimensions; 2 is what Beg et al. use.

    Raises
    ------
    ValueError
        If `alpha` or `power` is negative.
    """

    def __init__(self, shape: tuple[int, ...], spacing: Tensor, alpha: float, power: float) -> None:
        if alpha < 0 or power < 0:
            raise ValueError(f'(Id - alpha Laplacian)^power needs alpha and power of at least 0, not {alpha}, {power}')
        x, y, z = shape
        counts = ((x, x), (y, y), (z, z // 2 + 1))  # a real transform keeps half of the last axis
        waves = [torch.arange(kept, dtype=spacing.dtype, device=spacing.device) / n for n, kept in counts]
        kx, ky, kz = (4 * (torch.pi * k).sin().square() / h**2 for k, h in zip(waves, spacing.unbind(), strict=True))
        self.shape = (x, y, z)
        self.symbol = (1 + alpha * (kx[:, None, None] + ky[:, None] + kz)) ** power

    def apply(self, momentum: Tensor) -> Tensor:
        """Return K m of fields (..., X, Y, Z), which smooths."""
        return self._filtered(momentum, 1 / self.symbol)

    def inverse(self, velocity: Tensor) -> Tensor:
        """Return L v of fields (..., X, Y, Z), which sharpens and undoes `apply`."""
        return self._filtered(velocity, self.symbol)

    def _filtered(self, field: Tensor, symbol: Tensor) -> Tensor:
        return torch.fft.irfftn(torch.fft.rfftn(field, dim=AXES) * symbol, s=self.shape, dim=AXES)


class LddmmVelocity(EulerianVelocity):
    """v = T K T m: the momenta m come out of a `LatentNetwork`, T is the window that vanishes at the border.

    T K T is self-adjoint and positive, as K is. K has unit gain at zero frequency, so velocities have the size of the
    network's output where that is smooth on the scale of the kernel; there is no other smoothing.
    """

    needs = ('channels', 'time_knots', 'kernel_alpha', 'kernel_power')
    has_metric = True

    def __init__(self, shape: tuple[int, ...], spacing: np.ndarray, taper: float, preset: Preset) -> None:
        super().__init__(shape, spacing, taper, preset)
        self.network = LatentNetwork(shape, spacing, preset.channels, preset.time_knots)
        self.spacing, self.taper = spacing, taper
        self.alpha, self.power = preset.kernel_alpha, preset.kernel_power
        self._operators: dict[int, tuple[Tensor, SobolevKernel]] = {}

    def operators(self, coarser: int, like: Tensor) -> tuple[Tensor, SobolevKernel]:
        """Return T and K on a grid `coarser` times halved."""
        if coarser not in self._operators:
            spacing, shape = self.spacing * 2**coarser, tuple(like.shape[2:])
            sides = [separable.taper_weights(n, self.taper / h) for n, h in zip(shape, spacing, strict=True)]
            x, y, z = separable.to_tensors(sides, like)
            window = x[:, None, None] * y[:, None] * z
            kernel = SobolevKernel(shape, like.new_tensor(spacing), self.alpha, self.power)
            self._operators[coarser] = window, kernel
        return self._operators[coarser]

    def forward(self, coarser: int = 0) -> Tensor:
        """Return T K T of the network's momenta; see `EulerianVelocity.forward`."""
        momentum = self.network(coarser)
        window, kernel = self.operators(coarser, momentum)
        return window * kernel.apply(window * momentum)

    def path_length(self, spacing: Tensor, preset: Preset) -> Tensor:
        """Return the length of the path by :func:`path_length`."""
        return path_length(self(), spacing, preset)


def squared_norms(velocity: Tensor, spacing: Tensor, preset: Preset) -> Tensor:
    """Return squared V-norms, the integrals of <L v, v> over space.

    Parameters
    ----------
    velocity : Tensor, shape (K, 3, X, Y, Z)
        In mm per unit of time.
    spacing : Tensor, shape (3,)
        Voxel size in mm.
    preset : Preset
        Gives `kernel_alpha` and `kernel_power`.

    Returns
    -------
    Tensor, shape (K,)
        In mm^5 per unit of time squared: |v|^2 is in mm^2, space in mm^3.
    """
    kernel = SobolevKernel(tuple(velocity.shape[2:]), spacing, preset.kernel_alpha, preset.kernel_power)
    return (kernel.inverse(velocity) * velocity).sum((1, 2, 3, 4)) * spacing.prod()


def path_length(velocity: Tensor, spacing: Tensor, preset: Preset) -> Tensor:
    """Return how long a path of diffeomorphisms is: the V-norm of its velocity, integrated over time.

    Its square is at most the energy (`regularity.KineticEnergy`), and equal to it where the speed does not change, as
    on a geodesic.

    Parameters
    ----------
    velocity : Tensor, shape (K, 3, X, Y, Z)
        In mm per unit of time, at K evenly spaced moments.
    spacing : Tensor, shape (3,)
        Voxel size in mm.
    preset : Preset
        Gives `kernel_alpha` and `kernel_power`.

    Returns
    -------
    Tensor
        In mm^(5/2); over the square root of a brain's volume in mm^3 it is a (root mean square) length in mm.
    """
    return time_mean(squared_norms(velocity, spacing, preset).clamp_min(0).sqrt())
