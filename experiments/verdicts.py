#!/usr/bin/env python3
"""Calibrate the verdict: good pairs, and pairs that are wrong on purpose, are registered and judged.

    python experiments/verdicts.py LABELS OUT [--sessions BIDS_DIR] [--kinds mirrored noisy] [--most 2]
    python experiments/verdicts.py LABELS OUT --judge

LABELS holds anat-XX_dseg.nii.gz (FreeSurfer's values, 1 mm, 500 and above outside of the brain). Of each head scans of
3 mm are simulated in all kinds of verdict_cases.py, prealigned as the app does with `--sloppy`, registered on voxels of
4 mm, and measured as a pair of the app. Of the kinds of masks only the mask is wrong: the transform is that of a plain
pair. Where the scans lie as the plain ones do, the rigid alignment is theirs. `--sessions` takes the raw T1w and T2w of
real sessions beside them, with the full prealignment. What is there already is not made again; `--judge` makes nothing,
and judges what is there.

A case is wrong when its kind says so, or when its points miss their true places by more than 2 mm in the mean; with
less than 1.5 mm it is good, and in between neither. Nor is one whose affine was spoilt, where the solver made up for
it. Heads with odd numbers (and subjects whose names end so) are there to set thresholds by, the others to judge them.
Prints Markdown: for each kind the verdicts, for each number its range in good and in wrong cases, and sensitivity and
false alarms with Wilson's intervals of 95 %.
"""

from __future__ import annotations

import functools
import json
import os
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import chdir
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from common import head, new_parser, row
from scipy import ndimage as ndi
from verdict_cases import KINDS, Anatomy, Kind, Scans, scan
from verdict_sessions import Session, find_sessions, pairs_of

from bidsreg.bids.images import load_image
from bidsreg.pair import cli as pair_command
from bidsreg.preparation.prealign import prealign
from bidsreg.qc.facts import RegistrationFiles, gather_facts
from bidsreg.qc.verdict import CHECKS, STATUSES, judge, read_thresholds
from bidsreg.registration.atomic import atomic_folder, write_text
from bidsreg.registration.deformation import Deformation
from bidsreg.registration.itk import read_affine, write_affine

#: Mean error (mm) at known points above which a result is wrong, and below which it is good.
WRONG_MM, GOOD_MM = 2.0, 1.5
WORKING_MM = '4'
FILES = ('fixed', 'moving', 'mask', 'second')


# ---------------------------------------------------------------------------------------------------- making
def make_case(
    scans: Scans,
    folder: Path,
    facts: dict[str, Any],
    *,
    rigid: Path | None = None,
    matrix: np.ndarray | None = None,
    sloppy: bool = False,
) -> None:
    """Prealign and register a pair and keep its files; `rigid` and `matrix`, where given, are not searched."""
    with atomic_folder(folder) as hidden, chdir(hidden):
        for name in FILES:
            nib.save(getattr(scans, name), f'{name}.nii.gz')
        found = align('rigid', sloppy) if rigid is None else read_affine(rigid)
        write_affine('rigid.txt', found)
        nib.save(carried(scans.mask, found, scans.moving), 'moving_mask.nii.gz')
        write_affine('affine.txt', align('affine', sloppy) if matrix is None else matrix)
        words = ['fixed.nii.gz', 'moving.nii.gz', '--fixed-mask', 'mask.nii.gz', '--moving-mask', 'moving_mask.nii.gz']
        words += ['--affine', 'affine.txt', '--working-resolution', WORKING_MM, '--threads', '1', '--device', 'cpu']
        if pair_command.main([*words, '--quiet', '--out', 'out']):
            raise RuntimeError(f'{folder.name}: bidsreg-pair failed')
        Path('case.json').write_text(json.dumps(facts | {'error_mm': error_of(scans)}))


def align(stage: str, sloppy: bool) -> np.ndarray:
    """Align the scans in the present folder: whole heads rigidly, then the brains in their masks, from there."""
    inside: dict[str, Any] = {}
    if stage == 'affine':
        inside = {'fixed_mask': 'mask.nii.gz', 'moving_mask': 'moving_mask.nii.gz', 'initial': 'rigid.txt'}
    return prealign('fixed.nii.gz', 'moving.nii.gz', stage=stage, sloppy=sloppy, **inside)[0]


