#!/usr/bin/env python3
"""Calibrate the verdict: good pairs, and pairs that are wrong on purpose, are registered and judged.

    python experiments/verdicts.py LABELS OUT [--sessions BIDS_DIR] [--kinds mirrored noisy] [--most 2]
    python experiments/verdicts.py LABELS OUT --judge [--again]

LABELS holds anat-XX_dseg.nii.gz (FreeSurfer's values, 1 mm, 500 and above outside of the brain). Of each head scans of
3 mm are simulated in all kinds of verdict_kinds.py, prealigned as the app does with `--sloppy`, registered on voxels of
4 mm, and measured as a pair of the app. Of the kinds of masks only the mask is wrong: the transform is that of a plain
pair. Where the scans lie as the plain ones do, the rigid alignment is theirs. `--sessions` takes the raw T1w and T2w of
real sessions beside them, with the full prealignment. What is there already is not made again, so the script can be
stopped at any time; `--judge` makes nothing, and judges what is there, `--again` measures its numbers anew.

A case is wrong when its kind says so, or when its points miss their true places by more than 2 mm in the mean; with
less than 1.5 mm it is good, and in between neither. Nor is one whose affine was spoilt, where the solver made up for
it, or one distorted more than scanners do. The true places of a real session are those that its own plain pair has
found. Heads with odd numbers (and subjects whose names end so) are there to set thresholds by, the others to judge
them; another head is one of the same group.
Kinds beyond those have other contrasts, grids, heads and views (verdict_draws.py); `--visits 4` makes good ones
in four places, `--roles judges` those that judge alone.
Prints Markdown: for each kind the verdicts, for each number its range in good and in wrong cases, and sensitivity and
false alarms, of each contrast as well, with Wilson's intervals of 95 %. OUT/cases.tsv has a line for each case.
"""

from __future__ import annotations

import functools
import itertools
import json
import os
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import chdir
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from common import head, new_parser, row
from scipy import ndimage as ndi
from verdict_cases import POINTS, Anatomy, Scans, scan
from verdict_kinds import KINDS, REAL, Kind
from verdict_sessions import Session, find_sessions, pairs_of

from bidsreg.bids.images import load_image
from bidsreg.bids.names import Contrasts
from bidsreg.errors import InputError
from bidsreg.pair import cli as pair_command
from bidsreg.preparation.linear import choose_linear
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
#: What cases are for: that of odd heads, and that of even ones.
ROLES = ('sets', 'judges')


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
        write_affine('affine.txt', kept(found, align('affine', sloppy)) if matrix is None else matrix)
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


def kept(rigid: np.ndarray, affine: np.ndarray) -> np.ndarray:
    """Return the matrix of the scans in the present folder that the app would keep."""
    choice = choose_linear('fixed.nii.gz', 'moving.nii.gz', rigid=rigid, affine=affine, fixed_mask='mask.nii.gz')
    return {'rigid': rigid, 'affine': affine}[choice.kept]


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
        if error is None and scans.points is not None:
            error = 0.0  # the plain pair itself has found these points
        (hidden / 'case.json').write_text(json.dumps(facts | {'error_mm': error}))


@functools.lru_cache(maxsize=16)
def anatomy_of(path: Path) -> Anatomy:
    """Read a head; all of them stay in memory."""
    return Anatomy(path)


def heads_of(number: int, kind: Kind, paths: Sequence[Path], most: int | None, roles: Sequence[str]) -> list[int]:
    """Return which heads a kind is made of: as many odd as even ones, others for each kind; of these roles."""
    count = min(kind.heads, len(paths), most or kind.heads)
    places = [(2 * number + place) % len(paths) for place in range(count)]
    return [at for at in places if ROLES[number_of(paths[at]) % 2 == 0] in roles]


def number_of(path: Path) -> int:
    """Return the number of a head."""
    return int(path.name[5:7])


