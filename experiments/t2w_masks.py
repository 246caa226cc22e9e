#!/usr/bin/env python3
"""Compare ways to a brain mask without a T1w: deepbet on the scan, on its greys turned over, and a template's mask.

    python experiments/t2w_masks.py LABELS OUT [--people 02 05 09 12] [--contrasts T2w FLAIR] [--sessions BIDS_DIR]

LABELS holds anat-XX_dseg.nii.gz (FreeSurfer's values, 1 mm; 500 and above outside of the brain). Whole heads are
painted on them by signal equations, with lesions, textures, tilted slices of 3 to 5 mm, bias field and noise; the truth
is what lies within the skull, and the mask that deepbet finds in a T1w of the same head, carried over, stands beside.
Sessions of BIDS_DIR have a T1w and a T2w each: there the truth is deepbet's mask of the T1w, carried over by the
session's rigid.

Dice coefficient and HD95 are those of bidsreg.benchmark.judge, on the grid of the scan; the ratio is that of volumes.
Seconds are those of the CPU, of this process and of what it starts. Prints Markdown; OUT keeps the numbers, and a
picture of each scan with its masks. The ways were made with heads 01 and 04 and one real session in view.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import resource
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from common import head, new_parser, row, stripped_brain
from greys import folded, reciprocal, turned
from hard_pairs import BIAS, FAST, JITTER, NOISE, SLICES, SLOW, TISSUES, draw_lesions, halved
from real_pairs import find_sessions, load_scan, prepare_session
from scipy import ndimage as ndi

from bidsreg.app.example import TISSUES as AROUND
from bidsreg.app.example import mprage, smooth_noise, turbo_spin_echo
from bidsreg.benchmark import judge
from bidsreg.benchmark.files import write_json
from bidsreg.errors import InputError
from bidsreg.preparation.affine import rigid_matrix
from bidsreg.preparation.prealign import prealign
from bidsreg.preparation.skullstrip import run_deepbet
from bidsreg.registration import Deformation, Grid, Image, preset, register
from bidsreg.registration.image import resample
from bidsreg.registration.itk import write_affine

OUTSIDE = 500
#: Voxels of air around a label map.
AIR = 10


# ---------------------------------------------------------------------------------------------------- contrasts
def inversion_spin_echo(t1: float, t2: float, pd: float) -> float:
    """Compute the magnitude of a FLAIR: TI 2350, TR 9000, TE 110 ms; fluid is next to nothing."""
    return abs(pd * (1 - 2 * np.exp(-2350 / t1) + np.exp(-9000 / t1))) * np.exp(-110 / t2)


def proton_density(t1: float, t2: float, pd: float) -> float:
    """Compute the magnitude of a PDw, a turbo spin echo: TE 12, TR 3000 ms."""
    return turbo_spin_echo(t1, t2, pd, te=12, tr=3000)


def gradient_echo(t1: float, t2: float, pd: float) -> float:
    """Compute the magnitude of a T2starw: TE 20, TR 700 ms, 20 degrees; fields that vary add 1/120 ms to 1/T2."""
    flip, rest = np.deg2rad(20), np.exp(-700 / t1)
    return pd * np.sin(flip) * (1 - rest) / (1 - np.cos(flip) * rest) * np.exp(-20 * (1 / t2 + 1 / 120))


@dataclass(frozen=True)
class Contrast:
    """The signal equation of a contrast, of T1 (ms), T2 (ms) and proton density, and the thickness of slices (mm)."""

    equation: Callable[[float, float, float], float]
    thick: int


CONTRASTS: Mapping[str, Contrast] = {
    'T1w': Contrast(mprage, 1),
    'T2w': Contrast(turbo_spin_echo, 3),
    'FLAIR': Contrast(inversion_spin_echo, 4),
    'PDw': Contrast(proton_density, 4),
    'T2starw': Contrast(gradient_echo, 5),
}
#: What lies outside of the brain in the label maps: the tissue of the example head that it is like.
HEAD: Mapping[int, tuple[float, float, float]] = {
    502: TISSUES['vessels'][0],
    506: AROUND['eye'],
    507: AROUND['muscle'],
    508: AROUND['muscle'],
    509: (1500.0, 90.0, 0.85),
    511: AROUND['fat'],
    512: TISSUES['brainstem'][0],
    514: TISSUES['vessels'][0],
    515: AROUND['bone'],
    516: AROUND['marrow'],
    530: TISSUES['white matter'][0],
}
LESION = (1350.0, 130.0, 0.85)


@dataclass(frozen=True)
class Scan:
    """A scan of a head: its name, its contrast, its values, and where the brain is (above zero) on the same grid.

    ``beside`` is a second opinion on the same grid: deepbet's mask of the T1w of the same head, carried over.
    """

    name: str
    contrast: str
    image: Image
    truth: Image
    beside: Image | None = None


def painted(labels: np.ndarray, lesions: np.ndarray, contrast: str, rng: np.random.Generator) -> np.ndarray:
    """Return the noise-free scan (float32) of a label map, white matter about 1: textures, lesions (0 to 1), edges."""
    equation = CONTRASTS[contrast].equation
    white = equation(*TISSUES['white matter'][0])
    table = np.zeros(max(int(labels.max()), *HEAD) + 1, np.float32)
    tissues = [*TISSUES.values(), *((times, (value,)) for value, times in HEAD.items())]
    for times, values in tissues:
        table[list(values)] = equation(*(np.array(times) * rng.normal(1, JITTER, 3))) / white
    signal = table[labels]
    signal += lesions * (equation(*LESION) / white - signal)
    signal *= 1 + sum(smooth_noise(rng, labels.shape, size, std) for size, std in ((20, SLOW), (5, FAST)))
    return ndi.gaussian_filter(signal, rng.uniform(0.5, 0.8))


def acquired(signal: Image, thick: int, tilt: np.ndarray, rng: np.random.Generator) -> Image:
    """Scan in slices of `thick` mm on a grid that is tilted by a rigid 4x4, with a bias field, drift and noise."""
    fine = Grid(signal.grid.shape, tilt @ signal.grid.affine)
    values = sliced(resample(signal, fine), thick)
    values *= np.exp(rng.normal(0, SLICES if thick > 1 else 0, values.shape[2]))
    values *= np.exp(smooth_noise(rng, values.shape, 80, BIAS))
    noise = rng.normal(0, NOISE, (2, *values.shape)).astype(np.float32)
    affine = fine.affine @ np.diag([1, 1, thick, 1.0])
    affine[:3, 3] = fine.to_world(np.array([0, 0, (thick - 1) / 2]))
    return Image((600 * np.hypot(values + noise[0], noise[1])).astype(np.float32), Grid(values.shape, affine))


def sliced(values: np.ndarray, thick: int) -> np.ndarray:
    """Average `thick` slices along the last axis."""
    whole = values[:, :, : values.shape[2] // thick * thick]
    return whole.reshape(*whole.shape[:2], -1, thick).mean(-1)


def simulated(path: Path, contrasts: Sequence[str]) -> Iterator[Scan]:
    """Scan a label map in several contrasts, each in a position of its own; the same name gives the same scans."""
    whole = Image.load(path, np.int16).canonical()
    labels = np.pad(whole.data, AIR)
    grid = whole.grid.cropped(np.full(3, -AIR), np.array(whole.data.shape) + AIR)
    name = path.name.removesuffix('_dseg.nii.gz')
    rng = np.random.default_rng(int(name[-2:]))
    lesions = draw_lesions(labels, rng)
    brain = within_skull(labels)
    middle = grid.to_world((np.array(grid.shape) - 1) / 2)
    t1w = acquired(Image(painted(labels, lesions, 'T1w', rng), grid), 1, np.eye(4), rng)
    beside = deepbet(t1w)
    for contrast in contrasts:
        thick = CONTRASTS[contrast].thick
        tilt = rigid_matrix(rng.uniform(-8, 8, 3).tolist(), centre=middle)
        scan = acquired(Image(painted(labels, lesions, contrast, rng), grid), thick, tilt, rng)
        masks = (Image(resample(Image(one.astype(np.float32), grid), scan.grid), scan.grid) for one in (brain, beside))
        truth, other = (Image((one.data >= 0.5).astype(np.uint8), scan.grid) for one in masks)
        yield Scan(name, contrast, scan, truth, other)


def within_skull(labels: np.ndarray) -> np.ndarray:
    """Return what lies within the skull (bool), without what fluid there is about the spinal cord."""
    brain = ndi.binary_fill_holes(ndi.binary_closing((labels > 0) & (labels < OUTSIDE), iterations=3))
    pieces, _ = ndi.label(ndi.binary_opening(brain, iterations=6))
    return brain & ndi.binary_dilation(pieces == np.bincount(pieces.ravel())[1:].argmax() + 1, iterations=7)


def real(source: Path, work: Path) -> Iterator[Scan]:
    """Return the T2w of every session, and the mask of its T1w carried over by the rigid between the two."""
    for session in find_sessions(source.resolve(), work.resolve()):
        prepare_session(session)
        scan, mask = load_scan(session.t2w), session.image('mask')
        seen = Grid(scan.grid.shape, np.linalg.inv(session.rigid) @ scan.grid.affine)
        yield Scan(session.name, 'T2w', scan, Image((resample(mask, seen) >= 0.5).astype(np.uint8), scan.grid))


# ---------------------------------------------------------------------------------------------------- ways to a mask
def deepbet(image: Image) -> np.ndarray:
    """Run deepbet on an image."""
    with tempfile.TemporaryDirectory() as scratch, contextlib.chdir(scratch):
        image.save('scan.nii.gz')
        return run_deepbet('scan.nii.gz')


def with_greys(image: Image, way: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> Image:
    """Return an image whose greys are changed in one of the ways of greys.py."""
    return Image(way(image.data, image.grid.affine), image.grid)


def mni152() -> Image:
    """Return the template that nilearn ships: a T1w of 1 mm without a skull."""
    from nilearn import datasets

    image = datasets.load_mni152_template(resolution=1)
    return Image(np.asarray(image.dataobj, np.float32), Grid(image.shape, image.affine))


def carried(image: Image, *, deform: bool) -> np.ndarray:
    """Carry the mask of the template over: rigid, affine inside the template's mask, and our deformation at 3 mm."""
    template = halved(mni152())
    mask = stripped_brain(template)
    with tempfile.TemporaryDirectory() as scratch, contextlib.chdir(scratch):
        for name, one in (('template', template), ('mask', mask), ('scan', image)):
            one.save(f'{name}.nii.gz')
        ends, inside = ('template.nii.gz', 'scan.nii.gz'), 'mask.nii.gz'
        found, _ = prealign(*ends, stage='rigid', fixed_mask=inside, sloppy=True)
        write_affine('rigid.txt', found)
        found, _ = prealign(*ends, stage='affine', fixed_mask=inside, initial='rigid.txt', sloppy=True)
    deformation = Deformation.from_affine(found, template.grid)
    if deform:
        method = preset('node-mind-inter').at_resolution(3.0)
        deformation = register(template, image, method, fixed_mask=mask, affine=found).deformation
    return deformation.inverted().apply(mask, image.grid).data >= 0.5


