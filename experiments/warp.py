#!/usr/bin/env python3
"""Put a known warp on a real T2w, so that pairs.py can ask every method to find it.

    python experiments/warp.py ANAT T2W OUT [--scale 1]
    python experiments/pairs.py OUT

ANAT is the folder of derivatives that bidsreg has made of a session, T2W the raw scan of that session. OUT, which must
be new, becomes a dataset of one head: the T1w, the warped T2w, the brain mask, and 2000 points of the brain with their
places in both. A point's place in the T2w is where bidsreg's *affine* leads, then the warp, a smooth one of up to 4 mm
like the example's. What the affine leaves between the two real scans counts as an error of every method alike.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import nibabel as nib
import numpy as np
from common import new_parser
from scipy import ndimage as ndi

from bidsreg.app.example import distortion
from bidsreg.bids.images import load_image
from bidsreg.registration import Image
from bidsreg.registration.grid import apply_affine
from bidsreg.registration.itk import read_affine

POINTS = 2000
#: How the names of the files end that are taken: the T1w, its mask, and the matrix to the T2w.
ENDS = ('desc-preproc_T1w.nii.gz', 'desc-brain_mask.nii.gz', 'from-T2w_to-T1w_mode-image_desc-affine_xfm.tfm')
HEADER = 'x_T1w\ty_T1w\tz_T1w\tx_T2w\ty_T2w\tz_T2w'


def main(argv: Sequence[str] | None = None) -> None:
    """Warp one scan and write the dataset."""
    parser = new_parser(__doc__)
    parser.add_argument('anat', metavar='ANAT', type=Path)
    parser.add_argument('t2w', metavar='T2W', type=Path)
    parser.add_argument('out', metavar='OUT', type=Path)
    parser.add_argument('--scale', type=float, default=1.0, help='of the displacements [%(default)s]')
    args = parser.parse_args(argv)
    if args.out.exists():
        sys.exit(f'{args.out} exists already')
    t1w, mask, affine = (only_file(args.anat, f'*_{end}') for end in ENDS)
    anat, truth = args.out / 'sub-01/anat', args.out / 'derivatives/truth/sub-01/anat'
    for folder in (anat, truth):
        folder.mkdir(parents=True)
    (args.out / 'dataset_description.json').write_text(json.dumps({'Name': 'Known warp', 'BIDSVersion': '1.10.0'}))
    shutil.copyfile(t1w, anat / 'sub-01_T1w.nii.gz')
    shutil.copyfile(mask, truth / 'sub-01_desc-brain_mask.nii.gz')
    scan = Image.load(args.t2w)
    centre = scan.grid.to_world((np.array(scan.grid.shape) - 1) / 2)
    warped(scan, centre, args.scale).save(anat / 'sub-01_T2w.nii.gz')
    brain = brain_points(load_image(mask))
    there = placed(apply_affine(read_affine(affine), brain), centre, args.scale)
    table = truth / 'sub-01_from-T1w_to-T2w_points.tsv'
    np.savetxt(table, np.hstack([brain, there]), fmt='%.4f', delimiter='\t', comments='', header=HEADER)


def only_file(folder: Path, pattern: str) -> Path:
    """Return the one file of a kind in the T1w's space, or end the program."""
    found = [path for path in folder.glob(pattern) if '_space-' not in path.name]
    if len(found) != 1:
        sys.exit(f'{folder} has {len(found)} files {pattern}, and not one')
    return found[0]


def displaced(points: np.ndarray, centre: np.ndarray, scale: float) -> np.ndarray:
    """Return where in the scan (mm) lay what lies at these points of the warped scan."""
    return points + scale * distortion(points - centre)


def placed(points: np.ndarray, centre: np.ndarray, scale: float) -> np.ndarray:
    """Return where points of the scan lie once it is warped: the inverse of `displaced`, by fixed-point iteration."""
    found = points
    for _ in range(50):
        found = found - (displaced(found, centre, scale) - points)
    return found


def warped(scan: Image, centre: np.ndarray, scale: float) -> Image:
    """Sample the scan linearly where the points of its own grid lay."""
    voxels = np.indices(scan.grid.shape).reshape(3, -1).T
    at = scan.grid.to_voxels(displaced(scan.grid.to_world(voxels), centre, scale))
    values = ndi.map_coordinates(scan.data, at.T, order=1, mode='nearest')
    return Image(np.round(values).reshape(scan.grid.shape).astype(np.float32), scan.grid)


def brain_points(mask: nib.Nifti1Image) -> np.ndarray:
    """Draw voxels of a mask at random, in world mm."""
    voxels = np.argwhere(np.asarray(mask.dataobj) > 0)
    drawn = np.random.default_rng(11).choice(len(voxels), POINTS, replace=False)
    return nib.affines.apply_affine(mask.affine, voxels[drawn])


if __name__ == '__main__':
    main()
