#!/usr/bin/env python3
"""Measure how well people meet in the space of a template, whichever scan of each is sent there.

    python experiments/standard_space.py LABELS OUT [--people 01 02 03 04] [--methods affine node-mind-inter ants-syn]
        [--scans T1w T2w] [--voxel 2] [--slices 3] [--sessions BIDS_DIR] [--direct]

The template is nilearn's MNI152 (2009a, symmetric, without a skull), by default averaged to 2 mm; its mask is what is
not zero in it. A person's T1w and T2w go there each by itself, as the app sends a reference scan: bias field corrected
inside the brain mask, rigid and affine by ANTs between what lies in both masks, then a method from that affine on, the
template fixed, with both masks.

LABELS holds anat-XX_dseg.nii.gz (FreeSurfer's values, 1 mm). Both scans of a person are painted on them, each with
tissue contrasts, textures, lesions, tilted slices (of the T1w 1 mm), bias field and noise of its own, and brain
masks that end elsewhere. Labels are carried to the grid of the template once, by nearest neighbour; Dice is that of all
pairs of people there: both by their T1w, both by their T2w, one by the one and one by the other. `--direct` registers
the T1w of the first person to the scans of the others without the template, to compare with the same pairs through it.

A person's two maps should lead every point of the template to one place of the head: the distance between the ends, mm,
is given for people on label maps, whose scans lie in one world, and with --sessions for those of a BIDS data set, where
the rigid between the session's scans is the judge of that; there the T2w is masked without its T1w.

Dice, folds, SDlogJ and inverse consistency are those of bidsreg.benchmark.judge. CPU seconds are those of the method,
all of its reading and writing included, on one thread; the affine's are in a row of their own. What is in OUT already
is not run again. Prints Markdown; OUT gets a picture of everybody in the space of the template for each method.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from common import head, new_parser, pair_command, read_result, row, run_measured, stripped_brain
from hard_pairs import draw_lesions, halved
from real_pairs import find_sessions, grid_around, prepare_session
from scipy import ndimage as ndi
from t2w_masks import CONTRASTS, OUTSIDE, acquired, mni152, painted, within_skull

from bidsreg.app.example import smooth_noise
from bidsreg.benchmark import judge
from bidsreg.benchmark.files import write_json
from bidsreg.benchmark.labels import read_label_list
from bidsreg.benchmark.methods import AFFINE, known_methods, resolve
from bidsreg.benchmark.rescan_cell import brain_points
from bidsreg.benchmark.tissue import corrected
from bidsreg.preparation.affine import rigid_matrix
from bidsreg.preparation.prealign import prealign
from bidsreg.preparation.skullstrip import brain_mask
from bidsreg.registration import Deformation, Grid, Image
from bidsreg.registration.atomic import atomic_folder
from bidsreg.registration.grid import apply_affine
from bidsreg.registration.image import resample
from bidsreg.registration.itk import read_affine, write_affine

SCANS = ('T1w', 'T2w')
#: Points of the template's brain at which the maps of a person's two scans are compared.
POINTS = 5000
#: How far, as a part of the mask's blurred edge, and over how many voxels, the masks of scans end elsewhere.
EDGE, EDGE_VOXELS = 0.12, 15


@dataclass(frozen=True)
class Person:
    """One person's scans, made ready.

    Attributes
    ----------
    name : str
        Of the label map, or the session.
    folder : Path
        Holds for each scan its image without bias field and its ``_mask``; ``rigid.txt``, the world of the T1w to that
        of the T2w; and ``labels`` in the world of the T1w, where they are known.
    """

    name: str
    folder: Path

    def path(self, what: str) -> Path:
        """Return the file of an image."""
        return self.folder / f'{what}.nii.gz'

    def from_t1w(self, scan: str) -> np.ndarray:
        """Return the 4x4 matrix from the world of the T1w to that of one of the scans, mm."""
        return read_affine(self.folder / 'rigid.txt') if scan == 'T2w' else np.eye(4)

    def labels(self) -> Image | None:
        """Return the labels in the world of the T1w, where they are known."""
        return Image.load(self.path('labels'), np.uint8) if self.path('labels').exists() else None


# ---------------------------------------------------------------------------------------------------- people
def simulate(path: Path, folder: Path, slices: int) -> None:
    """Make a person of a label map, the T2w in slices of so many mm; the same name gives the same scans."""
    whole = Image.load(path, np.int16).canonical()
    inside = Image(((whole.data > 0) & (whole.data < OUTSIDE)).astype(np.uint8), whole.grid)
    grid = grid_around(inside, 1.0)
    labels = np.round(resample(whole, grid, order=0)).astype(np.int16)
    rng = np.random.default_rng(int(path.name[5:7]))
    lesions = draw_lesions(labels, rng)
    hull = ndi.gaussian_filter(within_skull(labels).astype(np.float32), 2)
    middle = grid.to_world((np.array(grid.shape) - 1) / 2)
    for scan in SCANS:
        signal = Image(painted(labels, lesions, scan, rng), grid)
        tilt = rigid_matrix(rng.uniform(-8, 8, 3).tolist(), centre=middle)
        image = acquired(signal, slices if scan == 'T2w' else CONTRASTS[scan].thick, tilt, rng)
        mask = Image(hull + smooth_noise(rng, grid.shape, EDGE_VOXELS, EDGE), grid)
        write_scan(folder, scan, image, resample(mask, image.grid) >= 0.5)
    Image(np.where(labels < OUTSIDE, labels, 0).astype(np.uint8), grid).save(folder / 'labels.nii.gz')
    write_affine(folder / 'rigid.txt', np.eye(4))


def write_scan(folder: Path, scan: str, image: Image, inside: np.ndarray) -> None:
    """Write a scan without its bias field, and its mask."""
    corrected(image, inside).save(folder / f'{scan}.nii.gz')
    Image(inside.astype(np.uint8), image.grid).save(folder / f'{scan}_mask.nii.gz')


def simulated_people(source: Path, names: Sequence[str], work: Path, slices: int = 3) -> Iterator[Person]:
    """Yield the people of label maps, each made once."""
    for name in names:
        person = Person(f'anat-{name}', work / f'anat-{name}')
        if not person.folder.exists():
            with atomic_folder(person.folder) as making:
                simulate(source / f'anat-{name}_dseg.nii.gz', making, slices)
        yield person


def real_people(source: Path, work: Path) -> Iterator[Person]:
    """Yield the sessions of a data set; the T2w is masked without its T1w."""
    for session in find_sessions(source.resolve(), work / 'sessions'):
        prepare_session(session)
        person = Person(session.name, work / session.name)
        if not person.folder.exists():
            with atomic_folder(person.folder) as making, contextlib.chdir(making):
                t1w, t2w = session.image('T1w'), session.image('T2w')
                t1w.save('T1w.nii.gz')
                session.image('mask').save('T1w_mask.nii.gz')
                inside, _ = brain_mask(str(session.folder / 'T2w.nii.gz'), contrast='T2w')
                write_scan(Path(), 'T2w', t2w, inside)
                write_affine('rigid.txt', session.rigid)
        yield person


# ---------------------------------------------------------------------------------------------------- to the template
def write_template(folder: Path, voxel: int) -> None:
    """Write the template and its mask, of 1 mm or, averaged, of 2."""
    template = mni152()
    if voxel == 2:
        template = halved(template)
    template.save(folder / 'template.nii.gz')
    stripped_brain(template).save(folder / 'template_mask.nii.gz')


def cut_out(image: Path, mask: Path, out: Path) -> Path:
    """Write an image that is zero outside of its mask."""
    scan = Image.load(image)
    Image(scan.data * (Image.load(mask).data > 0), scan.grid).save(out)
    return out


def align(person: Person, scan: str, template: Path, folder: Path) -> None:
    """Find the affine from the world of the template to that of a scan, ``affine.txt``, unless it is there."""
    if (folder / 'affine.txt').exists():
        return
    began = time.process_time()
    ends = (template, person.path(scan))
    masks = [str(path.with_name(path.name.replace('.nii', '_mask.nii'))) for path in ends]
    with contextlib.chdir(folder):
        brains = [
            str(cut_out(image, Path(mask), folder / f'{end}.nii.gz'))
            for image, mask, end in zip(ends, masks, ('fixed', 'moving'), strict=True)
        ]
        rigid, _ = prealign(brains[0], brains[1], stage='rigid')
        write_affine('rigid.txt', rigid)
        fixed, moving = brains
        found, _ = prealign(
            fixed, moving, stage='affine', initial='rigid.txt', fixed_mask=masks[0], moving_mask=masks[1]
        )
        write_affine('affine.txt', found)
    (folder / 'seconds.txt').write_text(f'{time.process_time() - began:.2f}\n')


def send(
    person: Person, scan: str, template: Path, method: str, folder: Path, options: Sequence[object]
) -> tuple[Deformation, dict[str, Any]]:
    """Return the map from the template to a scan by a method, and what that took; found once."""
    folder.mkdir(parents=True, exist_ok=True)
    align(person, scan, template, folder)
    if method == AFFINE:
        grid = Image.load(template).grid
        return Deformation.from_affine(read_affine(folder / 'affine.txt'), grid), {
            'cpu_seconds': float((folder / 'seconds.txt').read_text())
        }
    place = folder / method
    usage = place / 'usage.json'
    if not usage.exists():
        place.mkdir(exist_ok=True)
        masks = [str(path).replace('.nii', '_mask.nii') for path in (template, person.path(scan))]
        words = ['--fixed-mask', masks[0], '--moving-mask', masks[1], '--affine', folder / 'affine.txt']
        words += ['--overwrite', *(options if resolve(method, 'inter').is_ours else [])]
        ends = template, person.path(scan), place / 'result'
        used = run_measured(pair_command(*ends, method=method, threads=1, options=words), place, threads=1)
        write_json(usage, asdict(used))
    return read_result(place / 'result')[0], json.loads(usage.read_text())


@dataclass(frozen=True)
class Sent:
    """What came of a scan that was sent to the template: the map, the labels there, and the numbers of the map."""

    found: Deformation
    labels: np.ndarray | None
    numbers: Mapping[str, Any]


def arrived(person: Person, scan: str, found: Deformation, facts: Mapping[str, Any], mask: Image) -> Sent:
    """Carry the labels of a person to the template by a map, and measure the map in the template's mask."""
    labels = person.labels()
    moved = None
    if labels is not None:
        at = Grid(labels.grid.shape, person.from_t1w(scan) @ labels.grid.affine)
        moved = found.apply(Image(labels.data, at), mask.grid, order=0).data
    numbers = judge.field_measures(found, mask)
    return Sent(found, moved, {**numbers, **{key: facts[key] for key in ('cpu_seconds',)}})


