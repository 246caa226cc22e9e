"""Synthetic heads for the tests: small, fast, and with an exactly known answer.

A head is a function of world millimetres, not an array, so it can be looked at on any grid (oblique, left-handed,
anisotropic...) and through any deformation without interpolation. The T1w, T2w and FLAIR of a head follow the signal
equations of MPRAGE, TSE and inversion-recovery TSE. Everything is numpy, scipy and nibabel, and the same seed gives the
same images.

>>> one = pair(shape=(32, 36, 32), seed=1)
>>> one.fixed.shape, one.moving.shape
((32, 36, 32), (32, 36, 32))
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import nibabel as nib
import numpy as np
from scipy import ndimage as ndi

#: Tissues in the order of the last axis of :func:`fractions`: (T1 ms, T2 ms, proton density) at 3 T.
TISSUES = {
    'air': (1000.0, 50.0, 0.0),
    'wm': (850.0, 70.0, 0.70),
    'gm': (1400.0, 95.0, 0.82),
    'csf': (4000.0, 1500.0, 1.0),
    'deep': (1150.0, 76.0, 0.78),
    'skull': (400.0, 10.0, 0.12),
    'scalp': (380.0, 60.0, 0.75),
}
#: Field of view (mm) that :func:`grid` covers unless told otherwise, centred on the head.
FIELD_OF_VIEW = (180.0, 216.0, 180.0)


# ---------------------------------------------------------------------------------------------------- contrasts
def mprage(t1, t2, pd, ti=900.0, tr=2300.0):
    """Magnitude of an inversion-recovery gradient echo (T1w)."""
    return np.abs(pd * (1 - 2 * np.exp(-ti / t1) / (1 + np.exp(-tr / t1)))) * np.exp(-5.0 / t2)


def tse(t1, t2, pd, te=100.0, tr=4500.0):
    """Magnitude of a turbo spin echo (T2w)."""
    return pd * (1 - np.exp(-tr / t1)) * np.exp(-te / t2)


def flair(t1, t2, pd, ti=2500.0, te=100.0, tr=9000.0):
    """Magnitude of an inversion-recovery turbo spin echo whose inversion time nulls CSF (FLAIR)."""
    return np.abs(pd * (1 - 2 * np.exp(-ti / t1) + np.exp(-tr / t1))) * np.exp(-te / t2)


def _contrast(sequence) -> np.ndarray:
    values = np.array([sequence(*properties) for properties in TISSUES.values()])
    return values / values[list(TISSUES).index('wm')]


CONTRASTS = {'T1w': _contrast(mprage), 'T2w': _contrast(tse), 'FLAIR': _contrast(flair)}
#: Added to the seed of a scan's noise.
_NOISE_SEEDS = {'T1w': 0, 'T2w': 50, 'FLAIR': 100}


# ---------------------------------------------------------------------------------------------------- anatomy
def fractions(points: np.ndarray, seed: int = 0, edge: float = 1.2) -> np.ndarray:
    """Tissue fractions of the head at world points.

    Parameters
    ----------
    points : ndarray (..., 3)
        World mm, RAS+; the head's centre is the origin.
    seed : int
        Which head: folding, ventricles and nuclei differ.
    edge : float
        Width of the tissue borders, mm.

    Returns
    -------
    ndarray (..., 7)
        Fractions of :data:`TISSUES`, adding up to 1.
    """
    rng = np.random.default_rng(1000 + seed)
    points = np.asarray(points, dtype=np.float32)
    x, y, z = np.moveaxis(points, -1, 0)
    axes = np.array([62.0, 78.0, 58.0], np.float32) * rng.uniform(0.97, 1.03, 3).astype(np.float32)
    radius = np.sqrt((x / axes[0]) ** 2 + (y / axes[1]) ** 2 + (z / axes[2]) ** 2) + 1e-6
    size = np.float32(axes.mean())
    depth = size * (1 - radius)  # mm under the brain's surface, roughly; negative outside

    folds = np.zeros_like(x)
    for _ in range(6):  # wavy grey/white border: gives the cortex something to register
        wave, phase = rng.normal(0, 0.16, 3), rng.uniform(0, 2 * np.pi)
        folds += np.sin(wave[0] * x + wave[1] * y + wave[2] * z + phase).astype(np.float32)

    def inside(distance):
        return 1 / (1 + np.exp(-np.clip(distance / (edge / 2), -30, 30)))

    def ball(centre, radii):
        scaled = np.sqrt(sum(((p - c) / r) ** 2 for p, c, r in zip((x, y, z), centre, radii, strict=True)) + 1e-6)
        return inside(min(radii) * (1 - scaled))

    jitter = rng.normal(0, 1.5, (6, 3))
    ventricles = np.maximum.reduce(
        [
            ball(np.array([side * 10, 2, 10]) + jitter[k], (5.0, 24.0, 7.0 + k))
            for k, side in enumerate((-1, 1))  # the left one is larger: a mirrored image is seen to be mirrored
        ]
    )
    nuclei = np.maximum.reduce(
        [
            ball(np.array([side * 18, along, -3]) + jitter[2 + k], (8.0, 11.0, 9.0))
            for k, (side, along) in enumerate(((-1, 8), (1, 8), (-1, -12), (1, -12)))
        ]
    )
    spots = np.zeros_like(x)
    for _ in range(24):  # grey islands, so that a warp shows deep inside too
        where = rng.normal(size=3)
        where *= axes * rng.uniform(0.3, 0.75) / np.linalg.norm(where)
        spots = np.maximum(spots, ball(where, rng.uniform(3.5, 8.0, 3)))
    cleft = inside(1.2 - np.abs(x)) * inside(z - 18)

    head, skull, dura, brain = inside(depth + 15), inside(depth + 9), inside(depth + 3.5), inside(depth)
    white = inside(depth - 8 - 3.5 * folds)
    layers = {'scalp': head - skull, 'skull': skull - dura, 'csf': dura - brain}
    layers['gm'], layers['wm'] = brain * (1 - white), brain * white
    layers['air'] = 1 - head
    for tissue, where in (
        ('gm', spots),
        ('deep', nuclei),
        ('csf', cleft),
        ('csf', ventricles),
    ):  # the later one overwrites
        where = where * brain
        layers = {name: value * (1 - where) for name, value in layers.items()}
        layers[tissue] = layers.get(tissue, 0) + where
    return np.stack([np.broadcast_to(np.maximum(layers[name], 0), x.shape) for name in TISSUES], axis=-1)


def brain_of(parts: np.ndarray) -> np.ndarray:
    """Boolean brain mask of :func:`fractions` (filled)."""
    names = list(TISSUES)
    inner = parts[..., [names.index(name) for name in ('wm', 'gm', 'deep')]].sum(-1) > 0.5
    return ndi.binary_fill_holes(ndi.binary_closing(np.pad(inner, 3), iterations=2))[3:-3, 3:-3, 3:-3]


# ---------------------------------------------------------------------------------------------------- grids
def rotation(x: float = 0, y: float = 0, z: float = 0) -> np.ndarray:
    """3x3 rotation by degrees about x, then y, then z."""
    a, b, c = np.deg2rad([x, y, z])
    rx = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    ry = np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
    rz = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
    return rz @ ry @ rx


def grid(shape, axes='RAS', turn=(0, 0, 0), voxel=None, centre=(0, 0, 0), shear: float = 0.0) -> np.ndarray:
    """Voxel-to-world affine of a grid of `shape`.

    Parameters
    ----------
    shape : sequence of 3 int
    axes : str
        Where each voxel axis points to, e.g. ``'LAS'`` (left-handed) or ``'PSR'`` (sagittal slices).
    turn : sequence of 3 float
        Degrees about x, y, z: an oblique grid.
    voxel : float or sequence of 3 float, optional
        mm along each voxel axis; by default the grid covers :data:`FIELD_OF_VIEW`.
    centre : sequence of 3 float
        World mm of the grid's centre.
    shear : float
        Added to one off-diagonal term: not a rotation any more.

    Returns
    -------
    ndarray (4, 4)
    """
    world = {'R': (0, 1), 'L': (0, -1), 'A': (1, 1), 'P': (1, -1), 'S': (2, 1), 'I': (2, -1)}
    directions = np.zeros((3, 3))
    for column, letter in enumerate(axes):
        row, sign = world[letter]
        directions[row, column] = sign
    if voxel is None:
        voxel = [FIELD_OF_VIEW[world[letter][0]] / n for letter, n in zip(axes, shape, strict=True)]
    slant = np.eye(3)
    slant[0, 1] = shear
    matrix = rotation(*turn) @ slant @ directions @ np.diag(np.broadcast_to(np.asarray(voxel, float), 3))
    affine = np.eye(4)
    affine[:3, :3] = matrix
    affine[:3, 3] = np.asarray(centre) - matrix @ ((np.asarray(shape) - 1) / 2)
    return affine


#: Grids that images come on: name -> (shape, affine). 'sheared' is one that ITK cannot express.
GRIDS = {
    'ras': ((44, 52, 44), grid((44, 52, 44))),
    'left-handed': ((44, 52, 44), grid((44, 52, 44), 'LAS')),
    'lps': ((44, 52, 44), grid((44, 52, 44), 'LPS')),
    'sagittal': ((52, 44, 44), grid((52, 44, 44), 'PSR')),
    'oblique': ((46, 54, 44), grid((46, 54, 44), 'RAS', (14, -9, 7), 4.2)),
    'oblique-left-handed': ((46, 54, 44), grid((46, 54, 44), 'LPI', (-8, 12, 17), 4.2)),
    'thick': ((60, 72, 22), grid((60, 72, 22), 'LPS', (9, 0, 0), (3.2, 3.2, 8.0))),
    'far': ((44, 52, 44), grid((44, 52, 44), centre=(120, -340, 260))),
    'sheared': ((44, 52, 44), grid((44, 52, 44), shear=0.08)),
}


def world(shape, affine) -> np.ndarray:
    """World mm (X, Y, Z, 3) of every voxel."""
    index = np.stack(np.meshgrid(*[np.arange(n) for n in shape], indexing='ij'), -1)
    return nib.affines.apply_affine(affine, index)


# ---------------------------------------------------------------------------------------------------- deformation
@dataclass(frozen=True)
class Truth:
    """Where each fixed point lies in the moving scan: ``y = A (x + u(x))``, world mm, RAS+.

    ``u`` is a sum of sine waves, so it is smooth, analytic, and the same on every grid.
    """

    matrix: np.ndarray
    waves: np.ndarray  # (n, 3) rad/mm
    phases: np.ndarray  # (n,)
    vectors: np.ndarray  # (n, 3) mm

    def displacement(self, points: np.ndarray) -> np.ndarray:
        """u(x), mm."""
        return np.sin(np.asarray(points) @ self.waves.T + self.phases) @ self.vectors

    def forward(self, points: np.ndarray) -> np.ndarray:
        """Fixed world points to moving world points (what an ITK file that pulls the moving image does)."""
        return nib.affines.apply_affine(self.matrix, points + self.displacement(points))

    def inverse(self, points: np.ndarray) -> np.ndarray:
        """Moving world points to fixed world points (fixed-point iteration; exact to 1e-4 mm)."""
        goal = nib.affines.apply_affine(np.linalg.inv(self.matrix), points)
        found = goal
        for _ in range(12):
            found = goal - self.displacement(found)
        return found


def truth(seed: int = 0, turn=(4, -3, 5), shift=(3.0, -4.0, 2.0), scale=1.0, amplitude: float = 2.5) -> Truth:
    """A known deformation.

    Parameters
    ----------
    seed : int
    turn, shift, scale
        Rigid or affine part: degrees, mm, and a factor or three.
    amplitude : float
        Largest displacement of the smooth part, mm (0: none).
    """
    rng = np.random.default_rng(2000 + seed)
    matrix = np.eye(4)
    matrix[:3, :3] = rotation(*turn) @ np.diag(np.broadcast_to(np.asarray(scale, float), 3))
    matrix[:3, 3] = shift
    waves = rng.normal(size=(4, 3))
    waves *= rng.uniform(0.03, 0.06, (4, 1)) / np.linalg.norm(waves, axis=1, keepdims=True)
    vectors = rng.normal(size=(4, 3))
    vectors *= amplitude / np.linalg.norm(vectors, axis=1).sum()
    return Truth(matrix, waves, rng.uniform(0, 2 * np.pi, 4), vectors)


# ---------------------------------------------------------------------------------------------------- images
def _acquire(parts, contrast, seed, noise, bias):
    rng = np.random.default_rng(3000 + seed)
    values = parts @ CONTRASTS[contrast]
    if bias:
        coarse = ndi.zoom(
            rng.normal(size=(4, 4, 4)), np.array(values.shape) / 4, order=3, mode='nearest', grid_mode=True
        )
        values = values * np.exp(bias * coarse / np.abs(coarse).max())
    if noise:
        values = np.hypot(values + rng.normal(0, noise, values.shape), rng.normal(0, noise, values.shape))
    return np.clip(values * 600, 0, 32000).astype(np.int16)


def image(data, affine, codes=(1, 1)) -> nib.Nifti1Image:
    """NIfTI image in mm whose qform and sform agree (a sheared affine has no qform)."""
    result = nib.Nifti1Image(data, affine)
    result.header.set_xyzt_units('mm', 'sec')
    result.set_sform(affine, codes[1])
    result.set_qform(affine, codes[0], strip_shears=True)
    return result


@dataclass(frozen=True)
class Head:
    """One scan: image, brain mask (same grid) and tissue labels (index into :data:`TISSUES`)."""

    scan: nib.Nifti1Image
    mask: nib.Nifti1Image
    labels: nib.Nifti1Image


def head(
    shape=(44, 52, 44),
    seed: int = 0,
    contrast: str = 'T1w',
    affine=None,
    moved: Truth | None = None,
    centre=(0, 0, 0),
    noise: float = 0.02,
    bias: float = 0.0,
) -> Head:
    """Scan the head `seed` on a grid.

    Parameters
    ----------
    shape : sequence of 3 int
    seed : int
        Which head.
    contrast : {'T1w', 'T2w', 'FLAIR'}
    affine : ndarray (4, 4), optional
        Grid; by default one that covers the head.
    moved : Truth, optional
        Put the head where this takes it.
    centre : sequence of 3 float
        Where the (unmoved) head's centre is, world mm.
    noise, bias : float
        Rician noise (of white matter 1) and log-amplitude of the bias field.
    """
    affine = grid(shape, centre=centre) if affine is None else affine
    points = world(shape, affine)
    if moved is not None:
        points = moved.inverse(points)
    parts = fractions(points - np.asarray(centre), seed)
    labels = parts.argmax(-1).astype(np.uint8)
    data = _acquire(parts, contrast, seed + _NOISE_SEEDS[contrast], noise, bias)
    return Head(image(data, affine), image(brain_of(parts).astype(np.uint8), affine), image(labels, affine))


def t1w(shape=(44, 52, 44), seed: int = 0, **options) -> nib.Nifti1Image:
    """T1w scan of :func:`head`."""
    return head(shape, seed, 'T1w', **options).scan


def t2w(shape=(44, 52, 44), seed: int = 0, **options) -> nib.Nifti1Image:
    """T2w scan of :func:`head`."""
    return head(shape, seed, 'T2w', **options).scan


@dataclass(frozen=True)
class Pair:
    """T1w (fixed) and T2w (moving) of one head, with what is known."""

    fixed: nib.Nifti1Image
    moving: nib.Nifti1Image
    fixed_mask: nib.Nifti1Image
    moving_mask: nib.Nifti1Image
    fixed_labels: nib.Nifti1Image
    moving_labels: nib.Nifti1Image
    truth: Truth
    points: np.ndarray  # (n, 6): world mm of brain points in the T1w, then in the T2w

    def error(self, mapped: np.ndarray) -> np.ndarray:
        """Distance (mm) between `mapped` = some transform of ``points[:, :3]`` and the truth."""
        return np.linalg.norm(mapped - self.points[:, 3:], axis=1)

    def save(self, folder: Path) -> dict[str, Path]:
        """Write fixed, moving, their masks and the matrix (ITK .txt and plain .4x4.txt) into a folder."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        paths = {}
        for name in ('fixed', 'moving', 'fixed_mask', 'moving_mask', 'fixed_labels', 'moving_labels'):
            paths[name] = folder / f'{name}.nii.gz'
            nib.save(getattr(self, name), paths[name])
        paths['affine'] = write_itk_affine(self.truth.matrix, folder / 'affine.txt')
        paths['matrix'] = folder / 'matrix.txt'
        np.savetxt(paths['matrix'], self.truth.matrix, fmt='%.8f')
        return paths


