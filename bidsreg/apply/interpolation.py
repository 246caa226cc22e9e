"""Interpolations, and a grid filled by one of them through a chain of transforms.

A registry: each says which values it takes, what it makes of them beforehand, and which kernel reads them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from bidsreg.apply.chain import Chain
from bidsreg.registration.grid import Grid
from bidsreg.registration.numerics.pool import shared_out

PLANE_VOXELS = 1 << 16
"""Voxels that a thread takes at a time, in whole planes: their places fit into its cache."""

Prepare = Callable[[np.ndarray, int], np.ndarray]
"""Makes what a kernel reads of a volume, with so many threads."""


@dataclass(frozen=True)
class Interpolation:
    """One way to read between voxels.

    Attributes
    ----------
    name : str
        What it is called on the command line.
    kernel : str
        The kernel of :mod:`bidsreg.registration.numerics.kernels.carrying`.
    takes_labels, takes_intensities : bool
        What it may be used for.
    prepare : callable
        Applied to a volume once.
    spreads : bool
        A single value that is not finite would spoil the whole image, or all around it.
    """

    name: str
    kernel: str
    description: str
    takes_labels: bool = False
    takes_intensities: bool = True
    prepare: Prepare = lambda values, threads: values
    spreads: bool = False


def _coefficients(values: np.ndarray, threads: int) -> np.ndarray:
    """Return the coefficients of the cubic B-spline through all voxels, mirrored at the edges."""
    # not before it is needed: it takes a fifth of a second
    from scipy import ndimage as ndi

    found = values.astype(np.float64)
    for axis, size in enumerate(values.shape):
        if size > 1:
            # lines along an axis know nothing of one another
            across = 0 if axis else 1
            step = max(1, -(-values.shape[across] // 64))

            def filter_lines(start: int, axis: int = axis, across: int = across, step: int = step) -> None:
                lines = found[(slice(None),) * across + (slice(start, start + step),)]
                lines[...] = ndi.spline_filter1d(lines, 3, axis, mode='mirror')

            shared_out(filter_lines, range(0, values.shape[across], step), threads)
    return found.astype(np.float32)


INTERPOLATIONS: dict[str, Interpolation] = {
    one.name: one
    for one in (
        Interpolation('nearest', 'nearest_values', 'the nearest voxel', takes_labels=True),
        Interpolation(
            'labels',
            'label_values',
            'the label with the most linear weight',
            takes_labels=True,
            takes_intensities=False,
        ),
        Interpolation('linear', 'linear_values', 'trilinear'),
        Interpolation('bspline', 'spline_values', 'cubic B-spline', prepare=_coefficients, spreads=True),
        Interpolation('lanczos', 'sinc_values', 'sinc in a Lanczos window of 3 voxels', spreads=True),
    )
}


def fill(
    volumes: Sequence[np.ndarray],
    grid: Grid,
    chain: Chain,
    target: Grid,
    interpolation: Interpolation,
    *,
    outside: float = 0,
    threads: int = 1,
) -> tuple[list[np.ndarray], int, int]:
    """Resample volumes that lie on one grid, in one interpolation.

    Parameters
    ----------
    volumes : sequence of ndarray, shape (X, Y, Z)
        int32 where they are labels, else float32.
    grid : Grid
        Where they lie.
    chain : Chain
        Points of the target's world to those of the volumes'.
    target : Grid
        Where values are wanted.
    interpolation : Interpolation
        How to read between voxels.
    outside : float
        The value where the chain leads out of the field of view, or nowhere.
    threads : int
        How many work; the result does not depend on it.

    Returns
    -------
    filled : list of ndarray
        Of the target's shape and the volumes' type.
    seen : int
        How many voxels of the target lie in the field of view of the volumes.
    lost : int
        How many lead nowhere: a field that is to be inverted folds there.
    """
    # here, since it imports numba
    from bidsreg.registration.numerics.kernels import carrying

    read = getattr(carrying, interpolation.kernel)
    kind = np.int32 if volumes[0].dtype.kind in 'iu' else np.float32
    ready = [np.ascontiguousarray(interpolation.prepare(v, threads), kind).ravel() for v in volumes]
    size, value = np.array(grid.shape), kind(outside)
    way = chain.fused(target.affine, np.linalg.inv(grid.affine))
    filled = [np.empty(target.shape, kind) for _ in volumes]
    step = max(1, PLANE_VOXELS // (target.shape[1] * target.shape[2]))

    def fill_planes(first: int) -> tuple[int, int]:
        last = min(first + step, target.shape[0])
        places, seen = way.places(target, first, last), 0
        for values, out in zip(ready, filled, strict=True):
            seen = read(values, size, places, value, out[first:last].reshape(-1))
        return seen, int(np.isnan(places[:, 0]).sum())

    counts = np.array(shared_out(fill_planes, range(0, target.shape[0], step), threads))
    seen, lost = (int(count) for count in counts.sum(0))
    return filled, seen, lost
