#!/usr/bin/env python3
"""Measure the whole app on a BIDS dataset: seconds of each step, peak memory and, where truth is known, the error.

    python experiments/app.py BIDS_DIR [--nprocs 2] [--keep FOLDER] [-- more options of bidsreg]

Memory is the largest sum of the unique set sizes of all processes of the run, looked at five times a second. Truth
are tables `derivatives/truth/sub-*/anat/*_from-T1w_to-T2w_points.tsv` with the columns x, y, z (mm) in the T1w and in
the T2w; errors are those of bidsreg.benchmark.judge, folds those of the QC file (any of three difference schemes, over
the whole field). Prints Markdown.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from common import head, new_parser, row, run_watched, split_options

from bidsreg.benchmark import judge
from bidsreg.registration import Deformation
from bidsreg.registration.itk import read_affine


def run_app(bids: Path, folder: Path, options: Sequence[str]) -> tuple[float, float]:
    """Run the app into `folder`; return its seconds and peak memory in MB."""
    words = [sys.executable, '-m', 'bidsreg', str(bids), str(folder / 'out'), 'participant', '-w', str(folder / 'work')]
    log = folder / 'log.txt'
    code, seconds, peak = run_watched([*words, *options], memory='uss', interval=0.2, log=log)
    if code:
        sys.exit(f'bidsreg ended with {code}; see {log}')
    return seconds, peak


def errors(bids: Path, qc: Path) -> dict[str, np.ndarray]:
    """Return the error (mm) at each true point before, after the affine and after all; empty without truth."""
    name = qc.name.split('_desc-')[0]
    truth = list((bids / 'derivatives/truth').rglob(f'{name}_from-T1w_to-T2w_points.tsv'))
    if not truth:
        return {}
    points = np.loadtxt(truth[0], skiprows=1)
    stem = str(qc.parent / name)
    forward, inverse = f'{stem}_from-T2w_to-T1w_mode-image_xfm.h5', f'{stem}_from-T1w_to-T2w_mode-image_xfm.h5'
    found = Deformation.load(forward, inverse)
    affine = read_affine(f'{stem}_from-T2w_to-T1w_mode-image_desc-affine_xfm.tfm')
    states = {
        'before': Deformation.identity(found.grid),
        'affine': Deformation.from_affine(affine, found.grid),
        'after': found,
    }
    return {state: judge.point_errors(points, deformation) for state, deformation in states.items()}


def report(bids: Path, folder: Path, seconds: float, memory: float) -> None:
    """Print the tables."""
    files = sorted((folder / 'out').rglob('*_desc-registration_qc.json'))
    print(f'{len(files)} pairs, {seconds:.0f} s in all, peak memory of all processes {memory:.0f} MB\n')
    steps: dict[str, list[float]] = defaultdict(list)
    pairs = []
    for qc in files:
        facts = json.loads(qc.read_text())
        for room, parts in facts['seconds_per_step'].items():
            for step, value in parts.items():
                steps[f'{room}: {step}'].append(value)
        result = facts['result']
        steps['registration: peak memory of the solver, MB'].append(result['peak_memory_mb'])
        summaries = [judge.error_summary(error) for error in errors(bids, qc).values()]
        texts = [f'{summary["mean"]:.2f} / {summary["p95"]:.2f}' for summary in summaries] or ['-'] * 3
        moved = f'{result["displacement_mm"]["mean"]:.2f}'
        name = qc.name.split('_desc-')[0]
        pairs.append(row(name, result['decision']['kept'], result['jacobian']['folds'], moved, *texts))
    print(head('step', 'median', 'largest'))
    for step, values in steps.items():
        print(row(step, f'{np.median(values):.1f}', f'{max(values):.1f}'))
    states = 'error before', 'affine', 'after (mean / 95 %, mm)'
    print('\n' + head('pair', 'kept', 'folds by three schemes', 'mean displacement, mm', *states))
    print('\n'.join(pairs))


def main(argv: Sequence[str] | None = None) -> None:
    """Read the command line, run and report."""
    words, passed_on = split_options(argv)
    parser = new_parser(__doc__)
    parser.add_argument('bids_dir', type=Path, metavar='BIDS_DIR')
    parser.add_argument('--nprocs', default='2', help='[%(default)s]')
    parser.add_argument('--keep', type=Path, help='folder for the derivatives, the work and the log [a temporary one]')
    args = parser.parse_args(words)
    options = ['--nprocs', args.nprocs, '--skip-bids-validation', *passed_on]
    with tempfile.TemporaryDirectory() as scratch:
        folder = args.keep or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        report(args.bids_dir, folder, *run_app(args.bids_dir, folder, options))


if __name__ == '__main__':
    main()