def carried(mask: nib.Nifti1Image, matrix: np.ndarray, moving: nib.Nifti1Image) -> nib.Nifti1Image:
    """Bring the mask of the T1w onto the grid of the T2w."""
    way = np.linalg.inv(mask.affine) @ np.linalg.inv(matrix) @ moving.affine
    values = ndi.affine_transform(np.asarray(mask.dataobj, np.float32), way[:3, :3], way[:3, 3], moving.shape, order=1)
    return nib.Nifti1Image((values > 0.5).astype(np.uint8), moving.affine)


def error_of(scans: Scans) -> float | None:
    """Return the mean error (mm) at the known points, if any, of the transform in the present folder."""
    if scans.points is None:
        return None
    found = Deformation.load('out/forward.h5', 'out/inverse.h5').points(scans.points[:, :3])
    return float(np.linalg.norm(found - scans.points[:, 3:], axis=1).mean())


def link_case(scans: Scans, plain: Path, folder: Path, facts: dict[str, Any]) -> None:
    """Keep a case of which the mask alone differs from the plain one."""
    with atomic_folder(folder) as hidden:
        for name in ('fixed.nii.gz', 'moving.nii.gz', 'second.nii.gz', 'rigid.txt', 'affine.txt', 'out'):
            os.symlink(Path('..') / plain.name / name, hidden / name)
        nib.save(scans.mask, hidden / 'mask.nii.gz')
        nib.save(carried(scans.mask, read_affine(plain / 'rigid.txt'), scans.moving), hidden / 'moving_mask.nii.gz')
        error = json.loads((plain / 'case.json').read_text())['error_mm']
        (hidden / 'case.json').write_text(json.dumps(facts | {'error_mm': error}))


@functools.lru_cache(maxsize=4)
def anatomy_of(path: Path) -> Anatomy:
    """Read a head; the last ones stay in memory."""
    return Anatomy(path)


def heads_of(number: int, kind: Kind, paths: Sequence[Path], most: int | None) -> list[int]:
    """Return which heads a kind is made of: as many odd as even ones, others for each kind."""
    count = min(kind.heads, len(paths), most or kind.heads)
    return [(2 * number + place) % len(paths) for place in range(count)]


def make_all(paths: Sequence[Path], out: Path, names: Sequence[str], most: int | None) -> None:
    """Make all cases of the heads that are not there yet, the plain ones first: others take their alignment."""
    for name in names:
        kind, number = KINDS[name], list(KINDS).index(name)
        for at in heads_of(number, kind, paths, most):
            folder = out / f'{name.replace(" ", "_")}-{paths[at].name[5:7]}'
            if folder.exists():
                continue
            anatomy = anatomy_of(paths[at])
            other = anatomy_of(paths[(at + 1) % len(paths)]) if kind.other else None
            began = time.process_time()
            make_one(anatomy, other, number, name, out, folder)
            error = json.loads((folder / 'case.json').read_text())['error_mm']
            print(f'{folder.name}: {time.process_time() - began:.1f} CPU s, error {error} mm', flush=True)


def make_one(anatomy: Anatomy, other: Anatomy | None, number: int, name: str, out: Path, folder: Path) -> None:
    """Make one case."""
    kind, plain = KINDS[name], out / f'plain-{anatomy.number:02d}'
    rng = np.random.default_rng([anatomy.number, number, 1])
    as_plain = kind.mask_alone or kind.spoil is not None
    scans = scan(anatomy, kind.look, (anatomy.number, 0 if as_plain else number), other)
    same_place = (
        plain.exists()
        and other is None
        and scans.moving.affine[0, 0] == load_image(plain / 'moving.nii.gz').affine[0, 0]
    )
    scans = kind.change(scans, rng)
    facts = {'kind': name, 'head': anatomy.number, 'wrong': kind.wrong}
    if kind.mask_alone:
        link_case(scans, plain, folder, facts)
        return
    matrix = kind.spoil(read_affine(plain / 'affine.txt'), rng) if kind.spoil else None
    # where the scans lie as the plain ones do, so does their rigid alignment
    rigid = plain / 'rigid.txt' if same_place and scans.points is not None else None
    make_case(scans, folder, facts, rigid=rigid, matrix=matrix, sloppy=True)


