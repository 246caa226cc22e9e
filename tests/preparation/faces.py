"""A head with eyes and temporal muscles around the MNI152 brain that nilearn ships, 2 mm, T1w and T2w on one grid."""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace

import nibabel as nib
import numpy as np
from nilearn.datasets import load_mni152_template
from scipy import ndimage as ndi

from bidsreg.preparation.affine import rigid_matrix

#: Signals (T1w, T2w; white matter is 1) outside of the brain.
SIGNALS = {'bone': (0.08, 0.05), 'fat': (1.6, 1.0), 'muscle': (0.65, 0.35), 'eyes': (0.25, 3.5)}
#: Those of fluid inside the brain.
FLUID = (0.2, 3.5)
#: White matter is at least as bright as this in the T1w.
WHITE = 0.85
EYE_MM = 12.0


@dataclass(frozen=True, eq=False)
class Face:
    """Both scans (float32), the brain and its white matter, the true places of eyes and muscle, and the grid."""

    t1w: np.ndarray
    t2w: np.ndarray
    inside: np.ndarray
    white: np.ndarray
    eyes: np.ndarray
    muscle: np.ndarray
    affine: np.ndarray

    def cut(self, keep: np.ndarray) -> Face:
        """Return the head with zeros in both scans where `keep` is False."""
        return replace(self, t1w=self.t1w * keep, t2w=self.t2w * keep)

    def shrunk(self, depth: float) -> Face:
        """Return the head with fluid in place of what lies within a depth (mm) under the surface of the brain."""
        fluid = self.inside & (ndi.distance_transform_edt(self.inside, sampling=2) <= depth)
        t1w, t2w = (
            np.where(fluid, 100 * signal, scan) for signal, scan in zip(FLUID, (self.t1w, self.t2w), strict=True)
        )
        return replace(self, t1w=t1w, t2w=t2w, white=self.white & ~fluid)

    def scaled(self, gains: tuple[float, float], seed: int = 0, noise: float = 0.0) -> Face:
        """Return the head as a scanner of other gains sees it, with Rician noise (of white matter, which is 100)."""
        rng = np.random.default_rng(seed)
        scans = []
        for gain, scan in zip(gains, (self.t1w, self.t2w), strict=True):
            real, imaginary = rng.normal(0, 100 * noise, (2, *scan.shape))
            scans.append((gain * np.hypot(scan + real, imaginary)).astype(np.float32))
        return replace(self, t1w=scans[0], t2w=scans[1])

    def moved(self, turn: tuple[float, float, float], shift: tuple[float, float, float]) -> Face:
        """Return the head in another place of the world (degrees, mm)."""
        return replace(self, affine=rigid_matrix(turn, shift) @ self.affine)

    def flipped(self) -> Face:
        """Return the same head with its voxels in the order LPS."""
        turned = {
            name: np.ascontiguousarray(getattr(self, name)[::-1, ::-1])
            for name in ('t1w', 't2w', 'inside', 'white', 'eyes', 'muscle')
        }
        flip = np.diag([-1.0, -1, 1, 1])
        flip[:2, 3] = np.array(self.inside.shape[:2]) - 1
        return replace(self, affine=self.affine @ flip, **turned)


@functools.cache
def face(eye_mm: float = EYE_MM) -> Face:
    """Make the head; white matter is 100 in both scans."""
    template = load_mni152_template(resolution=2)
    brain = template.get_fdata().astype(np.float32)
    inside = ndi.binary_fill_holes(brain > 0.1)
    points = nib.affines.apply_affine(template.affine, np.moveaxis(np.indices(brain.shape), 0, -1))
    away = ndi.distance_transform_edt(~inside, sampling=2)
    side = np.abs(points[..., 0])
    place = np.stack([side, points[..., 1], points[..., 2]], -1)
    eyes = (np.linalg.norm(place - (34, 57, -42), axis=-1) < eye_mm) & (away > 5)
    muscle = (np.linalg.norm((place - (62, 22, -25)) / (14, 24, 24), axis=-1) < 1) & (away > 5) & ~eyes
    white = brain / np.percentile(brain[inside], 90)
    scans = []
    for number, inner in enumerate((white, np.interp(white, (0.2, 0.5, 0.75, 1), (4, 3.5, 1.5, 1)))):
        scan = np.where(inside, inner, 0)
        for where, tissue in (
            (~inside & (away <= 10), 'bone'),
            ((away > 10) & (away <= 18), 'fat'),
            (muscle, 'muscle'),
            (eyes, 'eyes'),
        ):
            scan = np.where(where, SIGNALS[tissue][number], scan)
        scans.append((100 * ndi.gaussian_filter(scan, 0.4)).astype(np.float32))
    return Face(*scans, inside, inside & (scans[0] >= 100 * WHITE), eyes, muscle, template.affine)
