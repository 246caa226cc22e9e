#!/usr/bin/env python3
"""Compare methods of deformable registration on pairs whose answer is known, side by side.

    python experiments/pairs.py DIR [DIR ...] [--methods M ...] [--pairs NAME ...] [--threads 2] [--out FILE.json]

DIR is a folder of labelled pairs (sub-folders with fixed_T1w, moving_T2w, fixed_dseg and moving_dseg, skull-stripped,
already affinely aligned): the task `inter`, two people. Or it is a BIDS data set of heads with derivatives/truth (brain
masks and tables of points in T1w and T2w): the task `intra`, one head, whose T2w lies and is distorted otherwise.

Every method gets the same images, N4-corrected inside the same masks as the app does it, and the same affine to start
from: the identity for `inter`; for `intra` the affine that fits the true points best, so that only the deformable
step is compared. Every method is a process of its own on the same number of threads; its seconds include reading and
writing images, its memory is the largest resident set. All displacement fields are judged alike: labels warped by
nearest neighbour, points mapped; folds are voxels whose Jacobian determinant (of the deformation without the affine)
is not positive by central, forward or backward differences; SDlogJ is over the voxels of the fixed mask whose
central determinant is positive. Cells already in FILE.json with the same settings are kept. Prints Markdown.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from peers import Method, Pair, methods
from scipy import ndimage as ndi

from bidsreg.benchmark import metrics as judge
from bidsreg.benchmark.run import machine
from bidsreg.preparation.bias import bias_field
from bidsreg.registration import metrics
from bidsreg.registration.atomic import write_text
from bidsreg.registration.deformation import Deformation
from bidsreg.registration.grid import Grid
from bidsreg.registration.image import Image, resample
from bidsreg.registration.itk import write_affine

Cell = dict[str, Any]

# A small process starts the method and waits: the kernel counts the memory of the parent, as large as it is when it
# starts a child, among the child's.
LAUNCHER = """
import json, os, sys, time
began = time.perf_counter()
_, status, used = os.wait4(os.posix_spawnp(sys.argv[2], sys.argv[2:], os.environ), 0)
facts = {'seconds': time.perf_counter() - began, 'cpu_seconds': used.ru_utime + used.ru_stime,
         'peak_mb': used.ru_maxrss / 1024, 'code': os.waitstatus_to_exitcode(status)}
