#!/usr/bin/env python3
"""Make a wide set of pairs of two people for pairs.py: scans harder than plain contrasts, simulated on real label maps.

    python experiments/hard_pairs.py LABELS OUT [--pairs 03-05 05-03 ...] [--voxel 2]
    python experiments/pairs.py OUT

LABELS holds anat-XX_dseg.nii.gz: FreeSurfer's values, 1 mm, 500 and above outside of the brain. A pair XX-YY has the
T1w of XX and the T2w of YY; by default both orders of :data:`WIDE`, from little ventricles to large ones and back.

What real scans have and a contrast painted on labels has not:

- values that drift within a tissue: each tissue has a slow and a fast texture of its own in each contrast;
- lesions in white matter, most beside the ventricles, dark in the T1w, bright in the T2w; more where ventricles are
  large;
- partial volume: boundaries are blurred before slices of 3 mm (each T2w, every second T1w) are averaged over what they
  hold, tilted by up to 8 degrees; slices differ in brightness, and there are a bias field and Rician noise;
- brain masks that end somewhere in the cerebrospinal fluid, elsewhere in each scan.

Two people are aligned by an affine that ANTs finds between the noise-free T1w contrasts. The T1w is sampled on a grid
of 1 mm around its own brain, the T2w and its labels (nearest neighbour) on the same grid, each in one interpolation;
with `--voxel 2` blocks of 8 voxels are averaged, and their most frequent label is taken. The same names give the same
images.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from common import new_parser
from real_pairs import grid_around
from scipy import ndimage as ndi
from sequences import SEQUENCES

from bidsreg.app.example import smooth_noise
from bidsreg.benchmark.tissue import carried
from bidsreg.preparation.affine import rigid_matrix
from bidsreg.preparation.prealign import prealign
from bidsreg.qc.decomposition import closest_affine
from bidsreg.registration.atomic import atomic_folder
from bidsreg.registration.grid import Grid
from bidsreg.registration.image import Image, resample
from bidsreg.registration.itk import write_affine

#: People whose ventricles, sulci or both differ much, and three pairs that are alike (01-06, 09-07, 11-12).
WIDE = ('03-05', '09-11', '07-08', '04-11', '07-05', '03-02', '09-06', '04-01', '10-11', '01-06', '09-07', '11-12')
#: Tissue: T1 ms, T2 ms, proton density at 3 T, and its labels.
TISSUES: Mapping[str, tuple[tuple[float, float, float], tuple[int, ...]]] = {
    'white matter': ((860, 72, 0.70), (2, 41, 85, 25, 57)),
    'cortex': ((1390, 96, 0.82), (3, 42)),
    'fluid': ((3900, 1300, 1.0), (4, 43, 5, 44, 14, 15, 24, 72, 136, 137, 163, 164)),
    'cerebellar cortex': ((1330, 93, 0.82), (8, 47)),
    'cerebellar white matter': ((880, 74, 0.71), (7, 46)),
    'thalamus': ((1170, 81, 0.76), (10, 49)),
    'caudate': ((1270, 85, 0.80), (11, 50)),
    'putamen': ((1200, 77, 0.79), (12, 51)),
    'pallidum': ((970, 60, 0.74), (13, 52)),
    'brainstem': ((1010, 80, 0.74), (16, 28, 60)),
    'medial temporal grey': ((1400, 100, 0.82), (17, 53, 18, 54, 26, 58)),
    'vessels': ((1700, 120, 0.80), (30, 62)),
}
WHITE, VENTRICLES, SULCAL, OUTSIDE = (2, 41), (4, 43), 24, 500
#: Signal of a lesion, relative to that of white matter.
LESION = {'T1w': 0.7, 'T2w': 1.7}
SLICE_MM, LARGEST_TILT = 3, 8.0
#: Sulci and cisterns up to twice as wide are inside brain masks.
HULL_MM = 8.0
#: Standard deviations: relaxation times of a tissue, its slow (20 mm) and fast (5 mm) texture, brightness of slices,
#: logarithm of the bias field, noise (white matter is 1), and the place of a mask's edge, mm.
JITTER, SLOW, FAST, SLICES, BIAS, NOISE, EDGE_MM = 0.04, 0.04, 0.05, 0.02, 0.12, 0.035, 0.8


@dataclass(frozen=True)
class Person:
    """What is made of one label map.

    Attributes
    ----------
    labels : Image
        The brain's labels (uint8), cropped.
    scans : dict
        By contrast: the scan on the grid of its slices, and the brain mask that belongs to it, on the labels' grid.
    plain : Image
        The T1w contrast alone, 2 mm, for the affine.
    """

    labels: Image
    scans: Mapping[str, tuple[Image, Image]]
    plain: Image


# ---------------------------------------------------------------------------------------------------- one person
def simulate(path: Path, number: int) -> Person:
    """Simulate both scans of a person; the number is the seed, and says which kind of slices the T1w has."""
    whole = Image.load(path, np.int16).canonical()
    brain = (whole.data > 0) & (whole.data < OUTSIDE)
    at = np.argwhere(brain)
    starts, stops = np.maximum(at.min(0) - 8, 0), np.minimum(at.max(0) + 9, brain.shape)
    box = tuple(map(slice, starts, stops))
    labels = Image(whole.data[box], whole.grid.cropped(starts, stops))
    rng = np.random.default_rng(number)
    lesions, depth = draw_lesions(labels.data, rng), depth_in_hull(labels.data)
    scans = {}
    for contrast in LESION:
        signal = contrast_of(labels.data, lesions, contrast, rng)
        thick = SLICE_MM if contrast == 'T2w' or number % 2 else 1
        mask = Image(loose_mask(depth, rng).astype(np.uint8), labels.grid)
        scans[contrast] = acquire(Image(signal, labels.grid), thick, rng), mask
    kept = Image(np.where(labels.data < OUTSIDE, labels.data, 0).astype(np.uint8), labels.grid)
    plain = tissue_signals(kept.data, 'T1w', np.random.default_rng(0), 0.0)
    return Person(kept, scans, halved(Image(plain, labels.grid)))


def tissue_signals(labels: np.ndarray, contrast: str, rng: np.random.Generator, jitter: float) -> np.ndarray:
    """Paint every tissue with its signal (float32), white matter about 1; what lies outside gets values of its own."""
    table, sequence = np.zeros(max(int(labels.max()) + 1, OUTSIDE), np.float32), SEQUENCES[contrast]
    white = sequence(*TISSUES['white matter'][0])
    for times, values in TISSUES.values():
        table[list(values)] = sequence(*(np.array(times) * rng.normal(1, jitter, 3))) / white
    table[OUTSIDE:] = rng.uniform(0.1, 1.2, len(table) - OUTSIDE)
    return table[labels]


def contrast_of(labels: np.ndarray, lesions: np.ndarray, contrast: str, rng: np.random.Generator) -> np.ndarray:
    """Return the noise-free scan (float32) of a label map: tissues with texture, lesions (0 to 1), blurred edges."""
    signal = tissue_signals(labels, contrast, rng, JITTER)
    signal *= 1 + lesions * (LESION[contrast] - 1)
    for _, values in TISSUES.values():
        inside = np.isin(labels, values)
        if box := ndi.find_objects(inside.astype(np.uint8)):
            part = signal[box[0]]
            texture = sum(smooth_noise(rng, part.shape, size, std) for size, std in ((20, SLOW), (5, FAST)))
            part *= np.where(inside[box[0]], 1 + texture, 1)
    return ndi.gaussian_filter(signal, rng.uniform(0.5, 0.8))


def draw_lesions(labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draw lesions (0 to 1, float32) of 1.5 to 5 mm radius in white matter: two for each 3 ml of ventricles."""
    white, ventricles = np.isin(labels, WHITE), np.isin(labels, VENTRICLES)
    lesions = np.zeros(labels.shape, np.float32)
    if not (white.any() and ventricles.any()):
        return lesions
    voxels = np.argwhere(white)
    away = ndi.distance_transform_edt(~ventricles)[white]
    likely = np.exp(-away / 6)
    count = int(np.clip(2 * ventricles.sum() / 3000, 6, 40))
    for seed in voxels[rng.choice(len(voxels), count, replace=False, p=likely / likely.sum())]:
        radii = rng.uniform(1.5, 5) * rng.uniform(0.7, 1.3, 3)
        box = tuple(slice(max(at - 8, 0), at + 9) for at in seed)
        places = np.moveaxis(np.mgrid[box], 0, -1) - seed
        lesions[box] = np.maximum(lesions[box], ((places / radii) ** 2).sum(-1) < 1)
    return ndi.gaussian_filter(lesions * white, 0.7)


