"""The scans of verdicts.py, of heads simulated from label maps; what is done to them stands in verdict_kinds.py."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
from hard_pairs import OUTSIDE, SULCAL, TISSUES, tissue_signals
from nibabel.affines import apply_affine
from scipy import ndimage as ndi
from scipy.spatial.transform import Rotation

from bidsreg.app.example import smooth_noise
from bidsreg.bids.images import load_image
from bidsreg.preparation.affine import rigid_matrix

#: mm: voxels of the anatomy that scans are taken of; of the T1w; and of the T2w, of thick slices, too.
ANATOMY_MM, FIXED_MM, MOVING_MM, THICK_MM = 2.0, (3.0, 3.0, 3.0), (2.6, 2.6, 3.5), (1.5, 1.5, 6.0)
#: mm: voxels of scans as most FLAIR and PDw are, and of T2w in sagittal slices, turned over.
SLICES_MM = (1.2, 1.2, 5.0)
#: Standard deviations: relaxation times of a tissue, its texture, noise (white matter is 1), logarithm of the bias that
#: N4 leaves, place of a mask's edge (mm), and distortion along the phase encoding (mm).
JITTER, TEXTURE, NOISE, BIAS, EDGE_MM, WARP_MM = 0.03, 0.03, 0.03, 0.08, 0.8, 1.0
#: Largest distortion, mm, and the brain points (as deep at least, mm) at which errors are measured.
LARGEST_WARP_MM, POINTS, DEPTH_MM = 4.0, 800, 3.0
#: Signal of a lesion, relative to what it replaces.
LESION = {'T1w': 0.7, 'T2w': 1.7, 'FLAIR': 1.7, 'PDw': 1.2, 'T2starw': 1.3}


@dataclass(frozen=True, kw_only=True)
class Look:
    """What scans look like, in the units of the constants above.

    Attributes
    ----------
    voxel, fixed_voxel : sequence of 3 float
        Voxels of the T2w and of the T1w, mm.
    noise, bias, warp, texture, edge : float
        Noise, bias field, distortion, texture, and the place of the masks' edges.
    largest : float
        Largest distortion, mm.
    lesions : int
        How many.
    ghosts : float
        Brightness of what a moving head leaves half a field of view away, relative to the head's.
    oblique : float
        Angle by which each of the two grids is turned, about an axis of its own, degrees.
    atrophy : int
        By how many mm all fluid reaches into the tissue around it.
    contrasts : tuple of str
        Contrasts of the two scans.
    """

    voxel: Sequence[float] = MOVING_MM
    fixed_voxel: Sequence[float] = FIXED_MM
    noise: float = NOISE
    bias: float = BIAS
    warp: float = WARP_MM
    texture: float = TEXTURE
    edge: float = EDGE_MM
    largest: float = LARGEST_WARP_MM
    lesions: int = 0
    ghosts: float = 0.0
    oblique: float = 0.0
    atrophy: int = 0
    contrasts: tuple[str, str] = ('T1w', 'T2w')


@dataclass(frozen=True, kw_only=True)
class Scans:
    """A pair of scans and what is known of it.

    Attributes
    ----------
    fixed, moving : Nifti1Image
        The T1w and the T2w.
    mask, second : Nifti1Image
        The brain mask of the T1w that is taken, and the one that is found without it.
    moving_brain : Nifti1Image
        Where the brain is in the T2w.
    points : ndarray, shape (N, 6), or None
        Places of the brain in the T1w and where they lie in the T2w, mm; None where there is none.
    """

    fixed: nib.Nifti1Image
    moving: nib.Nifti1Image
    mask: nib.Nifti1Image
    second: nib.Nifti1Image
    moving_brain: nib.Nifti1Image
    points: np.ndarray | None = None


#: What is done to a pair of scans.
Change = Callable[[Scans, np.random.Generator], Scans]


# ---------------------------------------------------------------------------------------------------- heads
class Anatomy:
    """A head that can be scanned; the centre of its brain is the world's origin.

    Parameters
    ----------
    path : Path
        Label map ``anat-XX_dseg.nii.gz``: FreeSurfer's values, 1 mm; 500 and above lie outside of the brain.

    Attributes
    ----------
    number : int
        XX.
    depth : ndarray
        Depth under the hull of the brain, mm, negative outside.
    affine : ndarray, shape (4, 4)
        Voxel to world, mm.
    """

    def __init__(self, path: Path) -> None:
        self.number = int(path.name[5:7])
        image = nib.as_closest_canonical(load_image(path))
        self.labels = np.pad(np.asanyarray(image.dataobj).astype(np.int16), 8)
        brain = thinned((self.labels > 0) & (self.labels < OUTSIDE)) > 0.5
        hull = ndi.binary_fill_holes(ndi.binary_closing(np.pad(brain, 5), iterations=3))[5:-5, 5:-5, 5:-5]
        self.depth = ANATOMY_MM * (ndi.distance_transform_edt(hull) - ndi.distance_transform_edt(~hull))
        self.affine = np.diag([ANATOMY_MM] * 3 + [1.0])
        self.affine[:3, 3] = -ANATOMY_MM * np.argwhere(brain).mean(0)

    def sampled(self, values: np.ndarray, points: np.ndarray, outside: float = 0.0) -> np.ndarray:
        """Return values on the anatomy's grid at points (..., 3) of the world, linear, and `outside` beyond it."""
        at = apply_affine(np.linalg.inv(self.affine), points)
        return ndi.map_coordinates(values, np.moveaxis(at, -1, 0), order=1, mode='constant', cval=outside)

    def atrophied(self, mm: int) -> Anatomy:
        """Return the head with sulci and ventricles that reach `mm` further into the tissue, in the same skull."""
        if not mm:
            return self
        fluid = np.isin(self.labels, TISSUES['fluid'][1])
        lost = ndi.binary_dilation(fluid, iterations=mm) & (self.labels > 0) & (self.labels < OUTSIDE) & ~fluid
        older = copy.copy(self)
        older.labels = np.where(lost, SULCAL, self.labels)
        return older

    def signal(
        self,
        contrast: str,
        lesions: np.ndarray,
        voxel: Sequence[float],
        rng: np.random.Generator,
        texture: float = TEXTURE,
    ) -> np.ndarray:
        """Return the noise-free contrast on the anatomy's grid, blurred as voxels of that size see it."""
        values = thinned(tissue_signals(self.labels, contrast, rng, JITTER))
        values *= 1 + smooth_noise(rng, values.shape, 3, texture) + smooth_noise(rng, values.shape, 10, texture)
        values *= 1 + lesions * (LESION[contrast] - 1)
        return ndi.gaussian_filter(values, 0.4 * np.sqrt(np.maximum(np.square(voxel) - ANATOMY_MM**2, 0)) / ANATOMY_MM)

    def grid(self, voxel: Sequence[float]) -> tuple[tuple[int, ...], np.ndarray]:
        """Return shape and affine of a grid over the whole anatomy."""
        shape = np.ceil(np.array(self.depth.shape) * ANATOMY_MM / voxel).astype(int)
        affine = np.diag([*voxel, 1.0])
        affine[:3, 3] = self.affine[:3, 3]
        return tuple(map(int, shape)), affine


