#!/usr/bin/env python3
"""Calibrate the verdict on normalisations: good ones, and such as are wrong on purpose, to the template of nilearn.

    python experiments/normalisations.py LABELS OUT [--kinds plain noisy] [--most 2] [--voxel 3]
    python experiments/normalisations.py LABELS OUT --judge [--again]

LABELS holds anat-XX_dseg.nii.gz (FreeSurfer's values, 1 mm, 500 and above outside of the brain). Of each head a T1w and
a T2w are simulated in all kinds of normalisation_kinds.py, each normalised by itself as the app does it, spoilt where
the kind says so, registered and measured. What is there already is not made again, so the script can be stopped at any
time; `--judge` makes nothing, and judges what is there; `--again` measures its numbers anew.

A case is wrong when its kind says so. Where the affine was spoilt the map tells: wrong when it leads the template's
brain to places that are more than 4 mm from those of the plain case of the same scan, in the mean; else the solver has
made up for it, and the case is neither. Heads with odd numbers are there to set thresholds by, the others to judge.
Prints Markdown: for each kind the verdicts, for each number its range in good and in wrong cases, and how many were
told, with Wilson's intervals of 95 %.
"""

from __future__ import annotations

import functools
import itertools
import json
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import chdir
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from common import head as table_head
from common import new_parser, row
from normalisation_kinds import KINDS, VOXELS, Kind, Scan, scan_of
from verdict_cases import Anatomy
from verdicts import share_of

from bidsreg.bids.headers import load_sane
from bidsreg.bids.images import load_image
from bidsreg.bids.spaces import parse_spaces
from bidsreg.errors import InputError
from bidsreg.pair import cli as pair_command
from bidsreg.preparation.prealign import prealign
from bidsreg.preparation.spaces import bring, bring_mask, cut_out, pulling, scaling, sized
from bidsreg.qc.normalisation import NORMALISATION_CHECKS, NormalisationFiles, gather_normalisation, judge_normalisation
from bidsreg.qc.symmetry import thinned
from bidsreg.qc.verdict import STATUSES
from bidsreg.registration.atomic import atomic_folder, write_text
from bidsreg.registration.itk import read_affine, write_affine
from bidsreg.templates.prepare import make_template

#: Mean distance (mm) from where the plain case's map leads, above which a spoilt one is wrong.
WRONG_MM = 4.0
#: The finest grid of the solver, mm.
WORKING_MM = '4'
#: Points of the template's brain at which that is measured.
POINTS = 2000


# ---------------------------------------------------------------------------------------------------- making
def coarse_template(folder: Path, voxel: float) -> Scan:
    """Return the template of nilearn and its mask with wider voxels (mm)."""
    made = make_template(parse_spaces(['MNI'])[0], Path(), folder)
    image, mask = load_sane(made.image), load_sane(made.mask)
    if voxel <= max(nib.affines.voxel_sizes(image.affine)):
        return image, mask
    thin = thinned(mask, voxel)
    return thinned(image, voxel), nib.Nifti1Image((thin.get_fdata() >= 0.5).astype(np.uint8), thin.affine)


def make_case(
    kind: Kind, scan: Scan, template: Scan, plain: Path | None, folder: Path, facts: Mapping[str, Any]
) -> None:
    """Normalise one case and keep its files and facts."""
    images = dict(zip(('scan', 'mask'), kind.change(*scan), strict=True))
    images |= dict(zip(('template', 'template_mask'), kind.template(*template), strict=True))
    with atomic_folder(folder) as hidden, chdir(hidden):
        for name, image in images.items():
            nib.save(image, f'{name}.nii.gz')
        if plain is not None:
            write_affine('rigid.txt', read_affine(plain / 'rigid.txt'))
        if plain is None or kind.spoil is None:
            align()
        else:
            spoil = _about(kind.spoil, images['template_mask'])
            write_affine('affine.txt', read_affine(plain / 'affine.txt') @ spoil)
        words = ['template.nii.gz', 'scan.nii.gz', '--fixed-mask', 'template_mask.nii.gz']
        words += ['--moving-mask', 'mask.nii.gz', '--affine', 'affine.txt', '--method', 'node-mind-inter']
        words += ['--threads', '1', '--device', 'cpu', '--working-resolution', WORKING_MM]
        if pair_command.main([*words, '--quiet', '--out', 'out']):
            raise RuntimeError(f'{folder.name}: bidsreg-pair failed')
        error = _away(plain / 'out/forward.h5', images['template_mask']) if plain and kind.spoil is not None else None
        Path('case.json').write_text(json.dumps({**facts, 'error_mm': error}))


