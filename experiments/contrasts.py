#!/usr/bin/env python3
"""Run the app on simulated heads with scans of several contrasts and thick slices, and measure errors and verdicts.

    python experiments/contrasts.py LABELS OUT --heads 01 02 --contrasts T2w FLAIR PDw --slice 5 [-- more options]

LABELS is a folder with label maps `anat-XX_dseg.nii.gz`, as for verdicts.py. OUT/raw becomes a BIDS dataset: for each
head a T1w of 3 mm with its brain mask, and a scan of each contrast (sequences.py has the signal equations) with slices
of --slice mm, turned, shifted and distorted by the same known map. OUT/out has what `bidsreg` makes of it, with what
follows `--` as further options. Errors (mm) are those at points of the brain, where the headers place the scans, after
the affine, and of what was kept. Prints Markdown.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import nibabel as nib
import numpy as np
from common import head, new_parser, row, run_measured, split_options
from sequences import SEQUENCES
from verdict_cases import Anatomy, Look, scan

from bidsreg.benchmark import judge
from bidsreg.bids.names import Contrasts, output_name
from bidsreg.qc.verdict import CHECKS
from bidsreg.registration import Deformation
from bidsreg.registration.itk import read_affine

#: mm: voxels of the moving scans within their slices.
IN_PLANE_MM = 1.0
#: Numbers of the QC file whose thresholds suppose something of the contrasts.
SHOWN = ('contrast', 'depth_contrast', 'mask_around', 'shift_margin', 'turn_margin', 'mirror_margin', 'person_margin')


def make_dataset(labels: Path, out: Path, heads: Sequence[str], contrasts: Sequence[str], slice_mm: float) -> Path:
    """Write the dataset, with brain masks of the T1w in ``derivatives/masks`` and points in ``derivatives/truth``.

    Returns
    -------
    Path
        The dataset.
    """
    raw = out / 'raw'
    for folder in (raw, raw / 'derivatives' / 'masks', raw / 'derivatives' / 'truth'):
        folder.mkdir(parents=True, exist_ok=True)
        kind = 'raw' if folder == raw else 'derivative'
        text = {'Name': 'Simulated heads of several contrasts', 'BIDSVersion': '1.10.0', 'DatasetType': kind}
        (folder / 'dataset_description.json').write_text(json.dumps(text))
    for name in heads:
        anatomy = Anatomy(labels / f'anat-{name}_dseg.nii.gz')
        places = [raw, raw / 'derivatives' / 'masks', raw / 'derivatives' / 'truth']
        anat, masks, truth = (place / f'sub-{name}' / 'anat' for place in places)
        for folder in (anat, masks, truth):
            folder.mkdir(parents=True, exist_ok=True)
        for contrast in contrasts:
            look = Look(voxel=(IN_PLANE_MM, IN_PLANE_MM, slice_mm), contrasts=('T1w', contrast))
            scans = scan(anatomy, look, [anatomy.number])  # the seed is the head's: the T1w is the same each time
            nib.save(scans.fixed, anat / f'sub-{name}_T1w.nii.gz')
            nib.save(scans.mask, masks / f'sub-{name}_desc-brain_mask.nii.gz')
            if scans.points is None:
                raise ValueError(f'head {name}: no points are known')
            nib.save(scans.moving, anat / f'sub-{name}_{contrast}.nii.gz')
            np.savetxt(truth / f'sub-{name}_from-T1w_to-{contrast}_points.tsv', scans.points, header='T1w, moving; mm')
    return raw


def errors(raw: Path, derivatives: Path, subject: str, contrast: str) -> dict[str, np.ndarray]:
    """Return the error (mm) at each known point before, after the affine, and of what was kept."""
    points = np.loadtxt(raw / f'derivatives/truth/sub-{subject}/anat/sub-{subject}_from-T1w_to-{contrast}_points.tsv')
    kind = Contrasts(moving=contrast)
    files = {key: derivatives / output_name(key, {'subject': subject}, kind) for key in ('forward_xfm', 'inverse_xfm')}
    found = Deformation.load(files['forward_xfm'], files['inverse_xfm'])
    affine = read_affine(derivatives / output_name('affine_xfm', {'subject': subject}, kind))
    states = {
        'before': Deformation.identity(found.grid),
        'affine': Deformation.from_affine(affine, found.grid),
        'after': found,
    }
    return {state: judge.point_errors(points, deformation) for state, deformation in states.items()}


def report(raw: Path, derivatives: Path, heads: Sequence[str], contrasts: Sequence[str]) -> Iterator[str]:
    """Yield the lines of both tables."""
    yield head('head', 'contrast', 'error before', 'after the affine', 'kept', 'verdict', 'checks that spoke')
    numbers = []
    for subject in heads:
        for contrast in contrasts:
            name = output_name('qc', {'subject': subject}, Contrasts(moving=contrast))
            facts = json.loads((derivatives / name).read_text())
            checks = facts['verdict']['checks']
            spoke = [f'`{key}`' for key, check in checks.items() if check['status'] != 'PASS']
            found = errors(raw, derivatives, subject, contrast).values()
            shown = [f'{values.mean():.2f} / {np.percentile(values, 95):.2f}' for values in found]
            kept = facts['result']['decision']['kept']
            yield row(
                subject, contrast, *shown[:2], f'{shown[2]} ({kept})', facts['verdict']['status'], ', '.join(spoke)
            )
            values = [CHECKS[key].value(facts) for key in SHOWN]  # also where it is not judged
            numbers.append(row(subject, contrast, *('' if value is None else f'{value:.2f}' for value in values)))
    yield '\n' + head('head', 'contrast', *(f'`{key}`' for key in SHOWN))
    yield from numbers


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line."""
    mine, more = split_options(argv)
    parser = new_parser(__doc__)
    parser.add_argument('labels', type=Path, metavar='LABELS')
    parser.add_argument('out', type=Path, metavar='OUT')
    parser.add_argument('--heads', nargs='+', default=['01'], metavar='XX', help='numbers of the label maps (01)')
    known = [contrast for contrast in SEQUENCES if contrast != 'T1w']
    parser.add_argument('--contrasts', nargs='+', default=known, choices=known, help='of the moving scans (all)')
    parser.add_argument('--slice', type=float, default=5.0, metavar='MM', help='thickness of their slices (5)')
    args = parser.parse_args(mine)
    out = args.out.resolve()
    raw = make_dataset(args.labels, out, args.heads, args.contrasts, args.slice)
    words = [sys.executable, '-m', 'bidsreg', str(raw), str(out / 'out'), 'participant', '-w', str(out / 'work')]
    words += ['-m', *args.contrasts, '-d', str(raw / 'derivatives' / 'masks'), '--skip-bids-validation', *more]
    used = run_measured(words, out, threads=1)
    for line in report(raw, out / 'out', args.heads, args.contrasts):
        print(line)
    print(f'\n{used.cpu_seconds:.0f} CPU seconds for {len(args.heads) * len(args.contrasts)} pairs')


if __name__ == '__main__':
    main()
