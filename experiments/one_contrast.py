#!/usr/bin/env python3
"""Choose how stiff the preset for one contrast is within a head: two T1w of it, a known warp between them.

    python experiments/one_contrast.py LABELS --people 02 04 --factors 0.3 1 3 10

LABELS holds anat-XX_dseg.nii.gz: FreeSurfer's values, 1 mm, as for hard_pairs.py. Both scans of a person are T1w
painted on the labels, each with textures, tissue contrasts, edges, bias field and noise of its own; the fixed one is
seen through a smooth warp of up to 4 mm, that of the example. Blocks of 8 voxels are averaged to 2 mm. Each factor
multiplies the weight of `node-mind` for the similarity `lncc`; no deformation at all and `node-mind` stand beside.
Errors are those of bidsreg.benchmark.judge at 2000 points. Prints Markdown.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from common import head, new_parser, row
from hard_pairs import BIAS, NOISE, OUTSIDE, contrast_of, draw_lesions, halved
from scipy import ndimage as ndi

from bidsreg.app.example import distortion, smooth_noise
from bidsreg.benchmark import judge
from bidsreg.registration import PRESETS, Deformation, Image, Preset, register

POINTS = 2000
#: mm around the brain that are kept.
MARGIN = 12


@dataclass(frozen=True)
class TwoScans:
    """Two T1w of one head: the scans, the brain mask of the fixed one, and points, fixed and moving (mm)."""

    fixed: Image
    moving: Image
    mask: Image
    points: np.ndarray


def simulate(path: Path, seed: int) -> TwoScans:
    """Simulate both scans of a person."""
    whole = Image.load(path, np.int16).canonical()
    at = np.argwhere((whole.data > 0) & (whole.data < OUTSIDE))
    starts, stops = np.maximum(at.min(0) - MARGIN, 0), np.minimum(at.max(0) + MARGIN + 1, whole.data.shape)
    box = tuple(map(slice, starts, stops))
    labels = Image(whole.data[box], whole.grid.cropped(starts, stops))
    rng = np.random.default_rng(seed)
    lesions = draw_lesions(labels.data, rng)
    moving, still = (contrast_of(labels.data, lesions, 'T1w', rng) for _ in range(2))
    world = labels.grid.to_world(np.indices(labels.data.shape).reshape(3, -1).T)
    centre = labels.grid.to_world((np.array(labels.data.shape) - 1) / 2)
    there = world + distortion(world - centre)
    voxels = labels.grid.to_voxels(there).T
    fixed = ndi.map_coordinates(still, voxels, order=1, mode='nearest').reshape(labels.data.shape)
    brain = ((labels.data > 0) & (labels.data < OUTSIDE)).astype(np.uint8)
    mask = ndi.map_coordinates(brain, voxels, order=0, mode='nearest').reshape(labels.data.shape)
    chosen = rng.choice(np.flatnonzero(ndi.binary_erosion(mask, iterations=2)), POINTS, replace=False)
    return TwoScans(
        halved(Image(scanned(fixed, rng), labels.grid)),
        halved(Image(scanned(moving, rng), labels.grid)),
        halved(Image(mask, labels.grid), labels=True),
        np.hstack([world[chosen], there[chosen]]),
    )


def scanned(signal: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return a signal with a bias field and Rician noise of its own, float32."""
    values = signal * np.exp(smooth_noise(rng, signal.shape, 80, BIAS))
    noise = rng.normal(0, NOISE, (2, *signal.shape)).astype(np.float32)
    return np.hypot(values + noise[0], noise[1]).astype(np.float32)


def presets(factors: Sequence[float]) -> Iterator[tuple[str, Preset]]:
    """Yield the presets that are compared, with their names."""
    yield 'node-mind', PRESETS['node-mind']
    for factor in factors:
        stiff = dataclasses.replace(PRESETS['node-mind'].stiffer(factor), name='node-lncc', similarity='lncc')
        yield f'lncc, {factor:g} of its weight', stiff


def measured(pair: TwoScans, preset: Preset | None) -> tuple[Deformation, float]:
    """Return what a preset finds, and its CPU seconds; without one, no deformation."""
    if preset is None:
        return Deformation.from_affine(np.eye(4), pair.fixed.grid), 0.0
    began = time.process_time()
    found = register(pair.fixed, pair.moving, preset, fixed_mask=pair.mask, affine=np.eye(4)).deformation
    return found, time.process_time() - began


def main(argv: Sequence[str] | None = None) -> None:
    """Simulate the people, run every preset on each, and print the table."""
    parser = new_parser(__doc__)
    parser.add_argument('source', metavar='LABELS', type=Path)
    parser.add_argument('--people', nargs='+', default=['02', '04'], metavar='XX', help='[%(default)s]')
    parser.add_argument('--factors', nargs='+', type=float, default=[0.3, 1.0, 3.0, 10.0], help='[%(default)s]')
    args = parser.parse_args(argv)
    print(head('preset', 'person', 'error, mean (mm)', 'error, 95 % (mm)', 'folds', 'SDlogJ', 'CPU seconds'))
    for name in args.people:
        pair = simulate(args.source / f'anat-{name}_dseg.nii.gz', int(name))
        for title, preset in (('no deformation', None), *presets(args.factors)):
            found, seconds = measured(pair, preset)
            errors = judge.target_errors(pair.points, found)
            field = judge.field_measures(found, pair.mask)
            numbers = errors['mean'], errors['p95'], field['folds'], field['sdlogj'], seconds
            print(row(title, name, *(f'{number:.3g}' for number in numbers)), flush=True)


if __name__ == '__main__':
    main()
