#!/usr/bin/env python3
"""Bring the scans of a BIDS dataset, and the labels and masks in its derivatives, to larger voxels.

    python experiments/coarsen.py BIDS_DIR OUT [--voxel MM]

Scans are smoothed by a Gaussian, so that nothing aliases, and sampled linearly; in label images and masks every voxel
takes the value that weighs most under the same Gaussian. Axes that are coarse already keep their voxels. Everything
else, such as tables of points (which are in mm), is copied. OUT must be new.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from common import new_parser
from scipy import ndimage as ndi

from bidsreg.bids.images import load_image
from bidsreg.registration.grid import Grid
from bidsreg.registration.image import Image, resample

LABEL_ENDINGS = ('_dseg.nii', '_mask.nii')
#: Voxels around a label that its Gaussian reaches.
MARGIN = 8


def main(argv: Sequence[str] | None = None) -> None:
    """Coarsen every image, copy the rest."""
    parser = new_parser(__doc__)
    parser.add_argument('source', metavar='BIDS_DIR', type=Path)
    parser.add_argument('out', metavar='OUT', type=Path)
    parser.add_argument('--voxel', type=float, default=2.0, metavar='MM', help='[%(default)s]')
    args = parser.parse_args(argv)
    if args.out.exists():
        sys.exit(f'{args.out} exists already')
    for path in sorted(path for path in args.source.rglob('*') if path.is_file()):
        target = args.out / path.relative_to(args.source)
        target.parent.mkdir(parents=True, exist_ok=True)
        if not path.name.endswith(('.nii', '.nii.gz')):
            shutil.copyfile(path, target)
            continue
        stem = path.name.removesuffix('.gz')
        coarser = coarsen_labels if stem.endswith(LABEL_ENDINGS) else coarsen_scan
        dtype = load_image(path).get_data_dtype()
        image = coarser(Image.load(path), args.voxel)
        Image(image.data.astype(dtype), image.grid).save(target)
        print(target.relative_to(args.out), *image.grid.shape, flush=True)


def coarsen_scan(image: Image, voxel: float) -> Image:
    """Smooth and sample; the values are whole numbers."""
    grid = image.grid.coarsened(voxel)
    return Image(np.round(resample(image.smoothed_for(grid.spacing), grid)), grid)


def coarsen_labels(image: Image, voxel: float) -> Image:
    """Give each voxel the label that weighs most there; no voxel gets a value that was not there before."""
    grid = image.grid.coarsened(voxel)
    values = image.data.astype(int)
    heaviest, labels = np.zeros(grid.shape, np.float32), np.zeros(grid.shape, int)
    for label in np.unique(values):
        weight = resample(_weight(values == label, image.grid, grid), grid)
        labels[weight > heaviest] = label
        np.maximum(heaviest, weight, out=heaviest)
    return Image(labels, grid)


def _weight(inside: np.ndarray, grid: Grid, coarse: Grid) -> Image:
    """Return where a label is, smoothed; only the box around it, as far as the Gaussian reaches."""
    box = ndi.find_objects(inside.astype(np.uint8))[0]
    starts = np.array([max(part.start - MARGIN, 0) for part in box])
    stops = np.array([min(part.stop + MARGIN, size) for part, size in zip(box, inside.shape, strict=True)])
    part = inside[tuple(map(slice, starts, stops))].astype(np.float32)
    return Image(part, grid.cropped(starts, stops)).smoothed_for(coarse.spacing)


if __name__ == '__main__':
    main()
