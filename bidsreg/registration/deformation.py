"""The answer of a registration: a diffeomorphism and an affine, in world millimetres."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from scipy import ndimage as ndi

from bidsreg.registration import itk, metrics
from bidsreg.registration.grid import Grid, apply_affine
from bidsreg.registration.image import Image, resample

SLAB = 16
"""Slices resampled at a time: bounds the memory of coordinate arrays."""


@dataclass(frozen=True, eq=False)
class Deformation:
    """y = A(x + u(x)): where a point x of the fixed image's world lies in the moving image's.

    Resampling pulls back: the moving image's value at y lands at x. This is the sense of ``antsApplyTransforms -t``.

    Attributes
    ----------
    affine : ndarray, shape (4, 4)
        Fixed world to moving world, mm, RAS+.
    forward : ndarray, shape (X, Y, Z, 3)
        u(x) in mm (RAS+) on `grid`; zero outside.
    inverse : ndarray, shape (X, Y, Z, 3)
        The displacement of the inverse of x + u(x), on the same grid; zero outside.
    grid : Grid
        Where both fields lie, in the fixed world. They vanish at its border.
    is_inverse : bool
        Points go the other way: first through the affine's inverse, then through the inverse field.
    """

    affine: np.ndarray
    forward: np.ndarray
    inverse: np.ndarray
    grid: Grid
    is_inverse: bool = False

    def points(self, points: np.ndarray) -> np.ndarray:
        """Map world points (N, 3) in mm: fixed to moving, or moving to fixed for an inverse."""
        points = np.asarray(points, dtype=float)
        if self.is_inverse:
            points = apply_affine(np.linalg.inv(self.affine), points)
            return points + metrics.displacement_at(self.inverse, self.grid, points)
        return apply_affine(self.affine, points + metrics.displacement_at(self.forward, self.grid, points))

    def apply(self, image: Image, grid: Grid, order: int = 1) -> Image:
        """Resample an image onto `grid` through the deformation, in one interpolation.

        Parameters
        ----------
        image : Image
            In the moving world (the fixed world for an inverse).
        grid : Grid
            In the other world.
        order : int
            Of the interpolating spline: 1 for intensities, 0 for labels.

        Returns
        -------
        Image
            Of the image's type; zero where the deformation leads out of its field of view.
        """
        out = np.zeros(grid.shape, image.data.dtype)
        for start in range(0, grid.shape[0], SLAB):
            stop = min(start + SLAB, grid.shape[0])
            index = np.stack(np.meshgrid(np.arange(start, stop), *map(np.arange, grid.shape[1:]), indexing='ij'), -1)
            at = image.grid.to_voxels(self.points(grid.to_world(index.reshape(-1, 3)))).T
            out[start:stop] = _interpolate(image.data, at, order).reshape(index.shape[:3])
        return Image(out, grid)

    def inverted(self) -> Deformation:
        """The inverse map, moving world to fixed world."""
        return replace(self, is_inverse=not self.is_inverse)

    def jacobian(self, grid: Grid | None = None) -> Image:
        """Determinant of the derivative of x + u(x), without the affine; above 1 the moving image shrinks into x.

        Parameters
        ----------
        grid : Grid, optional
            Where to sample it, linearly; one outside the field's own grid. Default: the field's grid.
        """
        own = Image(metrics.jacobian_determinant(self.forward, self.grid), self.grid)
        if grid is None:
            return own
        return Image(1 + resample(Image(own.data - 1, self.grid), grid), grid)

    def save(self, path: str | Path) -> None:
        """Write as an ITK composite .h5."""
        if self.is_inverse:
            itk.write_composite(path, np.linalg.inv(self.affine), self.inverse, self.grid, affine_first=True)
        else:
            itk.write_composite(path, self.affine, self.forward, self.grid)

    @classmethod
    def load(cls, forward: str | Path, inverse: str | Path) -> Deformation:
        """Read the two .h5 files of a registration back.

        Raises
        ------
        ValueError
            If they are not a forward and an inverse composite on the same grid.
        """
        affine, u, grid, first = itk.read_composite(forward)
        _, back, other, back_first = itk.read_composite(inverse)
        if first or not back_first or not grid.same_as(other):
            raise ValueError(f'{forward} and {inverse} are not the forward and inverse transform of one registration')
        return cls(affine, u, back, grid)


def _interpolate(data: np.ndarray, at: np.ndarray, order: int) -> np.ndarray:
    """Values at voxel positions (3, N): to the outer faces of the edge voxels as ITK does, zero beyond."""
    limit = np.array(data.shape)[:, None] - 0.5
    inside = ((at >= -0.5) & (at < limit)).all(0)
    out = np.zeros(at.shape[1], data.dtype)
    out[inside] = ndi.map_coordinates(data, at[:, inside], order=order, mode='nearest')
    return out