def align() -> None:
    """Find rigid, unless it is there, and affine of the scan in the present folder, as the app does it."""
    for name, mask in (('template', 'template_mask'), ('scan', 'mask')):
        cut_out(f'{name}.nii.gz', f'{mask}.nii.gz').to_filename(f'{name}_brain.nii')
    scaled = scaling(load_image('template_mask.nii.gz'), load_image('mask.nii.gz'))
    sized(load_image('scan_brain.nii'), scaled).to_filename('sized_brain.nii')
    if not Path('rigid.txt').exists():
        write_affine('rigid.txt', prealign('template_brain.nii', 'sized_brain.nii', stage='rigid')[0])
    write_affine('start.txt', scaled @ read_affine('rigid.txt'))
    masks: dict[str, Any] = {'fixed_mask': 'template_mask.nii.gz', 'moving_mask': 'mask.nii.gz'}
    found = prealign('template_brain.nii', 'scan_brain.nii', stage='affine', initial='start.txt', **masks)[0]
    write_affine('affine.txt', found)
    for name in ('template_brain', 'scan_brain', 'sized_brain'):
        Path(f'{name}.nii').unlink()


def _inside(mask: nib.Nifti1Image) -> np.ndarray:
    """Return the places of a mask's voxels, mm."""
    return nib.affines.apply_affine(mask.affine, np.argwhere(np.asanyarray(mask.dataobj) > 0))


def _about(matrix: np.ndarray, mask: nib.Nifti1Image) -> np.ndarray:
    """Return a matrix about the middle of a mask instead of the origin."""
    shift = np.eye(4)
    shift[:3, 3] = _inside(mask).mean(0)
    return shift @ matrix @ np.linalg.inv(shift)


def _away(plain: Path, mask: nib.Nifti1Image) -> float:
    """Return how far (mm, mean) the map in the present folder leads from where that of a plain case leads."""
    places = _inside(mask)
    chosen = places[np.random.default_rng(0).choice(len(places), POINTS, replace=False)]
    ends = [pulling(path).points(chosen) for path in (Path('out/forward.h5'), plain)]
    return float(np.linalg.norm(ends[0] - ends[1], axis=1).mean())


@functools.lru_cache(maxsize=4)
def anatomy_of(path: Path) -> Anatomy:
    """Read a head; the last ones stay in memory."""
    return Anatomy(path)


def heads_of(number: int, kind: Kind, paths: Sequence[Path], most: int | None) -> list[int]:
    """Return which heads a kind is made of: as many odd as even ones, others for each kind."""
    count = min(kind.heads, len(paths), most or kind.heads)
    return [(2 * number + place) % len(paths) for place in range(count)]


def folder_name(kind: str, head: int, contrast: str) -> str:
    """Return the name of a case's folder."""
    return f'{kind.replace(",", "").replace(" ", "_")}-{head:02d}-{contrast}'


def make_all(paths: Sequence[Path], out: Path, names: Sequence[str], most: int | None, voxel: float) -> None:
    """Make all cases that are not there yet, one of each kind before the second of any: so a part of them is of use."""
    template = coarse_template(out / 'template', voxel)
    lists = [heads_of(list(KINDS).index(name), KINDS[name], paths, most) for name in names]
    contrasts = list(VOXELS)
    # heads that set thresholds and heads that judge by turns, too
    rounds = itertools.product(range(0, max(map(len, lists)), 2), range(len(contrasts)), range(2))
    for place, turn in ((pair + odd, turn) for pair, turn, odd in rounds):
        for name, heads in zip(names, lists, strict=True):
            if place < len(heads):
                make_one(name, paths[heads[place]], contrasts[(place + turn) % len(contrasts)], out, template)


def make_one(name: str, path: Path, contrast: str, out: Path, template: Scan) -> Path:
    """Make a case that is not there yet, and the plain one before it, if it takes an alignment of that."""
    kind, head = KINDS[name], int(path.name[5:7])
    folder = out / folder_name(name, head, contrast)
    if folder.exists():
        return folder
    plain = make_one('plain', path, contrast, out, template) if kind.lies or kind.spoil is not None else None
    began = cpu_seconds()
    facts = {'kind': name, 'head': head, 'contrast': contrast}
    seed = 0 if kind.spoil is not None else list(KINDS).index(name)
    scan = scan_of(anatomy_of(path), contrast, kind.look, seed)
    try:
        make_case(kind, scan, template, plain, folder, facts)
    except (InputError, RuntimeError) as error:  # a failed row of the app, with this reason
        with atomic_folder(folder) as hidden:
            (hidden / 'case.json').write_text(json.dumps({**facts, 'refused': str(error)}))
    print(f'{folder.name}: {cpu_seconds() - began:.1f} CPU s', flush=True)
    return folder


def cpu_seconds() -> float:
    """Return the CPU seconds of this process and of those that it has waited for."""
    return sum(os.times()[:4])


# ---------------------------------------------------------------------------------------------------- judging
@dataclass(frozen=True)
class Case:
    """A case: its kind, its head's number, the contrast, its facts; or why it was refused, which is a failed row."""

    kind: str
    head: int
    contrast: str
    error_mm: float | None
    facts: Mapping[str, Any]
    refused: str = ''

    @property
    def wrong(self) -> bool | None:
        """Whether it is wrong: by its kind, or by where its map leads; None where neither says so."""
        if KINDS[self.kind].spoil is not None and self.error_mm is not None and self.error_mm > WRONG_MM:
            return True
        return KINDS[self.kind].wrong

    @property
    def judged(self) -> bool:
        """It is one of those that judge the thresholds, not of those that set them."""
        return self.head % 2 == 0

    @functools.cached_property
    def status(self) -> str:
        """The verdict; a refused case is a failed one."""
        return 'FAIL' if self.refused else judge_normalisation(self.facts).status

    @functools.cached_property
    def values(self) -> dict[str, float]:
        """The numbers that are judged."""
        return {} if self.refused else {k: v.value for k, v in judge_normalisation(self.facts).checks.items()}

    @functools.cached_property
    def spoke(self) -> dict[str, float]:
        """Those that are not PASS."""
        checks = {} if self.refused else judge_normalisation(self.facts).checks
        return {name: check.value for name, check in checks.items() if check.status != 'PASS'}


