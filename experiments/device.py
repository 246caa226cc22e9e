#!/usr/bin/env python3
"""Measure the solver on a GPU: seconds in one process and as a command, memory, and whether the answer is the CPU's.

    python experiments/pairs.py DIR --methods affine --work WORK
    python experiments/device.py WORK/DIR/07-08_n4 [--device cuda] [--method node-mind-inter] [--threads 8]

PAIR is a folder that pairs.py has made ready: fixed, moving, their masks and labels, affine.txt. `register` runs from
two images in memory to two fields in memory, the first time in a process (libraries set themselves up, kernels are
loaded) and again; then bidsreg-pair as a command, on the device and on the CPU. Seconds are by the clock, medians of
--repeats; memory is the largest that tensors took on the device. Fields are compared over the whole grid, in mm: those
of two runs of `register` on the device, and of the command on the device and on the CPU. Dice is the mean over the
labels of bidsreg.benchmark. Prints Markdown. Run it when nothing else runs, and once before it counts: from a cold disk
libraries load slowly.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from common import head, new_parser, pair_command, read_result, row, run_measured
from prepared import PreparedPair

from bidsreg.benchmark import judge
from bidsreg.benchmark.labels import read_label_list
from bidsreg.registration import Deformation, Image, Result, register
from bidsreg.registration.itk import read_affine
from bidsreg.registration.presets import PRESETS

MB = 2**20


def registered(pair: PreparedPair, method: str, device: torch.device) -> tuple[Result, float, float | None]:
    """Register a pair in this process; return what was found, the seconds, and the memory of the device in MB."""
    names = ('fixed', 'moving', 'fixed_mask', 'moving_mask')
    given: dict[str, Any] = {name: Image.load(pair.path(name)) for name in names}
    on_gpu = device.type == 'cuda'
    if on_gpu:
        torch.cuda.reset_peak_memory_stats(device)
    began = time.perf_counter()
    # both fields are in the computer's memory then: the device has nothing left to do
    result = register(method=method, affine=read_affine(pair.affine), device=str(device), **given)
    seconds = time.perf_counter() - began
    return result, seconds, torch.cuda.max_memory_allocated(device) / MB if on_gpu else None


def command(pair: PreparedPair, method: str, device: str, threads: int) -> tuple[Deformation, float, dict[str, Any]]:
    """Run bidsreg-pair; return what it found, its seconds from the first to the last, and its result.json."""
    options = ['--fixed-mask', pair.path('fixed_mask'), '--moving-mask', pair.path('moving_mask')]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        ends = pair.path('fixed'), pair.path('moving'), folder / 'result'
        given = [*options, '--affine', pair.affine]
        words = pair_command(*ends, method=method, threads=threads, options=given, device=device)
        used = run_measured(words, folder, threads=threads)
        found, result = read_result(folder / 'result')
    return found, used.seconds, result


def overlap(pair: PreparedPair, found: Deformation) -> str:
    """Return the mean Dice over labels, where the pair has any."""
    paths = [pair.path(f'{end}_labels') for end in ('fixed', 'moving')]
    if not all(path.exists() for path in paths):
        return '-'
    fixed, moving = (Image.load(path, np.int32) for path in paths)
    carried = found.apply(moving, fixed.grid, order=0).data
    scores = judge.dice(fixed.data, np.rint(carried).astype(np.int32), list(read_label_list(None)))
    return f'{np.nanmean(list(scores.values())):.4f}'


def apart(one: Deformation, other: Deformation) -> str:
    """Return how far apart two fields take points of their grid: mean and 99th percentile, mm."""
    lengths = np.linalg.norm(one.forward - other.forward, axis=-1)
    return f'{lengths.mean():.3f} ({np.percentile(lengths, 99):.2f})'


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, and print the table."""
    parser = new_parser(__doc__)
    parser.add_argument('pair', metavar='PAIR', type=Path)
    parser.add_argument('--device', default='cuda', help='[cuda]')
    parser.add_argument('--method', default='node-mind-inter', choices=PRESETS, metavar='PRESET', help='[%(default)s]')
    parser.add_argument('--threads', type=int, default=8, help='of the CPU, for what runs there [8]')
    parser.add_argument('--repeats', type=int, default=3, help='[3]')
    args = parser.parse_args(argv)
    pair, device = PreparedPair(args.pair.name, 'inter', args.pair.resolve()), torch.device(args.device)
    torch.set_num_threads(args.threads)
    first, *again = [registered(pair, args.method, device) for _ in range(1 + args.repeats)]
    commands = [command(pair, args.method, args.device, args.threads) for _ in range(args.repeats)]
    on_cpu = command(pair, args.method, 'cpu', args.threads)

    def memory(used: float | None) -> str:
        return '-' if used is None else f'{used:.0f}'

    print(head('`' + args.method + '`', 'seconds', f'memory of {args.device}, MB', 'Dice'))
    print(row('register, the first in a process', f'{first[1]:.2f}', memory(first[2]), '-'))
    most = None if again[0][2] is None else max(one[2] or 0 for one in again)
    print(row('register, again', f'{median(one[1] for one in again):.2f}', memory(most), '-'))
    for name, (found, _, result), seconds in (
        (f'bidsreg-pair, {args.device}', commands[0], median(one[1] for one in commands)),
        (f'bidsreg-pair, cpu, {args.threads} threads', on_cpu, on_cpu[1]),
    ):
        inner = ', '.join(f'{part} {value:.1f}' for part, value in result['seconds'].items())
        used = memory(result.get('peak_gpu_memory_mb'))
        print(row(name, f'{seconds:.2f} ({inner})', used, overlap(pair, found)))
    print()
    # within one frame each: the command solves in a frame of its own
    runs = apart(first[0].deformation, again[0][0].deformation)
    devices = apart(commands[0][0], on_cpu[0])
    print(f'Fields apart, mean (99 %), mm: two runs on {args.device} {runs}, {args.device} and cpu {devices}.')


if __name__ == '__main__':
    main()
