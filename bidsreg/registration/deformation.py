"""The answer of a registration: a diffeomorphism and an affine, in world millimetres."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

import numpy as np

from bidsreg.registration import itk, metrics
from bidsreg.registration.grid import Grid, apply_affine
from bidsreg.registration.image import Image
from bidsreg.registration.numerics.pool import in_order

Step = Callable[[np.ndarray], object]
"""Takes points (N, 3) somewhere, in place."""
SLAB_VOXELS = 1 << 18
"""Voxels worked on at a time, in whole slices: bounds the memory of coordinate arrays, and is what a thread takes."""
ROUND_OFF = 1e-9
"""mm: displacements below it are the rounding of coordinates."""
BORDER = 1e-3
"""mm that a field may have left at the border of its grid."""
SAME_AFFINE_MM = 0.01
"""Two files of one affine in single precision agree at least so well over a head."""
TIE = 1e-6
"""Weights of labels closer than this are equal: rounding must not choose between labels."""


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

    @classmethod
    def from_affine(cls, affine: np.ndarray, grid: Grid) -> Deformation:
        """Return an affine (fixed world to moving world, mm, RAS+) with displacements of zero on `grid`."""
        still = np.zeros((*grid.shape, 3), np.float32)
        return cls(np.asarray(affine, dtype=float), still, still, grid)

    @classmethod
    def identity(cls, grid: Grid) -> Deformation:
        """Return the map that leaves every point where it is, with displacements of zero on `grid`."""
        return cls.from_affine(np.eye(4), grid)

    @property
    def matrix(self) -> np.ndarray:
        """Where points go without the displacement, shape (4, 4): the affine, or its inverse for an inverse."""
        return np.linalg.inv(self.affine) if self.is_inverse else self.affine

    @property
    def field(self) -> np.ndarray:
        """The displacement that this direction uses, shape (X, Y, Z, 3), on `grid`."""
        return self.inverse if self.is_inverse else self.forward

    @property
    def domain(self) -> Grid:
        """Where the displacement acts, in the world that points come from; for an inverse that is the moving one."""
        return Grid(self.grid.shape, self.affine @ self.grid.affine) if self.is_inverse else self.grid

    def points(self, points: np.ndarray) -> np.ndarray:
        """Map world points (N, 3) in mm: fixed to moving, or moving to fixed for an inverse."""
        points = np.asarray(points, dtype=float)
        if self.is_inverse:
            points = apply_affine(self.matrix, points)
            return points + metrics.displacement_at(self.inverse, self.grid, points)
        return apply_affine(self.affine, points + metrics.displacement_at(self.forward, self.grid, points))

    def apply(self, image: Image, grid: Grid, order: int = 1, threads: int = 1) -> Image:
        """Resample an image onto `grid` through the deformation, in one interpolation.

        Parameters
        ----------
        image : Image
            In the moving world (the fixed world for an inverse).
        grid : Grid
            In the other world.
        order : int
            Of the interpolating spline: 1 for intensities, 0 for the nearest label; see also `apply_labels`.
        threads : int
            How many work; the result does not depend on it.

        Returns
        -------
        Image
            Of the image's type; zero where the deformation leads out of its field of view.
        """
        if order == 1 and image.data.dtype == self.field.dtype == np.float32:
            # here, since it imports numba
            from bidsreg.registration.numerics.kernels.pulling import pulled

            return Image(pulled(image.data, self.field, *self._way(image, grid), grid.shape, threads), grid)
        return self._pull(image, grid, lambda at: _interpolate(image.data, at, order), threads)

    def apply_labels(self, labels: Image, grid: Grid) -> Image:
        """Resample labels onto `grid`: every voxel takes the one label that linear interpolation gives most weight.

        The borders come out smoother than with the nearest label, and no new label appears. The same as ITK's
        ``GenericLabel`` with linear weights.

        Parameters
        ----------
        labels : Image
            In the moving world (the fixed world for an inverse), of any type; zero, the background, is a label, too.
        grid : Grid
            In the other world.

        Returns
        -------
        Image
            Of the labels' type; of labels with the same weight the smallest; zero where the deformation leads out of
            the field of view.
        """
        return self._pull(labels, grid, lambda at: _heaviest_label(labels.data, at))

    def _pull(self, image: Image, grid: Grid, values: Callable[[np.ndarray], np.ndarray], threads: int = 1) -> Image:
        """Fill `grid` by a function of voxel positions (3, N) in the image: `values` within its field of view."""
        # not before it is needed: it takes a fifth of a second
        from scipy import ndimage as ndi

        out = np.zeros(grid.shape, image.data.dtype)
        limit = np.array(image.grid.shape)[:, None] - 0.5
        straight, to_field, turn = self._way(image, grid)

        def fill(slab: slice) -> None:
            at = _mapped(straight, slab, grid.shape)
            places = _mapped(to_field, slab, grid.shape)
            for component, along in enumerate(turn.T):
                u = ndi.map_coordinates(self.field[..., component], places, order=1, mode='constant')
                for row, share in zip(at, along, strict=True):
                    if share:
                        row += share * u
            # to the outer faces of the edge voxels, as ITK does
            inside = ((at >= -0.5) & (at < limit)).all(0)
            flat = np.zeros(at.shape[1], out.dtype)
            flat[inside] = values(at[:, inside])
            out[slab] = flat.reshape(out[slab].shape)

        for _ in in_order(fill, _slabs(grid), threads):
            pass
        return Image(out, grid)

    def _way(self, image: Image, grid: Grid) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return three matrices that tell where in an image the voxels of a grid lead, all of it in voxels.

        With M the matrix and u the field of this direction a point x leads to M x + L u(P x): P takes it to the field's
        world and L turns displacements, the one or the other of them being M.
        """
        to_image = np.linalg.inv(image.grid.affine)
        straight = to_image @ self.matrix @ grid.affine
        to_field = np.linalg.inv(self.domain.affine) @ grid.affine
        turn = to_image[:3, :3] if self.is_inverse else to_image[:3, :3] @ self.affine[:3, :3]
        return straight, to_field, turn

    def inverted(self) -> Deformation:
        """Return the inverse map, moving world to fixed world."""
        return replace(self, is_inverse=not self.is_inverse)

    def compose(self, other: Deformation, threads: int = 1) -> Deformation:
        """Return the map that does first this one, then the other: points go ``other.points(self.points(x))``.

        As resampling pulls back, this brings an image of the other's moving world onto the fixed grid of this one:
        ``antsApplyTransforms -t SELF -t OTHER`` in one file. With A = A2 A1 the displacement is A^-1 y - x; the grid
        takes the axes of this one's field, is extended to where the other one's acts, and is as fine as the finer of
        the two. Between its voxels the composition is linear, which it was not before: expect differences of the order
        of the curvature of the displacements within a voxel.

        Parameters
        ----------
        other : Deformation
            From the world that this one leads to.
        threads : int
            How many work; the result does not depend on it.

        Returns
        -------
        Deformation
            A forward one, also where both are inverses.

        Raises
        ------
        ValueError
            If a displacement does not vanish at the border of its grid.
        """
        grid = _grid_for_both(self, other)
        matrix = other.matrix @ self.matrix
        unmoved = np.linalg.inv(matrix)
        # here, since it imports numba
        from bidsreg.registration.numerics.kernels import carrying

        there = [*self._steps(), *other._steps(), _turning(unmoved)]
        back = [_turning(matrix), *other.inverted()._steps(), *self.inverted()._steps()]
        forward, inverse = (np.zeros((*grid.shape, 3), np.float32) for _ in range(2))

        def fill(slab: slice) -> None:
            points = np.empty(((slab.stop - slab.start) * grid.shape[1] * grid.shape[2], 3))
            carrying.lay(_rows(grid.affine), slab.start, slab.stop, *grid.shape[1:], points)
            for field, steps in ((forward, there), (inverse, back)):
                end = points.copy()
                for step in steps:
                    step(end)
                end -= points
                end[np.abs(end) <= ROUND_OFF] = 0
                field[slab] = end.reshape(field[slab].shape)

        for _ in in_order(fill, _slabs(grid), threads):
            pass
        return Deformation(matrix, _closed(forward), _closed(inverse), grid)

    def _steps(self) -> list[Step]:
        """Return what takes points (N, 3), contiguous and of 64 bits, through this map one after another, in place."""
        from bidsreg.registration.numerics.kernels import carrying

        field = np.ascontiguousarray(self.field, np.float32).ravel()
        size, to_field = np.array(self.grid.shape), _rows(np.linalg.inv(self.grid.affine))
        steps = [lambda points: carrying.displace(field, size, to_field, points), _turning(self.matrix)]
        return steps[::-1] if self.is_inverse else steps

    def jacobian(self, grid: Grid | None = None, threads: int = 1) -> Image:
        """Return the determinant of the derivative of the map, without the affine; above 1 the image it pulls shrinks.

        Parameters
        ----------
        grid : Grid, optional
            Where to sample it, linearly, in the world that points come from; one outside the field's own grid.
            Default: `domain`.
        threads : int
            How many work; the result does not depend on it.
        """
        return sampled_determinant(self._determinant(threads), grid, threads)

    def log_jacobian(self, grid: Grid | None = None) -> Image:
        """Return the natural logarithm of `jacobian`; zero outside the field's own grid.

        Parameters
        ----------
        grid : Grid, optional
            As for `jacobian`.

        Raises
        ------
        ValueError
            If the determinant is not positive somewhere on the field's own grid: the map folds there.
        """
        own = self._determinant()
        if folds := int((own.data <= 0).sum()):
            raise ValueError(f'the Jacobian determinant has no logarithm: it is not positive at {folds} voxels')
        sampled = sampled_determinant(own, grid)
        return Image(np.log(sampled.data), sampled.grid)

    def _determinant(self, threads: int = 1) -> Image:
        return Image(metrics.jacobian_determinant(self.field, self.grid, threads=threads), self.domain)

    def save(self, path: str | Path, threads: int = 1) -> None:
        """Write as an ITK composite .h5, packed by so many threads; the file does not depend on how many."""
        first = self.is_inverse
        itk.write_composite(path, self.matrix, self.field, self.grid, affine_first=first, threads=threads)

    @classmethod
    def load(cls, forward: str | Path, inverse: str | Path) -> Deformation:
        """Read the two .h5 files of a registration back.

        Raises
        ------
        ValueError
            If one of them is damaged, or they are not a forward and an inverse composite with one affine on one grid.
        """
        affine, u, grid, first = itk.read_composite(forward)
        affine_back, back, other, back_first = itk.read_composite(inverse)
        if first or not back_first or not grid.same_as(other):
            raise ValueError(f'{forward} and {inverse} are not the forward and inverse transform of one registration')
        # affines have no checksum, but both files have one
        corners = grid.corners()
        off = float(np.abs(apply_affine(affine_back @ affine, corners) - corners).max())
        if off > SAME_AFFINE_MM:
            raise ValueError(f'{forward} and {inverse}: their affines differ by {off:.3g} mm: one of them is damaged')
        return cls(affine, u, back, grid)


