#!/usr/bin/env python3
"""What each part of the method is worth: one change at a time on a labelled pair of two people.

    python experiments/ablation.py PAIR [--resolution 2] [--threads 2] [--only NAME ...]

PAIR holds fixed_T1w, moving_T2w, fixed_dseg and moving_dseg (.nii.gz), stripped of their skulls (zero background) and
affinely aligned. Prints a Markdown row for each variant: Dice over the labels, repaired folds, SDlogJ, seconds.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from pairs import dice, stripped_brain

from bidsreg.registration import Image, preset, register
from bidsreg.registration.presets import Preset

BASE = preset('node-mind-inter')
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


def main(argv: Sequence[str] | None = None) -> None:
    """Run the variants one after another."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('pair', type=Path)
    parser.add_argument('--resolution', type=float, default=2.0, help='finest grid, mm [%(default)s]')
    parser.add_argument('--threads', type=int, default=2)
    parser.add_argument('--only', nargs='+', choices=list(VARIANTS), metavar='NAME', help='[all]')
    args = parser.parse_args(argv)
    torch.set_num_threads(args.threads)
    fixed, moving = (Image.load(args.pair / f'{name}.nii.gz') for name in ('fixed_T1w', 'moving_T2w'))
    fixed_labels, labels = (Image.load(args.pair / f'{n}_dseg.nii.gz', np.int32) for n in ('fixed', 'moving'))
    mask = stripped_brain(fixed)
    print('| variant | Dice | folds | SDlogJ | seconds |\n|---|---|---|---|---|', flush=True)
    for name in args.only or VARIANTS:
        began = time.perf_counter()
        result = register(fixed, moving, VARIANTS[name].at_resolution(args.resolution), fixed_mask=mask)
        seconds = time.perf_counter() - began
        warped = result.deformation.apply(labels, fixed.grid, order=0)
        spread = np.log(result.deformation.jacobian().data[result.mask.data > 0].clip(1e-9)).std()
        folds = f'{result.repaired}' + (f', solved {result.attempts} times' if result.attempts > 1 else '')
        score = np.mean(list(dice(fixed_labels.data, warped.data).values()))
        print(f'| {name} | {score:.3f} | {folds} | {spread:.3f} | {seconds:.0f} |', flush=True)


if __name__ == '__main__':
    main()