# ---------------------------------------------------------------------------------------------------- measures
def meeting(first: Mapping[str, Sent], other: Mapping[str, Sent], labels: Sequence[int]) -> dict[str, float]:
    """Return the mean Dice of two people's labels in the template, by which scans they were sent."""
    found: dict[str, list[float]] = {}
    for one, two in itertools.product(first, other):
        ours, theirs = first[one].labels, other[two].labels
        if ours is not None and theirs is not None:
            dice = judge.dice(ours, theirs, labels)
            found.setdefault('-'.join(sorted((one, two))), []).append(float(np.nanmean(list(dice.values()))))
    return {key: float(np.mean(values)) for key, values in found.items()}


def apart(person: Person, sent: Mapping[str, Sent], points: np.ndarray) -> dict[str, float]:
    """Return how far apart (mm, in the world of the T2w) the maps of a person's two scans take points: mean and p95."""
    through_t1w = apply_affine(person.from_t1w('T2w'), sent['T1w'].found.points(points))
    return judge.error_summary(np.linalg.norm(through_t1w - sent['T2w'].found.points(points), axis=1))


def direct(people: Sequence[Person], method: str, work: Path, labels: Sequence[int], options: Sequence[object]) -> Any:
    """Return, for the pairs of the first person with others, the Dice of direct registrations by scan."""
    first, *others = people
    fixed = first.labels()
    assert fixed is not None
    mask = Image.load(first.path('T1w_mask'))
    found: dict[str, list[float]] = {}
    for other, scan in itertools.product(others, SCANS):
        folder = work / 'direct' / f'{first.name}-{other.name}_{scan}'
        deformation, facts = send(other, scan, first.path('T1w'), method, folder, options)
        moving = other.labels()
        assert moving is not None
        measures, _ = judge.label_measures(fixed, moving, deformation, dict.fromkeys(labels, ''))
        found.setdefault(f'T1w-{scan}', []).append(measures['dice_mean'])
        found.setdefault('folds', []).append(judge.field_measures(deformation, mask)['folds'])
        found.setdefault('cpu_seconds', []).append(facts['cpu_seconds'])
    return {key: float(np.mean(values)) for key, values in found.items()}


