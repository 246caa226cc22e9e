#!/usr/bin/env python3
"""Measure the error of the T1w/T2w ratio at the cortex by the alignment of the scans, and compute the reference values.

    python experiments/ratio.py LABELS [--people 03 05 07] [--voxel 2] [--plot FILE.png]
    python experiments/ratio.py LABELS --scanners [--people 01 02 03] [--draw 1 --strength 2]
    python experiments/ratio.py LABELS --reference bidsreg/preparation/ratio_reference.json

LABELS holds anat-XX_dseg.nii.gz: FreeSurfer's values, 1 mm, 500 and above outside of the brain, eyes (506), muscle and
fat among them. The head of each person is scanned twice, by the equations of an MPRAGE and of a turbo spin echo at 3 T.
The T2w lies elsewhere (up to 5 degrees, 5 mm), has slices twice as thick as the voxels of the T1w, and is distorted by
up to 4 mm along y. Both scans have the bias field of one receiving coil, each a smaller one of its own, and noise. The
ratio of the uncorrected scans is compared with that of the noise-free signals, voxel by voxel in the cerebral cortex of
the T1w; the brain mask is the true one.

The second table has the scans of another scanner, of the same heads at the true alignment: other gains (those of
`--gains`), other fields and noise. How far are the medians of the calibrated maps of the two scanners apart? `--draw`
takes other positions, fields and noise of both, `--strength` fields whose logarithms are so many times as large.

The reference values are the medians of each point in the noise-free heads of the people, each found as in a scan.
Prints Markdown.
"""

from __future__ import annotations

import contextlib
import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from common import head, new_parser, pair_command, row, run_measured
from hard_pairs import OUTSIDE, SEQUENCES, TISSUES, halved
from matplotlib.figure import Figure
from scipy import ndimage as ndi

from bidsreg.app.example import distortion, smooth_noise
from bidsreg.errors import InputError
from bidsreg.preparation.affine import rigid_matrix
from bidsreg.preparation.bias import correct_bias
from bidsreg.preparation.calibration import CALIBRATIONS, Scans, calibrate, values_at
from bidsreg.preparation.prealign import prealign
from bidsreg.preparation.ratio import ratio_map, tissue_medians
from bidsreg.preparation.resample import resample
from bidsreg.preparation.tissue import tissue_classes
from bidsreg.registration.atomic import write_text
from bidsreg.registration.grid import Grid
from bidsreg.registration.image import Image
from bidsreg.registration.itk import write_affine

#: What lies outside of the brain: T1 ms, T2 ms, proton density at 3 T, and its labels; all else outside is air.
OUTER: Mapping[str, tuple[tuple[float, float, float], tuple[int, ...]]] = {
    'eye': ((3800, 800, 0.95), (506,)),
    'muscle': ((1300, 38, 0.75), (507, 508)),
    'mucosa': ((1200, 70, 0.80), (509, 512, 514)),
    'fat': ((380, 65, 0.5), (511,)),
    'bone': ((400, 8, 0.10), (515,)),
    'marrow': ((500, 55, 0.45), (516,)),
}
SOFT, SKIN = 507, 511
#: Under the skin soft tissue is fat to this depth, mm.
FAT_MM = 3.0
CORTEX = (3, 42)
#: Brightness of white matter; standard deviations of a tissue's texture, of the logarithm of the receiving coil's field
#: and of that which is a scan's own, and of the noise (white matter is 1).
WHITE, TEXTURE, RECEIVE, OWN, NOISE = 400.0, 0.03, 0.15, 0.03, 0.03
ALIGNMENTS = ('rigid', 'affine', 'deformation', 'known')


@dataclass(frozen=True, eq=False)
class Person:
    """A head without noise: signals (white matter is :data:`WHITE`), labels and brain on one grid."""

    t1w: np.ndarray
    t2w: np.ndarray
    labels: np.ndarray
    brain: np.ndarray
    affine: np.ndarray

    @property
    def centre(self) -> np.ndarray:
        """The middle of the brain, world mm."""
        middle = np.array([(axis.min() + axis.max()) / 2 for axis in np.nonzero(self.brain)])
        return self.affine[:3, :3] @ middle + self.affine[:3, 3]