def pair(
    shape=(44, 52, 44),
    seed: int = 0,
    moving_shape=None,
    fixed_affine=None,
    moving_affine=None,
    known: Truth | None = None,
    n_points: int = 500,
    **options,
) -> Pair:
    """T1w and T2w of one head, the T2w in another position and smoothly distorted.

    Parameters
    ----------
    shape, moving_shape : sequence of 3 int
        Grids of the T1w and of the T2w (default: the same).
    seed : int
        Which head and which deformation.
    fixed_affine, moving_affine : ndarray (4, 4), optional
        Voxel-to-world; see :data:`GRIDS` and :func:`grid`.
    known : Truth, optional
        The deformation; by default :func:`truth` of the seed.
    n_points : int
        Brain points with known positions.
    options
        ``noise`` and ``bias`` of :func:`head`.
    """
    known = truth(seed) if known is None else known
    one = head(shape, seed, 'T1w', fixed_affine, **options)
    two = head(moving_shape or shape, seed, 'T2w', moving_affine, moved=known, **options)
    inside = np.argwhere(ndi.binary_erosion(np.asarray(one.mask.dataobj)))
    chosen = inside[np.random.default_rng(seed).choice(len(inside), min(n_points, len(inside)), replace=False)]
    start = nib.affines.apply_affine(one.scan.affine, chosen)
    points = np.hstack([start, known.forward(start)])
    return Pair(one.scan, two.scan, one.mask, two.mask, one.labels, two.labels, known, points)


