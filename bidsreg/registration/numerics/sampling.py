"""Trilinear interpolation with slopes: by compiled kernels on a CPU, by gathering on a GPU."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from bidsreg.registration.numerics.threads import spare_threads, threads_given_back

Tensor = torch.Tensor


class Sampler:
    """Trilinear values of a volume, and how they change with the position.

    Parameters
    ----------
    volume : Tensor, shape (C, X, Y, Z)
        What to sample; beyond its outer voxel centres the border value goes on.
    """

    def __init__(self, volume: Tensor) -> None:
        self.flat = volume.contiguous().flatten(1)
        _, x, y, z = volume.shape
        self.last = [n - 1 for n in (x, y, z)]
        # an axis of one voxel has no second neighbour to fetch
        self.steps = [step if n > 1 else 0 for step, n in zip((y * z, z, 1), (x, y, z), strict=True)]

    def _is_compiled(self, at: Tensor) -> bool:
        """Tell whether a kernel does it: on a CPU, in single precision."""
        return self.flat.device.type == 'cpu' and self.flat.dtype == at.dtype == torch.float32

    def _arrays(self, at: Tensor) -> tuple[np.ndarray, tuple[int, int, int], np.ndarray, int]:
        """Return what kernels take: volumes, their shape, positions, and how many threads may work."""
        x, y, z = (n + 1 for n in self.last)
        positions = at.detach().flatten(1).contiguous().numpy()
        return self.flat.detach().numpy(), (x, y, z), positions, spare_threads(at.numel())

    def _cell(self, at: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Index of the lower corner of each position's cell, and the three weights of its upper corner."""
        index, weights = None, []
        for axis, (last, step) in enumerate(zip(self.last, self.steps, strict=True)):
            position = at[axis].clamp(0, last)
            lower = position.floor().clamp_(max=max(last - 1, 0))
            weights.append(position.sub_(lower))
            part = lower.to(torch.int32).mul_(step)
            index = part if index is None else index.add_(part)
        assert index is not None
        return index.flatten(), weights

    def _corners(self, index: Tensor, shape: torch.Size) -> list[Tensor]:
        """Return the values (C, x, y, z) of all channels at the eight corners of each position's cell."""
        x, y, z = self.steps
        offsets = (0, z, y, y + z, x, x + z, x + y, x + y + z)
        return [self.flat.index_select(1, index + offset).view(len(self.flat), *shape) for offset in offsets]

    def nearest(self, at: Tensor) -> Tensor:
        """Return values (C, x, y, z) of the nearest voxels."""
        index = None
        for axis, (last, step) in enumerate(zip(self.last, self.steps, strict=True)):
            part = at[axis].add(0.5).clamp_(0, last).floor_().to(torch.int32).mul_(step)
            index = part if index is None else index.add_(part)
        assert index is not None
        return self.flat.index_select(1, index.flatten()).view(len(self.flat), *at.shape[1:])

    def values(self, at: Tensor) -> Tensor:
        """Return trilinear values (C, x, y, z) alone."""
        if self._is_compiled(at):
            from bidsreg.registration.numerics.kernels.sampling import values

            return torch.from_numpy(values(*self._arrays(at))).view(-1, *at.shape[1:])
        index, (wx, wy, wz) = self._cell(at)
        c = self._corners(index, at.shape[1:])
        edge = [torch.lerp(c[k], c[k + 1], wz) for k in (0, 2, 4, 6)]
        return torch.lerp(torch.lerp(edge[0], edge[1], wy), torch.lerp(edge[2], edge[3], wy), wx)

    def __call__(self, at: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Return values and slopes.

        Parameters
        ----------
        at : Tensor, shape (3, x, y, z)
            Positions in voxels of the volume.

        Returns
        -------
        values : Tensor, shape (C, x, y, z)
        slopes : list of C Tensors of shape (3, x, y, z)
            Change of each channel per voxel along the volume's three axes; the cell's own at its border.
        """
        if self._is_compiled(at):
            from bidsreg.registration.numerics.kernels.sampling import values_and_slopes

            found, rises = map(torch.from_numpy, values_and_slopes(*self._arrays(at)))
            return found.view(-1, *at.shape[1:]), [rise.view(at.shape) for rise in rises]
        index, (wx, wy, wz) = self._cell(at)
        c = self._corners(index, at.shape[1:])
        rise = [c[k + 1] - c[k] for k in (0, 2, 4, 6)]
        edge = [torch.addcmul(c[k], wz, r) for k, r in zip((0, 2, 4, 6), rise, strict=True)]
        lower, upper = torch.lerp(edge[0], edge[1], wy), torch.lerp(edge[2], edge[3], wy)
        slopes = at.new_empty(len(self.flat), *at.shape)
        torch.sub(upper, lower, out=slopes[:, 0])
        torch.lerp(edge[1].sub_(edge[0]), edge[3].sub_(edge[2]), wx, out=slopes[:, 1])
        torch.lerp(torch.lerp(rise[0], rise[1], wy), torch.lerp(rise[2], rise[3], wy), wx, out=slopes[:, 2])
        return torch.addcmul(lower, wx, slopes[:, 0]), list(slopes)

    def scatter(self, at: Tensor, upstream: Tensor) -> Tensor:
        """Apply the adjoint of `values`: spread (C, x, y, z) onto the volume's voxels, (C, X, Y, Z)."""
        index, (wx, wy, wz) = self._cell(at)
        out = torch.zeros_like(self.flat)
        x, y, z = self.steps
        for along_x, x_step in ((upstream * (1 - wx), 0), (upstream * wx, x)):
            for along_y, y_step in ((along_x * (1 - wy), 0), (along_x * wy, y)):
                upper = along_y * wz
                for part, z_step in ((along_y - upper, 0), (upper, z)):
                    corner = (index + (x_step + y_step + z_step)).expand(len(out), -1)
                    out.scatter_add_(1, corner, part.flatten(1))
        return out.view(len(out), *[n + 1 for n in self.last])


def interpolate(volume: Tensor, at: Tensor) -> Tensor:
    """Return trilinear values (C, x, y, z) of a volume (C, X, Y, Z) at voxels (3, x, y, z); differentiable by both."""
    return _Interpolate.apply(volume, at)


class _Interpolate(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, volume: Tensor, at: Tensor) -> Tensor:
        ctx.sampler, ctx.slopes = Sampler(volume), None
        ctx.save_for_backward(at)
        with threads_given_back(at.numel()):
            if not at.requires_grad:
                return ctx.sampler.values(at)
            values, ctx.slopes = ctx.sampler(at)
        return values

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, Tensor | None]:
        (at,) = ctx.saved_tensors
        by_position = None
        with threads_given_back(at.numel()):
            by_volume = ctx.sampler.scatter(at, upstream) if ctx.needs_input_grad[0] else None
            if ctx.slopes is not None:
                by_position = sum(slope * channel for slope, channel in zip(ctx.slopes, upstream, strict=True))
        return by_volume, by_position
