#!/usr/bin/env python3
"""What each part of the method is worth: one change at a time on a labelled pair of two people.

    python experiments/ablation.py PAIR [--resolution 2] [--threads 2] [--only NAME ...]

PAIR holds fixed_T1w, moving_T2w, fixed_dseg and moving_dseg (.nii.gz), stripped of their skulls (zero background) and
affinely aligned. Prints a Markdown row for each variant: Dice over the 32 labels of SynthSeg and SDlogJ (both as
bidsreg.benchmark.judge defines them), voxels that folded and that the solver repaired, seconds.

The weights and patches of the presets for two people were chosen with this script on the simulated pair 03-04 at 2 mm,
and confirmed at 1 mm by pairs.py on 01-02, 03-04 and 05-06.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from common import head, new_parser, row, stripped_brain

from bidsreg.benchmark import judge
from bidsreg.benchmark.labels import read_label_list
from bidsreg.registration import Image, Preset, register
from bidsreg.registration.presets import DESCRIPTORS_BETWEEN

BASE = DESCRIPTORS_BETWEEN
VARIANTS: dict[str, Preset] = {
    'as it is (MIND-SSC, network, midpoint, H1 and divergence)': BASE,
    'MIND': replace(BASE, similarity='mind'),
    'MIND, descriptors warped': replace(BASE, similarity='mind-features'),
    'patches of 3 voxels on every level': replace(BASE, patches=(1,)),
    'single voxels on every level': replace(BASE, patches=(0,)),
    'images as sharp as they are': replace(BASE, image_resolution=0.1),
    'plain grid instead of the network': replace(BASE, velocity='grid', learning_rate=0.3),
    'three moments of time': replace(BASE, time_knots=3, time_steps=2),
    'Euler, 1 step': replace(BASE, solver='euler'),
    'Euler, 4 steps': replace(BASE, solver='euler', time_steps=4),
    'RK4, 1 step': replace(BASE, solver='rk4'),
    'RK4, 2 steps': replace(BASE, solver='rk4', time_steps=2),
    'H1 alone': replace(BASE, regularity=(('h1', 0.01),)),
    'H1 alone, 0.04': replace(BASE, regularity=(('h1', 0.04),)),
    'L2 alone': replace(BASE, regularity=(('l2', 1e-3),)),
    'TV alone': replace(BASE, regularity=(('tv', 3e-3),)),
    'V-norm alone': replace(BASE, regularity=(('v-norm', 2e-4),), kernel_alpha=4.0),
    'without the coarsest level': replace(BASE, levels=BASE.levels[1:], patches=BASE.patches[1:]),
    'finest level alone': replace(BASE, levels=(BASE.levels[-1],), patches=(BASE.patches[-1],)),
}


def measure(pair: Path, chosen: Preset, labels: Mapping[int, str]) -> list[str]:
    """Register a pair, judge the answer, and return the cells of its row: Dice, repaired voxels, SDlogJ, seconds."""
    fixed, moving = (Image.load(pair / f'{name}.nii.gz') for name in ('fixed_T1w', 'moving_T2w'))
    fixed_labels, moving_labels = (Image.load(pair / f'{end}_dseg.nii.gz', np.int32) for end in ('fixed', 'moving'))
    mask = stripped_brain(fixed)
    began = time.perf_counter()
    result = register(fixed, moving, chosen, fixed_mask=mask)
    seconds = time.perf_counter() - began
    found, _ = judge.evaluate(
        result.deformation, mask, fixed_labels=fixed_labels, moving_labels=moving_labels, labels=labels
    )
    repaired = f'{result.repaired}' + (f', solved {result.attempts} times' if result.attempts > 1 else '')
    return [f'{found["dice_mean"]:.3f}', repaired, f'{found["sdlogj"]:.3f}', f'{seconds:.0f}']


def main(argv: Sequence[str] | None = None) -> None:
    """Run the variants one after another."""
    parser = new_parser(__doc__)
    parser.add_argument('pair', type=Path, metavar='PAIR')
    parser.add_argument('--resolution', type=float, default=2.0, metavar='MM', help='finest grid [%(default)s]')
    parser.add_argument('--threads', type=int, default=2, help='[%(default)s]')
    parser.add_argument('--only', nargs='+', choices=list(VARIANTS), metavar='NAME', help='[all]')
    parser.add_argument('--labels', type=Path, metavar='FILE.tsv', help='labels that count [the 32 of SynthSeg]')
    args = parser.parse_args(argv)
    torch.set_num_threads(args.threads)
    labels = read_label_list(args.labels)
    print(head('variant', 'Dice', 'repaired voxels', 'SDlogJ', 'seconds'), flush=True)
    for name in args.only or VARIANTS:
        print(row(name, *measure(args.pair, VARIANTS[name].at_resolution(args.resolution), labels)), flush=True)


if __name__ == '__main__':
    main()
