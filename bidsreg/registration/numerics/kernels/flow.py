"""The flow of particles through a velocity field by an explicit Runge-Kutta method with fixed steps, and its adjoint.

References: `flow.Eulerian` integrated by torchdiffeq, and torch's gradient of that by the velocity.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np

from bidsreg.registration.numerics.kernels.fields import side_by_side
from bidsreg.registration.numerics.kernels.particles import add_up, carry, carry_back
from bidsreg.registration.numerics.threads import in_threads

PARTS = 16
"""Into how many parts particles are divided, each with a gradient of its own, however many threads there are: the last
bits of the gradient depend on it."""


PLANES = 8
"""Planes along x of the gradient that a thread adds up at a time."""


@dataclass(frozen=True)
class Tableau:
    """An explicit Runge-Kutta method (Butcher 1963).

    Attributes
    ----------
    slopes : tuple of tuple of float
        For each of its S evaluations, the weights of those before it: where it takes place.
    weights : tuple of float
        Of the evaluations, in a step.
    times : tuple of float
        When they take place, in steps from its begin.
    """

    slopes: tuple[tuple[float, ...], ...]
    weights: tuple[float, ...]
    times: tuple[float, ...]

    def packed(self) -> np.ndarray:
        """Return slopes and weights as the rows of one array (S + 1, S)."""
        out = np.zeros((len(self.weights) + 1, len(self.weights)), np.float32)
        for i, row in enumerate((*self.slopes, self.weights)):
            out[i, : len(row)] = row
        return out


TABLEAUS: dict[str, Tableau] = {
    'euler': Tableau(((),), (1.0,), (0.0,)),
    'midpoint': Tableau(((), (0.5,)), (0.0, 1.0), (0.0, 0.5)),
    # Kutta's 3/8 rule, as in torchdiffeq
    'rk4': Tableau(
        ((), (1 / 3,), (-1 / 3, 1.0), (1.0, -1.0, 1.0)), (1 / 8, 3 / 8, 3 / 8, 1 / 8), (0.0, 1 / 3, 2 / 3, 1.0)
    ),
}
"""The methods by the names of torchdiffeq."""


class Carrier:
    """Lets particles flow for one unit of time.

    Parameters
    ----------
    velocity : ndarray, shape (K, 3, X, Y, Z), float32
        At K moments spread evenly over [0, 1], linear in between, in mm per unit of time along the grid's axes.
    spacing : ndarray, shape (3,)
        Voxel size in mm.
    method : str
        A key of `TABLEAUS`.
    steps : int
        How many.
    backward : bool
        From t = 1 to t = 0.
    threads : int
        How many work; results do not depend on it.
    """

    def __init__(
        self,
        velocity: np.ndarray,
        spacing: np.ndarray,
        method: str,
        steps: int,
        backward: bool = False,
        threads: int = 1,
    ) -> None:
        self.knots, _, x, y, z = velocity.shape
        self.shape = (x, y, z)
        self.spacing = spacing.astype(np.float32)
        self.velocity = side_by_side(velocity, 1 / self.spacing, threads)
        chosen = TABLEAUS[method]
        self.tableau = chosen.packed()
        self.step: Any = np.float32((-1 if backward else 1) / steps)
        self.moments = self._moments(np.array(chosen.times), steps, backward)
        self.threads = threads

    def _moments(self, times: np.ndarray, steps: int, backward: bool) -> np.ndarray:
        """Return the knot before each evaluation, and the weight of the next one, (steps, S, 2)."""
        times = (np.arange(steps)[:, None] + times) / steps
        at = (1 - times if backward else times) * (self.knots - 1)
        before = np.clip(np.floor(at), 0, max(self.knots - 2, 0))
        return np.stack([before, np.clip(at - before, 0, 1)], -1).astype(np.float32)

    def forward(self, start: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return how far particles get that start at voxels (3, N), and which planes along x each part of them meets.

        Returns
        -------
        moved : ndarray, shape (3, N), float32
            In mm along the grid's axes.
        reach : ndarray, shape (P, 2)
            First plane and one past the last, for `by_velocity`.
        """
        moved = np.empty_like(start)
        x, y, z = self.shape

        def work(some: slice) -> tuple[int, int]:
            return carry(
                self.velocity.ravel(),
                x,
                y,
                z,
                start,
                moved,
                self.spacing,
                self.tableau,
                self.moments,
                self.step,
                some.start,
                some.stop,
            )

        return moved, np.array(in_threads(work, _parts(start.shape[1]), self.threads))

    def by_velocity(self, start: np.ndarray, upstream: np.ndarray, reach: np.ndarray) -> np.ndarray:
        """Return the gradient of upstream . moved by the velocity: exact, through every step.

        Parameters
        ----------
        start, upstream : ndarray, shape (3, N), float32
            Where particles start, and the gradient by how far they get.
        reach : ndarray, shape (P, 2)
            As `forward` returned it.

        Returns
        -------
        ndarray, shape (K, 3, X, Y, Z), float32
        """
        x, y, z = self.shape
        ends = np.cumsum([0, *(self.knots * (high - low) * y * z * 4 for low, high in reach)])
        slabs = np.empty(ends[-1], np.float32)

        def back(number: int) -> None:
            low, high = reach[number]
            carry_back(
                self.velocity.ravel(),
                x,
                y,
                z,
                start,
                upstream,
                self.spacing,
                self.tableau,
                self.moments,
                self.step,
                parts[number].start,
                parts[number].stop,
                low,
                high - low,
                slabs[ends[number] : ends[number + 1]],
            )

        parts = _parts(start.shape[1])
        in_threads(back, range(len(parts)), self.threads)
        gradient = np.empty((self.knots, 3, x, y * z), np.float32)
        where, unit = np.column_stack([ends[:-1], reach.reshape(-1, 2)]).astype(np.int64), 1 / self.spacing
        in_threads(
            lambda plane: add_up(slabs, where, y * z, unit, plane, min(plane + PLANES, x), gradient),
            range(0, x, PLANES),
            self.threads,
        )
        return gradient.reshape(self.knots, 3, *self.shape)


def _parts(n: int) -> list[slice]:
    edges = [n * i // PARTS for i in range(PARTS + 1)]
    return [slice(a, b) for a, b in itertools.pairwise(edges) if b > a]