def _rows(matrix: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(matrix[:3], dtype=np.float64)


def _turning(matrix: np.ndarray) -> Step:
    """Return what takes points through a matrix (4, 4), in place."""
    from bidsreg.registration.numerics.kernels import carrying

    rows = _rows(matrix)
    return lambda points: carrying.turn(rows, points)


def _slabs(grid: Grid) -> Iterator[slice]:
    """Cut a grid along its first axis into some whole slices at a time."""
    step = max(1, SLAB_VOXELS // (grid.shape[1] * grid.shape[2]))
    for start in range(0, grid.shape[0], step):
        yield slice(start, min(start + step, grid.shape[0]))


def _mapped(matrix: np.ndarray, slab: slice, shape: tuple[int, int, int]) -> np.ndarray:
    """Return where a matrix (4, 4) takes the voxels of some slices, (3, N)."""
    x, y, z = (
        matrix[:3, axis, None] * np.arange(first, last)
        for axis, (first, last) in enumerate(((slab.start, slab.stop), (0, shape[1]), (0, shape[2])))
    )
    return (((x + matrix[:3, 3:])[:, :, None] + y[:, None, :])[..., None] + z[:, None, None, :]).reshape(3, -1)


def _interpolate(data: np.ndarray, at: np.ndarray, order: int) -> np.ndarray:
    """Return values at voxel positions (3, N); beyond the centres of the edge voxels theirs."""
    from scipy import ndimage as ndi

    return ndi.map_coordinates(data, at, order=order, mode='nearest')


def _heaviest_label(data: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Return the label with the largest summed trilinear weight among the eight voxels around positions (3, N)."""
    last = np.array(data.shape)[:, None] - 1
    at = np.clip(at, 0, last)
    base = np.floor(at).astype(np.intp)
    corners = list(product((0, 1), repeat=3))
    labels = np.stack([data[tuple(np.minimum(base + np.array(c)[:, None], last))] for c in corners])
    out = labels[0]
    mixed = np.flatnonzero((labels[1:] != out).any(0))
    labels, offset = labels[:, mixed], (at - base)[:, mixed]
    weights = np.stack([np.where(np.array(c)[:, None], offset, 1 - offset).prod(0) for c in corners])
    total = np.stack([(weights * (labels == label)).sum(0) for label in labels])
    out[mixed] = np.where(total > total.max(0) - TIE, labels, labels.max(0)).min(0)
    return out


def sampled_determinant(determinant: Image, grid: Grid | None, threads: int = 1) -> Image:
    """Return what `Deformation.jacobian` returns on `grid` from what it returns without one; one beyond its grid."""
    if grid is None:
        return determinant
    # here, since it imports numba
    from bidsreg.registration.numerics.kernels.volumes import resampled

    matrix = np.linalg.inv(determinant.grid.affine) @ grid.affine
    return Image(1 + resampled(determinant.data - 1, matrix, grid.shape, threads=threads), grid)


def _grid_for_both(first: Deformation, second: Deformation) -> Grid:
    """Return where `first` followed by `second` moves points beyond its affine, as finely as the finer."""
    pulled = Grid(second.grid.shape, np.linalg.inv(first.matrix) @ second.domain.affine)
    acting = [d for d, field in ((first.domain, first.field), (pulled, second.field)) if field.any()] or [first.domain]
    base = acting[0].orthogonalised()
    corners = base.to_voxels(np.concatenate([d.corners() for d in acting]))
    grid = base.cropped(np.floor(corners.min(0) + 1e-4), np.ceil(corners.max(0) - 1e-4) + 1)
    # along each axis the step that crosses at most one voxel of either
    spacing = np.min([1 / np.abs(np.linalg.inv(d.affine[:3, :3]) @ base.directions).max(0) for d in acting], 0)
    return grid if np.allclose(spacing, base.spacing, rtol=1e-3) else grid.covering(spacing)


def _closed(field: np.ndarray) -> np.ndarray:
    """Return the field with its border set to exactly zero, where it vanishes but for rounding."""
    inner = np.zeros(field.shape[:3], bool)
    inner[1:-1, 1:-1, 1:-1] = True
    left = float(np.abs(field[~inner]).max())
    if left > BORDER:
        raise ValueError(f'a displacement of {left:.3g} mm is left at the border: it must vanish there to be composed')
    field[~inner] = 0
    return field
