"""The plane between the halves of a head, found in a scan itself, so that no mask can mislead about it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import nibabel as nb
import numpy as np
from nibabel.affines import apply_affine
from scipy import ndimage as ndi
from scipy.optimize import minimize
from scipy.spatial.transform import Rotation

from bidsreg.bids.headers import head_of
from bidsreg.frame import sizes

COARSE_MM = 3.0
"""Voxels of the copy in which the head is looked for: its halves are alike on this scale and no finer one."""
MOST_POINTS = 20_000
"""Voxels of the head that are compared with their mirror images, drawn at random; it bounds the time."""
STARTS_MM, STARTS_DEG = (-10.0, 0.0, 10.0), (-15.0, 0.0, 15.0)
"""From where the plane is searched: beside the head's middle, and tilted about the back-front and feet-head axes."""


@dataclass(frozen=True, eq=False)
class Midplane:
    """A plane in the world.

    Attributes
    ----------
    point, normal : ndarray, shape (3,)
        A point of it, mm, and its unit normal.
    """

    point: np.ndarray
    normal: np.ndarray

    def mirror(self) -> np.ndarray:
        """Return the 4x4 matrix that mirrors the world at it."""
        way = np.eye(4)
        way[:3, :3] -= 2 * np.outer(self.normal, self.normal)
        way[:3, 3] = 2 * self.normal * (self.normal @ self.point)
        return way

    def nearest(self, point: np.ndarray) -> np.ndarray:
        """Return the point of it that is next to another one, mm."""
        return point - self.normal * (self.normal @ (point - self.point))

    def moved(self, shift: float, about_y: float, about_z: float) -> Midplane:
        """Return it tilted (degrees about the axes y and z of the world) and then moved along its normal (mm)."""
        normal = Rotation.from_euler('yz', (about_y, about_z), degrees=True).apply(self.normal)
        return Midplane(self.point + shift * normal, normal)


def thinned(image: nb.Nifti1Image, size_mm: float = COARSE_MM) -> nb.Nifti1Image:
    """Average blocks of voxels so that each is about `size_mm` wide; float32, in the same order of axes."""
    steps = np.clip(np.round(size_mm / sizes(image.affine)), 1, np.array(image.shape[:3])).astype(int)
    shape = np.array(image.shape[:3]) // steps
    data = np.asarray(image.dataobj, np.float32)[tuple(slice(0, end) for end in shape * steps)]
    blocks = data.reshape([size for pair in zip(shape, steps, strict=True) for size in pair])
    affine = image.affine @ np.diag([*steps, 1.0])
    affine[:3, 3] = apply_affine(image.affine, (steps - 1) / 2)
    return nb.Nifti1Image(blocks.mean(axis=(1, 3, 5)), affine)


class CoarseHead:
    """A copy of a scan with voxels of about :data:`COARSE_MM`, and where the head is in it.

    Attributes
    ----------
    values : ndarray, shape (X, Y, Z)
        Intensities, bright outliers clipped.
    inside : ndarray of bool, shape (X, Y, Z)
        The head, or the brain where that is all.
    affine : ndarray, shape (4, 4)
        Voxel to world, mm.
    points : ndarray, shape (N, 3)
        Places of the head's voxels, mm.

    Raises
    ------
    ValueError
        If nothing in the scan is brighter than the rest.
    """

    def __init__(self, image: nb.Nifti1Image) -> None:
        coarse = thinned(image)
        self.values, self.affine = np.asarray(coarse.dataobj), coarse.affine
        self.inside = head_of(self.values, sizes(self.affine))
        if not self.inside.any():
            raise ValueError('nothing in the T1w stands out as a head')
        self.values = np.clip(self.values, 0, np.percentile(self.values[self.inside], 98))
        voxels = np.argwhere(self.inside)
        self.points = apply_affine(self.affine, voxels)
        if len(voxels) > MOST_POINTS:
            voxels = voxels[np.random.default_rng(0).choice(len(voxels), MOST_POINTS, replace=False)]
        self._sample = apply_affine(self.affine, voxels)
        self._here = self.values[tuple(voxels.T)]

    def likeness(self, plane: Midplane) -> float:
        """Correlate the head with its mirror image, as far as that is in view; -1 where hardly any of it is."""
        at = apply_affine(np.linalg.inv(self.affine) @ plane.mirror(), self._sample)
        seen = ((at >= 0) & (at <= np.array(self.values.shape) - 1)).all(1)
        if seen.mean() < 0.5:
            return -1.0
        there = ndi.map_coordinates(self.values, at[seen].T, order=1)
        here = self._here[seen]
        if min(here.std(), there.std()) < 1e-9:
            return -1.0
        return float(np.corrcoef(here, there)[0, 1])

    def midplane(self) -> Midplane:
        """Return the plane at which the head looks most like its mirror image, of those that are near x = constant."""
        middle = Midplane(self.points.mean(0), np.array([1.0, 0.0, 0.0]))
        start = max(_starts(), key=lambda move: self.likeness(middle.moved(*move)))
        simplex = np.array(start) + np.array([[0, 0, 0], [4, 0, 0], [0, 6, 0], [0, 0, 6]])
        found = minimize(
            lambda move: -self.likeness(middle.moved(*move)),
            start,
            method='Nelder-Mead',
            options={'initial_simplex': simplex, 'xatol': 0.2, 'fatol': 1e-4, 'maxfev': 100},
        )
        return middle.moved(*found.x)


def _starts() -> Iterator[tuple[float, float, float]]:
    return ((shift, y, z) for shift in STARTS_MM for y in STARTS_DEG for z in STARTS_DEG)