#: What real sessions are made of: their own T2w, another session's, another person's, and changes of the first.
REAL = {'real': 'plain', 'real, another session': 'plain', 'real, another head': 'another head'} | {
    f'real, {name}': name
    for name in (
        'mirrored',
        'z longer by 5 %',
        'noise alone',
        'wider mask',
        'tighter mask',
        *(n for n in KINDS if n.startswith('mask ')),
    )
}


def make_real(sessions: Sequence[Session], out: Path) -> None:
    """Make all cases of real sessions that are not there yet."""
    for number, (name, model) in enumerate(REAL.items()):
        kind = KINDS[model]
        pairs = [(one, one) for one in sessions]
        if name.startswith('real, another'):
            pairs = pairs_of(sessions, same=name.endswith('session'))
        for fixed, moving in pairs:
            folder = out / f'{name.replace(" ", "_")}-{fixed.name}-{moving.name}'
            if folder.exists():
                continue
            rng = np.random.default_rng([number, int(fixed.subject)])
            scans = kind.change(fixed.scans(moving), rng)
            facts = {'kind': name, 'head': int(fixed.subject), 'wrong': bool(kind.wrong)}
            if kind.mask_alone:
                link_case(scans, out / f'real-{fixed.name}-{fixed.name}', folder, facts)
            else:
                make_case(scans, folder, facts)
            print(folder.name, flush=True)


# ---------------------------------------------------------------------------------------------------- judging
@dataclass(frozen=True)
class Case:
    """A case that has been measured: its kind, its head's number, whether it is wrong, and its facts."""

    kind: str
    head: int
    wrong: bool | None
    facts: dict[str, Any]

    @property
    def judged(self) -> bool:
        """It is one of those that judge the thresholds, not of those that set them."""
        return self.head % 2 == 0


def measure_case(folder: Path) -> Case:
    """Gather the facts of a case, as the app does; those that are there already are read."""
    case = json.loads((folder / 'case.json').read_text())
    kept = folder / 'facts.json'
    if not kept.exists():
        scans = {name: folder / f'{name}.nii.gz' for name in ('fixed', 'moving', 'moving_mask')}
        own_mask = 'mask' in case['kind']
        files = RegistrationFiles(
            result=folder / 'out/result.json',
            affine=folder / 'affine.txt',
            fixed_mask=folder / 'mask.nii.gz',
            second_mask=folder / 'second.nii.gz' if own_mask else None,
            warped=folder / 'out/warped.nii.gz',
            **scans,
        )
        write_text(kept, json.dumps(gather_facts(files)))
    return Case(case['kind'], case['head'], truth_of(case), json.loads(kept.read_text()))


def truth_of(case: Mapping[str, Any]) -> bool | None:
    """Tell whether a case is wrong: by its kind, or by its error; None where that is between good and wrong."""
    error, kind = case['error_mm'], KINDS.get(case['kind'])
    if case['wrong'] is not None or error is None:
        return case['wrong']
    if error > WRONG_MM:
        return True
    return None if error >= GOOD_MM or (kind and kind.spoil) else False


def wilson(hits: int, of: int) -> tuple[float, float]:
    """Return Wilson's interval (1927) of 95 % for a share."""
    if of == 0:
        return 0.0, 1.0
    z, share = 1.959964, hits / of
    middle, half = share + z**2 / (2 * of), z * np.sqrt(share * (1 - share) / of + z**2 / (4 * of**2))
    return max(float((middle - half) / (1 + z**2 / of)), 0.0), min(float((middle + half) / (1 + z**2 / of)), 1.0)