def thinned(values: np.ndarray) -> np.ndarray:
    """Average blocks of 1 mm voxels to those of the anatomy."""
    size = round(ANATOMY_MM)
    shape = [n // size for n in values.shape]
    cut = values[tuple(slice(0, n * size) for n in shape)]
    return cut.reshape([part for n in shape for part in (n, size)]).mean((1, 3, 5), dtype=np.float32)


def image(values: np.ndarray, affine: np.ndarray) -> nib.Nifti1Image:
    """Make an image, its masks as bytes."""
    return nib.Nifti1Image(values.astype(np.uint8 if values.dtype == bool else np.float32), affine)


def world(shape: Sequence[int], affine: np.ndarray) -> np.ndarray:
    """Return the places of all voxels, mm."""
    return apply_affine(affine, np.moveaxis(np.indices(shape), 0, -1))


def turned(degrees: float, rng: np.random.Generator) -> np.ndarray:
    """Return the 4x4 matrix of a turn about a random axis through the brain's centre, the world's origin."""
    axis, way = rng.normal(size=3), np.eye(4)
    way[:3, :3] = Rotation.from_rotvec(degrees * axis / np.linalg.norm(axis), degrees=True).as_matrix()
    return way


def acquired(values: np.ndarray, look: Look, rng: np.random.Generator) -> np.ndarray:
    """Add ghosts, a bias field and Rician noise."""
    ghosts = look.ghosts * np.roll(values, values.shape[1] // 2, axis=1)
    values = (values + ghosts) * np.exp(smooth_noise(rng, values.shape, 30, look.bias))
    parts = [rng.normal(0, look.noise, values.shape) for _ in range(2)]
    return 600 * np.hypot(values + parts[0], parts[1])


def draw_lesions(anatomy: Anatomy, count: int, rng: np.random.Generator) -> np.ndarray:
    """Draw balls of 3 to 6 mm (0 to 1) deep in the brain."""
    marks = np.zeros(anatomy.depth.shape, np.float32)
    deep = np.argwhere(anatomy.depth > 15)
    for seed in deep[rng.choice(len(deep), count, replace=False)]:
        radius = rng.uniform(3, 6) / ANATOMY_MM
        box = tuple(slice(max(c - 4, 0), c + 5) for c in seed)
        away = np.linalg.norm(np.moveaxis(np.indices(marks[box].shape), 0, -1) - 4, axis=-1)
        marks[box] = np.maximum(marks[box], np.clip(radius + 0.5 - away, 0, 1))
    return marks


def scan(anatomy: Anatomy, look: Look, seed: Sequence[int], other: Anatomy | None = None, visit: int = 0) -> Scans:
    """Scan a head, and for the T2w once more in another position, or another head.

    The position and the distortion depend on the heads and the visit alone, everything else on the seed as well.
    """
    anatomy, head = anatomy.atrophied(look.atrophy), (other or anatomy).atrophied(look.atrophy)
    rng, position = np.random.default_rng(list(seed)), np.random.default_rng([anatomy.number, head.number, visit])
    grids = np.random.default_rng([*seed, 2])
    lesions = [draw_lesions(one, look.lesions, rng) for one in ((anatomy,) if other is None else (anatomy, head))]
    shape, affine = anatomy.grid(look.fixed_voxel)
    affine = turned(look.oblique, grids) @ affine
    places = world(shape, affine)
    signal = anatomy.signal(look.contrasts[0], lesions[0], look.fixed_voxel, rng, look.texture)
    fixed = anatomy.sampled(signal, places)
    depth = anatomy.sampled(anatomy.depth, places, -99.0)
    masks = [depth > smooth_noise(rng, shape, 6, look.edge) for _ in range(2)]
    shape2, affine2 = head.grid(look.voxel)
    affine2 = turned(look.oblique, grids) @ affine2
    places2 = world(shape2, affine2)
    there = apply_affine(rigid_matrix(tuple(position.uniform(-5, 5, 3)), tuple(position.uniform(-6, 6, 3))), places2)
    wave = anatomy_wave(head, position)
    there[..., 1] += np.clip(look.warp * head.sampled(wave, there), -look.largest, look.largest)
    moving = head.sampled(head.signal(look.contrasts[1], lesions[-1], look.voxel, rng, look.texture), there)
    depth2 = head.sampled(head.depth, there)
    inside = np.argwhere(depth2 > DEPTH_MM)
    chosen = tuple(inside[rng.choice(len(inside), POINTS, replace=False)].T)
    return Scans(
        fixed=image(acquired(fixed, look, rng), affine),
        moving=image(acquired(moving, look, rng), affine2),
        mask=image(masks[0], affine),
        second=image(masks[1], affine),
        moving_brain=image(depth2 > 0, affine2),
        points=np.hstack([there[chosen], places2[chosen]]) if other is None else None,
    )


def anatomy_wave(head: Anatomy, rng: np.random.Generator) -> np.ndarray:
    """Return a smooth field of standard deviation 1 that varies over 40 mm, on the anatomy's grid."""
    return smooth_noise(rng, head.depth.shape, 40 / ANATOMY_MM, 1.0)
