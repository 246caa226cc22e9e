"""The inverse of a displacement that no flow can be run backward for."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F

from bidsreg.registration.grid import Grid

Tensor = torch.Tensor

CHUNK = 1 << 18
"""Points solved together: bounds the memory."""
PLAIN = 8
"""Iterations by the plain fixed-point step, which costs one look at the field; then by Newton's, which costs seven."""
SHORTEST = 2.0**-6
"""Fraction of a Newton step that is tried: a point that would need a shorter one is stuck."""


class InversionError(ValueError):
    """A displacement without an inverse at `stuck` voxels.

    Attributes
    ----------
    best : ndarray, shape (X, Y, Z, 3)
        mm: as near as it came.
    stuck : int
        Voxels where `best` is no inverse.
    worst : float
        How far off it is there at most, mm.
    """

    def __init__(self, message: str, best: np.ndarray, stuck: int, worst: float) -> None:
        super().__init__(message)
        self.best, self.stuck, self.worst = best, stuck, worst


def invert_displacement(
    field: np.ndarray, grid: Grid, iterations: int = 50, tolerance: float = 0.01
) -> tuple[np.ndarray, float]:
    """Return the displacement w of the inverse of x + u(x): w(z) = -u(z + w(z)), on the same grid.

    Every voxel is solved on its own, first by the fixed-point iteration of Chen et al. 2008 (Medical Physics 35:81-88),
    which contracts where the derivative of u is small, and what is left by Newton steps. A step that does not bring a
    point closer is taken back, and a Newton step then tried again at half its length.

    Parameters
    ----------
    field : ndarray, shape (X, Y, Z, 3)
        u in mm (RAS+), linear between the voxels; beyond the grid as at its border.
    grid : Grid
        Where it lies.
    iterations : int
        At most, for any voxel.
    tolerance : float
        How far, in mm, x + u(x) with x = z + w(z) may lie from z. Single precision does not go below about 1e-4.

    Returns
    -------
    inverse : ndarray, shape (X, Y, Z, 3), float32
        w in mm (RAS+).
    residual : float
        The largest distance left, in mm.

    Raises
    ------
    InversionError
        If some voxels are still further off: the map folds near them, or is too rough for its grid. The reverse does
        not hold: where a map folds, one of several x may be found. `metrics.count_folds` says whether it does.
    ValueError
        If the field does not fit the grid or holds NaN or infinite values.
    """
    if field.shape != (*grid.shape, 3):
        raise ValueError(f'a field of shape {field.shape} on a grid of shape {grid.shape}')
    if not np.isfinite(field).all():
        raise ValueError('the displacement holds NaN or infinite values')
    to_world = torch.as_tensor(grid.affine[:3, :3], dtype=torch.float32)
    field_at = _sampler(torch.from_numpy(np.require(field, np.float32, ['C', 'W'])), to_world)
    out = np.empty((int(np.prod(grid.shape)), 3), np.float32)
    worst, stuck = 0.0, 0
    for start in range(0, len(out), CHUNK):
        flat = np.arange(start, min(start + CHUNK, len(out)))
        points = torch.as_tensor(np.stack(np.unravel_index(flat, grid.shape), -1), dtype=torch.float32)
        found, left = _solve(points, field_at, to_world, iterations, tolerance)
        out[flat] = (found @ to_world.T).numpy()
        worst, stuck = max(worst, left.max().item()), stuck + int((left > tolerance).sum())
    if stuck:
        raise InversionError(
            f'no inverse within {tolerance:g} mm after {iterations} iterations: {stuck} voxels are up to {worst:.3g} '
            f'mm off; the displacement folds near them or is too rough for its grid',
            out.reshape(field.shape),
            stuck,
            worst,
        )
    return out.reshape(field.shape), worst


def _sampler(field: Tensor, to_world: Tensor) -> Callable[[Tensor], Tensor]:
    """Return a function from positions (N, 3) to displacements (N, 3), both in voxels."""
    volume = (field @ torch.linalg.inv(to_world).T).permute(3, 0, 1, 2)[None].contiguous()
    scale = 2 / (torch.tensor(field.shape[:3]) - 1).clamp_min(1)

    def at(positions: Tensor) -> Tensor:
        coordinates = (positions * scale - 1).flip(-1)[None, None, None]
        sampled = F.grid_sample(volume, coordinates, padding_mode='border', align_corners=True)
        return sampled[0, :, 0, 0].T

    return at


def _solve(
    points: Tensor, field_at: Callable[[Tensor], Tensor], to_world: Tensor, iterations: int, tolerance: float
) -> tuple[Tensor, Tensor]:
    """Return displacements (N, 3) in voxels that take `points` back, and how far in mm, (N,), each is still off."""

    def length(voxels: Tensor) -> Tensor:
        return (voxels @ to_world.T).norm(dim=1)

    found = -field_at(points)
    rest = -found - field_at(points + found)
    plain = torch.ones(len(points), dtype=torch.bool)
    reach = torch.ones(len(points))
    for i in range(iterations):
        todo = ((length(rest) > tolerance) & (reach >= SHORTEST)).nonzero()[:, 0]
        if not len(todo):
            break
        here, step = found[todo], rest[todo]
        hard = ~plain[todo]
        step[hard] = _newton(field_at, points[todo[hard]] + here[hard], step[hard])
        moved = here + reach[todo, None] * step
        now = -moved - field_at(points[todo] + moved)
        closer = length(now) < length(rest[todo])
        found[todo[closer]], rest[todo[closer]] = moved[closer], now[closer]
        reach[todo] = torch.where(closer | ~hard, (2 * reach[todo]).clamp_max(1), reach[todo] / 2)
        plain[todo] &= closer & (i + 1 < PLAIN)
    return found, length(rest)


def _newton(field_at: Callable[[Tensor], Tensor], at: Tensor, off: Tensor) -> Tensor:
    """Return s with (I + du/dx) s = off, by differences over one voxel; the plain step where that is singular."""
    half = torch.eye(3) / 2
    slope = torch.stack([field_at(at + half[k]) - field_at(at - half[k]) for k in range(3)], -1) + torch.eye(3)
    step, failed = torch.linalg.solve_ex(slope, off)
    return torch.where((failed > 0)[:, None] | ~step.isfinite().all(1, keepdim=True), off, step)