def depth_in_hull(labels: np.ndarray) -> np.ndarray:
    """Return how many mm (float32) a voxel lies inside the hull that is :data:`HULL_MM` outside of the tissue."""
    tissue = (labels > 0) & (labels < OUTSIDE) & (labels != SULCAL)
    # the brain touches the border of the crop where the label map ends; beyond it is no tissue
    padded = np.pad(tissue, 1)
    hull = ndi.distance_transform_edt(~padded) <= HULL_MM
    hull[[0, -1]] = hull[:, [0, -1]] = hull[:, :, [0, -1]] = False
    return ndi.distance_transform_edt(hull)[1:-1, 1:-1, 1:-1].astype(np.float32)


def loose_mask(depth: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return a brain mask (bool) as networks draw them: sulci closed, its edge 0 to 3 mm outside of the tissue."""
    return depth > HULL_MM - np.clip(1.5 + smooth_noise(rng, depth.shape, 15, EDGE_MM), 0, 3)


def acquire(signal: Image, thick: int, rng: np.random.Generator) -> Image:
    """Scan what is there in tilted slices of `thick` mm: averaged over the slice, with drift, bias field and noise."""
    tilt = rigid_matrix(
        rng.uniform(-LARGEST_TILT, LARGEST_TILT, 3).tolist(), centre=signal.grid.to_world(middle(signal))
    )
    fine = Grid(signal.grid.shape, tilt @ signal.grid.affine)
    values = resample(signal, fine)
    values = values[:, :, : values.shape[2] // thick * thick]
    values = values.reshape(*values.shape[:2], -1, thick).mean(-1)
    affine = fine.affine @ np.diag([1, 1, thick, 1.0])
    affine[:3, 3] = fine.to_world(np.array([0, 0, (thick - 1) / 2]))
    values *= np.exp(
        rng.normal(0, SLICES if thick > 1 else 0, values.shape[2]) + smooth_noise(rng, values.shape, 80, BIAS)
    )
    noise = rng.normal(0, NOISE, (2, *values.shape)).astype(np.float32)
    return Image(np.hypot(values + noise[0], noise[1]).astype(np.float32), Grid(values.shape, affine))


def middle(image: Image) -> np.ndarray:
    """Return the voxel in the middle, shape (3,)."""
    return (np.array(image.grid.shape) - 1) / 2


# ---------------------------------------------------------------------------------------------------- two people
def align(fixed: Person, moving: Person) -> np.ndarray:
    """Find the affine from the world of one person to that of another (4x4, mm), inside the brains, at 4 mm.

    The search starts where the centres of the labels say, for heads lie in any position in their label maps.
    """
    ends = {'fixed': fixed, 'moving': moving}
    masks = {end: Image((one.labels.data > 0).astype(np.uint8), one.labels.grid) for end, one in ends.items()}
    common = np.intersect1d(fixed.labels.data, moving.labels.data)
    start = closest_affine(*(centres(one.labels, common[common > 0]) for one in (fixed, moving)))
    with tempfile.TemporaryDirectory() as scratch, contextlib.chdir(scratch):
        write_affine('start.txt', start)
        for end, one in ends.items():
            one.plain.save(f'{end}.nii.gz')
            halved(masks[end], labels=True).save(f'{end}_mask.nii.gz')
        found, _ = prealign(
            'fixed.nii.gz',
            'moving.nii.gz',
            stage='affine',
            fixed_mask='fixed_mask.nii.gz',
            moving_mask='moving_mask.nii.gz',
            initial='start.txt',
            sloppy=True,
        )
    return found


def centres(labels: Image, values: np.ndarray) -> np.ndarray:
    """Return the centre of each label in world mm, shape (N, 3)."""
    return labels.grid.to_world(np.array(ndi.center_of_mass(labels.data > 0, labels.data, values)))


def make_pair(fixed: Person, moving: Person, affine: np.ndarray, voxel: int, folder: Path) -> None:
    """Write a pair on one grid around the fixed brain, of 1 or 2 mm; the affine leads to the moving world."""
    grid = grid_around(fixed.scans['T1w'][1], 1.0)
    with atomic_folder(folder) as making:
        for end, contrast, one, matrix in (
            ('fixed', 'T1w', fixed, np.eye(4)),
            ('moving', 'T2w', moving, affine),
        ):
            scan, mask = one.scans[contrast]
            inside = carried(Image(mask.data.astype(np.float32), mask.grid), matrix, grid) >= 0.5
            values = Image((carried(scan, matrix, grid) * inside * 600).astype(np.float32), grid)
            labels = Image(carried(one.labels, matrix, grid, order=0) * inside, grid)
            if voxel == 2:
                values, labels = halved(values), halved(labels, labels=True)
            Image(np.round(values.data).astype(np.int16), values.grid).save(making / f'{end}_{contrast}.nii.gz')
            labels.save(making / f'{end}_dseg.nii.gz')


def halved(image: Image, *, labels: bool = False) -> Image:
    """Return an image with voxels twice as large: the mean of 8, or the most frequent label (uint8) of them."""
    shape = np.array(image.grid.shape) // 2
    even = image.data[tuple(slice(2 * n) for n in shape)]
    eight = even.reshape(shape[0], 2, shape[1], 2, shape[2], 2).transpose(1, 3, 5, 0, 2, 4).reshape(8, *shape)
    affine = image.grid.affine @ np.diag([2, 2, 2, 1.0])
    affine[:3, 3] = image.grid.to_world(np.full(3, 0.5))
    grid = Grid(tuple(shape), affine)
    if not labels:
        return Image(eight.mean(0), grid)
    counts = np.stack([(eight == one).sum(0, dtype=np.uint8) for one in eight])
    return Image(np.take_along_axis(eight, counts.argmax(0)[None], 0)[0].astype(np.uint8), grid)


def main(argv: Sequence[str] | None = None) -> None:
    """Simulate the people that are needed, each once, and write the pairs that are not there yet."""
    parser = new_parser(__doc__)
    parser.add_argument('source', metavar='LABELS', type=Path)
    parser.add_argument('out', metavar='OUT', type=Path)
    both = [*WIDE, *('-'.join(reversed(pair.split('-'))) for pair in WIDE)]
    parser.add_argument('--pairs', nargs='+', metavar='XX-YY', default=both, help='[both orders of 12]')
    parser.add_argument('--voxel', type=int, choices=[1, 2], default=2, help='mm [%(default)s]')
    args = parser.parse_args(argv)
    asked = [tuple(pair.split('-')) for pair in args.pairs if not (args.out / pair).exists()]
    people: dict[str, Person] = {}
    affines: dict[tuple[str, ...], np.ndarray] = {}
    for one, other in asked:
        for name in {one, other} - set(people):
            people[name] = simulate(args.source / f'anat-{name}_dseg.nii.gz', int(name))
        if (one, other) not in affines:
            first, second = sorted((one, other))
            affines[first, second] = align(people[first], people[second])
            affines[second, first] = np.linalg.inv(affines[first, second])
        make_pair(people[one], people[other], affines[one, other], args.voxel, args.out / f'{one}-{other}')
        print(args.out / f'{one}-{other}', flush=True)


if __name__ == '__main__':
    main()