json.dump(facts, open(sys.argv[1], 'w'))
"""


# ---------------------------------------------------------------------------------------------------- preparation
def find_pairs(folder: Path, work: Path, bias: str) -> Iterator[tuple[Pair, Callable[[Pair], None]]]:
    """The pairs of a data set, and how to make each ready.

    Raises
    ------
    ValueError
        If the folder holds neither kind of pair.
    """
    truth = sorted((folder / 'derivatives/truth').rglob('*_from-T1w_to-T2w_points.tsv'))
    labelled = sorted(path.parent for path in folder.glob('*/fixed_dseg.nii.gz'))
    if not truth and not labelled:
        raise ValueError(f'{folder} holds neither */fixed_dseg.nii.gz nor derivatives/truth/**/*_points.tsv')
    for table in truth:
        name = table.name.split('_from-')[0]
        raw = folder / table.parent.relative_to(folder / 'derivatives/truth')
        yield (
            Pair(f'{folder.resolve().name}/{name}', 'intra', work / folder.resolve().name / f'{name}_{bias}'),
            lambda pair, raw=raw, table=table: prepare_intra(pair, raw, table, bias),
        )
    for one in labelled:
        yield (
            Pair(f'{folder.resolve().name}/{one.name}', 'inter', work / folder.resolve().name / f'{one.name}_{bias}'),
            lambda pair, one=one: prepare_inter(pair, one, bias),
        )


def prepare_inter(pair: Pair, source: Path, bias: str) -> None:
    """Skull-stripped images on a common grid: the mask is what is not background."""
    for end, contrast in (('fixed', 'T1w'), ('moving', 'T2w')):
        image = Image.load(source / f'{end}_{contrast}.nii.gz')
        write_images(pair, end, image, stripped_brain(image), bias)
        Image.load(source / f'{end}_dseg.nii.gz', np.int32).save(pair.path(f'{end}_labels'))
    write_affine(pair.itk_affine, np.eye(4))


def stripped_brain(image: Image) -> Image:
    """Mask of the brain in a skull-stripped image: the largest piece above zero, filled."""
    parts, _ = ndi.label(image.data > 0)
    largest = np.bincount(parts.ravel())[1:].argmax() + 1
    return Image(ndi.binary_fill_holes(parts == largest).astype(np.float32), image.grid)


def prepare_intra(pair: Pair, raw: Path, table: Path, bias: str) -> None:
    """Whole heads; the true mask of the T1w is carried over to the T2w by the affine."""
    name = table.name.split('_from-')[0]
    fixed, moving = (Image.load(raw / f'{name}_{contrast}.nii.gz') for contrast in ('T1w', 'T2w'))
    points = np.loadtxt(table, skiprows=1)
    affine = least_squares_affine(points[:, :3], points[:, 3:])
    mask = Image.load(table.with_name(f'{name}_desc-brain_mask.nii.gz'))
    # the grid of the moving image as seen from the fixed world
    seen = Grid(moving.grid.shape, np.linalg.inv(affine) @ moving.grid.affine)
    carried = Image(resample(mask, seen, order=0), moving.grid)
    write_images(pair, 'fixed', fixed, mask, bias)
    write_images(pair, 'moving', moving, carried, bias)
    np.savetxt(pair.folder / 'points.tsv', points)
    for end, labels in (('fixed', f'{name}_dseg.nii.gz'), ('moving', f'{name}_space-T2w_dseg.nii.gz')):
        if table.with_name(labels).exists():
            Image.load(table.with_name(labels), np.int32).save(pair.path(f'{end}_labels'))
    write_affine(pair.itk_affine, affine)


def least_squares_affine(fixed: np.ndarray, moving: np.ndarray) -> np.ndarray:
    """The 4x4 matrix that maps points (N, 3) of the fixed world to those of the moving world best."""
    matrix = np.eye(4)
    matrix[:3] = np.linalg.lstsq(np.column_stack([fixed, np.ones(len(fixed))]), moving, rcond=None)[0].T
    return matrix


def write_images(pair: Pair, end: str, image: Image, mask: Image, bias: str) -> None:
    """An image without its bias field, and its mask."""
    inside = mask.data > 0
    data = image.data
    if bias == 'n4':
        data = data / bias_field(data, inside, image.grid.affine)
        data *= image.data[inside].mean() / data[inside].mean()
    Image(data.astype(np.float32), image.grid).save(pair.path(end))
    Image(inside.astype(np.uint8), image.grid).save(pair.path(f'{end}_mask'))


def make_ready(pair: Pair, prepare: Callable[[Pair], None]) -> None:
    """Prepare a pair unless its folder is there already; half a folder is never left behind."""
    if pair.folder.exists():
        return
    making = Pair(pair.name, pair.task, pair.folder.with_name(f'.{pair.folder.name}.{os.getpid()}'))
    making.folder.mkdir(parents=True)
    try:
        prepare(making)
        making.folder.rename(pair.folder)
    finally:
        shutil.rmtree(making.folder, ignore_errors=True)


# ---------------------------------------------------------------------------------------------------- judging
def evaluate(pair: Pair, found: Deformation) -> Cell:
    """All numbers about a deformation."""
    mask = Image.load(pair.path('fixed_mask'))
    inside = resample(mask, found.grid, order=0) > 0
    out: Cell = jacobian_facts(found, inside)
    if np.isfinite(found.inverse).all():
        out['inverse_consistency_mm'] = metrics.inverse_consistency(found.forward, found.inverse, found.grid, inside)
    if pair.path('moving_labels').exists():
        labels = Image.load(pair.path('fixed_labels'), np.int32)
        moved = found.apply(Image.load(pair.path('moving_labels'), np.int32), labels.grid, order=0)
        out['dice'] = dice(labels.data, moved.data)
    if (pair.folder / 'points.tsv').exists():
        out['tre_mm'] = target_errors(np.loadtxt(pair.folder / 'points.tsv'), found)
    return out


def jacobian_facts(found: Deformation, inside: np.ndarray) -> Cell:
    """Folds anywhere and inside the mask, and how unevenly the deformation stretches."""
    folded = metrics.folded(found.forward, found.grid)
    determinant = metrics.jacobian_determinant(found.forward, found.grid)
    kept = determinant[inside & (determinant > 0)]
    return {
        'folds': int(folded.sum()),
        'folds_in_mask': int(folded[inside].sum()),
        'folds_percent': 100 * float(folded[inside].mean()),
        'sdlogj': float(np.log(kept).std()),
        'displacement_mm': float(np.linalg.norm(found.forward[inside], axis=-1).mean()),
    }


def dice(fixed: np.ndarray, moved: np.ndarray) -> dict[str, float]:
    """Overlap of each label of the fixed image, without the background; 0 for one that is lost."""
    overlap = judge.dice(fixed, moved, np.setdiff1d(fixed, 0).tolist())
    return {str(label): 0.0 if np.isnan(value) else value for label, value in overlap.items()}


def target_errors(points: np.ndarray, found: Deformation) -> Cell:
    """Distances (mm) from where points of the fixed image truly lie; how many are farther than by the affine alone."""
    before = judge.point_errors(points, Deformation.from_affine(found.affine, found.grid))
    worse = float((judge.point_errors(points, found) > before + 1e-6).mean())
    return judge.target_errors(points, found) | {'worse_percent': 100 * worse}


# ---------------------------------------------------------------------------------------------------- running
def run_once(method: Method, pair: Pair, out: Path, threads: int) -> Cell:
    """Run a method as a process of its own; seconds, CPU seconds and peak memory in MB.

    Raises
    ------
    RuntimeError
        If it fails; the message is the end of what it said.
    """
    words = method.command(pair, out, threads)
    if not words:
        return {}
    names = ('OMP_NUM_THREADS', 'MKL_NUM_THREADS', 'OPENBLAS_NUM_THREADS', 'ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS')
    report = out / 'launcher.json'
    with (out / 'log.txt').open('w') as log:
        subprocess.run(
            [sys.executable, '-S', '-c', LAUNCHER, str(report), *words],
            env=os.environ | dict.fromkeys(names, str(threads)),
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=out,
            check=False,
        )
    if not report.exists():
        raise RuntimeError('it was stopped from outside')
    facts = json.loads(report.read_text())
    code = facts.pop('code')
    if code:
        raise RuntimeError(f'ended with {code}: ' + ' '.join((out / 'log.txt').read_text().split())[-400:])
    return facts


def run_cell(method: Method, pair: Pair, args: argparse.Namespace) -> Cell:
    """Run and judge a method on a pair; a failure is a result, too."""
    cell: Cell = {}
    runs = []
    for _ in range(args.repeats):
        with tempfile.TemporaryDirectory(dir=args.work, prefix='run-') as scratch:
            try:
                runs.append(run_once(method, pair, Path(scratch), args.threads))
                if len(runs) == args.repeats:
                    cell = evaluate(pair, method.read(pair, Path(scratch))) | method.facts(Path(scratch))
            except Exception as error:
                return {'failed': f'{type(error).__name__}: {error}'}
    for key in ('seconds', 'cpu_seconds', 'peak_mb'):
        if runs[0]:
            cell[key] = float(np.median([run[key] for run in runs]))
    return cell | {'repeats': len(runs)}


def identity_of(method: Method, pair: Pair, args: argparse.Namespace) -> tuple[str, Cell]:
    """The key of a cell, and what it was computed with."""
    made_with = {'method': method.name, 'pair': pair.name, 'task': pair.task, 'bias_correction': args.bias_correction}
    made_with |= {'threads': args.threads, 'version': method.version(), 'settings': method.settings(pair.task)}
    digest = hashlib.sha256(json.dumps(made_with, sort_keys=True).encode()).hexdigest()[:10]
    return f'{pair.name}|{method.name}|{digest}', made_with


def run_all(args: argparse.Namespace) -> tuple[dict[str, Cell], list[str]]:
    """Run what is not done yet; the cells asked for by key, and notes about what cannot run."""
    known = methods(shlex.split(args.pair_options))
    usual = [name for name in known if not name.endswith('-inter')]
    chosen = [known[name] for name in args.methods or usual]
    notes = [f'{m.name}: skipped, {m.missing()}' for m in chosen if m.missing()]
    stored: dict[str, Cell] = json.loads(args.out.read_text()) if args.out and args.out.exists() else {}
    asked: dict[str, Cell] = {}
    again = set(args.again)
    for folder in args.folders:
        for pair, prepare in find_pairs(folder, args.work, args.bias_correction):
            if args.pairs and not {pair.name, pair.name.split('/')[1]} & set(args.pairs):
                continue
            make_ready(pair, prepare)
            for method in chosen:
                if method.missing():
                    continue
                key, made_with = identity_of(method, pair, args)
                done = stored.get(key, {'failed': 'not run'})
                if 'failed' in done or done['repeats'] < args.repeats or method.name in again:
                    done = made_with | {'machine': machine()} | run_cell(method, pair, args)
                    # others may have added theirs meanwhile
                    stored = json.loads(args.out.read_text()) if args.out and args.out.exists() else stored
                    stored[key] = done
                    if args.out:
                        write_text(args.out, json.dumps(stored, indent=1))
                    print(f'{pair.name} {method.name}: {gist(done)}', file=sys.stderr, flush=True)
                asked[key] = done
    return asked, notes


# ---------------------------------------------------------------------------------------------------- tables
def mean_dice(cell: Cell) -> float:
    """Over the labels."""
    return float(np.mean(list(cell['dice'].values())))


def gist(cell: Cell) -> str:
    """One line about a cell."""
    if 'failed' in cell:
        return f'failed: {cell["failed"]}'
    words = [f'TRE {cell["tre_mm"]["mean"]:.3f} / {cell["tre_mm"]["p95"]:.2f} mm'] if 'tre_mm' in cell else []
    words += [f'Dice {mean_dice(cell):.4f}'] if 'dice' in cell else []
    words += [f'{cell["folds"]} folds, SDlogJ {cell["sdlogj"]:.3f}']
    words += [f'{cell["seconds"]:.0f} s, {cell["peak_mb"]:.0f} MB'] if 'seconds' in cell else []
    return ', '.join(words)


Column = tuple[str, Callable[[list[Cell]], str]]


def mean_of(*keys: str, form: str = '.3f') -> Callable[[list[Cell]], str]:
    """The mean over cells of a (nested) number, or a dash where some have none."""

    def text(cells: list[Cell]) -> str:
        values = []
        for cell in cells:
            value: Any = cell
            for key in keys:
                value = value.get(key, {})
            if isinstance(value, dict):
                return '-'
            values.append(value)
        return format(float(np.mean(values)), form)

    return text


def largest(key: str) -> Callable[[list[Cell]], str]:
    """The largest over cells."""
    return lambda cells: f'{max(cell[key] for cell in cells):.0f}' if all(key in cell for cell in cells) else '-'


DICE: Column = ('Dice', lambda cells: f'{np.mean([mean_dice(c) for c in cells]):.4f}' if 'dice' in cells[0] else '-')
COMMON: list[Column] = [
    ('folds (sum)', lambda cells: str(sum(cell['folds'] for cell in cells))),
    ('in the mask', lambda cells: str(sum(cell['folds_in_mask'] for cell in cells))),
    ('folds, % of the mask', mean_of('folds_percent', form='.4f')),
    ('SDlogJ', mean_of('sdlogj')),
    ('inverse consistency, mean, mm', mean_of('inverse_consistency_mm', 'mean')),
    ('99 %', mean_of('inverse_consistency_mm', 'p99')),
    ('seconds', mean_of('seconds', form='.0f')),
    ('CPU seconds', mean_of('cpu_seconds', form='.0f')),
    ('peak MB', largest('peak_mb')),
]
COLUMNS: dict[str, list[Column]] = {
    'inter': [DICE, *COMMON],
    'intra': [
        ('TRE, mean, mm', mean_of('tre_mm', 'mean')),
        ('95 %', mean_of('tre_mm', 'p95')),
        ('worst head', lambda cells: f'{max(cell["tre_mm"]["mean"] for cell in cells):.3f}'),
        ('points worse than affine, %', mean_of('tre_mm', 'worse_percent', form='.1f')),
        DICE,
        *COMMON,
    ],
}
ONE: dict[str, Callable[[Cell], str]] = {
    'inter': lambda cell: f'{mean_dice(cell):.4f} ({cell["folds"]}, {cell["sdlogj"]:.2f})',
    'intra': lambda cell: f'{cell["tre_mm"]["mean"]:.3f} / {cell["tre_mm"]["p95"]:.2f} ({cell["folds"]})',
}
LEGEND = {
    'inter': 'Dice (folds, SDlogJ) of each pair',
    'intra': 'TRE mean / 95 % in mm (folds) of each head',
}
TITLE = {'inter': 'Between people (task inter)', 'intra': 'Within a head (task intra)'}


def row(*cells: str) -> str:
    """A line of a Markdown table."""
    return f'| {" | ".join(cells)} |'


def head(*cells: str) -> list[str]:
    """The first two lines of a Markdown table."""
    return [row(*cells), '|' + '---|' * len(cells)]


def tables(cells: list[Cell], command: str, notes: list[str]) -> str:
    """Everything as Markdown."""
    lines: list[str] = []
    for task in COLUMNS:
        of_task = [cell for cell in cells if cell['task'] == task]
        if of_task:
            lines += task_tables(task, of_task)
    listed = {
        'Machine': {cell['machine'] for cell in cells},
        'Threads': {str(cell['threads']) for cell in cells},
        'Bias correction': {cell['bias_correction'] for cell in cells},
        'Versions': {f'{cell["method"]} {cell["version"]}' for cell in cells} | {f'Python {platform.python_version()}'},
    }
    lines += [f'Command: `{command}`', '']
    lines += [f'- {title}: {", ".join(sorted(values))}' for title, values in listed.items()]
    lines += [f'- {note}' for note in notes]
    return '\n'.join(lines)


def task_tables(task: str, cells: list[Cell]) -> list[str]:
    """Means over pairs, then every pair, then every label."""
    names = list(dict.fromkeys(cell['method'] for cell in cells))
    pairs = list(dict.fromkeys(cell['pair'] for cell in cells))
    good = {name: [cell for cell in cells if cell['method'] == name and 'failed' not in cell] for name in names}
    columns = COLUMNS[task]
    lines = [
        f'### {TITLE[task]}, means over {len(pairs)}',
        '',
        *head('method', 'done', *[title for title, _ in columns]),
    ]
    for name in names:
        values = [text(good[name]) if good[name] else '-' for _, text in columns]
        lines.append(row(name, f'{len(good[name])} of {len(pairs)}', *values))
    lines += ['', f'{LEGEND[task]}:', '', *head('method', *pairs)]
    for name in names:
        by_pair = {cell['pair']: cell for cell in cells if cell['method'] == name}
        lines.append(row(name, *[entry(task, by_pair.get(pair)) for pair in pairs]))
    if task == 'inter':
        lines += ['', *label_table(good)]
    failed = [f'- {c["method"]} on {c["pair"]} failed: {c["failed"]}' for c in cells if 'failed' in c]
    return [*lines, '', *failed, *([''] if failed else [])]


def entry(task: str, cell: Cell | None) -> str:
    """One method on one pair."""
    if cell is None:
        return '-'
    return 'failed' if 'failed' in cell else ONE[task](cell)


def label_table(good: dict[str, list[Cell]]) -> list[str]:
    """Dice of every label, mean over pairs."""
    labels = sorted({label for cells in good.values() for cell in cells for label in cell['dice']}, key=int)
    lines = ['Dice of each label (FreeSurfer value):', '', *head('label', *good)]
    for label in labels:
        values = [[cell['dice'][label] for cell in cells if label in cell['dice']] for cells in good.values()]
        lines.append(row(label, *[f'{np.mean(v):.3f}' if v else '-' for v in values]))
    return lines


def main() -> None:
    """Read the command line, run and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('folders', type=Path, nargs='+', metavar='DIR')
    parser.add_argument('--methods', nargs='+', choices=list(methods()), help='[all; presets as the task has them]')
    parser.add_argument('--pairs', nargs='+', metavar='NAME', help='only these [all]')
    parser.add_argument('--threads', type=int, default=2, help='[%(default)s]')
    parser.add_argument('--repeats', type=int, default=1, help='runs of each; seconds are medians [%(default)s]')
    parser.add_argument('--bias-correction', default='n4', choices=['n4', 'none'], help='[%(default)s]')
    parser.add_argument('--pair-options', default='', metavar='"..."', help='more options for bidsreg-pair, quoted')
    parser.add_argument('--again', nargs='+', default=[], metavar='METHOD', help='run these although they are done')
    parser.add_argument('--out', type=Path, metavar='FILE.json', help='keeps all cells; done ones are not run again')
    parser.add_argument('--work', type=Path, help='keeps the prepared images [a temporary folder]')
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        args.work = (args.work or Path(scratch)).resolve()
        args.work.mkdir(parents=True, exist_ok=True)
        asked, notes = run_all(args)
    print(tables(list(asked.values()), shlex.join(['python', 'experiments/pairs.py', *sys.argv[1:]]), notes))


if __name__ == '__main__':
    main()
