#!/usr/bin/env python3
"""Measure the steps before the solver on simulated heads: CPU seconds, and what each is worth.

    python experiments/linear.py BIDS_DIR [--subjects 03 05] [--rigid 8 2] [--affine 4 1] [--iterations 20 20 20 20]

For each subject N4 of the T1w inside the true mask, the rigid, N4 of the T2w inside the mask that the rigid carries
over, and the affine, one thread each. Truth lies in `derivatives/truth/sub-*/anat`: `*_desc-brain_mask.nii.gz`,
`*_dseg.nii.gz` (2 and 41 are white matter) on the T1w's grid, and `*_from-T1w_to-T2w_points.tsv` with the columns
x, y, z (mm) in the T1w and in the T2w. Errors are those at the points; beside them that of the affine which fits the
points best. Of N4 the spread of white matter (standard deviation of the logarithm, in %) before and after. Prints
Markdown.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from common import head, new_parser, row
from scipy import ndimage

from bidsreg.bids.images import load_image
from bidsreg.preparation import bias, prealign
from bidsreg.preparation.resample import resample
from bidsreg.qc.decomposition import closest_affine
from bidsreg.registration.itk import write_affine

WHITE = (2, 41)


class Clock:
    """A clock that counts the CPU seconds of calls."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def __call__(self, work: Callable[..., Any], *args: Any, **options: Any) -> Any:
        """Call a function; what it returns."""
        began = time.process_time()
        found = work(*args, **options)
        self.seconds.append(time.process_time() - began)
        return found


def mean_error(points: np.ndarray, matrix: np.ndarray) -> float:
    """Return the mean distance (mm) between points (N, 6) of the fixed world as a matrix maps them, and the truth."""
    return float(np.linalg.norm(nib.affines.apply_affine(matrix, points[:, :3]) - points[:, 3:], axis=1).mean())


def spread(image: nib.Nifti1Image, white: np.ndarray) -> float:
    """Return the standard deviation of the logarithm of an image inside white matter, in %."""
    return 100 * float(np.log(np.maximum(image.get_fdata()[white], 1)).std())


def measure(bids: Path, subject: str) -> list[str]:
    """Take the steps for one subject in the current folder; a row of the table."""
    anat, truth = bids / subject / 'anat', bids / 'derivatives/truth' / subject / 'anat'
    t1w, t2w = (str(anat / f'{subject}_{suffix}.nii.gz') for suffix in ('T1w', 'T2w'))
    mask = str(truth / f'{subject}_desc-brain_mask.nii.gz')
    points = np.loadtxt(truth / f'{subject}_from-T1w_to-T2w_points.tsv', skiprows=1)
    clock = Clock()
    corrected = clock(bias.correct_bias, t1w, mask)
    corrected.to_filename('t1w.nii.gz')
    rigid, _ = clock(prealign.prealign, t1w, t2w, stage='rigid')
    write_affine('rigid.txt', rigid)
    resample(mask, t2w, ['rigid.txt'], invert=[True], interpolation='genericLabel').to_filename('mask.nii.gz')
    clock(bias.correct_bias, t2w, 'mask.nii.gz').to_filename('t2w.nii.gz')
    masks = {'fixed_mask': mask, 'moving_mask': 'mask.nii.gz', 'initial': 'rigid.txt'}
    affine, _ = clock(prealign.prealign, 't1w.nii.gz', 't2w.nii.gz', stage='affine', **masks)
    white = ndimage.binary_erosion(np.isin(np.asanyarray(load_image(truth / f'{subject}_dseg.nii.gz').dataobj), WHITE))
    spreads = (spread(image, white) for image in (load_image(t1w), corrected))
    errors = (mean_error(points, matrix) for matrix in (rigid, affine, closest_affine(points[:, :3], points[:, 3:])))
    return [*(f'{x:.1f}' for x in clock.seconds), *(f'{x:.3f}' for x in errors), *(f'{x:.2f}' for x in spreads)]


def main(argv: Sequence[str] | None = None) -> None:
    """Read the command line, and measure subject by subject."""
    parser = new_parser(__doc__)
    parser.add_argument('bids_dir', type=Path, metavar='BIDS_DIR')
    parser.add_argument('--subjects', nargs='+', metavar='XX', help='[all that have truth]')
    parser.add_argument('--rigid', nargs='+', type=float, metavar='MM', help="levels of the rigid [the app's]")
    parser.add_argument('--affine', nargs='+', type=float, metavar='MM', help="levels of the affine [the app's]")
    parser.add_argument('--iterations', nargs='+', type=int, metavar='N', help="of N4, for each level [the app's]")
    args = parser.parse_args(argv)
    plans = {name: tuple((name.title(), mm) for mm in getattr(args, name) or ()) for name in ('rigid', 'affine')}
    prealign.PLANS = {**prealign.PLANS, **{name: plan for name, plan in plans.items() if plan}}
    bias.ITERATIONS = tuple(args.iterations or bias.ITERATIONS)
    bids = args.bids_dir.absolute()
    found = sorted(path.name for path in (bids / 'derivatives/truth').glob('sub-*'))
    steps = ('N4 of the T1w, CPU s', 'rigid', 'N4 of the T2w', 'affine', 'error of the rigid, mm', 'affine', 'best')
    print(head('head', *steps, 'white matter before N4, %', 'after'))
    with tempfile.TemporaryDirectory() as scratch:
        os.chdir(scratch)
        for subject in [f'sub-{label}' for label in args.subjects] if args.subjects else found:
            print(row(subject, *measure(bids, subject)), flush=True)
        os.chdir(bids)


if __name__ == '__main__':
    main()
