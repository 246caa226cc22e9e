#!/usr/bin/env python3
"""Measure how far results differ when the voxels of both scans are rounded: what a file of int16 with a slope does.

    python experiments/rounding.py [--voxel 2] [--sloppy] [--resolution 1]

The example head is scanned as floats, and the same is rounded to 32767 steps of the largest value. Both go through N4
inside the true mask, rigid, N4 of the T2w, affine and solver, one thread; a third run gives the solver the rounded
images with the affine and masks of the others. Printed is how far apart the brain's points are mapped after each step,
and the error of each at those points. Prints Markdown.
"""

from __future__ import annotations

import contextlib
import dataclasses
import tempfile
from collections.abc import Sequence
from pathlib import Path

import nibabel as nib
import numpy as np
from common import head, new_parser, row
from scipy import ndimage

from bidsreg.app.example import make_dataset, make_head
from bidsreg.bids.images import load_image
from bidsreg.pair.methods import PresetMethod
from bidsreg.pair.request import PairRequest
from bidsreg.preparation.bias import correct_bias
from bidsreg.preparation.prealign import prealign
from bidsreg.registration import Image
from bidsreg.registration.itk import write_affine

STEPS = 32767
"""Of the numbers that an int16 holds above zero."""


def rounded(values: np.ndarray) -> np.ndarray:
    """Return values (not negative) as a file of int16 with a slope holds them."""
    step = values.max() / STEPS
    return np.round(values / step) * step


def apart(one: np.ndarray, other: np.ndarray) -> str:
    """Return mean, 95th percentile and largest distance (mm) of points (N, 3), as words."""
    far = np.linalg.norm(one - other, axis=1)
    return f'{far.mean():.3f}, {np.percentile(far, 95):.3f}, {far.max():.2f}'


@dataclasses.dataclass(frozen=True)
class Prepared:
    """Files of a pair before the solver, in a folder of their own."""

    folder: Path
    sloppy: bool

    def path(self, name: str) -> Path:
        """Return the path of a file."""
        return self.folder / name

    def prepare(self, brain: np.ndarray) -> None:
        """Go from the scans and the mask of the T1w to the affine."""
        fixed, moving = load_image(self.path('T1w.nii')), load_image(self.path('T2w.nii'))
        sloppy = self.sloppy
        nib.save(nib.Nifti1Image(brain.astype(np.uint8), fixed.affine), self.path('fixed_mask.nii'))
        with contextlib.chdir(self.folder):
            nib.save(correct_bias('T1w.nii', 'fixed_mask.nii', sloppy=sloppy), 'fixed.nii')
            rigid, _ = prealign('fixed.nii', 'T2w.nii', stage='rigid', sloppy=sloppy)
            write_affine('rigid.txt', rigid)
            there = carried(brain, np.linalg.inv(fixed.affine) @ np.linalg.inv(rigid) @ moving.affine, moving.shape)
            nib.save(nib.Nifti1Image(there.astype(np.uint8), moving.affine), 'moving_mask.nii')
            nib.save(correct_bias('T2w.nii', 'moving_mask.nii', sloppy=sloppy), 'moving.nii')
            affine, _ = prealign(
                'fixed.nii',
                'moving.nii',
                stage='affine',
                fixed_mask='fixed_mask.nii',
                moving_mask='moving_mask.nii',
                initial='rigid.txt',
                sloppy=sloppy,
            )
            write_affine('affine.txt', affine)
        np.save(self.path('rigid.npy'), rigid)
        np.save(self.path('affine.npy'), affine)

    def linear(self, stage: str, points: np.ndarray) -> np.ndarray:
        """Return where a linear stage maps points, mm."""
        return nib.affines.apply_affine(np.load(self.path(f'{stage}.npy')), points)

    def solve(self, resolution: float, points: np.ndarray, images: Prepared | None = None) -> np.ndarray:
        """Return where the solver maps points, with its affine and masks, and maybe the images of another."""
        scans = images or self
        request = PairRequest(
            fixed=scans.path('fixed.nii'),
            moving=scans.path('moving.nii'),
            out=self.path('out'),
            fixed_mask=self.path('fixed_mask.nii'),
            moving_mask=self.path('moving_mask.nii'),
            affine=self.path('affine.txt'),
            working_resolution=resolution,
            sloppy=self.sloppy,
            threads=1,
            device='cpu',
            quiet=True,
        )
        found = PresetMethod(request).register(
            Image.load(request.fixed), Image.load(request.moving), request.read_inputs()
        )
        return found.deformation.points(points)


def carried(mask: np.ndarray, to_mask: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """Carry a mask onto a grid whose voxels a 4x4 takes to its own."""
    values = ndimage.affine_transform(mask.astype(np.float32), to_mask[:3, :3], to_mask[:3, 3], tuple(shape), order=1)
    return values > 0.5


def measure(folder: Path, voxel: float, sloppy: bool, resolution: float) -> list[str]:
    """Return the cells of a row: after the rigid, the affine, the solver, the solver alone, and the errors."""
    thick = (voxel, voxel, 1.5 * voxel) if voxel >= 3 else (1.5, 1.5, 3.0)
    dataset = make_dataset(folder / 'raw', voxel, thick)
    points = np.loadtxt(next(dataset.glob('derivatives/truth/*/anat/*_points.tsv')), skiprows=1)
    start, goal = points[:, :3], points[:, 3:]
    true = make_head()
    runs = []
    for name, stored in (('floats', np.asarray), ('rounded', rounded)):
        run = Prepared(folder / name, sloppy)
        run.folder.mkdir()
        for contrast in ('T1w', 'T2w'):
            scan = load_image(next(dataset.glob(f'sub-*/anat/*_{contrast}.nii.gz')))
            # the scans are whole numbers: what a scanner's reconstruction had behind the point
            behind = np.random.default_rng([5, contrast == 'T2w']).uniform(-0.5, 0.5, scan.shape)
            values = stored(np.clip(np.asarray(scan.dataobj) + behind, 0, None)).astype(np.float32)
            nib.save(nib.Nifti1Image(values, scan.affine), run.path(f'{contrast}.nii'))
        fixed = load_image(run.path('T1w.nii'))
        run.prepare(carried(true.brain, np.linalg.inv(true.affine) @ fixed.affine, fixed.shape))
        runs.append(run)
    one, other = runs
    cells = [apart(*(run.linear(stage, start) for run in runs)) for stage in ('rigid', 'affine')]
    found = [run.solve(resolution, start) for run in runs]
    cells += [apart(*found), apart(found[0], one.solve(resolution, start, images=other))]
    return [*cells, ', '.join(f'{np.linalg.norm(at - goal, axis=1).mean():.2f}' for at in found)]


def main(argv: Sequence[str] | None = None) -> None:
    """Print a row."""
    parser = new_parser(__doc__)
    parser.add_argument('--voxel', type=float, default=2.0, metavar='MM', help='of the T1w [%(default)s]')
    parser.add_argument('--sloppy', action='store_true', help='as for the app')
    parser.add_argument('--resolution', type=float, default=1.0, metavar='MM', help='of the solver [%(default)s]')
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        cells = measure(Path(folder), args.voxel, args.sloppy, args.resolution)
    print(head('mm apart: mean, 95 %, largest', 'rigid', 'affine', 'all', 'solver alone', 'errors (mm)'))
    print(row(f'{args.voxel:g} mm{", --sloppy" if args.sloppy else ""}', *cells))


if __name__ == '__main__':
    main()
