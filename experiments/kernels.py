#!/usr/bin/env python3
"""Measure what compiled kernels save beside the torch code that they equal, and how far the answers agree.

    python experiments/kernels.py PAIR [--spacing 2 1] [--column 24 24 256] [--register METHOD]

PAIR holds fixed_T1w, moving_T2w, fixed_dseg and moving_dseg (.nii.gz), stripped of their skulls and affinely aligned.
Prints Markdown: CPU seconds of one value and gradient of the data term with one thread, by torch and by kernels in turn
(the least of several; compilation comes before), for MIND and MIND-SSC with patches of both radii, and the relative
difference of values and gradients. With --register a whole registration both ways: CPU seconds, Dice
(bidsreg.benchmark.judge), and the mean distance between the two fields in the brain.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from common import head, new_parser, row, stripped_brain

from bidsreg.benchmark import judge
from bidsreg.benchmark.labels import read_label_list
from bidsreg.registration import Image, Result, preset, register
from bidsreg.registration.numerics.compute import Compute
from bidsreg.registration.problem import COARSER, Problem, prepare
from bidsreg.registration.similarity import SIMILARITIES, dataterm
from bidsreg.registration.similarity.level import WeightedTerms

CASES = [(name, radius) for name in ('mind-ssc', 'mind') for radius in (0, 1)]


@contextmanager
def torch_alone() -> Iterator[None]:
    """Let similarities have no kernels meanwhile."""
    kinds = list(SIMILARITIES.values())
    names = [kind.kernels for kind in kinds]
    for kind in kinds:
        kind.kernels = ''
    try:
        yield
    finally:
        for kind, name in zip(kinds, names, strict=True):
            kind.kernels = name


def cpu_seconds() -> float:
    """Return what this process has used of the CPUs, all threads together."""
    return time.process_time()


def measure(problem: Problem, name: str, radius: int, spacing: float, repeats: int) -> str:
    """Compare one data term both ways; a row of the table."""
    coarser = int(np.clip(np.floor(np.log2(spacing / problem.velocity.spacing.max() * 2.001)), 0, COARSER))
    compute = Compute(torch.device('cpu'))
    compared = [(SIMILARITIES[name](radius), 1.0, spacing)]
    ((kernels, _),) = WeightedTerms.at(problem, coarser, compared, compute).terms
    with torch_alone():
        ((plain, _),) = WeightedTerms.at(problem, coarser, [(SIMILARITIES[name](radius), 1.0, spacing)], compute).terms
    rough = torch.randn(1, 3, *problem.velocity_grid(coarser).shape, generator=torch.Generator().manual_seed(0))
    displacement = 8 * torch.nn.functional.avg_pool3d(rough, 5, 1, 2)
    answers, seconds = {}, {'torch': np.inf, 'kernels': np.inf}
    for _ in range(repeats):
        for way, term in (('torch', plain), ('kernels', kernels)):
            began = cpu_seconds()
            answers[way] = term.value_and_gradient(displacement)
            seconds[way] = min(seconds[way], cpu_seconds() - began)
    (value, gradient), (other, slope) = answers['torch'], answers['kernels']
    times = f'{seconds["torch"]:.3f}', f'{seconds["kernels"]:.3f}', f'{seconds["torch"] / seconds["kernels"]:.1f}'
    apart = (
        f'{((value - other).abs() / value).item():.0e}',
        f'{((gradient - slope).norm() / gradient.norm()).item():.0e}',
    )
    return row(name, radius, f'{spacing:g}', *times, *apart)


def registered(pair: Path, method: str) -> tuple[Result, float]:
    """Register a pair; returns CPU seconds, too."""
    fixed, moving = (Image.load(pair / f'{name}.nii.gz') for name in ('fixed_T1w', 'moving_T2w'))
    began = cpu_seconds()
    result = register(fixed, moving, method, fixed_mask=stripped_brain(fixed), moving_mask=stripped_brain(moving))
    return result, cpu_seconds() - began


def mean_dice(pair: Path, result: Result, labels: Mapping[int, str]) -> float:
    """Return the mean Dice of a registration."""
    one, other = (Image.load(pair / f'{end}_dseg.nii.gz', np.int32) for end in ('fixed', 'moving'))
    found, _ = judge.evaluate(result.deformation, result.mask, fixed_labels=one, moving_labels=other, labels=labels)
    return float(found['dice_mean'])


def compare_registrations(pair: Path, method: str, labels: Mapping[int, str]) -> None:
    """Print what a whole registration takes and finds both ways."""
    print('\n' + head('registration', 'CPU seconds', 'Dice', 'mean distance of the fields, mm'), flush=True)
    with torch_alone():
        plain, seconds = registered(pair, method)
    print(row(f'{method}, torch', f'{seconds:.1f}', f'{mean_dice(pair, plain, labels):.4f}', ''), flush=True)
    result, seconds = registered(pair, method)
    apart = np.linalg.norm(result.deformation.forward - plain.deformation.forward, axis=-1)
    inside = result.mask.data > 0
    print(
        row(
            f'{method}, kernels',
            f'{seconds:.1f}',
            f'{mean_dice(pair, result, labels):.4f}',
            f'{apart[inside].mean():.3f}',
        )
    )


def main(argv: Sequence[str] | None = None) -> None:
    """Read the command line, measure and report."""
    parser = new_parser(__doc__)
    parser.add_argument('pair', type=Path, metavar='PAIR')
    parser.add_argument('--spacing', type=float, nargs='*', default=[2, 1], metavar='MM', help='%(default)s')
    parser.add_argument('--repeats', type=int, default=6, help='[%(default)s]')
    parser.add_argument('--column', type=int, nargs=3, default=dataterm.COLUMN, help='voxels of a box [%(default)s]')
    parser.add_argument('--register', metavar='METHOD', help='a preset')
    parser.add_argument('--labels', type=Path, metavar='FILE.tsv', help='labels that count [the 32 of SynthSeg]')
    args = parser.parse_args(argv)
    torch.set_num_threads(1)
    dataterm.COLUMN = tuple(args.column)
    fixed, moving = (Image.load(args.pair / f'{name}.nii.gz') for name in ('fixed_T1w', 'moving_T2w'))
    masks = stripped_brain(fixed), stripped_brain(moving)
    problem = prepare(fixed, moving, preset('node-mind-inter'), *masks, np.eye(4))
    titles = 'similarity', 'radius', 'mm', 'torch, CPU s', 'kernels, CPU s', 'times', 'value apart', 'gradient apart'
    print(head(*titles), flush=True)
    for spacing in args.spacing:
        for name, radius in CASES:
            print(measure(problem, name, radius, spacing, args.repeats), flush=True)
    if args.register:
        compare_registrations(args.pair, args.register, read_label_list(args.labels))


if __name__ == '__main__':
    main()