#: Signal of a lesion, as a scan has it (white matter is 600): a cavity in the T1w, oedema in the T2w.
LESION = {'fixed': 150, 'moving': 1500}


@dataclass(frozen=True)
class Lesion:
    """A lesion that one scan of a pair shows alone.

    Parameters
    ----------
    pair
        The pair with it.
    masks
        Where it is or would be: by scan (``fixed``, ``moving``), each on its grid.
    around
        Which of the pair's points lie up to 20 mm beside it; bool.
    """

    pair: Pair
    masks: Mapping[str, nib.Nifti1Image]
    around: np.ndarray


def with_lesion(pair: Pair, end: str, ml: float = 40.0, centre=(24, 8, 14)) -> Lesion:
    """Put a ball into one scan of a pair, about a point of the fixed world (mm)."""
    radius = (3000 * ml / (4 * np.pi)) ** (1 / 3)

    def away(points: np.ndarray) -> np.ndarray:
        return np.linalg.norm(points - np.array(centre), axis=-1)

    here = away(world(pair.fixed.shape, pair.fixed.affine))
    there = away(pair.truth.inverse(world(pair.moving.shape, pair.moving.affine)))
    inside = {'fixed': here < radius, 'moving': there < radius}
    scan = getattr(pair, end)
    shown = np.where(inside[end], np.int16(LESION[end]), np.asarray(scan.dataobj))
    ill = replace(pair, **{end: image(shown, scan.affine)})
    masks = {name: image(one.astype(np.uint8), getattr(pair, name).affine) for name, one in inside.items()}
    beside = away(pair.points[:, :3]) - radius
    return Lesion(ill, masks, (beside > 0) & (beside < 20))


