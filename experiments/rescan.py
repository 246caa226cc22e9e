#!/usr/bin/env python3
"""Scan-rescan consistency: do the maps between two sessions of one person agree, whatever contrast they are found from?

    python experiments/rescan.py BIDS_DIR WORK [--methods affine greedy node-mind] [--threads 1] [--points 5000]

Takes the first two sessions with a T1w and a T2w of every person. Scans are made ready as by real_pairs.py; what is
there in WORK is not made again. An affine between the two T1w and each session's own rigid from T1w to T2w are the
same for all methods, and lead from every scan to every other. A method then finds three maps: from T1w to T1w, from
T2w to T2w and from T1w to T2w. The last two are brought between the two T1w by the rigids, and
bidsreg.benchmark.judge.consistency says how far apart the three take points of the first session's brain, mm.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from common import new_parser, pair_command, read_result, row, run_measured
from real_pairs import Session, align, find_sessions, prepare_session

from bidsreg.benchmark.judge import consistency
from bidsreg.benchmark.methods import AFFINE, known_methods
from bidsreg.benchmark.tissue import carried
from bidsreg.registration.grid import apply_affine
from bidsreg.registration.image import Image
from bidsreg.registration.itk import write_affine

#: Contrasts of the fixed and of the moving scan.
MAPS = {'T1w-T1w': ('T1w', 'T1w'), 'T2w-T2w': ('T2w', 'T2w'), 'T1w-T2w': ('T1w', 'T2w')}
SEED = 7


def main(argv: Sequence[str] | None = None) -> None:
    """Run every method on every person with two sessions, and print one row each."""
    parser = new_parser(__doc__)
    parser.add_argument('source', metavar='BIDS_DIR', type=Path)
    parser.add_argument('work', metavar='WORK', type=Path)
    parser.add_argument('--methods', nargs='+', default=[AFFINE, 'greedy', 'node-mind'], choices=known_methods())
    parser.add_argument('--threads', type=int, default=1)
    parser.add_argument('--points', type=int, default=5000, metavar='N', help='of the brain [%(default)s]')
    parser.add_argument('--sloppy', action='store_true', help='few iterations, for trying things out')
    args = parser.parse_args(argv)
    people = find_people(find_sessions(args.source.resolve(), args.work.resolve() / 'sessions'))
    if not people:
        parser.error(f'{args.source} holds nobody with two sessions that have a T1w and a T2w')
    print(row('person', 'method', 'mean (mm)', *(f'{a} / {b}' for a, b in itertools.combinations(MAPS, 2))))
    print(row(*['---'] * 6))
    for first, second in people:
        for session in (first, second):
            prepare_session(session, sloppy=args.sloppy)
            write_t2w_mask(session)
        between = align(first, second, sloppy=args.sloppy)
        points = brain_points(first.image('mask'), args.points)
        for method in args.methods:
            folder = args.work.resolve() / f'{first.name}-{second.name}' / method
            words = ['--sloppy'] if args.sloppy else []
            ends = find_ends(first, second, between, points, method, folder, threads=args.threads, options=words)
            numbers = consistency(ends).values()
            print(row(first.subject, f'`{method}`', *(f'{number:.3f}' for number in numbers)), flush=True)


def find_people(sessions: Sequence[Session]) -> list[tuple[Session, Session]]:
    """Return the first two sessions of everybody who has two."""
    by_person = itertools.groupby(sessions, lambda session: session.subject)
    several = [list(group) for _, group in by_person]
    return [(group[0], group[1]) for group in several if len(group) > 1]


def brain_points(mask: Image, count: int) -> np.ndarray:
    """Draw points (N, 3) of a mask, world mm."""
    there = np.argwhere(mask.data > 0)
    chosen = np.random.default_rng(SEED).permutation(len(there))[:count]
    return mask.grid.to_world(there[np.sort(chosen)])


def write_t2w_mask(session: Session) -> None:
    """Carry the mask of the T1w to the T2w, unless that is there already."""
    path = session.folder / 'T2w_mask.nii.gz'
    if not path.exists():
        mask, grid = session.image('mask'), session.image('T2w').grid
        inside = carried(Image(mask.data.astype(np.float32), mask.grid), np.linalg.inv(session.rigid), grid) >= 0.5
        Image(inside.astype(np.uint8), grid).save(path)


def to_scan(session: Session, contrast: str) -> np.ndarray:
    """Return the 4x4 matrix from the world of a session's T1w to that of one of its scans."""
    return session.rigid if contrast == 'T2w' else np.eye(4)


def find_ends(
    first: Session,
    second: Session,
    between: np.ndarray,
    points: np.ndarray,
    method: str,
    folder: Path,
    *,
    threads: int,
    options: Sequence[str] = (),
) -> dict[str, np.ndarray]:
    """Return where each of the three maps takes points of the first T1w in the second T1w, world mm (N, 3).

    Parameters
    ----------
    first, second : Session
        Prepared.
    between : ndarray, shape (4, 4)
        World of the first T1w to that of the second.
    points : ndarray, shape (N, 3)
        World mm of the first T1w.
    method : str
        As bidsreg-pair calls it, or ``affine``.
    folder : Path
        For what it finds.
    threads, options
        Passed on to bidsreg-pair.
    """
    ends = {}
    for name, (fixed, moving) in MAPS.items():
        start, last = to_scan(first, fixed), to_scan(second, moving)
        affine = last @ between @ np.linalg.inv(start)
        there = apply_affine(start, points)
        if method == AFFINE:
            moved = apply_affine(affine, there)
        else:
            out = folder / name
            if not (out / 'result' / 'forward.h5').exists():
                out.mkdir(parents=True, exist_ok=True)
                write_affine(out / 'affine.txt', affine)
                _run(first, fixed, second, moving, method, out, threads=threads, options=options)
            moved = read_result(out / 'result')[0].points(there)
        ends[name] = apply_affine(np.linalg.inv(last), moved)
    return ends


def _run(
    first: Session,
    fixed: str,
    second: Session,
    moving: str,
    method: str,
    out: Path,
    *,
    threads: int,
    options: Sequence[str],
) -> None:
    """Run a method from one scan to another, from the affine in its folder on."""
    masks = {'T1w': 'mask.nii.gz', 'T2w': 'T2w_mask.nii.gz'}
    files = (first.folder / f'{fixed}.nii.gz', second.folder / f'{moving}.nii.gz', out / 'result')
    words = ['--affine', out / 'affine.txt', '--fixed-mask', first.folder / masks[fixed]]
    words += ['--moving-mask', second.folder / masks[moving], *options]
    run_measured(pair_command(*files, method=method, threads=threads, options=words), out, threads=threads)


if __name__ == '__main__':
    main()