def make_all(
    paths: Sequence[Path], out: Path, names: Sequence[str], most: int | None, visits: int, roles: Sequence[str]
) -> None:
    """Make all cases of the heads that are not there yet, the plain ones first: others take their alignment."""
    for visit, name in itertools.product(range(visits), names):
        kind, number = KINDS[name], list(KINDS).index(name)
        base = list(KINDS).index(kind.base)
        first = base or number  # other contrasts take the heads that there is a good pair of
        for at in heads_of(first, kind, paths, most, roles) if visit < kind.visits else ():
            folder = out / f'{folder_name(name)}-{number_of(paths[at]):02d}-{visit}'
            if folder.exists():
                continue
            anatomy = anatomy_of(paths[at])
            # of the same group: a head that judges must not have set a threshold
            other = anatomy_of(paths[(at + 2) % len(paths)]) if kind.other else None
            seed = anatomy.number, base if kind.mask_alone or kind.spoil else number, visit
            look = kind.drawn(np.random.default_rng([*seed, 3])) if kind.drawn else kind.look
            scans = scan(anatomy, look, seed, other, visit=100 * base + visit)
            rng = np.random.default_rng([anatomy.number, number, 1, visit])
            plain = out / f'{folder_name(kind.base)}-{anatomy.number:02d}-{visit}'
            make_one(name, kind, scans, rng, plain, folder, sloppy=True, head=anatomy.number)


def make_real(sessions: Sequence[Session], out: Path) -> None:
    """Make all cases of real sessions that are not there yet."""
    for number, (name, kind) in enumerate(REAL.items()):
        pairs = [(one, one) for one in sessions]
        if name.startswith('real, another'):
            pairs = pairs_of(sessions, same=name.endswith('session'))
        for fixed, moving in pairs:
            folder, plain = (
                out / f'{folder_name(name)}-{fixed.name}-{moving.name}',
                out / f'real-{fixed.name}-{fixed.name}',
            )
            if folder.exists():
                continue
            rng = np.random.default_rng([number, int(fixed.subject)])
            scans = fixed.scans(moving)
            if kind.wrong is None:
                scans = replace(scans, points=found_points(plain, rng))
            make_one(name, kind, scans, rng, plain, folder, sloppy=False, head=int(fixed.subject))


def folder_name(kind: str) -> str:
    """Return the name of a kind without spaces."""
    return kind.replace(' ', '_')


def make_one(
    name: str,
    kind: Kind,
    scans: Scans,
    rng: np.random.Generator,
    plain: Path,
    folder: Path,
    *,
    sloppy: bool,
    head: int,
) -> None:
    """Make one case of scans that nothing has been done to yet, beside the plain one of the same scans."""
    began = time.process_time()
    scans = kind.change(scans, rng)
    facts = {'kind': name, 'head': head, 'wrong': kind.wrong, 'contrast': kind.contrast}
    if kind.mask_alone:
        link_case(scans, plain, folder, facts)
    else:
        matrix = kind.spoil(read_affine(plain / 'affine.txt'), rng) if kind.spoil else None
        # where the scans lie as the plain ones do, so does their rigid alignment
        rigid = plain / 'rigid.txt' if lies_as(scans, plain) else None
        try:
            make_case(scans, folder, facts, rigid=rigid, matrix=matrix, sloppy=sloppy)
        except (InputError, RuntimeError) as error:
            with atomic_folder(folder) as hidden:
                (hidden / 'case.json').write_text(json.dumps(facts | {'error_mm': None, 'refused': str(error)}))
    case = json.loads((folder / 'case.json').read_text())
    said = case.get('refused') or f'error {case["error_mm"]} mm'
    print(f'{folder.name}: {time.process_time() - began:.1f} CPU s, {said}', flush=True)


def lies_as(scans: Scans, plain: Path) -> bool:
    """Tell whether the head of the T2w lies where that of a plain pair does."""
    if scans.points is None or not plain.exists():
        return False
    # the first voxel tells: where it lies does not depend on the size of the voxels
    return np.array_equal(scans.moving.affine[:3, 3], load_image(plain / 'moving.nii.gz').affine[:3, 3])