def write_itk_affine(matrix: np.ndarray, path: Path) -> Path:
    """Write a world (RAS+) 4x4 matrix as an ITK text transform (LPS+)."""
    flip = np.diag([-1.0, -1.0, 1.0, 1.0])
    lps = flip @ matrix @ flip
    numbers = ' '.join(f'{value:.12g}' for value in [*lps[:3, :3].ravel(), *lps[:3, 3]])
    Path(path).write_text(
        '#Insight Transform File V1.0\n#Transform 0\nTransform: AffineTransform_double_3_3\n'
        f'Parameters: {numbers}\nFixedParameters: 0 0 0\n'
    )
    return Path(path)


# ---------------------------------------------------------------------------------------------------- datasets
@functools.lru_cache(maxsize=16)
def _tiny(contrast: str, seed: int, shape: tuple[int, int, int]) -> nib.Nifti1Image:
    moved = None if contrast == 'T1w' else truth(seed + _NOISE_SEEDS[contrast] - 50, amplitude=1.0)
    return head(shape, seed, contrast, moved=moved).scan


def write_dataset(
    root: Path,
    subjects: Mapping[str, Mapping[str | None, Iterable[str]]] | None = None,
    shape: tuple[int, int, int] = (16, 18, 16),
    images: Mapping[str, nib.Nifti1Image] | None = None,
) -> Path:
    """Write a small BIDS raw dataset.

    Parameters
    ----------
    root : Path
        Folder to make.
    subjects : mapping
        ``{'01': {None: ['T1w', 'T2w']}, '02': {'1': ['run-1_T1w', 'acq-fast_T2w']}}``: subject, session (None: no
        session folder) and what follows ``sub-01[_ses-1]_``. Default: one subject with a T1w and a T2w.
    shape : tuple of 3 int
        Of the images; (44, 52, 44) makes heads worth registering.
    images : mapping, optional
        Ready images by file name, e.g. ``{'sub-01_T2w.nii.gz': image}``; the value None makes a zero-byte file.

    Returns
    -------
    Path
        The root.
    """
    root = Path(root)
    root.mkdir(parents=True, exist_ok=True)
    description = {'Name': 'Synthetic heads', 'BIDSVersion': '1.10.0', 'DatasetType': 'raw', 'Authors': ['A B', 'C D']}
    (root / 'dataset_description.json').write_text(json.dumps(description))
    (root / 'README').write_text('Synthetic heads for the tests of bidsreg, made by tests/data.py.\n')
    for number, (subject, sessions) in enumerate((subjects or {'01': {None: ['T1w', 'T2w']}}).items()):
        for session, names in sessions.items():
            stem = f'sub-{subject}' + (f'_ses-{session}' if session else '')
            folder = root / f'sub-{subject}' / (f'ses-{session}' if session else '') / 'anat'
            folder.mkdir(parents=True, exist_ok=True)
            for name in names:
                path = folder / f'{stem}_{name}.nii.gz'
                suffix = name.rpartition('_')[2]
                contrast = suffix if suffix in CONTRASTS else 'T1w'
                ready = (images or {}).get(path.name, _tiny(contrast, number, tuple(shape)))
                if ready is None:
                    path.touch()
                else:
                    nib.save(ready, path)
                sidecar = {'Modality': 'MR', 'Manufacturer': 'None (simulated)', 'MagneticFieldStrength': 3}
                path.with_name(f'{stem}_{name}.json').write_text(json.dumps(sidecar))
    return root


def files_below(root: Path) -> dict[str, bytes]:
    """Every file below a folder with its content, to see that nothing changed."""
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(Path(root).rglob('*')) if path.is_file()}
