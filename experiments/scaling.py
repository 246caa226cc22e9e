#!/usr/bin/env python3
"""Measure how seconds and memory of a registration grow with the number of voxels.

    python experiments/scaling.py [3 2 1.5 1 .8] [--method node-mind ...] [--threads 2] [--plot FILE.png]

The head of ``bidsreg.app.example`` is scanned with voxels of each size (mm), T1w and T2w alike, and registered by
bidsreg-pair down to that size, with its true brain mask and the affine that fits the true points best, each time in a
process of its own. Prints Markdown: voxels of the brain, error at the points, seconds by the clock and of the CPU, and
the largest resident memory, all of the whole command.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter
from pairs import LAUNCHER, least_squares_affine

from bidsreg.app import example
from bidsreg.benchmark.metrics import target_errors
from bidsreg.registration import Deformation, Image
from bidsreg.registration.grid import Grid
from bidsreg.registration.image import resample
from bidsreg.registration.itk import write_affine


@dataclass(frozen=True)
class Run:
    """What one registration took."""

    method: str
    size: float
    voxels: int
    error: float
    seconds: float
    cpu_seconds: float
    megabytes: float

    def row(self) -> str:
        """As a line of the table."""
        cells = f'{self.size:g}', f'{self.voxels / 1e6:.2f}', f'{self.error:.2f}', f'{self.seconds:.0f}'
        return f'| {self.method} | {" | ".join(cells)} | {self.cpu_seconds:.0f} | {self.megabytes:.0f} |'


def make_pair(folder: Path, size: float, brain: Image) -> int:
    """Scan the head with voxels of a size (mm); mask, affine and points beside it. Returns the voxels of the brain."""
    example.make_dataset(folder, voxel=size, t2w_voxel=(size, size, size))
    (table,) = folder.rglob('*_points.tsv')
    points = np.loadtxt(table, skiprows=1)
    np.savetxt(folder / 'points.txt', points)
    write_affine(folder / 'affine.txt', least_squares_affine(points[:, :3], points[:, 3:]))
    t1w = nib.load(scan(folder, 'T1w'))
    mask = resample(brain, Grid(t1w.shape, t1w.affine), order=0) > 0
    nib.save(nib.Nifti1Image(mask.astype(np.uint8), t1w.affine), folder / 'mask.nii.gz')
    return int(mask.sum())


def scan(folder: Path, contrast: str) -> Path:
    """Where an image of the example lies."""
    return folder / f'sub-{example.SUBJECT}' / 'anat' / f'sub-{example.SUBJECT}_{contrast}.nii.gz'


def measure(folder: Path, method: str, size: float, voxels: int, threads: int) -> Run:
    """Register the pair of a folder once."""
    out = folder / method
    words = [scan(folder, 'T1w'), scan(folder, 'T2w'), '--fixed-mask', folder / 'mask.nii.gz']
    words += ['--affine', folder / 'affine.txt', '--method', method, '--working-resolution', size]
    words += ['--threads', threads, '--device', 'cpu', '--keep', 'diffeo', '--quiet', '--out', out]
    command = [sys.executable, '-m', 'bidsreg.pair', *map(str, words)]
    subprocess.run([sys.executable, '-S', '-c', LAUNCHER, str(folder / 'facts.json'), *command], check=True)
    facts = json.loads((folder / 'facts.json').read_text())
    if facts['code']:
        sys.exit(f'{method} at {size:g} mm failed')
    found = Deformation.load(out / 'forward.h5', out / 'inverse.h5')
    error = target_errors(np.loadtxt(folder / 'points.txt'), found)['mean']
    return Run(method, size, voxels, error, facts['seconds'], facts['cpu_seconds'], facts['peak_mb'])


def plot(runs: list[Run], path: Path) -> None:
    """Seconds and memory against voxels, both axes logarithmic."""
    figure = Figure(figsize=(8, 3.4), layout='constrained')
    left, right = figure.subplots(1, 2)
    for marker, method in zip('osd^v', dict.fromkeys(run.method for run in runs), strict=False):
        mine = [run for run in runs if run.method == method]
        voxels = [run.voxels / 1e6 for run in mine]
        left.plot(voxels, [run.cpu_seconds for run in mine], f'-{marker}', label=method)
        right.plot(voxels, [run.megabytes for run in mine], f'-{marker}', label=method)
    for axes, name in ((left, 'CPU seconds'), (right, 'Peak memory (MB)')):
        axes.set(xscale='log', yscale='log', xlabel='Voxels of the brain (millions)', ylabel=name)
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axis.set_major_formatter('{x:g}')
            axis.set_minor_formatter(NullFormatter())
        axes.grid(color='0.9')
        axes.legend(frameon=False)
    figure.savefig(path, dpi=120)


def main() -> None:
    """Read the command line, measure and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('sizes', type=float, nargs='*', default=[3, 2, 1.5, 1, 0.8], metavar='MM')
    parser.add_argument('--method', nargs='+', default=['node-mind', 'node-mind-inter'], help='[%(default)s]')
    parser.add_argument('--threads', type=int, default=2, help='[%(default)s]')
    parser.add_argument('--plot', type=Path, metavar='FILE.png')
    args = parser.parse_args()
    runs, head = [], example.make_head()
    brain = Image(head.brain.astype(np.float32), Grid(head.brain.shape, head.affine))
    print('| method | voxel, mm | voxels of the brain, millions | error, mm | seconds | CPU seconds | peak MB |')
    print('|---' * 7 + '|', flush=True)
    with tempfile.TemporaryDirectory() as scratch:
        for size in args.sizes:
            folder = Path(scratch) / f'{size:g}'
            voxels = make_pair(folder, size, brain)
            for method in args.method:
                runs.append(measure(folder, method, size, voxels, args.threads))
                print(runs[-1].row(), flush=True)
    if args.plot:
        plot(runs, args.plot)


if __name__ == '__main__':
    main()