def found_points(folder: Path, rng: np.random.Generator) -> np.ndarray:
    """Return points (N, 6) of the brain in the T1w, and where the pair in a folder has found them in the T2w, mm."""
    mask = load_image(folder / 'mask.nii.gz')
    inside = np.argwhere(np.asanyarray(mask.dataobj) > 0)
    points = nib.affines.apply_affine(mask.affine, inside[rng.choice(len(inside), POINTS, replace=False)])
    return np.hstack([points, Deformation.load(folder / 'out/forward.h5', folder / 'out/inverse.h5').points(points)])


# ---------------------------------------------------------------------------------------------------- judging
@dataclass(frozen=True)
class Case:
    """A case: kind, its head's number, whether it is wrong, facts, contrast, or why it was refused: then it fails."""

    kind: str
    head: int
    wrong: bool | None
    facts: dict[str, Any]
    contrast: str = 'T2w'
    refused: str = ''

    @functools.cached_property
    def status(self) -> str:
        """The verdict."""
        return 'FAIL' if self.refused else judge(self.facts).status

    @functools.cached_property
    def spoke(self) -> dict[str, float]:
        """The checks that are not PASS, with their numbers."""
        checks = {} if self.refused else judge(self.facts).checks
        return {name: check.value for name, check in checks.items() if check.sentence}

    @property
    def reasons(self) -> list[str]:
        """The sentences of these."""
        return [self.refused] if self.refused else judge(self.facts).reasons

    @property
    def judged(self) -> bool:
        """It is one of those that judge the thresholds, not of those that set them."""
        return self.head % 2 == 0


def measure_case(folder: Path, again: bool = False) -> Case:
    """Gather the facts of a case, as the app does; those that are there already are read, but for `again`."""
    case = json.loads((folder / 'case.json').read_text())
    contrast = case.get('contrast', 'T2w')
    known = case['kind'], case['head'], truth_of(case)
    if 'refused' in case:
        return Case(*known, {}, contrast, case['refused'])
    kept = folder / 'facts.json'
    if again or not kept.exists():
        scans = {name: folder / f'{name}.nii.gz' for name in ('fixed', 'moving', 'moving_mask')}
        own_mask = 'mask' in case['kind']
        files = RegistrationFiles(
            result=folder / 'out/result.json',
            affine=folder / 'affine.txt',
            fixed_mask=folder / 'mask.nii.gz',
            second_mask=folder / 'second.nii.gz' if own_mask else None,
            forward=folder / 'out/forward.h5',
            warped=folder / 'out/warped.nii.gz',
            **scans,
        )
        write_text(kept, json.dumps(gather_facts(files, contrasts=Contrasts(moving=contrast))))
    return Case(*known, json.loads(kept.read_text()), contrast)


def truth_of(case: Mapping[str, Any]) -> bool | None:
    """Tell whether a case is wrong: by its kind, or by its error; None where that is between good and wrong."""
    error, kind = case['error_mm'], {**KINDS, **REAL}.get(case['kind'])
    if case['wrong'] is not None or error is None:
        return case['wrong']
    if error > WRONG_MM:
        return True
    return None if error >= GOOD_MM or (kind and not kind.good) else False


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
        statuses = Counter(case.status for case in of_kind)
        spoke = Counter(name for case in of_kind for name in case.spoke)
        wrong = sum(case.wrong is True for case in of_kind)
        words = ', '.join(f'`{name}` {count}' for name, count in spoke.most_common(4))
        print(row(kind, len(of_kind), wrong, *(statuses[status] for status in STATUSES), words))


def print_ranges(cases: Sequence[Case]) -> None:
    """Print the range of each number in good cases and in wrong ones, of the heads that set the thresholds.

    A number says something of some kinds of faults only: the range of wrong ones overlaps with that of good ones.
    """
    print('\n' + head('check', 'good', 'wrong', 'threshold'))
    for name, check in CHECKS.items():
        cells = []
        for wrong in (False, True):
            values = [check.value(case.facts) for case in cases if case.wrong is wrong and not case.judged]
            known = [value for value in values if value is not None]
            cells.append(f'{min(known):.3g} to {max(known):.3g}' if known else '')
        print(row(f'`{name}`', *cells, read_thresholds()[name]))