def make_person(path: Path, number: int, texture: float = TEXTURE, voxel: int = 1) -> Person:
    """Paint a label map with both signals, on voxels of 1 or 2 mm; the number is the seed of the texture."""
    whole = Image.load(path, np.int16).canonical()
    labels = whole.data.astype(np.int16)
    depth = ndi.distance_transform_edt((labels != SKIN) & (labels > 0))
    labels[(labels == SOFT) & (depth <= FAT_MM)] = SKIN
    brain = ndi.binary_fill_holes(ndi.binary_closing((labels > 0) & (labels < OUTSIDE), iterations=3))
    signals = {}
    for contrast, sequence in SEQUENCES.items():
        rng = np.random.default_rng([number, contrast == 'T2w'])
        table = np.zeros(int(labels.max()) + 1, np.float32)
        for times, values in (*TISSUES.values(), *OUTER.values()):
            for value in values:
                if value < len(table):
                    table[value] = sequence(*times) / sequence(*TISSUES['white matter'][0])
        signal = ndi.gaussian_filter(WHITE * table[labels], 0.55)
        signals[contrast] = signal * (1 + sum(smooth_noise(rng, signal.shape, size, texture) for size in (6, 20)))
    kept = np.where(labels < OUTSIDE, labels, 0).astype(np.uint8)
    images = [Image(data.astype(np.float32), whole.grid) for data in (signals['T1w'], signals['T2w'], brain)]
    names = Image(kept, whole.grid)
    if voxel == 2:
        images, names = [halved(image) for image in images], halved(names, labels=True)
    t1w, t2w, inside = (image.data for image in images)
    return Person(t1w, t2w, names.data, inside >= 0.5, np.asarray(names.grid.affine))


# ---------------------------------------------------------------------------------------------------- scanning
@dataclass(frozen=True, eq=False)
class Position:
    """Where a head lies in its T2w: turned and shifted rigidly, and distorted."""

    matrix: np.ndarray
    centre: np.ndarray

    @classmethod
    def of(cls, person: Person, number: int) -> Position:
        """Draw a position."""
        rng = np.random.default_rng([number, 5])
        turn, shift = rng.uniform(-5, 5, 3), rng.uniform(-5, 5, 3)
        return cls(rigid_matrix(turn.tolist(), shift.tolist(), person.centre), person.centre)

    def to_t1w(self, points: np.ndarray) -> np.ndarray:
        """Map world points (N, 3) of the T2w to the T1w."""
        return points @ self.matrix[:3, :3].T + self.matrix[:3, 3] + distortion(points - self.centre)

    def to_t2w(self, points: np.ndarray) -> np.ndarray:
        """Map world points (N, 3) of the T1w to the T2w, by iteration of a fixed point."""
        back = np.linalg.inv(self.matrix)
        found = points
        for _ in range(15):
            found = (points - distortion(found - self.centre)) @ back[:3, :3].T + back[:3, 3]
        return found


def world(grid: Grid) -> np.ndarray:
    """Return the world mm of all voxels, shape (N, 3), float32."""
    return grid.to_world(np.indices(grid.shape, np.float32).reshape(3, -1).T).astype(np.float32)


def receive_field(points: np.ndarray, centre: np.ndarray, number: int) -> np.ndarray:
    """Return the logarithm of the coil's field at world points: waves of about 250 mm, which stay where the coil is."""
    rng = np.random.default_rng([number, 6])
    waves, phases = rng.normal(0, 1 / 60, (3, 3)), rng.uniform(0, 2 * np.pi, 3)
    field = np.sin((points - centre) @ waves.T + phases).sum(-1)
    return RECEIVE * field / np.sqrt(1.5)


def acquire(
    signal: np.ndarray, grid: Grid, person: Person, seed: Sequence[int], gain: float, strength: float = 1.0
) -> Image:
    """Make a scan of a signal on a grid: fields, noise, gain."""
    rng = np.random.default_rng(list(seed))
    coil = receive_field(world(grid), person.centre, seed[0]).reshape(grid.shape)
    own = smooth_noise(rng, grid.shape, min(grid.shape) * 0.9, OWN)
    values = signal * np.exp(strength * (coil + own))
    sigma = NOISE * WHITE
    values = np.hypot(values + rng.normal(0, sigma, grid.shape), rng.normal(0, sigma, grid.shape))
    return Image((gain * values).astype(np.float32), grid)


