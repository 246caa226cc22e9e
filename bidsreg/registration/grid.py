"""Grids: where the voxels of an image lie in the world (mm, RAS+)."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np

Array = np.ndarray


def apply_affine(matrix: Array, points: Array) -> Array:
    """Map points (..., 3) by a 4x4 matrix."""
    return points @ matrix[:3, :3].T + matrix[:3, 3]


@dataclass(frozen=True, eq=False)
class Grid:
    """A regular grid of voxels.

    Attributes
    ----------
    shape : tuple of int
        Number of voxels along each axis, (X, Y, Z).
    affine : ndarray, shape (4, 4)
        Voxel indices to world coordinates in mm, RAS+.
    """

    shape: tuple[int, int, int]
    affine: Array

    def __post_init__(self) -> None:
        affine = np.asarray(self.affine, dtype=float)
        if affine.shape != (4, 4) or not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-9:
            raise ValueError(f'a grid needs a finite, invertible 4x4 affine, not {affine.tolist()}')
        if len(self.shape) != 3 or min(self.shape) < 1:
            raise ValueError(f'a grid needs three axes of at least one voxel, not {self.shape}')
        object.__setattr__(self, 'affine', affine)
        object.__setattr__(self, 'shape', tuple(int(n) for n in self.shape))

    @property
    def spacing(self) -> Array:
        """Return the distance in mm between neighbours along each axis, shape (3,)."""
        return np.sqrt((self.affine[:3, :3] ** 2).sum(0))

    @property
    def directions(self) -> Array:
        """Return unit vectors of the axes as columns, shape (3, 3)."""
        return self.affine[:3, :3] / self.spacing

    @property
    def extent(self) -> Array:
        """Return the length in mm of each axis, from the first voxel's centre to the last one's."""
        return self.spacing * (np.array(self.shape) - 1)

    def is_orthogonal(self, tolerance: float = 1e-4) -> bool:
        """Tell whether the axes are at right angles (ITK can store no others)."""
        return bool(np.abs(self.directions.T @ self.directions - np.eye(3)).max() < tolerance)

    def to_world(self, voxels: Array) -> Array:
        """Return world coordinates in mm of voxel indices (..., 3)."""
        return apply_affine(self.affine, np.asarray(voxels, dtype=float))

    def to_voxels(self, points: Array) -> Array:
        """Return voxel indices (fractional) of world coordinates (..., 3) in mm."""
        return apply_affine(np.linalg.inv(self.affine), np.asarray(points, dtype=float))

    def same_as(self, other: Grid, tolerance: float = 1e-3) -> bool:
        """Tell whether both have the same shape and lie in the same place, to `tolerance` mm at every corner."""
        if self.shape != other.shape:
            return False
        return bool(np.abs(self.corners() - other.corners()).max() < tolerance)

    def corners(self) -> Array:
        """Return the world coordinates in mm of the eight corner voxels' centres, shape (8, 3)."""
        return self.to_world(np.array(list(itertools.product(*[(0, n - 1) for n in self.shape])), dtype=float))

    def cropped(self, start: Array, stop: Array) -> Grid:
        """Return the voxels from `start` up to `stop` (which may lie outside) as a grid of their own."""
        affine = self.affine.copy()
        affine[:3, 3] = self.to_world(start)
        x, y, z = (int(b - a) for a, b in zip(start, stop, strict=True))
        return Grid((x, y, z), affine)

    def orthogonalised(self) -> Grid:
        """Return the nearest grid with axes at right angles, about the same centre (polar decomposition)."""
        if self.is_orthogonal():
            return self
        u, _, vt = np.linalg.svd(self.directions)
        affine = np.eye(4)
        affine[:3, :3] = u @ vt * self.spacing
        middle = (np.array(self.shape) - 1) / 2
        affine[:3, 3] = self.to_world(middle) - affine[:3, :3] @ middle
        return Grid(self.shape, affine)

    def covering(self, spacing: Array) -> Grid:
        """Return a grid on the same axes and centre with voxels of `spacing` mm that covers the same voxel centres."""
        spacing = np.asarray(spacing, dtype=float)
        shape = np.ceil(self.extent / spacing - 1e-6).astype(int) + 1
        affine = np.eye(4)
        affine[:3, :3] = self.directions * spacing
        middle = self.to_world((np.array(self.shape) - 1) / 2)
        affine[:3, 3] = middle - affine[:3, :3] @ ((shape - 1) / 2)
        return Grid(tuple(shape), affine)

    def coarsened(self, spacing: float) -> Grid:
        """Return a grid whose axes finer than `spacing` mm become that coarse; coarser axes stay."""
        wanted = np.maximum(self.spacing, spacing)
        return self if np.allclose(wanted, self.spacing, rtol=1e-3) else self.covering(wanted)