# ---------------------------------------------------------------------------------------------------- pictures
def draw(people: Sequence[Person], sent: Mapping[str, Mapping[str, Sent]], template: Image, path: Path) -> None:
    """Draw the template, then everybody's scans in its space, with outlines of the template's tissues, to look at."""
    import matplotlib

    matplotlib.use('Agg')
    from matplotlib import pyplot as plt

    rows: list[tuple[str, np.ndarray]] = [('template', template.data)]
    for person in people:
        for scan, one in sent[person.name].items():
            image = Image.load(person.path(scan))
            rows.append((f'{person.name} {scan}', one.found.apply(image, template.grid).data))
    x, y, z = template.data.shape
    cuts: list[tuple[slice | int, ...]] = [np.s_[:, :, int(part * z)] for part in (0.3, 0.42, 0.6)]
    cuts += [np.s_[:, int(0.5 * y), :], np.s_[int(0.45 * x), :, :]]
    inside = template.data > 0
    levels = [0.02 * template.data.max(), np.percentile(template.data[inside], 60)]
    figure, axes = plt.subplots(len(rows), len(cuts), figsize=(15, 3 * len(rows)), facecolor='black', squeeze=False)
    for line, (name, data) in zip(axes, rows, strict=True):
        for axis, cut in zip(line, cuts, strict=True):
            axis.imshow(data[cut].T, cmap='gray', origin='lower', vmin=0, vmax=np.percentile(data[inside], 99))
            axis.contour(template.data[cut].T, levels=levels, linewidths=0.5, colors=['cyan', 'yellow'])
            axis.axis('off')
        line[0].set_title(name, color='white')
    figure.tight_layout()
    figure.savefig(path, dpi=50)
    plt.close(figure)