def scans_of(
    person: Person, position: Position, number: int, scanner: int, gains: Sequence[float], strength: float = 1.0
) -> dict[str, Image]:
    """Scan a head: the T1w on its own grid, the T2w in its position, averaged over slices twice as thick."""
    own = Grid(person.t1w.shape, person.affine)
    thick = Grid((*own.shape[:2], own.shape[2] // 2), person.affine @ np.diag([1, 1, 2.0, 1]))
    at = np.linalg.inv(person.affine)
    points = position.to_t1w(world(thick)) @ at[:3, :3].T + at[:3, 3]
    blurred = ndi.gaussian_filter1d(person.t2w, 0.84, axis=2)
    t2w = ndi.map_coordinates(blurred, points.T.astype(np.float32), order=1).reshape(thick.shape)
    return {
        't1w': acquire(person.t1w, own, person, (number, scanner, 1), gains[0], strength),
        't2w': acquire(t2w, thick, person, (number, scanner, 2), gains[1], strength),
    }


def at_truth(t2w: Image, position: Position, grid: Grid) -> np.ndarray:
    """Bring a T2w onto the grid of the T1w by the true map, linearly."""
    at = np.linalg.inv(t2w.grid.affine)
    voxels = position.to_t2w(world(grid)) @ at[:3, :3].T + at[:3, 3]
    return ndi.map_coordinates(t2w.data, voxels.T.astype(np.float32), order=1).reshape(grid.shape)


# ---------------------------------------------------------------------------------------------------- alignment
def align(scans: Mapping[str, Image], brain: np.ndarray, voxel: int) -> dict[str, np.ndarray]:
    """Return the uncorrected T2w on the grid of the T1w for each alignment but the known one, in a scratch folder."""
    with tempfile.TemporaryDirectory() as scratch, contextlib.chdir(scratch):
        for name, scan in scans.items():
            scan.save(f'{name}.nii')
        Image(brain.astype(np.uint8), scans['t1w'].grid).save('t1w_mask.nii')
        rigid, _ = prealign('t1w.nii', 't2w.nii', stage='rigid')
        write_affine('rigid.txt', rigid)
        mask = resample('t1w_mask.nii', 't2w.nii', ['rigid.txt'], invert=[True], interpolation='genericLabel')
        mask.to_filename('t2w_mask.nii')
        for name in scans:
            correct_bias(f'{name}.nii', f'{name}_mask.nii').to_filename(f'{name}_n4.nii')
        ends, masks = ('t1w_n4.nii', 't2w_n4.nii'), {'fixed-mask': 't1w_mask.nii', 'moving-mask': 't2w_mask.nii'}
        affine, _ = prealign(
            *ends, stage='affine', initial='rigid.txt', fixed_mask='t1w_mask.nii', moving_mask='t2w_mask.nii'
        )
        write_affine('affine.txt', affine)
        options: list[object] = [f'--{name}={file}' for name, file in masks.items()]
        options += ['--affine', 'affine.txt', '--working-resolution', voxel]
        files = [Path(scratch) / name for name in (*ends, 'out')]
        used = run_measured(
            pair_command(*files, method='node-mind', threads=1, options=options), Path(scratch), threads=1
        )
        print(f'bidsreg-pair: {used.cpu_seconds:.0f} CPU s', file=sys.stderr, flush=True)
        files_of = {'rigid': 'rigid.txt', 'affine': 'affine.txt', 'deformation': 'out/forward.h5'}
        return {
            name: np.asarray(resample('t2w.nii', 't1w.nii', [file]).dataobj, np.float32)
            for name, file in files_of.items()
        }


def ratio_errors(person: Person, t1w: np.ndarray, moved: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return for each alignment the relative error of the ratio (float32, NaN outside of the brain)."""
    found = {}
    for name, t2w in moved.items():
        values = ratio_map(t1w, t2w, person.brain, of='the simulated T1w').values
        truth = person.t1w / np.maximum(person.t2w, 1e-3)
        truth = np.where(truth > 0, truth, np.nan)
        found[name] = np.where(person.brain & (values > 0), np.abs(values / truth - 1), np.nan).astype(np.float32)
    return found


def measure(labels: Path, name: str, voxel: int) -> tuple[Person, dict[str, np.ndarray]]:
    """Scan and align the head of one person; return it and the errors of its ratio."""
    person = make_person(labels / f'anat-{name}_dseg.nii.gz', int(name), voxel=voxel)
    position = Position.of(person, int(name))
    scans = scans_of(person, position, int(name), 0, (1.0, 1.0))
    moved = align(scans, person.brain, voxel)
    moved['known'] = at_truth(scans['t2w'], position, scans['t1w'].grid)
    return person, ratio_errors(person, scans['t1w'].data, moved)


def at_cortex(person: Person, errors: np.ndarray) -> np.ndarray:
    """Return the errors in the cerebral cortex, where there are some."""
    chosen = errors[np.isin(person.labels, CORTEX) & person.brain]
    return chosen[np.isfinite(chosen)]


# ---------------------------------------------------------------------------------------------------- calibration
def medians(person: Person, scans: Mapping[str, Image], t2w: np.ndarray) -> dict[str, dict[str, float | None]]:
    """Return the medians in white and grey matter of the maps of each kind, at one alignment, in a scratch folder.

    Where the points of a calibration are not found there are none.
    """
    grid = scans['t1w'].grid
    with tempfile.TemporaryDirectory() as scratch, contextlib.chdir(scratch):
        Image(person.brain.astype(np.uint8), grid).save('mask.nii')
        fixed = []
        for name, data in (('t1w', scans['t1w'].data), ('t2w', t2w)):
            Image(data, grid).save(f'{name}.nii')
            fixed.append(np.asarray(correct_bias(f'{name}.nii', 'mask.nii').dataobj, np.float32))
        classes = tissue_classes(Image(fixed[0], grid), person.brain).data
        heads = Scans(fixed[0], fixed[1], person.brain, classes, grid.affine)
        raw = ratio_map(scans['t1w'].data, t2w, person.brain, of='T1w').values
        made = {'uncalibrated': tissue_medians(raw, classes)}
        for one in CALIBRATIONS.values():
            try:
                above, below, _ = calibrate(heads, of='T1w', among={one.name: one})
            except InputError:
                made[one.name] = {}
                continue
            made[one.name] = tissue_medians(ratio_map(above, below, person.brain, of='T1w').values, classes)
    return made


def scanner_rows(
    labels: Path, name: str, voxel: int, gains: Sequence[float], draw: int = 0, strength: float = 1.0
) -> list[str]:
    """Return the lines of the second table for one person."""
    person = make_person(labels / f'anat-{name}_dseg.nii.gz', int(name), voxel=voxel)
    number = 1000 * draw + int(name)
    position = Position.of(person, number)
    maps = []
    for scanner, factors in enumerate(((1.0, 1.0), gains)):
        scans = scans_of(person, position, number, scanner, factors, strength)
        maps.append(medians(person, scans, at_truth(scans['t2w'], position, scans['t1w'].grid)))
    lines = []
    for kind in maps[0]:
        cells = []
        for tissue in ('white', 'grey'):
            one, other = (of_scanner[kind].get(tissue) for of_scanner in maps)
            cells += ['not found' if value is None else f'{value:.3f}' for value in (one, other)]
            cells.append('' if one is None or other is None else f'{100 * (other / one - 1):+.1f}')
        lines.append(row(name, kind, *cells))
    return lines


def plot(
    person: Person, errors: Mapping[str, np.ndarray], medians_of: Mapping[str, Sequence[float]], path: Path
) -> None:
    """Draw the median error at the cortex of every person, and where it lies in a slice of one."""
    figure = Figure(figsize=(10, 3.6), layout='constrained')
    axes = figure.subplots(1, 3, width_ratios=(1.2, 1, 1))
    for name, values in medians_of.items():
        axes[0].plot(ALIGNMENTS, values, '-o', label=f'head {name}')
    axes[0].set(ylabel='Error of the ratio at the cortex, median (%)', ylim=(0, None))
    axes[0].grid(color='0.9')
    axes[0].legend(frameon=False)
    level = int(np.argwhere(person.brain)[:, 2].mean())
    box = np.nonzero(person.brain.any(2))
    crop = tuple(slice(axis.min(), axis.max() + 1) for axis in box)
    for place, name in zip(axes[1:], ('affine', 'deformation'), strict=True):
        shown = place.imshow(100 * errors[name][:, :, level][crop].T, origin='lower', cmap='magma', vmin=0, vmax=100)
        place.set(title=f'{name}: error (%)', xticks=[], yticks=[], facecolor='black')
    figure.colorbar(shown, ax=axes[1:], shrink=0.8)
    figure.savefig(path, dpi=110)


def reference_of(labels: Path, people: Sequence[str]) -> dict[str, dict[str, float]]:
    """Return for each point of all calibrations the median over all people of the values found in their heads."""
    found: dict[str, list[dict[str, float]]] = {}
    for name in people:
        person = make_person(labels / f'anat-{name}_dseg.nii.gz', 0, texture=0.0)
        grid = Grid(person.t1w.shape, person.affine)
        classes = tissue_classes(Image(person.t1w, grid), person.brain).data
        scans = Scans(person.t1w, person.t2w, person.brain, classes, person.affine)
        with tempfile.TemporaryDirectory() as scratch, contextlib.chdir(scratch):
            regions = {point: region for one in CALIBRATIONS.values() for point, region in one.regions(scans).items()}
        for point, region in regions.items():
            values = values_at(scans, region)
            print(row(name, point, int(region.sum()), values), flush=True)
            found.setdefault(point, []).extend([values] if values else [])
    return {
        point: {scan: round(float(np.median([value[scan] for value in values])), 1) for scan in ('T1w', 'T2w')}
        for point, values in found.items()
    }


def write_reference(labels: Path, people: Sequence[str], path: Path) -> None:
    """Compute the reference values, and write them with their source."""
    content = {
        'Source': f'Medians over the label maps of {len(people)} real heads (of the training label maps of SynthSeg, '
        'Billot et al. 2023, Apache-2.0), painted with the signals of an MPRAGE (TI 900 ms, TR 2300 ms, TE 3 ms) '
        'and of a turbo spin echo (TE 95 ms, TR 4500 ms) at 3 T; white matter is 400 in both',
        'Script': f'experiments/ratio.py LABELS --people {" ".join(people)} --reference FILE.json',
        'Values': reference_of(labels, people),
    }
    write_text(path, json.dumps(content, indent=2) + '\n')


def main(argv: Sequence[str] | None = None) -> None:
    """Read the command line, measure and report."""
    parser = new_parser(__doc__)
    parser.add_argument('labels', metavar='LABELS', type=Path)
    parser.add_argument('--people', nargs='+', default=['03', '05', '07'], metavar='XX', help='[%(default)s]')
    parser.add_argument(
        '--voxel', type=int, choices=[1, 2], default=2, help='of the T1w and the solver, mm [%(default)s]'
    )
    parser.add_argument('--gains', type=float, nargs=2, default=(0.55, 2.6), metavar=('T1W', 'T2W'), help='%(default)s')
    parser.add_argument('--draw', type=int, default=0, metavar='N', help='of the second table [%(default)s]')
    parser.add_argument('--strength', type=float, default=1.0, metavar='X', help='of its fields [%(default)s]')
    parser.add_argument('--scanners', action='store_true', help='print the second table, and no more')
    parser.add_argument('--plot', type=Path, metavar='FILE.png')
    parser.add_argument('--reference', type=Path, metavar='FILE.json', help='write the reference values, and no more')
    args = parser.parse_args(argv)
    if args.reference:
        write_reference(args.labels, args.people, args.reference)
        return
    if not args.scanners:
        print_alignments(args.labels, args.people, args.voxel, args.plot)
    scanners = (f'{tissue} {what}' for tissue in ('white', 'grey') for what in ('A', 'B', 'apart, %'))
    print('\n' + head('head', 'map', *scanners), flush=True)
    for name in args.people:
        rows = scanner_rows(args.labels, name, args.voxel, args.gains, args.draw, args.strength)
        print('\n'.join(rows), flush=True)


def print_alignments(labels: Path, people: Sequence[str], voxel: int, picture: Path | None) -> None:
    """Print the table of the errors by alignment, and draw them where a file is named."""
    print(head('head', *(f'{name}: median, 95 % (%)' for name in ALIGNMENTS)), flush=True)
    medians_of, shown = {}, None
    for name in people:
        person, errors = measure(labels, name, voxel)
        numbers = {key: 100 * np.percentile(at_cortex(person, errors[key]), (50, 95)) for key in ALIGNMENTS}
        print(row(name, *(f'{low:.1f}, {high:.0f}' for low, high in numbers.values())), flush=True)
        medians_of[name] = [low for low, _ in numbers.values()]
        shown = shown or (person, errors)
    if picture and shown:
        plot(*shown, medians_of, picture)


if __name__ == '__main__':
    main()
