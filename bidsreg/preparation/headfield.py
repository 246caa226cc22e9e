"""What is left of the bias fields of a T1w and a T2w around the brain, found from the tissue of the whole head."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import nibabel as nb
import numpy as np

from bidsreg.frame import sizes
from bidsreg.preparation.tissue import CLASSES

#: Voxel size (mm) to which the head is thinned out; the fields are smoother by far.
STEP_MM = 6.0
#: Degree of the polynomials: of the field that both scans have from the coil that received them, and of that by which
#: they differ. The differences are stiffer: contrast, which is opposite in the two scans, would be taken for one.
DEGREE, DEGREE_APART = 4, 3
#: mm by which places are divided, so that the powers of them do not differ by orders of magnitude.
UNIT_MM = 70.0
#: mm around the brain that belong to no tissue, as voxels there are mixed.
AWAY_MM = 4.0
#: What is around the brain is tissue, and no bone or air, where it has at least these parts of the brightness of white
#: matter in the T1w and the T2w; and fat, to begin with, where it has at least this part of it in the T1w.
LIT, FAT = (0.2, 0.15), 0.9
#: Rounds in which tissue and fields are found in turn.
ROUNDS = 15
#: The part of the voxels that are none of the tissues, to begin with and always; and the density of such a pair of
#: logarithms: anywhere within 3 by 3.
STRAY, STRAY_DENSITY = 0.1, 1 / 9
#: The least standard deviation of the logarithms of a tissue, to begin with and afterwards.
FIRST_SPREAD, LEAST_SPREAD = 0.05, 0.03


@dataclass(frozen=True, eq=False)
class HeadFields:
    """The logarithms of two fields.

    Attributes
    ----------
    middle
        Of the brain, world mm.
    together, apart
        Coefficients of the mean of the two logarithms, and of half of their difference.
    level
        (2,): the logarithm of each field in white matter, which is taken as 0.
    """

    middle: np.ndarray
    together: np.ndarray
    apart: np.ndarray
    level: np.ndarray

    def at(self, points: np.ndarray) -> np.ndarray:
        """Return the logarithms of the fields of T1w and T2w, (N, 2), at world points (N, 3)."""
        places = (points - self.middle) / UNIT_MM
        mean, half = powers(places, DEGREE) @ self.together, powers(places, DEGREE_APART) @ self.apart
        return np.stack([mean + half, mean - half], 1) - self.level


@dataclass(frozen=True, eq=False)
class _Tissues:
    """Tissues of the voxels of a head, by their logarithms in both scans.

    Attributes
    ----------
    means, spreads
        (K, 2).
    parts
        (K,): the part of the voxels where it may be that each has.
    """

    means: np.ndarray
    spreads: np.ndarray
    parts: np.ndarray

    @classmethod
    def like(cls, logarithms: np.ndarray, examples: np.ndarray, may_be: np.ndarray) -> _Tissues:
        """Begin with examples (N, K) of each tissue."""
        chosen = [logarithms[one] for one in examples.T]
        means = np.array([np.median(values, 0) for values in chosen])
        spreads = [1.4826 * np.median(np.abs(values - mean), 0) for values, mean in zip(chosen, means, strict=True)]
        parts = (1 - STRAY) * examples.sum(0) / may_be.sum(0)
        return cls(means, np.maximum(spreads, FIRST_SPREAD), parts)

    def shares(self, logarithms: np.ndarray, may_be: np.ndarray) -> np.ndarray:
        """Return how likely each voxel is each tissue, (N, K); what is left to 1 is none of them."""
        off = (logarithms[:, None] - self.means) / self.spreads
        density = may_be * np.exp(-0.5 * (off**2).sum(-1)) * (self.parts / (2 * np.pi * self.spreads.prod(1)))
        return np.asarray(density / (density.sum(1, keepdims=True) + STRAY * STRAY_DENSITY))


def head_fields(
    scans: Sequence[np.ndarray],
    classes: np.ndarray,
    inside: np.ndarray,
    found: Sequence[np.ndarray],
    affine: np.ndarray,
) -> HeadFields:
    """Find the fields by which two scans of a head are still multiplied, in the brain and around it.

    N4 finds fields inside the brain only, and beyond it they go on as they are at its border. Here the tissues of the
    brain and those around it, muscle and fat, are told apart by both scans, and each is taken to be equally bright
    wherever it is: a mixture of normal distributions of the logarithms, of which the fields are polynomials. Both scans
    have the field of the receiving coil, so most of it is found from both together.

    Parameters
    ----------
    scans
        T1w and T2w, float, on one grid, without the fields that N4 finds.
    classes
        The tissue classes of the brain (:mod:`bidsreg.preparation.tissue`), white matter among them.
    inside
        bool: the brain.
    found
        bool: eyes and muscle as far as they were found. What is farther from the brain than these is left out.
    affine
        Voxel to world, mm.
    """
    factors = np.maximum(1, np.round(STEP_MM / sizes(affine))).astype(int)
    thin = tuple(slice(None, None, factor) for factor in factors)
    scaled = affine @ np.diag([*factors, 1.0])
    logarithms, seen = _logarithms(scans, classes == 1 + CLASSES.index('white'), thin)
    inside, muscle, classes = inside[thin], found[1][thin], classes[thin]
    away = _distance(inside, sizes(scaled))
    around = away > AWAY_MM
    reach = away[around & np.logical_or(*found)[thin]].max(initial=0)
    around &= (away <= reach) & (logarithms > np.log(LIT)).all(-1)
    chosen = seen & (inside | around)
    points = nb.affines.apply_affine(scaled, np.argwhere(chosen))
    values, within = logarithms[chosen], inside[chosen]
    examples = [classes[chosen] == number for number in range(1, 1 + len(CLASSES))]
    examples += [~within & muscle[chosen], ~within & (values[:, 0] > np.log(FAT))]
    may_be = [within] * len(CLASSES) + [~within] * 2
    some = [number for number, one in enumerate(examples) if one.any()]
    middle = points[within].mean(0)
    fit = _fit(
        values,
        np.stack([examples[number] for number in some], 1),
        np.stack([may_be[number] for number in some], 1),
        (points - middle) / UNIT_MM,
    )
    fields = HeadFields(middle, *fit, np.zeros(2))
    white = classes[chosen] == 1 + CLASSES.index('white')
    return HeadFields(middle, *fit, np.median(fields.at(points[white]), 0))


def powers(places: np.ndarray, degree: int) -> np.ndarray:
    """Return the terms of a polynomial up to a degree but the constant, (N, terms), at places (N, 3)."""
    exponents = [one for one in np.ndindex(*[degree + 1] * 3) if 0 < sum(one) <= degree]
    return np.stack([np.prod(places**one, 1) for one in exponents], 1)


def _logarithms(
    scans: Sequence[np.ndarray], white: np.ndarray, thin: tuple[slice, ...]
) -> tuple[np.ndarray, np.ndarray]:
    """Return the logarithms of thinned scans, (..., 2), white matter 0, and where both have one."""
    seen = (scans[0] > 0) & (scans[1] > 0)
    parts = [scan[thin] / np.median(scan[white & seen]) for scan in scans]
    return np.log(np.maximum(np.stack(parts, -1), 1e-6)), seen[thin]


def _distance(inside: np.ndarray, spacing: np.ndarray) -> np.ndarray:
    """Return the distance of each voxel to the brain, mm."""
    from scipy import ndimage

    return np.asarray(ndimage.distance_transform_edt(~inside, sampling=spacing))


def _fit(
    values: np.ndarray, examples: np.ndarray, may_be: np.ndarray, places: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Find tissues and fields in turn; return the coefficients together and apart.

    Parameters
    ----------
    values
        Logarithms, (N, 2).
    examples, may_be
        bool, (N, K): voxels of each tissue to begin with, and where it may be.
    places
        (N, 3), in units of :data:`UNIT_MM`.
    """
    together, apart = powers(places, DEGREE), powers(places, DEGREE_APART)
    designs = [np.hstack([together, sign * apart]) for sign in (1, -1)]
    tissues, fields = _Tissues.like(values, examples, may_be), np.zeros_like(values)
    found = np.zeros(designs[0].shape[1])
    for _ in range(ROUNDS):
        shares = tissues.shares(values - fields, may_be)
        means, found = _means_and_fields(values, shares, tissues.spreads, designs)
        fields = np.stack([design @ found for design in designs], 1)
        off = (values - fields)[:, None] - means
        total = shares.sum(0) + 1e-9
        spreads = np.sqrt((shares[..., None] * off**2).sum(0) / total[:, None])
        parts = (1 - STRAY) * total / may_be.sum(0)
        tissues = _Tissues(means, np.maximum(spreads, LEAST_SPREAD), parts)
    return found[: together.shape[1]], found[together.shape[1] :]


def _means_and_fields(
    values: np.ndarray, shares: np.ndarray, spreads: np.ndarray, designs: Sequence[np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Solve the normal equations of the tissues' means (K, 2) in both scans and of the coefficients of the fields."""
    count, size = len(spreads), designs[0].shape[1]
    field = slice(2 * count, None)
    normal, right = np.zeros((2 * count + size,) * 2), np.zeros(2 * count + size)
    for scan, design in enumerate(designs):
        weights = shares / spreads[:, scan] ** 2
        own = slice(scan * count, (scan + 1) * count)
        normal[own, own] = np.diag(weights.sum(0))
        normal[own, field] = weights.T @ design
        normal[field, own] = normal[own, field].T
        normal[field, field] += design.T @ (design * weights.sum(1)[:, None])
        right[own] = weights.T @ values[:, scan]
        right[field] += design.T @ (weights.sum(1) * values[:, scan])
    # a tissue that no voxel is left of, or a head too flat for a term, must not stop the others
    normal += 1e-7 * normal.diagonal().mean() * np.eye(len(normal))
    solved = np.linalg.solve(normal, right)
    return solved[: 2 * count].reshape(2, count).T, solved[2 * count :]