def share_of(hits: int, of: int) -> str:
    """Say a share and its interval, percent."""
    low, high = wilson(hits, of)
    return f'{hits} of {of}' + (f' ({100 * hits / of:.0f} %, {100 * low:.0f} to {100 * high:.0f} %)' if of else '')


def print_kinds(cases: Sequence[Case]) -> None:
    """Print for each kind how many cases have which verdict, and which checks spoke."""
    print(head('kind', 'cases', 'wrong', *STATUSES, 'checks that spoke'))
    for kind in dict.fromkeys(case.kind for case in cases):
        of_kind = [case for case in cases if case.kind == kind]
        verdicts = [judge(case.facts) for case in of_kind]
        statuses = Counter(verdict.status for verdict in verdicts)
        spoke = Counter(name for v in verdicts for name, check in v.checks.items() if check.status != 'PASS')
        wrong = sum(case.wrong is True for case in of_kind)
        words = ', '.join(f'`{name}` {count}' for name, count in spoke.most_common(4))
        print(row(kind, len(of_kind), wrong, *(statuses[status] for status in STATUSES), words))


def print_ranges(cases: Sequence[Case]) -> None:
    """Print the range of each number in good cases and in wrong ones, of the heads that set the thresholds."""
    print('\n' + head('check', 'good', 'wrong', 'threshold'))
    for name, check in CHECKS.items():
        cells = []
        for wrong in (False, True):
            values = [check.value(case.facts) for case in cases if case.wrong is wrong and not case.judged]
            known = [value for value in values if value is not None]
            cells.append(f'{min(known):.3g} to {max(known):.3g}' if known else '')
        print(row(f'`{name}`', *cells, read_thresholds()[name]))


def print_shares(cases: Sequence[Case]) -> None:
    """Print sensitivity and false alarms of both groups of heads, and the cases that were judged wrongly."""
    print('\n' + head('cases', 'wrong, not PASS', 'wrong, FAIL', 'good, CHECK', 'good, FAIL', 'PASS, wrong'))
    for words, judged in (('that set thresholds', False), ('that judge', True)):
        known = [case for case in cases if case.judged is judged and case.wrong is not None]
        wrong, good = ([judge(case.facts).status for case in known if case.wrong is kind] for kind in (True, False))
        cells = [share_of(len(wrong) - wrong.count('PASS'), len(wrong)), share_of(wrong.count('FAIL'), len(wrong))]
        cells += [share_of(good.count(status), len(good)) for status in ('CHECK', 'FAIL')]
        print(row(words, *cells, share_of(wrong.count('PASS'), (wrong + good).count('PASS'))))
    for case in cases:
        status = judge(case.facts).status
        if (case.wrong is True and status == 'PASS') or (case.wrong is False and status != 'PASS'):
            group = 'judges' if case.judged else 'sets'
            print(f'\n{case.kind}, head {case.head} ({group}): {status}. ' + ' '.join(judge(case.facts).reasons))


def main(argv: Sequence[str] | None = None) -> None:
    """Make what is missing, and judge."""
    parser = new_parser(__doc__)
    parser.add_argument('labels', metavar='LABELS', type=Path)
    parser.add_argument('out', metavar='OUT', type=Path)
    parser.add_argument('--kinds', nargs='+', default=list(KINDS), help='only these')
    parser.add_argument('--sessions', metavar='BIDS_DIR', type=Path, help='real sessions, sub-*/ses-*/anat')
    parser.add_argument('--most', type=int, help='heads of each kind, at most')
    parser.add_argument('--judge', action='store_true', help='make nothing')
    args = parser.parse_args(argv)
    args.out.mkdir(parents=True, exist_ok=True)
    if not args.judge and args.sessions:
        make_real(find_sessions(args.sessions, args.out.resolve() / 'sessions'), args.out.resolve())
    if not args.judge:
        make_all(sorted(args.labels.glob('anat-*_dseg.nii.gz')), args.out.resolve(), args.kinds, args.most)
    cases = [measure_case(path.parent) for path in sorted(args.out.glob('*/case.json'))]
    print_kinds(cases)
    print_ranges(cases)
    print_shares(cases)


if __name__ == '__main__':
    main()
