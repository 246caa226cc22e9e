#!/usr/bin/env python3
"""Compare methods of deformable registration on pairs whose answer is known, side by side.

    python experiments/pairs.py DIR [DIR ...] [--methods M ...] [--pairs NAME ...] [--threads 2] [--out FILE.json]

DIR is a folder of labelled pairs (sub-folders with fixed_T1w, moving_T2w, fixed_dseg and moving_dseg, skull-stripped,
already affinely aligned): the task `inter`, two people. Or it is a BIDS data set of heads with derivatives/truth (brain
masks and tables of points in T1w and T2w): the task `intra`, one head, whose T2w lies and is distorted otherwise.

Every method gets the same images, masks and affine (see prepared.py), runs as bidsreg-pair in a process of its own on
the same number of threads, and is judged by its own field. Between people, presets take their form whose name ends in
-inter. Seconds include reading and writing images; memory is the largest resident set. Folds, SDlogJ, Dice and errors
are those of bidsreg.benchmark.judge, of the 32 labels of SynthSeg unless --labels names others. Cells already in
FILE.json with the same settings are kept. Prints Markdown.

The presets were tuned with this script, at 1 mm. Those for two people: on the pairs 01-02, 03-04 and 05-06 (T1w and T2w
contrasts simulated on real label maps, two maps a pair, 32 labels), most on 03-04. Those for one head: on six simulated
heads, 01 to 06 (T1w of 1 mm, T2w of 0.9 x 0.9 x 2 mm up to 5 degrees and 6 mm away and distorted by up to 4 mm, 2000
points), most on 01, 03, 04 and 05, and on 06 only the choice of how steps are made smaller. The pairs 07-08, 09-10 and
11-12 were not used for tuning.

Programs use masks where images show something outside of them. Within a head all of them came nearer the truth on whole
heads with masks than on skull-stripped ones (mean error on head 03, this script at commits b24444d and f5a0705: SyN .66
against .69 mm, greedy .615 against .624, convexAdam .55 against .59, NiftyReg 1.10 against 1.25); between people, where
the images have no background, greedy lost 1.5 points of Dice by masks, NiftyReg 2.8 (commits b24444d and 99c0562); on
03-04 SyN's overlap with masks was .770 instead of .764, but there were folds, and SDlogJ rose from .32 to .44 (commit
20b27f4).
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import platform
import shlex
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from common import head, new_parser, pair_command, read_result, row, run_measured
from prepared import PreparedPair, find_pairs, make_ready

from bidsreg import __version__
from bidsreg.benchmark import judge
from bidsreg.benchmark.files import write_json
from bidsreg.benchmark.labels import read_label_list
from bidsreg.benchmark.methods import AFFINE, INTER, Method, known_methods, resolve
from bidsreg.benchmark.settings import digest
from bidsreg.execution.machine import processor
from bidsreg.programs import PROGRAMS
from bidsreg.registration.deformation import Deformation
from bidsreg.registration.image import Image
from bidsreg.registration.itk import read_affine
from bidsreg.registration.presets import PRESETS

Cell = dict[str, Any]
NONE = '-'


# ---------------------------------------------------------------------------------------------------- running
def run_method(
    method: Method, pair: PreparedPair, folder: Path, threads: int, options: Sequence[str]
) -> tuple[Deformation, Cell]:
    """Run a method on a pair in an empty folder; return what it found, and what it took."""
    if method.name == AFFINE:
        return Deformation.from_affine(read_affine(pair.affine), Image.load(pair.path('fixed_mask')).grid), {}
    given = ['--fixed-mask', pair.path('fixed_mask'), '--moving-mask', pair.path('moving_mask')]
    given += ['--affine', pair.affine, *(options if method.is_ours else [])]
    ends, out = (pair.path('fixed'), pair.path('moving')), folder / 'result'
    command = pair_command(*ends, out, method=method.name, threads=threads, options=given)
    used = run_measured(command, folder, threads=threads)
    found, result = read_result(out)
    said = {'iterations': result['iterations'], **{key: result['decision'][key] for key in ('kept', 'better')}}
    return found, said | dataclasses.asdict(used)


def judged(pair: PreparedPair, found: Deformation, labels: Mapping[int, str]) -> Cell:
    """Judge a deformation by everything that is known about a pair."""
    mask = Image.load(pair.path('fixed_mask'))
    points = np.loadtxt(pair.points) if pair.points.exists() else None
    ends = {f'{end}_labels': pair.path(f'{end}_labels') for end in ('fixed', 'moving')}
    images = {name: Image.load(path, np.int32) for name, path in ends.items() if path.exists()}
    out, _ = judge.evaluate(found, mask, labels=labels, points=points, **images)
    inverse = judge.inverse_consistency(found, judge.mask_on(found.grid, mask))
    out['inverse_consistency_p99_mm'] = inverse['p99']
    if points is not None:
        out['worse_percent'] = judge.percent_worse(points, found)
    return out


def run_cell(method: Method, pair: PreparedPair, args: argparse.Namespace, labels: Mapping[int, str]) -> Cell:
    """Run a method on a pair as often as is wanted, and judge the last answer; a failure is a result, too."""
    runs: list[Cell] = []
    try:
        for _ in range(args.repeats):
            with tempfile.TemporaryDirectory(dir=args.work, prefix='run-') as scratch:
                found, facts = run_method(method, pair, Path(scratch), args.threads, shlex.split(args.pair_options))
                runs.append(facts)
        cell = judged(pair, found, labels)
    except Exception as error:
        return {'failed': f'{type(error).__name__}: {error}'}
    cell |= runs[-1]
    for key in {'seconds', 'cpu_seconds', 'peak_mb'} & set(cell):
        cell[key] = float(np.median([run[key] for run in runs]))
    return cell | {'repeats': len(runs)}


def conditions(method: Method, pair: PreparedPair, args: argparse.Namespace, labels: Mapping[int, str]) -> Cell:
    """Say what decides a cell, so that one made with other settings is not taken for it."""
    program = PROGRAMS.get(method.name)
    settings: Cell = program.as_dict() if program else {}
    if method.is_ours:
        settings = {'preset': dataclasses.asdict(PRESETS[method.name]), 'options': shlex.split(args.pair_options)}
    return {
        'method': method.name,
        'pair': pair.name,
        'task': pair.task,
        'bias_correction': args.bias_correction,
        'threads': args.threads,
        'version': program.version() if program else __version__,
        'settings': settings,
        'labels_counted': list(labels),
    }


def stored_cells(path: Path | None) -> dict[str, Cell]:
    """Read the cells of earlier runs by key."""
    return json.loads(path.read_text()) if path and path.exists() else {}


def run_all(args: argparse.Namespace) -> tuple[list[Cell], list[str]]:
    """Run what is not done yet; return the cells asked for, and notes about what cannot run."""
    labels = read_label_list(args.labels)
    names = args.methods or [name for name in known_methods() if not name.endswith(INTER)]
    absent = {name: why for name in names if (why := resolve(name, 'intra').missing())}
    stored, asked = stored_cells(args.out), dict[str, Cell]()
    for folder in args.folders:
        for pair, prepare in find_pairs(folder, args.work, args.bias_correction):
            if args.pairs and not {pair.name, pair.name.split('/')[1]} & set(args.pairs):
                continue
            make_ready(pair, prepare)
            for method in (resolve(name, pair.task) for name in names if name not in absent):
                made_with = conditions(method, pair, args, labels)
                key = f'{pair.name}|{method.name}|{digest(made_with)}'
                done = stored.get(key, {'failed': 'not run'})
                if 'failed' in done or done['repeats'] < args.repeats or {method.name, method.asked} & set(args.again):
                    done = made_with | {'machine': processor()} | run_cell(method, pair, args, labels)
                    # others may have added theirs meanwhile
                    stored = stored_cells(args.out) | {key: done}
                    if args.out:
                        write_json(args.out, stored)
                    print(f'{pair.name} {method.name}: {gist(done)}', file=sys.stderr, flush=True)
                asked[key] = done
    return list(asked.values()), [f'{name}: skipped, {why}' for name, why in absent.items()]


# ---------------------------------------------------------------------------------------------------- tables
@dataclasses.dataclass(frozen=True)
class CellColumn:
    """A column of the printed tables: a number of the cells, and how it is put together over pairs."""

    title: str
    key: str
    form: str = '.3f'
    over_pairs: Callable[[Sequence[float]], float] = np.mean

    def text(self, cells: Sequence[Cell]) -> str:
        """Format the number over pairs; a dash where some of them, or all, have none."""
        values = [cell.get(self.key) for cell in cells]
        known = [value for value in values if value is not None and np.isfinite(value)]
        return format(float(self.over_pairs(known)), self.form) if known and len(known) == len(values) else NONE


DICE = CellColumn('Dice', 'dice_mean', '.4f')
TRE = CellColumn('TRE, mean, mm', 'tre_mean'), CellColumn('95 %', 'tre_p95')
FOLDS, SDLOGJ = CellColumn('folds (sum)', 'folds', '.0f', sum), CellColumn('SDlogJ', 'sdlogj')
COMMON = (
    DICE,
    CellColumn('HD95, mm', 'hd95_mean', '.2f'),
    FOLDS,
    CellColumn('folds, % of the mask', 'folds_percent', '.4f'),
    CellColumn('NDV, %', 'ndv_percent', '.4f'),
    SDLOGJ,
    CellColumn('inverse consistency, mean, mm', 'inverse_consistency_mm'),
    CellColumn('99 %', 'inverse_consistency_p99_mm'),
    CellColumn('seconds', 'seconds', '.0f'),
    CellColumn('CPU seconds', 'cpu_seconds', '.0f'),
    CellColumn('peak MB', 'peak_mb', '.0f', max),
)


@dataclasses.dataclass(frozen=True)
class TaskTables:
    """The layout of the cells of one task: a title, the columns of its means, and each pair by itself."""

    title: str
    columns: tuple[CellColumn, ...]
    legend: str
    entry: Callable[[Cell], str]


TASKS = {
    'inter': TaskTables(
        'Between people (task inter)',
        COMMON,
        'Dice (folds, SDlogJ) of each pair',
        lambda cell: f'{DICE.text([cell])} ({cell["folds"]}, {cell["sdlogj"]:.2f})',
    ),
    'intra': TaskTables(
        'Within a head (task intra)',
        (
            *TRE,
            CellColumn('worst head', 'tre_mean', over_pairs=max),
            CellColumn('points worse than affine, %', 'worse_percent', '.1f'),
            *COMMON,
        ),
        'TRE mean / 95 % in mm (folds) of each head',
        lambda cell: f'{cell["tre_mean"]:.3f} / {cell["tre_p95"]:.2f} ({cell["folds"]})',
    ),
}


def gist(cell: Cell) -> str:
    """Say in one line what is in a cell."""
    if 'failed' in cell:
        return f'failed: {cell["failed"]}'
    shown = (
        DICE,
        *TRE,
        FOLDS,
        SDLOGJ,
        CellColumn('seconds', 'seconds', '.0f'),
        CellColumn('peak MB', 'peak_mb', '.0f'),
    )
    return ', '.join(f'{column.title} {column.text([cell])}' for column in shown if column.key in cell)


def tables(cells: Sequence[Cell], command: str, notes: Sequence[str]) -> str:
    """Lay everything out as Markdown."""
    lines: list[str] = []
    for task in TASKS:
        if of_task := [cell for cell in cells if cell['task'] == task]:
            lines += task_tables(TASKS[task], of_task)
    listed = {
        'Machine': {cell['machine'] for cell in cells},
        'Threads': {str(cell['threads']) for cell in cells},
        'Bias correction': {cell['bias_correction'] for cell in cells},
        'Versions': {f'{cell["method"]} {cell["version"]}' for cell in cells} | {f'Python {platform.python_version()}'},
    }
    lines += [f'Command: `{command}`', '']
    lines += [f'- {title}: {", ".join(sorted(values))}' for title, values in listed.items()]
    return '\n'.join([*lines, *(f'- {note}' for note in notes)])


def task_tables(task: TaskTables, cells: Sequence[Cell]) -> list[str]:
    """Lay out means over pairs, then every pair, then every label."""
    pairs = list(dict.fromkeys(cell['pair'] for cell in cells))
    by_method: dict[str, dict[str, Cell]] = {}
    for cell in cells:
        by_method.setdefault(cell['method'], {})[cell['pair']] = cell
    good = {name: [c for c in mine.values() if 'failed' not in c] for name, mine in by_method.items()}
    lines = [f'### {task.title}, means over {len(pairs)}', '']
    lines.append(head('method', 'done', *(column.title for column in task.columns)))
    for name, mine in good.items():
        lines.append(row(name, f'{len(mine)} of {len(pairs)}', *(column.text(mine) for column in task.columns)))
    lines += ['', f'{task.legend}:', '', head('method', *pairs)]
    for name, of_pairs in by_method.items():
        shown = [of_pairs.get(pair) for pair in pairs]
        texts = [NONE if cell is None else 'failed' if 'failed' in cell else task.entry(cell) for cell in shown]
        lines.append(row(name, *texts))
    lines += ['', *label_table(good)]
    failed = [f'- {c["method"]} on {c["pair"]} failed: {c["failed"]}' for c in cells if 'failed' in c]
    return [*lines, '', *failed, *([''] if failed else [])]


def label_table(good: Mapping[str, Sequence[Cell]]) -> list[str]:
    """Lay out the Dice coefficient of every label that some pair has, mean over pairs; nothing without labels."""
    by_label: dict[str, dict[str, list[float]]] = {}
    for name, cells in good.items():
        for label, values in ((label, values) for cell in cells for label, values in cell.get('labels', {}).items()):
            if values['dice'] is not None and np.isfinite(values['dice']):
                by_label.setdefault(label, {}).setdefault(name, []).append(values['dice'])
    if not by_label:
        return []
    lines = ['Dice of each label (FreeSurfer value):', '', head('label', *good)]
    for label in sorted(by_label, key=int):
        mine = by_label[label]
        lines.append(row(label, *(f'{np.mean(mine[name]):.3f}' if name in mine else NONE for name in good)))
    return lines


def main(argv: Sequence[str] | None = None) -> None:
    """Read the command line, run and report."""
    parser = new_parser(__doc__)
    parser.add_argument('folders', type=Path, nargs='+', metavar='DIR')
    parser.add_argument('--methods', nargs='+', choices=known_methods(), help='[all; presets as the task has them]')
    parser.add_argument('--pairs', nargs='+', metavar='NAME', help='only these [all]')
    parser.add_argument('--labels', type=Path, metavar='FILE.tsv', help='labels that count [the 32 of SynthSeg]')
    parser.add_argument('--threads', type=int, default=2, help='[%(default)s]')
    parser.add_argument('--repeats', type=int, default=1, help='runs of each; seconds are medians [%(default)s]')
    parser.add_argument('--bias-correction', default='n4', choices=['n4', 'none'], help='[%(default)s]')
    parser.add_argument('--pair-options', default='', metavar='"..."', help='more options for presets, quoted')
    parser.add_argument('--again', nargs='+', default=[], metavar='METHOD', help='run these although they are done')
    parser.add_argument('--out', type=Path, metavar='FILE.json', help='keeps all cells; done ones are not run again')
    parser.add_argument('--work', type=Path, help='keeps the prepared images [a temporary folder]')
    words = list(sys.argv[1:] if argv is None else argv)
    args = parser.parse_args(words)
    with tempfile.TemporaryDirectory() as scratch:
        args.work = (args.work or Path(scratch)).resolve()
        args.work.mkdir(parents=True, exist_ok=True)
        cells, notes = run_all(args)
    print(tables(cells, shlex.join(['python', 'experiments/pairs.py', *words]), notes))


if __name__ == '__main__':
    main()
