#!/usr/bin/env python3
"""Spoil brain masks as a network could, and see whether the verdict tells without a second mask.

    python experiments/verdicts.py LABELS OUT --kinds plain --sessions BIDS_DIR
    python experiments/own_masks.py OUT

OUT is the folder of verdicts.py: of its plain pairs, of simulated heads and of real sessions, the mask alone is
changed, and it is judged as if deepbet had made it, by the checks of the mask alone: no other mask is there to compare
it with. Masks that are some mm wider or tighter are right, and so is the mask as it is.
Prints Markdown: for each kind the verdicts and the checks that spoke; in how many cases only the two of the tissues
did (``mask_dark``, ``mask_beside``); and their ranges.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
from common import head, new_parser, row
from scipy import ndimage as ndi
from verdict_cases import image, world
from verdict_kinds import depth_of, half_of, moved_mask, without

from bidsreg.bids.headers import head_of
from bidsreg.bids.images import load_image, volume_ml
from bidsreg.qc.brain import mask_evidence, mask_tissues
from bidsreg.qc.symmetry import CoarseHead, Midplane
from bidsreg.qc.verdict import STATUSES, judge
from bidsreg.registration.itk import read_affine

TISSUES = ('mask_dark', 'mask_beside')
Spoil = Callable[[nib.Nifti1Image, np.ndarray, np.random.Generator], np.ndarray]
"""Takes the mask, where the head is (bool, of its shape) and a source of chance; returns another mask (bool)."""


def mask_alone(change: Callable[[nib.Nifti1Image, np.random.Generator], np.ndarray]) -> Spoil:
    """Return what changes a mask without a look at the head."""
    return lambda mask, whole, rng: change(mask, rng)


def with_part(where: Callable[[np.ndarray], np.ndarray]) -> Spoil:
    """Return what adds a part of the head to a mask; `where` takes places (..., 3) from the mask's centre, mm."""

    def grow(mask: nib.Nifti1Image, whole: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        inside = np.asanyarray(mask.dataobj) > 0
        places = world(mask.shape, mask.affine)
        return inside | (whole & where(places - places[inside].mean(0)))

    return grow


def _face(at: np.ndarray) -> np.ndarray:
    return (at[..., 1] > 10) & (np.abs(at[..., 2] + 45) < 30) & (np.abs(at[..., 0]) < 45)


def _eyes(at: np.ndarray) -> np.ndarray:
    return (at[..., 1] > 30) & (np.abs(at[..., 2] + 22) < 22) & (np.abs(at[..., 0]) < 50)


def _neck(at: np.ndarray) -> np.ndarray:
    return (at[..., 1] < 20) & (at[..., 2] < -40) & (np.abs(at[..., 0]) < 60)


#: Masks by what became of them, and whether they are wrong.
KINDS: Mapping[str, tuple[bool, Spoil]] = {
    'as it is': (False, mask_alone(lambda mask, rng: np.asanyarray(mask.dataobj) > 0)),
    '4 mm wider': (False, mask_alone(lambda mask, rng: depth_of(mask) > -4)),
    '4 mm tighter': (False, mask_alone(lambda mask, rng: depth_of(mask) > 4)),
    'one hemisphere': (True, mask_alone(half_of)),
    'without its front': (True, mask_alone(without(1, 1, 0.3))),
    'without its back': (True, mask_alone(without(1, -1, 0.3))),
    'without its top': (True, mask_alone(without(2, 1, 0.3))),
    'shifted by 24 mm': (True, mask_alone(moved_mask(24))),
    'grown by 12 mm': (True, mask_alone(lambda mask, rng: depth_of(mask) > -12)),
    'with the face': (True, with_part(_face)),
    'with the eyes': (True, with_part(_eyes)),
    'with the neck': (True, with_part(_neck)),
}


@dataclass(frozen=True)
class Judged:
    """One mask: its kind, the verdict, and the checks that are not PASS; what the tissues say."""

    kind: str
    status: str
    spoke: tuple[str, ...]
    dark: float | None
    beside: float | None


def plain_pairs(out: Path) -> list[Path]:
    """Return the folders of the pairs that nothing was done to."""
    kinds = {path.parent: json.loads(path.read_text())['kind'] for path in sorted(out.glob('*/case.json'))}
    return [folder for folder, kind in kinds.items() if kind in ('plain', 'real')]


@dataclass(frozen=True)
class Scans:
    """A plain pair in memory, and its head."""

    fixed: nib.Nifti1Image
    mask: nib.Nifti1Image
    warped: nib.Nifti1Image
    moving: nib.Nifti1Image
    matrix: np.ndarray
    head: CoarseHead
    plane: Midplane
    whole: np.ndarray


def read_pair(folder: Path) -> Scans:
    """Read a pair of verdicts.py."""

    def read(name: str) -> nib.Nifti1Image:
        found = load_image(folder / f'{name}.nii.gz')
        return nib.Nifti1Image(found.get_fdata(dtype=np.float32), found.affine)

    fixed = read('fixed')
    coarse = CoarseHead(fixed)
    inside = head_of(np.asarray(fixed.dataobj), nib.affines.voxel_sizes(fixed.affine))
    return Scans(
        fixed=fixed,
        mask=read('mask'),
        warped=read('out/warped'),
        moving=read('moving'),
        matrix=read_affine(folder / 'affine.txt'),
        head=coarse,
        plane=coarse.midplane(),
        whole=ndi.binary_fill_holes(inside),
    )


def judge_mask(pair: Scans, name: str, rng: np.random.Generator) -> Judged:
    """Judge a pair with a spoilt mask, and without a second one."""
    changed = np.asarray(KINDS[name][1](pair.mask, pair.whole, rng), bool)
    mask = image(changed, pair.mask.affine)
    evidence = mask_evidence(pair.fixed, mask, pair.warped, pair.head, pair.plane)
    evidence |= mask_tissues(pair.fixed, mask, pair.warped, pair.moving, pair.matrix)
    verdict = judge({'mask_evidence': evidence, 'masks': {'t1w_ml': volume_ml(changed, mask.affine)}})
    spoke = tuple(check for check, found in verdict.checks.items() if found.sentence)
    return Judged(name, verdict.status, spoke, evidence['dark_inside'], evidence['beside_mm'])


def table(found: Sequence[Judged]) -> Iterator[str]:
    """Yield the lines of the table."""
    yield head('mask', 'cases', *STATUSES, 'tissues alone', 'checks that spoke', 'dark, %', 'ball, mm')
    for kind, (wrong, _) in KINDS.items():
        of_kind = [one for one in found if one.kind == kind]
        if not of_kind:
            continue
        statuses, spoke = Counter(one.status for one in of_kind), Counter(name for one in of_kind for name in one.spoke)
        alone = sum(bool(one.spoke) and set(one.spoke) <= set(TISSUES) for one in of_kind)
        words = ', '.join(f'`{name}` {count}' for name, count in spoke.most_common(4))
        dark, ball = ([getattr(one, key) or 0.0 for one in of_kind] for key in ('dark', 'beside'))
        ranges = f'{100 * min(dark):.2f} to {100 * max(dark):.2f}', f'{min(ball):.1f} to {max(ball):.1f}'
        counts = [statuses[status] for status in STATUSES]
        yield row(kind if wrong else f'{kind} (right)', len(of_kind), *counts, alone, words, *ranges)


def main(argv: Sequence[str] | None = None) -> None:
    """Judge all of them."""
    parser = new_parser(__doc__)
    parser.add_argument('out', metavar='OUT', type=Path, help='the folder of verdicts.py')
    args = parser.parse_args(argv)
    found = []
    for number, folder in enumerate(plain_pairs(args.out)):
        pair = read_pair(folder)
        found += [judge_mask(pair, name, np.random.default_rng([number, at])) for at, name in enumerate(KINDS)]
    print('\n'.join(table(found)))


if __name__ == '__main__':
    main()
