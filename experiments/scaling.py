#!/usr/bin/env python3
"""Measure how seconds and memory of a registration grow with the number of voxels.

    python experiments/scaling.py [3 2 1.5 1 .8] [--method node-mind ...] [--threads 2] [--plot FILE.png]

The head of ``bidsreg.app.example`` is scanned with voxels of each size (mm), T1w and T2w alike, and registered by
bidsreg-pair down to that size, with its true brain mask and the affine that fits the true points best, each time in a
process of its own. Prints Markdown: voxels of the brain, mean error at the points (bidsreg.benchmark.judge), seconds by
the clock and of the CPU, and the largest resident memory, all of the whole command.
"""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from common import head, new_parser, pair_command, read_result, row, run_measured
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from bidsreg.app import example
from bidsreg.benchmark.judge import target_errors
from bidsreg.qc.decomposition import closest_affine
from bidsreg.registration import Image
from bidsreg.registration.grid import Grid
from bidsreg.registration.image import resample
from bidsreg.registration.itk import write_affine


@dataclass(frozen=True)
class MeasuredRun:
    """The time and memory that one registration took, and its error.

    Attributes
    ----------
    method : str
        The method's name.
    size : float
        Voxels of the scans, mm.
    voxels : int
        Voxels of the brain.
    error : float
        Mean error at the true points, mm.
    seconds, cpu_seconds, peak_mb : float
        See :class:`common.Usage`.
    """

    method: str
    size: float
    voxels: int
    error: float
    seconds: float
    cpu_seconds: float
    peak_mb: float

    def row(self) -> str:
        """Return a line of the table."""
        times = f'{self.seconds:.0f}', f'{self.cpu_seconds:.0f}', f'{self.peak_mb:.0f}'
        return row(self.method, f'{self.size:g}', f'{self.voxels / 1e6:.2f}', f'{self.error:.2f}', *times)


def make_pair(folder: Path, size: float, brain: Image) -> int:
    """Scan the head with voxels of a size (mm), mask, affine and points beside it; return the voxels of the brain."""
    example.make_dataset(folder, voxel=size, t2w_voxel=(size, size, size))
    (table,) = folder.rglob('*_points.tsv')
    points = np.loadtxt(table, skiprows=1)
    np.savetxt(folder / 'points.txt', points)
    write_affine(folder / 'affine.txt', closest_affine(points[:, :3], points[:, 3:]))
    grid = Image.load(scan(folder, 'T1w')).grid
    mask = resample(brain, grid, order=0) > 0
    Image(mask.astype(np.uint8), grid).save(folder / 'mask.nii.gz')
    return int(mask.sum())


def scan(folder: Path, contrast: str) -> Path:
    """Return where an image of the example lies."""
    return folder / f'sub-{example.SUBJECT}' / 'anat' / f'sub-{example.SUBJECT}_{contrast}.nii.gz'


def measure(folder: Path, method: str, size: float, voxels: int, threads: int) -> MeasuredRun:
    """Register the pair of a folder once."""
    scratch = folder / method
    scratch.mkdir()
    options = ['--fixed-mask', folder / 'mask.nii.gz', '--affine', folder / 'affine.txt', '--working-resolution', size]
    ends, out = (scan(folder, 'T1w'), scan(folder, 'T2w')), scratch / 'result'
    used = run_measured(
        pair_command(*ends, out, method=method, threads=threads, options=options), scratch, threads=threads
    )
    found, _ = read_result(out)
    error = target_errors(np.loadtxt(folder / 'points.txt'), found)['mean']
    return MeasuredRun(method, size, voxels, error, **dataclasses.asdict(used))


def plot(runs: Sequence[MeasuredRun], path: Path) -> None:
    """Draw seconds and memory against voxels, both axes logarithmic."""
    figure = Figure(figsize=(8, 3.4), layout='constrained')
    left, right = figure.subplots(1, 2)
    for marker, method in zip('osd^v', dict.fromkeys(run.method for run in runs), strict=False):
        mine = [run for run in runs if run.method == method]
        voxels = [run.voxels / 1e6 for run in mine]
        left.plot(voxels, [run.cpu_seconds for run in mine], f'-{marker}', label=method)
        right.plot(voxels, [run.peak_mb for run in mine], f'-{marker}', label=method)
    for axes, name in ((left, 'CPU seconds'), (right, 'Peak memory (MB)')):
        axes.set(xscale='log', yscale='log', xlabel='Voxels of the brain (millions)', ylabel=name)
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axis.set_major_formatter('{x:g}')
            axis.set_minor_formatter(NullFormatter())
        axes.grid(color='0.9')
        axes.legend(frameon=False)
    figure.savefig(path, dpi=120)


def main(argv: Sequence[str] | None = None) -> None:
    """Read the command line, measure and report."""
    parser = new_parser(__doc__)
    parser.add_argument('sizes', type=float, nargs='*', default=[3, 2, 1.5, 1, 0.8], metavar='MM', help='%(default)s')
    parser.add_argument('--method', nargs='+', default=['node-mind', 'node-mind-inter'], help='[%(default)s]')
    parser.add_argument('--threads', type=int, default=2, help='[%(default)s]')
    parser.add_argument('--plot', type=Path, metavar='FILE.png')
    args = parser.parse_args(argv)
    runs, person = [], example.make_head()
    brain = Image(person.brain.astype(np.float32), Grid(person.brain.shape, person.affine))
    titles = 'method', 'voxel, mm', 'voxels of the brain, millions', 'error, mm', 'seconds', 'CPU seconds', 'peak MB'
    print(head(*titles), flush=True)
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
