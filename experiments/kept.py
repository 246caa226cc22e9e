#!/usr/bin/env python3
"""Measure which linear alignment within a head is kept, the rigid or the affine, and whether that is right.

    python experiments/kept.py OUT --labels LABELS --heads 01 03 --contrasts T2w PDw --slices 5 3 [--stretch 1 1.03]
    python experiments/kept.py OUT --truth BIDS_DIR --heads 03 --sessions BIDS_DIR --solve

Cases are simulated on label maps (LABELS, as for contrasts.py: a T1w of 3 mm, and scans of each contrast with slices of
each thickness in mm, and for --stretch with a header that makes them so many times as long along x), heads of a dataset
with truth (as for linear.py), and real sessions with a T1w and a T2w. Each goes through N4, rigid and affine as in the
app, inside the true mask where one is known, else inside deepbet's; what is made of it stays in OUT and serves again.
With --solve the solver starts from both matrices. Errors (mm) are the mean at known points. Prints Markdown.
"""

from __future__ import annotations

import argparse
import itertools
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import chdir
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
from common import head, new_parser, pair_command, read_result, row, run_measured
from contrasts import IN_PLANE_MM
from linear import mean_error
from sequences import SEQUENCES
from verdict_cases import Anatomy, Look, scan

from bidsreg.benchmark import judge
from bidsreg.bids.headers import load_sane
from bidsreg.bids.images import load_image
from bidsreg.preparation.bias import correct_bias
from bidsreg.preparation.linear import choose_linear
from bidsreg.preparation.prealign import prealign
from bidsreg.preparation.resample import resample
from bidsreg.preparation.skullstrip import run_deepbet
from bidsreg.qc.decomposition import decompose
from bidsreg.registration.atomic import atomic_folder
from bidsreg.registration.itk import read_affine, write_affine

#: What is compared.
MATRICES = ('rigid', 'affine')


class Case(ABC):
    """Two scans of one head, and what is known of them."""

    @property
    @abstractmethod
    def name(self) -> str:
        """What it is called in the table, and its folder but for the spaces."""

    @abstractmethod
    def write(self) -> None:
        """Write ``fixed_raw``, ``moving_raw``, ``mask`` (.nii.gz) and known ``points.txt`` into the current folder."""


@dataclass(frozen=True)
class Simulated(Case):
    """A case simulated on a label map of a folder; its moving scan is `stretch` times as long as it was."""

    labels: Path
    head: str
    contrast: str
    slice_mm: float
    stretch: float = 1.0

    @property
    def name(self) -> str:
        """Return head, contrast, slices and stretch."""
        longer = '' if self.stretch == 1 else f' {self.stretch:g} x'
        return f'{self.head} {self.contrast} {self.slice_mm:g} mm{longer}'

    def write(self) -> None:
        """Simulate."""
        anatomy = Anatomy(self.labels / f'anat-{self.head}_dseg.nii.gz')
        look = Look(voxel=(IN_PLANE_MM, IN_PLANE_MM, self.slice_mm), contrasts=('T1w', self.contrast))
        scans = scan(anatomy, look, [anatomy.number])
        if scans.points is None:
            raise ValueError(f'head {self.head}: no points are known')
        nib.save(scans.fixed, 'fixed_raw.nii.gz')
        nib.save(scans.mask, 'mask.nii.gz')
        longer = np.array([self.stretch, 1, 1])
        nib.save(
            nib.Nifti1Image(scans.moving.dataobj, np.diag([*longer, 1]) @ scans.moving.affine), 'moving_raw.nii.gz'
        )
        np.savetxt('points.txt', scans.points * [1, 1, 1, *longer])


@dataclass(frozen=True)
class WithTruth(Case):
    """A head of a dataset with truth."""

    bids: Path
    head: str

    @property
    def name(self) -> str:
        """Return head and dataset."""
        return f'{self.head} of {self.bids.name}'

    def write(self) -> None:
        """Copy."""
        subject = f'sub-{self.head}'
        anat, truth = self.bids / subject / 'anat', self.bids / 'derivatives/truth' / subject / 'anat'
        for name, suffix in (('fixed_raw', 'T1w'), ('moving_raw', 'T2w')):
            nib.save(load_image(anat / f'{subject}_{suffix}.nii.gz'), f'{name}.nii.gz')
        nib.save(load_image(truth / f'{subject}_desc-brain_mask.nii.gz'), 'mask.nii.gz')
        np.savetxt('points.txt', np.loadtxt(truth / f'{subject}_from-T1w_to-T2w_points.tsv', skiprows=1))


@dataclass(frozen=True)
class Session(Case):
    """A real session by its T1w; no points are known."""

    fixed: Path

    @property
    def name(self) -> str:
        """Return subject and session."""
        return self.fixed.name.removesuffix('_T1w.nii.gz')

    def write(self) -> None:
        """Conform both scans, and let deepbet find the brain."""
        load_sane(self.fixed).to_filename('fixed_raw.nii.gz')
        load_sane(self.fixed.with_name(f'{self.name}_T2w.nii.gz')).to_filename('moving_raw.nii.gz')
        brain = run_deepbet('fixed_raw.nii.gz').astype(np.uint8)
        nib.save(nib.Nifti1Image(brain, load_image('fixed_raw.nii.gz').affine), 'mask.nii.gz')