# ---------------------------------------------------------------------------------------------------- tables
def mean_of(rows: Sequence[Mapping[str, float]], key: str) -> float:
    """Return the mean of a number over what has it; NaN where nothing has."""
    known = [one[key] for one in rows if one.get(key) is not None]
    return float(np.mean(known)) if known else float('nan')


def table(results: Mapping[str, Any]) -> str:
    """Lay out the numbers of every method as Markdown."""
    pairs = ('T1w-T1w', 'T2w-T2w', 'T1w-T2w')
    titles = ['method', *(f'Dice, {pair}' for pair in pairs), 'apart, mm (95 %)', 'folds (sum)', 'SDlogJ']
    lines = [head(*titles, 'inverse consistency, mm', 'CPU seconds, T1w', 'T2w')]
    for method, result in results.items():
        sent = [one for scans in result['sent'].values() for one in scans.values()]
        by_scan = {scan: [scans[scan] for scans in result['sent'].values() if scan in scans] for scan in SCANS}
        cells = [f'{mean_of(list(result["dice"].values()), pair):.4f}' for pair in pairs]
        ends = list(result['apart'].values())
        cells.append(f'{mean_of(ends, "mean"):.2f} ({mean_of(ends, "p95"):.2f})')
        cells += [f'{sum(one["folds"] for one in sent)}', f'{mean_of(sent, "sdlogj"):.3f}']
        cells.append(f'{mean_of(sent, "inverse_consistency_mm"):.4f}')
        cells += [f'{mean_of(by_scan[scan], "cpu_seconds"):.0f}' for scan in SCANS]
        lines.append(row(f'`{method}`', *cells))
    return '\n'.join(lines)


