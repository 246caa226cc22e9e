#!/usr/bin/env python3
"""Make pairs of two people for pairs.py from real scans: the T1w of one, the T2w of another.

    python experiments/real_pairs.py BIDS_DIR OUT [--sessions sub-01_ses-1 ...] [--voxel 1] [--pictures]
    python experiments/pairs.py OUT --labels OUT/labels.tsv

BIDS_DIR is a raw data set whose sessions have one T1w and one T2w each. In OUT, every session of one person is the
fixed end for every session of the others, and the other way round; folders are named by the two sessions.

Each scan is handled once, on its own grid: deepbet finds the brain in the T1w, N4 corrects it inside, and a rigid
transform by mutual information leads to the session's T2w, whose bias field is corrected inside the mask carried over.
Labels are three tissue classes (1 CSF, 2 grey, 3 white matter) by Atropos on the T1w, its brightest half per cent
(vessels) clipped first. Two people are aligned by an affine between their T1w, so that it does not favour a similarity
of T1w and T2w. Then everything comes to a grid of `--voxel` mm around the fixed brain by one linear interpolation: the
T2w through the affine and the rigid, the classes of its T1w through the affine, each voxel the class that weighs most.
What the T2w does not show counts as outside of the moving brain.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import permutations
from pathlib import Path

import numpy as np
from common import new_parser

from bidsreg.benchmark.tissue import carried, carried_labels, corrected
from bidsreg.preparation.prealign import prealign
from bidsreg.preparation.skullstrip import brain_mask
from bidsreg.preparation.tissue import CLASSES, tissue_classes
from bidsreg.registration.atomic import atomic_folder
from bidsreg.registration.grid import Grid
from bidsreg.registration.image import Image, resample
from bidsreg.registration.itk import read_affine, write_affine

#: Millimetres of background around the fixed brain.
MARGIN_MM = 8.0


@dataclass(frozen=True)
class Session:
    """The scans of one person at one time.

    Attributes
    ----------
    name, subject : str
        Beginning of the names of its files, and of the folder of the person.
    t1w, t2w : Path
        The raw scans.
    folder : Path
        Holds what is made of them: ``T1w``, ``T2w`` (without bias field), ``mask`` and ``dseg`` (on the grid of the
        T1w) and ``rigid.txt`` (T1w world to T2w world).
    """

    name: str
    subject: str
    t1w: Path
    t2w: Path
    folder: Path

    def image(self, what: str) -> Image:
        """Load one of the images of the folder."""
        return Image.load(self.folder / f'{what}.nii.gz')

    @property
    def rigid(self) -> np.ndarray:
        """Return the 4x4 matrix from the world of the T1w to that of the T2w, mm."""
        return read_affine(self.folder / 'rigid.txt')


def find_sessions(source: Path, work: Path) -> list[Session]:
    """Find the sessions of a BIDS data set that have one T1w and one T2w."""
    found = []
    for t1w in sorted(source.glob('sub-*/**/anat/*_T1w.nii.gz')):
        name = t1w.name.removesuffix('_T1w.nii.gz')
        t2w = t1w.with_name(f'{name}_T2w.nii.gz')
        if t2w.exists():
            found.append(Session(name, name.split('_')[0], t1w, t2w, work / name))
    return found


# ---------------------------------------------------------------------------------------------------- one session
def prepare_session(session: Session, *, sloppy: bool = False) -> None:
    """Make the images of a session, unless its folder is there already."""
    if session.folder.exists():
        return
    with atomic_folder(session.folder) as folder, contextlib.chdir(folder):
        t1w, t2w = (load_scan(path) for path in (session.t1w, session.t2w))
        t1w.save('T1w.nii.gz')
        t2w.save('T2w.nii.gz')
        inside, _ = brain_mask('T1w.nii.gz')
        Path('deepbet.nii.gz').unlink(missing_ok=True)
        Image(inside.astype(np.uint8), t1w.grid).save('mask.nii.gz')
        t1w = corrected(t1w, inside)
        t1w.save('T1w.nii.gz')
        tissue_classes(t1w, inside).save('dseg.nii.gz')
        rigid, _ = prealign('T1w.nii.gz', 'T2w.nii.gz', stage='rigid', sloppy=sloppy)
        write_affine('rigid.txt', rigid)
        seen = Grid(t2w.grid.shape, np.linalg.inv(rigid) @ t2w.grid.affine)
        corrected(t2w, resample(Image(inside.astype(np.float32), t1w.grid), seen) >= 0.5).save('T2w.nii.gz')


def load_scan(path: Path) -> Image:
    """Load a raw scan in the order of voxels closest to RAS+, its axes at right angles."""
    image = Image.load(path).canonical()
    return Image(image.data, image.grid.orthogonalised())


# ---------------------------------------------------------------------------------------------------- two sessions
def align(fixed: Session, moving: Session, *, sloppy: bool = False) -> np.ndarray:
    """Find the affine from the world of one T1w to that of another (4x4, mm), from the centres of the brains."""
    start = np.eye(4)
    start[:3, 3] = centre(moving.image('mask')) - centre(fixed.image('mask'))
    scans, masks = (
        [str(one.folder.resolve() / f'{what}.nii.gz') for one in (fixed, moving)] for what in ('T1w', 'mask')
    )
    with tempfile.TemporaryDirectory() as scratch, contextlib.chdir(scratch):
        write_affine('start.txt', start)
        found, _ = prealign(
            *scans, stage='affine', fixed_mask=masks[0], moving_mask=masks[1], initial='start.txt', sloppy=sloppy
        )
    return found


def centre(mask: Image) -> np.ndarray:
    """Return the centre of a mask in world mm."""
    return mask.grid.to_world(np.argwhere(mask.data > 0).mean(0))


def make_pair(fixed: Session, moving: Session, affine: np.ndarray, voxel: float, folder: Path) -> None:
    """Write the images and labels of a pair, all on one grid.

    Parameters
    ----------
    fixed, moving : Session
        Prepared; the T1w of the one and the T2w of the other are taken.
    affine : ndarray, shape (4, 4)
        World of the fixed T1w to world of the moving T1w, mm.
    voxel : float
        Size in mm of the voxels.
    folder : Path
        Where to; made here.
    """
    grid = grid_around(fixed.image('mask'), voxel)
    ends = (
        ('fixed', 'T1w', fixed, np.eye(4), np.eye(4)),
        ('moving', 'T2w', moving, affine, moving.rigid @ affine),
    )
    with atomic_folder(folder) as making:
        for end, contrast, session, to_t1w, to_scan in ends:
            scan = session.image(contrast)
            shown = carried(Image(np.ones_like(scan.data), scan.grid), to_scan, grid) > 0.5
            inside = (carried(session.image('mask'), to_t1w, grid) >= 0.5) & shown
            values = np.maximum(carried(scan, to_scan, grid), 0) * inside
            labels = carried_labels(session.image('dseg'), to_t1w, grid) * inside
            Image(values.astype(np.float32), grid).save(making / f'{end}_{contrast}.nii.gz')
            Image(labels, grid).save(making / f'{end}_dseg.nii.gz')


def grid_around(mask: Image, voxel: float) -> Grid:
    """Return a grid of cubic voxels (mm) on the axes of a mask, :data:`MARGIN_MM` larger than what is in it."""
    at, margin = np.argwhere(mask.data > 0), MARGIN_MM / mask.grid.spacing
    starts, stops = np.floor(at.min(0) - margin), np.ceil(at.max(0) + margin) + 1
    return mask.grid.cropped(starts, stops).covering(np.full(3, voxel))


def pairs_of(sessions: Sequence[Session]) -> Iterator[tuple[Session, Session]]:
    """Return all ordered pairs of sessions of two people."""
    return ((one, other) for one, other in permutations(sessions, 2) if one.subject != other.subject)


# ---------------------------------------------------------------------------------------------------- pictures
def draw(folder: Path) -> None:
    """Draw both ends of a pair side by side, with outlines of the labels, to look at: ``montage.png``."""
    import matplotlib

    matplotlib.use('Agg')
    from matplotlib import pyplot as plt

    ends = ('fixed_T1w', 'fixed_dseg'), ('moving_T2w', 'fixed_dseg'), ('moving_T2w', 'moving_dseg')
    figure, axes = plt.subplots(len(ends), 5, figsize=(20, 4 * len(ends)), facecolor='black')
    for line, (scan, labels) in zip(axes, ends, strict=True):
        scan_data, label_data = (Image.load(folder / f'{name}.nii.gz').data for name in (scan, labels))
        x, y, z = scan_data.shape
        cuts: list[tuple[slice | int, ...]] = [np.s_[:, :, int(part * z)] for part in (0.35, 0.5, 0.65)]
        cuts += [np.s_[:, y // 2, :], np.s_[int(0.42 * x), :, :]]
        bright = np.percentile(scan_data[scan_data > 0], 99)
        for axis, cut in zip(line, cuts, strict=True):
            axis.imshow(scan_data[cut].T, cmap='gray', origin='lower', vmin=0, vmax=bright)
            levels = np.unique(label_data)[1:] - 0.5
            axis.contour(label_data[cut].T, levels=levels, linewidths=0.5, cmap='autumn')
            axis.set_title(f'{scan}, {labels}', color='white')
            axis.axis('off')
    figure.tight_layout()
    figure.savefig(folder / 'montage.png', dpi=60)
    plt.close(figure)


def main(argv: Sequence[str] | None = None) -> None:
    """Prepare the sessions, then make every pair that is not there yet."""
    parser = new_parser(__doc__)
    parser.add_argument('source', metavar='BIDS_DIR', type=Path)
    parser.add_argument('out', metavar='OUT', type=Path)
    parser.add_argument('--sessions', nargs='+', metavar='NAME', help='only these, e.g. sub-01_ses-1 [all]')
    parser.add_argument('--voxel', type=float, default=1.0, metavar='MM', help='[%(default)s]')
    parser.add_argument('--work', type=Path, help='keeps the prepared sessions [OUT/sessions]')
    parser.add_argument('--pictures', action='store_true', help='also a montage.png of each pair, to look at')
    parser.add_argument('--sloppy', action='store_true', help='coarser linear alignment, for trying things out')
    args = parser.parse_args(argv)
    sessions = find_sessions(args.source.resolve(), (args.work or args.out / 'sessions').resolve())
    sessions = [session for session in sessions if session.name in (args.sessions or [session.name])]
    args.out.mkdir(parents=True, exist_ok=True)
    lines = ['index\tname', *(f'{index}\t{name}' for index, name in enumerate(CLASSES, 1))]
    (args.out / 'labels.tsv').write_text('\n'.join([*lines, '']))
    for session in sessions:
        prepare_session(session, sloppy=args.sloppy)
    affines: dict[tuple[str, str], np.ndarray] = {}
    for fixed, moving in pairs_of(sessions):
        folder = args.out / f'{fixed.name}-{moving.name}'
        # one affine for both orders: what it leaves is the same both ways
        there = affines.pop((moving.name, fixed.name), None)
        affine = align(fixed, moving, sloppy=args.sloppy) if there is None else np.linalg.inv(there)
        affines[fixed.name, moving.name] = affine
        if not folder.exists():
            make_pair(fixed, moving, affine, args.voxel, folder)
        if args.pictures:
            draw(folder)
        print(folder, flush=True)


if __name__ == '__main__':
    main()