def prepared(case: Case, out: Path) -> Path:
    """Return the folder of a case, after N4, rigid and affine as the app does them."""
    folder = out / case.name.replace(' ', '_')
    if folder.exists():
        return folder
    with atomic_folder(folder) as hidden, chdir(hidden):
        case.write()
        nib.save(correct_bias('fixed_raw.nii.gz', 'mask.nii.gz'), 'fixed.nii.gz')
        matrix, _ = prealign('fixed_raw.nii.gz', 'moving_raw.nii.gz', stage='rigid')
        write_affine('rigid.txt', matrix)
        carried = resample(
            'mask.nii.gz', 'moving_raw.nii.gz', ['rigid.txt'], invert=[True], interpolation='genericLabel'
        )
        nib.save(carried, 'moving_mask.nii.gz')
        nib.save(correct_bias('moving_raw.nii.gz', 'moving_mask.nii.gz'), 'moving.nii.gz')
        matrix, _ = prealign(
            'fixed.nii.gz',
            'moving.nii.gz',
            stage='affine',
            fixed_mask='mask.nii.gz',
            moving_mask='moving_mask.nii.gz',
            initial='rigid.txt',
        )
        write_affine('affine.txt', matrix)
    return folder


def solved(folder: Path, start: str) -> Path:
    """Return what bidsreg-pair finds for a case from one of its matrices."""
    place = folder / f'from_{start}'
    if not (place / 'out' / 'result.json').exists():
        place.mkdir(exist_ok=True)
        files = {'--fixed-mask': 'mask.nii.gz', '--moving-mask': 'moving_mask.nii.gz', '--affine': f'{start}.txt'}
        options = ['--overwrite', *(word for key, name in files.items() for word in (key, folder / name))]
        images = folder / 'fixed.nii.gz', folder / 'moving.nii.gz'
        command = pair_command(*images, place / 'out', method='node-mind', threads=1, options=options)
        run_measured(command, place, threads=1)
    return place / 'out'


def measure(folder: Path, solve: bool) -> list[str]:
    """Return the cells of a row about a case that is prepared."""
    matrices = {name: read_affine(folder / f'{name}.txt') for name in MATRICES}
    images = str(folder / 'fixed.nii.gz'), str(folder / 'moving.nii.gz')
    rigid, affine = (matrices[name] for name in MATRICES)
    choice = choose_linear(*images, rigid=rigid, affine=affine, fixed_mask=str(folder / 'mask.nii.gz'))
    one, other = (choice.mind_heldout[name] for name in MATRICES)
    stretches = decompose(affine, np.zeros(3))['stretches']
    file = folder / 'points.txt'
    points = np.loadtxt(file) if file.exists() else None
    cells = ['' if points is None else f'{mean_error(points, matrices[name]):.2f}' for name in MATRICES]
    cells += [f'{one:.4f}', f'{other:.4f}', f'{100 * (other / one - 1):+.1f} %']
    cells += [f'{100 * max(abs(stretch - 1) for stretch in stretches):.1f} %', choice.kept]
    if solve and points is not None:
        found = (read_result(solved(folder, name))[0] for name in MATRICES)
        cells += [f'{judge.point_errors(points, one).mean():.2f}' for one in found]
    return cells + [''] * (7 + 2 * solve - len(cells))


def cases_of(args: argparse.Namespace) -> Iterator[Case]:
    """Yield the cases that were asked for."""
    if args.labels:
        for number, slice_mm, contrast, stretch in itertools.product(
            args.heads, args.slices, args.contrasts, args.stretch
        ):
            yield Simulated(args.labels.absolute(), number, contrast, slice_mm, stretch)
    if args.truth:
        yield from (WithTruth(args.truth.absolute(), number) for number in args.heads)
    if args.sessions:
        for fixed in sorted(args.sessions.absolute().glob('sub-*/ses-*/anat/*_T1w.nii.gz')):
            if fixed.with_name(fixed.name.replace('_T1w', '_T2w')).exists():
                yield Session(fixed)


def main(argv: Sequence[str] | None = None) -> None:
    """Read the command line, and measure case by case."""
    parser = new_parser(__doc__)
    parser.add_argument('out', type=Path, metavar='OUT')
    parser.add_argument('--labels', type=Path, help='folder of label maps to simulate on')
    parser.add_argument('--truth', type=Path, metavar='BIDS_DIR', help='dataset with truth')
    parser.add_argument('--sessions', type=Path, metavar='BIDS_DIR', help='dataset of real sessions')
    parser.add_argument('--heads', nargs='+', default=['01'], metavar='XX', help='of label maps and truth (01)')
    known = [contrast for contrast in SEQUENCES if contrast != 'T1w']
    parser.add_argument('--contrasts', nargs='+', default=known, choices=known, help='of the moving scans (all)')
    parser.add_argument('--slices', nargs='+', type=float, default=[5.0], metavar='MM', help='their thickness (5)')
    parser.add_argument('--stretch', nargs='+', type=float, default=[1.0], metavar='X', help='of their headers (1)')
    parser.add_argument('--solve', action='store_true', help='let the solver start from both matrices')
    args = parser.parse_args(argv)
    columns = ['case', 'error of the rigid, mm', 'affine', 'MIND distance, rigid', 'affine', 'change', 'scale', 'kept']
    print(head(*columns, *(['error from the rigid, solved', 'from the affine'] if args.solve else [])))
    for case in cases_of(args):
        print(row(case.name, *measure(prepared(case, args.out.absolute()), args.solve)), flush=True)


if __name__ == '__main__':
    main()