def measure_case(folder: Path, again: bool = False) -> Case:
    """Gather the facts of a case, as the app does; those that are there already are read, but for `again`."""
    case = json.loads((folder / 'case.json').read_text())
    known = {key: case.get(key) for key in ('kind', 'head', 'contrast', 'error_mm')}
    if 'refused' in case:
        return Case(**known, facts={}, refused=case['refused'])
    kept = folder / 'facts.json'
    if again or not kept.exists():
        with chdir(folder):
            way, reference = pulling('out/forward.h5'), load_image('template.nii.gz')
            bring(way, load_image('scan.nii.gz'), reference).to_filename('warped.nii.gz')
            bring_mask(way, load_image('mask.nii.gz'), reference).to_filename('warped_mask.nii.gz')
            files = NormalisationFiles(
                template='template.nii.gz',
                template_mask='template_mask.nii.gz',
                scan='scan.nii.gz',
                scan_mask='mask.nii.gz',
                affine='affine.txt',
                rigid='rigid.txt',
                warped='warped.nii.gz',
                warped_mask='warped_mask.nii.gz',
                result='out/result.json',
            )
            write_text(Path('facts.json'), json.dumps(gather_normalisation(files)))
    return Case(**known, facts=json.loads(kept.read_text()))


def print_kinds(cases: Sequence[Case]) -> None:
    """Print for each kind how many cases have which verdict, and which checks spoke."""
    print(table_head('kind', 'cases', 'wrong', *STATUSES, 'checks that spoke'))
    for kind in [name for name in KINDS if any(case.kind == name for case in cases)]:
        mine = [case for case in cases if case.kind == kind]
        statuses = Counter(case.status for case in mine)
        spoke = Counter(name for case in mine for name in (['refused'] if case.refused else case.spoke))
        said = ', '.join(f'`{name}` {count}' for name, count in spoke.most_common(4))
        wrong = sum(case.wrong is True for case in mine)
        print(row(kind, len(mine), wrong, *(statuses[status] for status in STATUSES), said))


def print_ranges(cases: Sequence[Case]) -> None:
    """Print for each number its range in good and in wrong cases, those that set thresholds and those that judge."""
    print('\n' + table_head('number', 'good, that set', 'good, that judge', 'wrong'))
    for name in NORMALISATION_CHECKS:
        groups = [
            [
                case.values[name]
                for case in cases
                if case.wrong is wrong and judged in (None, case.judged) and case.values
            ]
            for wrong, judged in ((False, False), (False, True), (True, None))
        ]
        print(row(f'`{name}`', *(f'{min(found):.3g} to {max(found):.3g}' if found else '' for found in groups)))


def print_shares(cases: Sequence[Case]) -> None:
    """Print how many cases were told, with Wilson's intervals of 95 %."""
    print('\n' + table_head('cases', 'wrong, not PASS', 'wrong, FAIL', 'good, CHECK', 'good, FAIL'))
    for words, judged in (('that set thresholds', False), ('that judge', True)):
        wrong, good = (
            [case.status for case in cases if case.judged is judged and case.wrong is truth] for truth in (True, False)
        )
        told = (len(wrong) - wrong.count('PASS'), len(wrong)), (wrong.count('FAIL'), len(wrong))
        alarms = (good.count('CHECK'), len(good)), (good.count('FAIL'), len(good))
        print(row(words, *(share_of(*one) for one in (*told, *alarms))))


def main(argv: Sequence[str] | None = None) -> None:
    """Make the cases that are missing, and report."""
    parser = new_parser(__doc__)
    parser.add_argument('labels', type=Path)
    parser.add_argument('out', type=Path)
    parser.add_argument('--kinds', nargs='+', choices=KINDS, default=list(KINDS))
    parser.add_argument('--most', type=int, help='heads of each kind, at most')
    parser.add_argument('--voxel', type=float, default=3.0, help='mm, of the template (3)')
    parser.add_argument('--judge', action='store_true', help='make nothing')
    parser.add_argument('--again', action='store_true', help='measure the numbers of all cases anew')
    args = parser.parse_args(argv)
    out = args.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    if not args.judge:
        paths = sorted(args.labels.glob('anat-*_dseg.nii.gz'))
        make_all(paths, out, args.kinds, args.most, args.voxel)
    cases = [measure_case(path.parent, args.again) for path in sorted(out.glob('*/case.json'))]
    print_kinds(cases)
    print_ranges(cases)
    print_shares(cases)


if __name__ == '__main__':
    main()