def print_shares(cases: Sequence[Case]) -> None:
    """Print sensitivity and false alarms of both groups of heads, of each contrast, and what was judged wrongly."""
    print('\n' + head('cases', 'wrong, not PASS', 'wrong, FAIL', 'good, CHECK', 'good, FAIL', 'PASS, wrong'))
    contrasts = list(dict.fromkeys(sorted((case.contrast for case in cases), key=lambda name: name != 'T2w')))
    groups = itertools.product((False, True), [None, *contrasts] if len(contrasts) > 1 else [None])
    for judged, contrast in groups:
        words = ('that judge' if judged else 'that set thresholds') + (f', {contrast}' if contrast else '')
        of_group = [case for case in cases if case.judged is judged and contrast in (None, case.contrast)]
        known = [case for case in of_group if case.wrong is not None]
        wrong, good = ([case.status for case in known if case.wrong is kind] for kind in (True, False))
        cells = [share_of(len(wrong) - wrong.count('PASS'), len(wrong)), share_of(wrong.count('FAIL'), len(wrong))]
        cells += [share_of(good.count(status), len(good)) for status in ('CHECK', 'FAIL')]
        print(row(words, *cells, share_of(wrong.count('PASS'), (wrong + good).count('PASS'))))
    for case in cases:
        if (case.wrong is True and case.status == 'PASS') or (case.wrong is False and case.status != 'PASS'):
            group = 'judges' if case.judged else 'sets'
            print(f'\n{case.kind}, head {case.head} ({group}): {case.status}. ' + ' '.join(case.reasons))


def write_rows(cases: Sequence[Case], path: Path) -> None:
    """Write a line for each case: what it is, its verdict, and the checks that are not PASS."""
    lines = ['kind\thead\trole\twrong\tverdict\tchecks']
    for case in cases:
        spoke = ','.join(f'{name}={value:.3g}' for name, value in case.spoke.items())
        truth = {True: 'yes', False: 'no', None: 'n/a'}[case.wrong]
        role = 'judges' if case.judged else 'sets'
        lines.append('\t'.join([case.kind, str(case.head), role, truth, case.status, spoke or 'n/a']))
    write_text(path, '\n'.join(lines) + '\n')


def main(argv: Sequence[str] | None = None) -> None:
    """Make what is missing, and judge."""
    parser = new_parser(__doc__)
    parser.add_argument('labels', metavar='LABELS', type=Path)
    parser.add_argument('out', metavar='OUT', type=Path)
    parser.add_argument('--kinds', nargs='+', default=list(KINDS), help='only these')
    parser.add_argument('--sessions', metavar='BIDS_DIR', type=Path, help='real sessions, sub-*/ses-*/anat')
    parser.add_argument('--most', type=int, help='heads of each kind, at most')
    parser.add_argument('--visits', type=int, default=1, help='pairs of scans of each head in good kinds, at most')
    parser.add_argument('--judge', action='store_true', help='make nothing')
    parser.add_argument('--again', action='store_true', help='measure the numbers of all cases anew')
    parser.add_argument('--roles', nargs='+', default=list(ROLES), choices=ROLES, help='of simulated heads, only these')
    args = parser.parse_args(argv)
    args.out.mkdir(parents=True, exist_ok=True)
    if not args.judge and args.sessions:
        make_real(find_sessions(args.sessions, args.out.resolve() / 'sessions'), args.out.resolve())
    if not args.judge:
        paths = sorted(args.labels.glob('anat-*_dseg.nii.gz'))
        make_all(paths, args.out.resolve(), args.kinds, args.most, args.visits, args.roles)
    cases = [measure_case(path.parent, args.again) for path in sorted(args.out.glob('*/case.json'))]
    write_rows(cases, args.out / 'cases.tsv')
    print_kinds(cases)
    print_ranges(cases)
    print_shares(cases)


if __name__ == '__main__':
    main()
