#!/usr/bin/env python3
"""Measure translations: do they move anatomy, and what is a translated image worth to a registration?

    python experiments/hard_pairs.py LABELS PAIRS --pairs 01-06 03-05 11-12 02-04 04-02 07-08 08-07 09-10 10-09
    python experiments/translation.py PAIRS OUT --judged 01-06 03-05 11-12

PAIRS holds folders XX-YY as hard_pairs.py makes them: fixed_T1w of XX, moving_T2w of YY on the same grid, 2 mm, and
labels of both. Each translation is trained by bidsreg-translate on the pairs that show nobody of the judged ones, T2w
to T1w, on one thread, for as many steps as :data:`TRAININGS` says (a few CPU minutes). The moving image of every
judged pair is translated, and registered as `node-lncc-inter`, or as `node-mind-inter` where the name of the training
has +mind behind it; beside them stand the image itself by either preset, and no deformation. Bias fields stay in the
images, for all alike. Dice, folds and SDlogJ are those of bidsreg.benchmark.judge. What is done is kept in OUT. Prints
Markdown, best rows last.
"""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import head, new_parser, row, stripped_brain

from bidsreg.benchmark import judge
from bidsreg.benchmark.files import write_json
from bidsreg.benchmark.labels import read_label_list
from bidsreg.registration import PRESETS, Deformation, Image, register
from bidsreg.translation.fit import fit
from bidsreg.translation.model import TranslationModel
from bidsreg.translation.recipes import RECIPES, Recipe, TransportRecipe
from bidsreg.translation.rewrite import rewrite_scan
from bidsreg.translation.settings import FitSettings

#: What is trained, by the names of the table.
TRAININGS: dict[str, Recipe] = {
    'cyclegan': dataclasses.replace(RECIPES['cyclegan'], steps=300),
    'cut': dataclasses.replace(RECIPES['cut'], steps=700),
    'cut-2000': dataclasses.replace(RECIPES['cut'], steps=2000),
    'not': dataclasses.replace(RECIPES['not'], steps=500),
    'not-mind': TransportRecipe(name='not', steps=300, cost='mind'),
    'not-weak': dataclasses.replace(RECIPES['not-weak'], steps=120),
}
#: What registers the moving image as it is.
PLAIN = ('node-mind-inter', 'node-lncc-inter')
AFFINE = 'affine'
#: What registers a translated image, by what the name of the training is followed by.
AFTERWARDS = {'': 'node-lncc-inter', '+mind': 'node-mind-inter'}
METHODS = (AFFINE, *PLAIN, *(name + ending for ending in AFTERWARDS for name in TRAININGS))
SCANS = (('fixed', 'T1w'), ('moving', 'T2w'))


@dataclass(frozen=True)
class Case:
    """A folder of a pair, and the names of its two people."""

    folder: Path

    @property
    def people(self) -> tuple[str, ...]:
        """Return whose T1w and whose T2w it holds."""
        return tuple(self.folder.name.split('-'))

    def path(self, end: str) -> Path:
        """Return the scan of an end."""
        return self.folder / f'{end}_{dict(SCANS)[end]}.nii.gz'


def train(cases: Iterable[Case], recipe: Recipe, out: Path) -> dict[str, Any]:
    """Train a translation on pairs, unless that is done, and return what its fit.json says."""
    lines = ['subject\tcontrast\timage']
    lines += [
        f'{person}\t{contrast}\t{case.path(end).resolve()}'
        for case in cases
        for person, (end, contrast) in zip(case.people, SCANS, strict=True)
    ]
    out.parent.mkdir(parents=True, exist_ok=True)
    table = out.parent / 'scans.tsv'
    table.write_text('\n'.join(lines) + '\n')
    settings = FitSettings(
        input=table,
        output_dir=out,
        source='T2w',
        target='T1w',
        recipe=recipe,
        threads=1,
        device='cpu',
        bias_correction='none',
        every=100,
    )
    fit(settings, 'cpu')
    return json.loads((out / 'fit.json').read_text())


def translated(case: Case, model: Path, out: Path) -> dict[str, Any]:
    """Translate the moving image of a pair into `out`; return the CPU seconds, and how far structure moved."""
    began = time.process_time()
    mask = out.with_name(out.name.replace('.nii.gz', '_mask.nii.gz'))
    out.parent.mkdir(parents=True, exist_ok=True)
    stripped_brain(Image.load(case.path('moving'))).save(mask)
    facts = rewrite_scan(TranslationModel.load(model), case.path('moving'), out, mask)
    return {'translation': time.process_time() - began, 'mind': facts['MindDistance']}