def direct_table(results: Mapping[str, Any], first: str) -> str:
    """Lay out, for the pairs with the first person, what comes of them directly and through the template."""
    lines = [head('method', 'way', 'Dice, T1w-T1w', 'Dice, T1w-T2w')]
    for method, result in results.items():
        through = [dice for pair, dice in result['dice'].items() if first in pair.split('|')]
        for way, numbers in (('directly', [result['direct']]), ('through the template', through)):
            cells = (f'{mean_of(numbers, pair):.4f}' for pair in ('T1w-T1w', 'T1w-T2w'))
            lines.append(row(f'`{method}`', way, *cells))
    return '\n'.join(lines)


# ---------------------------------------------------------------------------------------------------- running
def measured(
    people: Sequence[Person], scans: Sequence[str], method: str, work: Path, labels: Sequence[int], voxel: int
) -> dict[str, Any]:
    """Send some scans of everybody to the template by a method, draw them there, and measure everything."""
    template, mask = work / 'template.nii.gz', Image.load(work / 'template_mask.nii.gz')
    options = ('--working-resolution', voxel)
    sent: dict[str, dict[str, Sent]] = {}
    for person, scan in itertools.product(people, scans):
        found, facts = send(person, scan, template, method, work / 'sent' / f'{person.name}_{scan}', options)
        sent.setdefault(person.name, {})[scan] = arrived(person, scan, found, facts, mask)
        print(f'{method} {person.name} {scan}: {sent[person.name][scan].numbers}', flush=True)
    draw(people, sent, Image.load(template), work / f'{people[0].name}_{method}.png')
    points = brain_points(mask, POINTS)
    named = itertools.combinations(sent.items(), 2)
    dice = {f'{one}|{two}': meeting(first, other, labels) for (one, first), (two, other) in named}
    return {
        'sent': {name: {scan: dict(one.numbers) for scan, one in theirs.items()} for name, theirs in sent.items()},
        'dice': {pair: numbers for pair, numbers in dice.items() if numbers},
        'apart': {person.name: apart(person, sent[person.name], points) for person in people if len(scans) > 1},
    }


def main(argv: Sequence[str] | None = None) -> None:
    """Make the people, send them to the template by every method, and print the tables."""
    parser = new_parser(__doc__)
    parser.add_argument('source', metavar='LABELS', type=Path)
    parser.add_argument('out', metavar='OUT', type=Path)
    everybody = [f'{number:02}' for number in range(1, 13)]
    parser.add_argument('--people', nargs='*', default=everybody, metavar='XX', help='[01 to 12]')
    parser.add_argument('--sessions', type=Path, metavar='BIDS_DIR', help='real sessions with a T1w and a T2w each')
    defaults = [AFFINE, 'node-mind-inter', 'ants-syn']
    parser.add_argument('--methods', nargs='+', default=defaults, choices=known_methods(), help=f'[{defaults}]')
    parser.add_argument('--scans', nargs='+', default=SCANS, choices=SCANS, help='which are sent [both]')
    parser.add_argument('--voxel', type=int, default=2, choices=[1, 2], help='of the template, mm [%(default)s]')
    parser.add_argument('--slices', type=int, default=3, metavar='MM', help='of a simulated T2w [%(default)s]')
    parser.add_argument('--direct', action='store_true', help='also pairs without the template')
    args = parser.parse_args(argv)
    work = args.out.resolve() / f'{args.voxel}mm'
    if not work.exists():
        with atomic_folder(work) as making:
            write_template(making, args.voxel)
    labels = list(read_label_list())
    scans = args.out.resolve() / 'people'
    cohorts = {'simulated': list(simulated_people(args.source, args.people, scans, args.slices))}
    if args.sessions is not None:
        cohorts['real'] = list(real_people(args.sessions, scans))
    for cohort, people in cohorts.items():
        if not people:
            continue
        results = {method: measured(people, args.scans, method, work, labels, args.voxel) for method in args.methods}
        if args.direct and cohort == 'simulated':
            for method in results:
                options = ('--working-resolution', args.voxel)
                results[method]['direct'] = direct(people, method, work, labels, options)
        write_json(work / f'{cohort}.json', results)
        print(f'### {cohort}, {len(people)} people\n\n{table(results)}\n')
        if args.direct and cohort == 'simulated':
            print(direct_table(results, people[0].name))


if __name__ == '__main__':
    main()