Way = Callable[[Image], np.ndarray]
WAYS: Mapping[str, Way] = {
    'deepbet, as it is': deepbet,
    'deepbet, turned': lambda image: deepbet(with_greys(image, turned)),
    'deepbet, reciprocal': lambda image: deepbet(with_greys(image, reciprocal)),
    'deepbet, folded': lambda image: deepbet(with_greys(image, folded)),
    'template, affine': lambda image: carried(image, deform=False),
    'template, deformed': lambda image: carried(image, deform=True),
}


# ---------------------------------------------------------------------------------------------------- judging
def cpu_seconds() -> float:
    """Return the seconds that this process and those it has waited for have taken of the CPUs."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def compared(mask: np.ndarray, truth: Image) -> dict[str, float]:
    """Compare a mask with the truth on its grid: Dice coefficient, ratio of volumes, HD95 (mm)."""
    one, other = truth.data > 0, mask > 0
    return {
        'dice': judge.dice(one, other, [True])[True],
        'ratio': float(other.sum() / one.sum()),
        'hd95': judge.hd95(one, other, [True], truth.grid.spacing)[True],
    }


def measured(scan: Scan, way: Way) -> tuple[dict[str, float], np.ndarray | None]:
    """Find a mask in one way and compare it; a way that finds no brain scores nothing."""
    began = cpu_seconds()
    try:
        mask = way(scan.image)
    except InputError:
        return {'dice': 0.0, 'ratio': 0.0, 'cpu_seconds': cpu_seconds() - began}, None
    return compared(mask, scan.truth) | {'cpu_seconds': cpu_seconds() - began}, mask


def draw(scan: Scan, masks: Mapping[str, np.ndarray], path: Path) -> None:
    """Draw a scan with the outline of each mask (red) and of the truth (cyan), a row for each way, to look at."""
    import matplotlib

    matplotlib.use('Agg')
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(len(masks), 5, figsize=(20, 4 * len(masks)), facecolor='black', squeeze=False)
    x, y, z = scan.image.data.shape
    cuts: list[tuple[slice | int, ...]] = [np.s_[:, :, int(part * z)] for part in (0.35, 0.5, 0.7)]
    cuts += [np.s_[:, y // 2, :], np.s_[int(0.45 * x), :, :]]
    bright = np.percentile(scan.image.data, 99.5)
    for line, (name, mask) in zip(axes, masks.items(), strict=True):
        for axis, cut in zip(line, cuts, strict=True):
            axis.imshow(scan.image.data[cut].T, cmap='gray', origin='lower', vmin=0, vmax=bright, aspect='auto')
            for values, colour in ((scan.truth.data, 'cyan'), (mask, 'red')):
                axis.contour(values[cut].T, levels=[0.5], linewidths=0.8, colors=colour)
            axis.axis('off')
        line[0].set_title(f'{scan.name} {scan.contrast}: {name}', color='white')
    figure.tight_layout()
    figure.savefig(path, dpi=40)
    plt.close(figure)


# ---------------------------------------------------------------------------------------------------- tables
#: The name of what stands beside on simulated heads.
BESIDE = 'deepbet on the T1w'


def table(cells: Mapping[str, Mapping[str, Mapping[str, float]]]) -> str:
    """Lay out the means over the scans of a kind (``{kind|scan: {way: numbers}}``) as Markdown."""
    kinds: dict[str, list[Mapping[str, Mapping[str, float]]]] = {}
    for key, ways in cells.items():
        kinds.setdefault(key.split('|')[0], []).append(ways)
    lines = [head('scans', 'way', 'Dice, mean', 'Dice, least', 'volume ratio', 'HD95, mm', 'CPU seconds')]
    for kind, scans in kinds.items():
        for way in dict.fromkeys(way for ways in scans for way in ways):
            found = [ways[way] for ways in scans if way in ways]
            least = min(one['dice'] for one in found)
            numbers = (
                mean(found, 'dice', '.3f'),
                f'{least:.3f}',
                mean(found, 'ratio', '.2f'),
                mean(found, 'hd95', '.1f'),
            )
            lines.append(row(f'{kind} ({len(found)})', way, *numbers, mean(found, 'cpu_seconds', '.0f')))
    return '\n'.join(lines)


def mean(found: Sequence[Mapping[str, float]], key: str, form: str) -> str:
    """Format the mean of a number over the scans that have it; a dash where none has."""
    known = [one[key] for one in found if key in one]
    return format(float(np.mean(known)), form) if known else '-'


def scans_asked(args: argparse.Namespace) -> Iterator[tuple[str, Scan]]:
    """Yield the scans and the kind of each."""
    if args.sessions is not None:
        yield from (('real T2w', scan) for scan in real(args.sessions, args.out / 'sessions'))
    for name in args.people:
        for scan in simulated(args.source / f'anat-{name}_dseg.nii.gz', args.contrasts):
            yield f'simulated {scan.contrast}', scan


def main(argv: Sequence[str] | None = None) -> None:
    """Make the scans, find their masks in every way that is not in OUT yet, and print the table."""
    parser = new_parser(__doc__)
    parser.add_argument('source', metavar='LABELS', type=Path)
    parser.add_argument('out', metavar='OUT', type=Path)
    parser.add_argument('--people', nargs='*', default=['02', '05', '09', '12'], metavar='XX', help='[%(default)s]')
    contrasts = [name for name in CONTRASTS if name != 'T1w']
    parser.add_argument('--contrasts', nargs='+', choices=contrasts, default=contrasts, help='[all]')
    parser.add_argument('--ways', nargs='+', choices=list(WAYS), default=list(WAYS), help='[all]')
    parser.add_argument('--sessions', type=Path, metavar='BIDS_DIR', help='real sessions with a T1w and a T2w each')
    args = parser.parse_args(argv)
    args.out.mkdir(parents=True, exist_ok=True)
    file = args.out / 'masks.json'
    cells = json.loads(file.read_text()) if file.exists() else {}
    asked: list[str] = []
    for kind, scan in scans_asked(args):
        key = f'{kind}|{scan.name}'
        asked.append(key)
        cell, masks = cells.setdefault(key, {}), {}
        if scan.beside is not None:
            cell[BESIDE] = compared(scan.beside.data, scan.truth)
        for way in args.ways:
            if way not in cell:
                cell[way], mask = measured(scan, WAYS[way])
                if mask is not None:
                    masks[way] = mask
                write_json(file, cells)
                print(f'{key} {way}: {cell[way]}', file=sys.stderr, flush=True)
        if masks:
            draw(scan, masks, args.out / f'{scan.name}_{scan.contrast}.png')
    print(table({key: cells[key] for key in asked}))


if __name__ == '__main__':
    main()