def judged(case: Case, moving: Path, preset: str | None) -> dict[str, Any]:
    """Register a moving image (or none, without a preset), and judge what was found by the labels."""
    began = time.process_time()
    fixed = Image.load(case.path('fixed'))
    masks: dict[str, Any] = {f'{end}_mask': stripped_brain(Image.load(case.path(end))) for end, _ in SCANS}
    found = Deformation.from_affine(np.eye(4), fixed.grid)
    if preset is not None:
        found = register(fixed, Image.load(moving), PRESETS[preset], affine=np.eye(4), **masks).deformation
    seconds = time.process_time() - began
    labels: dict[str, Any] = {
        f'{end}_labels': Image.load(case.folder / f'{end}_dseg.nii.gz', np.int32) for end, _ in SCANS
    }
    measures, _ = judge.evaluate(found, masks['fixed_mask'], labels=read_label_list(None), **labels)
    return {'seconds': seconds, **{name: measures[name] for name in ('dice_mean', 'folds', 'sdlogj')}}


def training_of(name: str) -> str:
    """Return the training that a method translates with; empty where it translates nothing."""
    return '' if name in (AFFINE, *PLAIN) else name.partition('+')[0]


def cell(name: str, case: Case, out: Path) -> dict[str, Any]:
    """Do one method on one pair; a translation that is there is registered as it is."""
    training = training_of(name)
    if not training:
        return judged(case, case.path('moving'), None if name == AFFINE else name)
    moving = out / 'translated' / training / f'{case.folder.name}_T1w.nii.gz'
    told = moving.with_name(f'{case.folder.name}_facts.json')
    if not told.exists():
        write_json(told, translated(case, out / 'models' / training / 'model.safetensors', moving))
    return {**json.loads(told.read_text()), **judged(case, moving, AFTERWARDS[name.removeprefix(training)])}


def line(name: str, cells: Sequence[dict[str, Any]], training: dict[str, Any] | None) -> str:
    """Return a row of the table: means over pairs, and the spread of Dice."""

    def mean(key: str, form: str, scale: float = 1.0) -> str:
        values = [one[key] for one in cells if key in one]
        return format(scale * float(np.mean(values)), form) if values else '-'

    trained = f'{TRAININGS[training_of(name)].steps} / {training["cpu_seconds"]:.0f}' if training else '-'
    each = ', '.join(f'{100 * one["dice_mean"]:.1f}' for one in cells)
    dice = f'{mean("dice_mean", ".1f", 100)} ({each})'
    last = (mean(*part) for part in (('folds', '.3g'), ('sdlogj', '.2f'), ('translation', '.0f'), ('seconds', '.0f')))
    return row(f'`{name}`', trained, mean('mind', '.3f'), dice, *last)


def main(argv: Sequence[str] | None = None) -> None:
    """Train, translate, register and judge what is not done yet, and print the table."""
    parser = new_parser(__doc__)
    parser.add_argument('pairs', metavar='PAIRS', type=Path)
    parser.add_argument('out', metavar='OUT', type=Path)
    parser.add_argument('--judged', nargs='+', required=True, metavar='XX-YY', help='pairs that are judged')
    parser.add_argument('--methods', nargs='+', choices=METHODS, metavar='NAME', help='[all]')
    args = parser.parse_args(argv)
    torch.set_num_threads(1)
    cases = [Case(folder) for folder in sorted(args.pairs.iterdir()) if (folder / 'fixed_dseg.nii.gz').exists()]
    wanted = [case for case in cases if case.folder.name in args.judged]
    people = {person for case in wanted for person in case.people}
    others = [case for case in cases if not people & set(case.people)]
    stored = args.out / 'results.json'
    done: dict[str, dict[str, Any]] = json.loads(stored.read_text()) if stored.exists() else {}
    lines: list[tuple[float, str]] = []
    for name in args.methods or METHODS:
        of = training_of(name)
        training = train(others, TRAININGS[of], args.out / 'models' / of) if of else None
        for case in wanted:
            key = f'{name}|{case.folder.name}'
            if key not in done:
                done[key] = cell(name, case, args.out)
                write_json(stored, done)
        cells = [done[f'{name}|{case.folder.name}'] for case in wanted]
        lines.append((float(np.mean([one['dice_mean'] for one in cells])), line(name, cells, training)))
    columns = ['method', 'steps / CPU s of the training', 'MIND of T(x)', 'DSC (%), each pair', 'folds', 'SDlogJ']
    rows = [text for _, text in sorted(lines)]
    print(head(*columns, 'CPU s, translation', 'CPU s, registration'), *rows, sep='\n', flush=True)


if __name__ == '__main__':
    main()
