"""Transforms one after another, as one map of points: what an image is pulled through, in a single interpolation."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bidsreg.errors import InputError
from bidsreg.registration.grid import Grid
from bidsreg.registration.itk import DisplacementField, read_transform
from bidsreg.registration.numerics.pool import shared_out

TOLERANCE_MM = 1e-3
"""How far from where it should be a point may come out that is taken back through a field."""
PART = 50_000
"""Points that a thread takes at a time."""


@dataclass(frozen=True)
class Leg:
    """One transform of a way.

    Attributes
    ----------
    path : Path
        The file, for ``antsApplyTransforms -t``.
    inverted : bool
        It is used the other way.
    """

    path: Path
    inverted: bool = False


@dataclass(frozen=True, eq=False)
class Link:
    """One map of points in a chain.

    Attributes
    ----------
    part : ndarray, shape (4, 4), or DisplacementField
        World to world, mm, RAS+.
    inverted : bool
        The inverse of the field; matrices are inverted at once.
    """

    part: np.ndarray | DisplacementField
    inverted: bool = False

    def opposite(self) -> Link:
        """Return the inverse."""
        if isinstance(self.part, np.ndarray):
            return Link(np.linalg.inv(self.part))
        return Link(self.part, not self.inverted)


@dataclass(frozen=True, eq=False)
class Chain:
    """A map of world points, mm, RAS+: its links one after another, the first one first.

    As resampling pulls back, an image is brought from where points end to where they begin.
    """

    links: tuple[Link, ...] = ()

    @classmethod
    def read(cls, legs: Sequence[Leg]) -> Chain:
        """Read transforms, the first of which points go through first: the order of ``antsApplyTransforms -t``.

        Raises
        ------
        InputError
            If a file is no transform.
        """
        links: tuple[Link, ...] = ()
        for leg in legs:
            parts = _parts(leg.path.resolve())
            ahead = tuple(Link(part) for part in parts)
            links += tuple(link.opposite() for link in reversed(ahead)) if leg.inverted else ahead
        return cls(links)

    @property
    def mirrors(self) -> bool:
        """Tell whether left becomes right: by matrices, as displacement fields that do not fold never do."""
        matrices = [link.part for link in self.links if isinstance(link.part, np.ndarray)]
        return bool(np.prod([np.linalg.det(matrix[:3, :3]) for matrix in matrices]) < 0)

    def inverted(self) -> Chain:
        """Return the inverse map."""
        return Chain(tuple(link.opposite() for link in reversed(self.links)))

    def fused(self, before: np.ndarray, after: np.ndarray) -> Chain:
        """Return the map between matrices (4, 4), with matrices that follow one another made one.

        It begins with a matrix, and matrices and fields take turns.
        """
        fused = [Link(before)]
        for link in (*self.links, Link(after)):
            last = fused[-1].part
            if isinstance(link.part, np.ndarray) and isinstance(last, np.ndarray):
                fused[-1] = Link(link.part @ last)
            else:
                fused.append(link)
        return Chain(tuple(fused))

    def advance(self, points: np.ndarray) -> np.ndarray:
        """Take points (N, 3) through all links, in place; those that a field has no way back for become NaN.

        Returns
        -------
        ndarray of bool, shape (N,)
            Which lay outside some field's grid, where nothing but matrices act.
        """
        # here, since it imports numba
        from bidsreg.registration.numerics.kernels import carrying

        beyond = np.zeros(len(points), bool)
        for link in self.links:
            if isinstance(link.part, np.ndarray):
                carrying.turn(_rows(link.part), points)
                continue
            field = link.part
            ahead = None if link.inverted else points.copy()
            _through(link, points)
            beyond |= outside(field.grid, points if ahead is None else ahead)
        return beyond

    def points(self, points: np.ndarray, threads: int = 1) -> tuple[np.ndarray, np.ndarray]:
        """Map world points.

        Parameters
        ----------
        points : ndarray, shape (N, 3)
            mm, RAS+.
        threads : int
            How many work; the result does not depend on it.

        Returns
        -------
        there : ndarray, shape (N, 3)
            Where they come to; NaN where a field that is to be inverted has no inverse.
        beyond : ndarray of bool, shape (N,)
            Which lay outside some field's grid.
        """
        there = np.array(points, float, order='C').reshape(-1, 3)
        parts = [there[a : a + PART] for a in range(0, len(there), PART)]
        beyond = shared_out(self.advance, parts, threads)
        return there, np.concatenate(beyond) if beyond else np.zeros(0, bool)

    def places(self, grid: Grid, first: int, last: int) -> np.ndarray:
        """Return where the voxels of planes `first` to `last` of a grid lead, (N, 3), for a chain that is `fused`."""
        from bidsreg.registration.numerics.kernels import carrying

        rows, columns = grid.shape[1:]
        points = np.empty(((last - first) * rows * columns, 3))
        begin, *rest = self.links
        carrying.lay(_rows(begin.part), first, last, rows, columns, points)  # type: ignore[arg-type]
        for link in rest:
            if isinstance(link.part, np.ndarray):
                carrying.turn(_rows(link.part), points)
            else:
                _through(link, points)
        return points


def _through(link: Link, points: np.ndarray) -> None:
    """Take points through a field, or back through it, in place; NaN where there is no way back."""
    from bidsreg.registration.numerics.kernels import carrying

    field = link.part
    assert isinstance(field, DisplacementField)
    flat, size = field.displacement.ravel(), np.array(field.grid.shape)
    to_field = _rows(np.linalg.inv(field.grid.affine))
    if not link.inverted:
        carrying.displace(flat, size, to_field, points)
        return
    left = np.empty(len(points))
    carrying.undo(flat, size, to_field, TOLERANCE_MM, points, left)
    points[left > TOLERANCE_MM] = np.nan


def outside(grid: Grid, points: np.ndarray, margin: float = 0.0) -> np.ndarray:
    """Tell which points (N, 3) lie outside the centres of a grid's outer voxels, by more than a margin in voxels."""
    voxels = grid.to_voxels(points)
    return np.asarray(((voxels < -margin) | (voxels > np.array(grid.shape) - 1 + margin)).any(axis=1))


def _rows(matrix: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(matrix[:3], np.float64)


@functools.lru_cache(maxsize=8)
def _parts(path: Path) -> tuple[np.ndarray | DisplacementField, ...]:
    """Read a transform; those of the last files are kept, as many files go the same way."""
    try:
        return tuple(read_transform(path))
    except (ValueError, OSError) as error:
        raise InputError(f'{error}' if str(path) in str(error) else f'{path}: {error}') from error
