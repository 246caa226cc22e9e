#!/usr/bin/env python3
"""Measure the whole app on a BIDS dataset: seconds of each step, peak memory and, where truth is known, the error.

    python experiments/app.py BIDS_DIR [--nprocs 2] [--keep FOLDER] [-- more options of bidsreg]

Memory is the largest sum of the unique set sizes of all processes of the run, looked at five times a second. Truth
are tables `derivatives/truth/sub-*/anat/*_from-T1w_to-T2w_points.tsv` with the columns x, y, z (mm) in the T1w and in
the T2w. Prints Markdown.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from pathlib import Path

import numpy as np
import psutil

from bidsreg.registration import Deformation, itk
from bidsreg.registration.grid import apply_affine


def watch(process: subprocess.Popen, peak: list[float]) -> None:
    """Keep the largest memory (MB) of a process and its children in ``peak[0]`` until it ends."""
    while process.poll() is None:
        total = 0
        try:
            family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
        except psutil.NoSuchProcess:
            return
        for one in family:
            try:
                total += one.memory_full_info().uss
            except (psutil.NoSuchProcess, psutil.AccessDenied):
                continue
        peak[0] = max(peak[0], total / 2**20)
        time.sleep(0.2)


def run_app(bids: Path, folder: Path, options: list[str]) -> tuple[float, float]:
    """Run the app into `folder`; its seconds and peak memory in MB."""
    words = [sys.executable, '-m', 'bidsreg', str(bids), str(folder / 'out'), 'participant', '-w', str(folder / 'work')]
    began, peak = time.perf_counter(), [0.0]
    with (folder / 'log.txt').open('w') as log:
        process = subprocess.Popen([*words, *options], stdout=log, stderr=subprocess.STDOUT)
        watcher = threading.Thread(target=watch, args=(process, peak))
        watcher.start()
        code = process.wait()
        watcher.join()
    if code:
        sys.exit(f'bidsreg ended with {code}; see {folder / "log.txt"}')
    return time.perf_counter() - began, peak[0]


def errors(bids: Path, qc: Path) -> dict[str, np.ndarray]:
    """Distance (mm) from the truth of each point before, after the affine and after all; empty without truth."""
    name = qc.name.split('_desc-')[0]
    truth = list((bids / 'derivatives/truth').rglob(f'{name}_from-T1w_to-T2w_points.tsv'))
    if not truth:
        return {}
    points = np.loadtxt(truth[0], skiprows=1)
    fixed, moving = points[:, :3], points[:, 3:6]
    stem = str(qc.parent / name)
    forward, inverse = f'{stem}_from-T2w_to-T1w_mode-image_xfm.h5', f'{stem}_from-T1w_to-T2w_mode-image_xfm.h5'
    affine = itk.read_affine(f'{stem}_from-T2w_to-T1w_mode-image_desc-affine_xfm.txt')
    mapped = {
        'before': fixed,
        'affine': apply_affine(affine, fixed),
        'after': Deformation.load(forward, inverse).points(fixed),
    }
    return {state: np.linalg.norm(there - moving, axis=1) for state, there in mapped.items()}


def report(bids: Path, folder: Path, seconds: float, memory: float) -> None:
    """Print the tables."""
    files = sorted((folder / 'out').rglob('*_desc-registration_qc.json'))
    steps: dict[str, list[float]] = defaultdict(list)
    print(f'{len(files)} pairs, {seconds:.0f} s in all, peak memory of all processes {memory:.0f} MB\n')
    for qc in files:
        facts = json.loads(qc.read_text())
        for room, parts in facts['seconds_per_step'].items():
            for step, value in parts.items():
                steps[f'{room}: {step}'].append(value)
        steps['registration: peak memory of the solver, MB'].append(facts['result']['peak_memory_mb'])
    print('| step | median | largest |\n|---|---|---|')
    for step, values in steps.items():
        print(f'| {step} | {np.median(values):.1f} | {max(values):.1f} |')
    print('\n| pair | kept | folds | mean displacement, mm | error before | affine | after (mean / 95 %, mm) |')
    print('|---|---|---|---|---|---|---|')
    for qc in files:
        result = json.loads(qc.read_text())['result']
        found = errors(bids, qc)
        cells = [f'{e.mean():.2f} / {np.percentile(e, 95):.2f}' for e in found.values()] or ['-'] * 3
        name = qc.name.split('_desc-')[0]
        facts = [result['decision']['kept'], result['jacobian']['folds'], f'{result["displacement_mm"]["mean"]:.2f}']
        print('|', ' | '.join(map(str, [name, *facts, *cells])), '|')


def main() -> None:
    """Read the command line, run and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('bids_dir', type=Path)
    parser.add_argument('--nprocs', default='2')
    parser.add_argument('--keep', type=Path, help='folder for the derivatives, the work and the log [a temporary one]')
    args, more = parser.parse_known_args()
    options = ['--nprocs', args.nprocs, '--skip-bids-validation', *[word for word in more if word != '--']]
    with tempfile.TemporaryDirectory() as scratch:
        folder = args.keep or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        report(args.bids_dir, folder, *run_app(args.bids_dir, folder, options))


if __name__ == '__main__':
    main()
