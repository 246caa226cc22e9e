#!/usr/bin/env python3
"""Measure how long bidsreg-apply and ANTsPy take to carry a head and its labels, and how far their answers agree.

    python experiments/apply.py PAIRS/07-08 [--threads 1] [--repeats 3]

The folder has fixed_T1w, moving_T2w and moving_dseg (.nii.gz). The transform is made up: an affine and a smooth field
of up to 4 mm on the grid of the fixed image, in one .h5. What is timed is from file to file, in one process that has
loaded both libraries: images and transform read, resampled once, written as .nii.gz. Seconds are the least of the
repeats: of the CPUs (user and system), and by the clock, which other work on the machine makes longer. The share of
voxels that differ is over those whose eight neighbours all lie in the moving image: by more than a thousandth of its
largest value, or another label. Prints Markdown.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from common import new_parser, row
from scipy import ndimage as ndi

from bidsreg.apply.base import Errand, Options, Route
from bidsreg.apply.chain import Chain, Leg, _parts
from bidsreg.apply.kinds import KINDS
from bidsreg.apply.volumes import _loaded, grid_of
from bidsreg.bids.images import load_image
from bidsreg.preparation.affine import rigid_matrix
from bidsreg.registration.grid import Grid
from bidsreg.registration.itk import write_composite

#: Of ours: the kind of file, and ANTs' name.
INTERPOLATIONS = {
    'linear': ('image', 'linear'),
    'bspline': ('image', 'bSpline'),
    'lanczos': ('image', 'lanczosWindowedSinc'),
    'nearest': ('labels', 'nearestNeighbor'),
    'labels': ('labels', 'genericLabel'),
}
AMPLITUDE_MM = 4.0


def write_transform(path: Path, grid: Grid, seed: int = 0) -> Path:
    """Write a turn of some degrees and a smooth field that vanishes at the border."""
    rng = np.random.default_rng(seed)
    field = np.stack([ndi.gaussian_filter(rng.normal(size=grid.shape), 8, mode='constant') for _ in range(3)], -1)
    for axis, n in enumerate(grid.shape):
        taper = np.clip(np.minimum(np.arange(n), n - 1 - np.arange(n)) / (n / 6), 0, 1)
        field *= taper.reshape([-1 if k == axis else 1 for k in range(3)] + [1])
    field *= AMPLITUDE_MM / np.abs(field).max()
    write_composite(path, rigid_matrix((3, -4, 5), (4, -2, 3)), field.astype(np.float32), grid)
    return path


def timed(work: Callable[[], object], repeats: int) -> tuple[float, float]:
    """Return the least seconds of the CPUs, and by the clock, of some repeats."""
    spent = []
    for _ in range(repeats):
        cpu, clock = time.process_time(), time.perf_counter()
        work()
        spent.append((time.process_time() - cpu, time.perf_counter() - clock))
    return min(one for one, _ in spent), min(other for _, other in spent)


def differing(ours: Path, theirs: Path, errand: Errand, labels: bool) -> float:
    """Return the share of voxels that differ, where all neighbours are known."""
    assert errand.reference is not None
    one, other = (np.asanyarray(load_image(path).dataobj) for path in (ours, theirs))
    grid, moving = grid_of(errand.reference), grid_of(errand.source)
    world = grid.to_world(np.moveaxis(np.indices(grid.shape), 0, -1)).reshape(-1, 3)
    at = moving.to_voxels(Chain.read(errand.route.images).points(world)[0])
    known = ((at >= 0) & (at <= np.array(moving.shape) - 1)).all(1).reshape(grid.shape)
    limit = 0.5 if labels else 1e-3 * float(one.max())
    return float((np.abs(one.astype(float) - other) > limit)[known].mean())


def measure(folder: Path, threads: int, repeats: int) -> list[str]:
    """Return a row for each interpolation."""
    # read when ITK first starts a filter
    os.environ['ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS'] = str(threads)
    import ants

    rows = []
    with tempfile.TemporaryDirectory() as name:
        work, fixed = Path(name), folder / 'fixed_T1w.nii.gz'
        xfm = write_transform(work / 'xfm.h5', grid_of(fixed))
        for interpolation, (kind, their_name) in INTERPOLATIONS.items():
            source = folder / ('moving_dseg.nii.gz' if kind == 'labels' else 'moving_T2w.nii.gz')
            errand = Errand(source, work / 'ours.nii.gz', Route((Leg(xfm),), ()), fixed)
            options = Options(interpolation=interpolation, threads=threads)

            def ours(errand: Errand = errand, options: Options = options, kind: str = kind) -> None:
                # nothing is kept from the run before
                _loaded.cache_clear()
                _parts.cache_clear()
                KINDS[kind].carry(errand, options, errand.out)

            def theirs(source: Path = source, their_name: str = their_name) -> None:
                moved = ants.apply_transforms(
                    ants.image_read(str(fixed)), ants.image_read(str(source)), [str(xfm)], interpolator=their_name
                )
                ants.image_write(moved, str(work / 'theirs.nii.gz'))

            ours()
            spent = (*timed(ours, repeats), *timed(theirs, repeats))
            apart = differing(errand.out, work / 'theirs.nii.gz', errand, kind == 'labels')
            rows.append(row(interpolation, *(f'{seconds:.2f}' for seconds in spent), f'{100 * apart:.3f} %'))
    return rows


def main(argv: Sequence[str] | None = None) -> None:
    """Run the script; arguments are those of this process by default."""
    parser = new_parser(__doc__)
    parser.add_argument('folder', type=Path)
    parser.add_argument('--threads', type=int, default=1)
    parser.add_argument('--repeats', type=int, default=3)
    given = parser.parse_args(argv)
    print(row('interpolation', 'ours, CPU s', 'clock', 'ANTsPy, CPU s', 'clock', 'voxels that differ'))
    print(row(*['---'] * 6))
    print('\n'.join(measure(given.folder, given.threads, given.repeats)))


if __name__ == '__main__':
    main()
