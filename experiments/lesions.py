#!/usr/bin/env python3
"""Measure what a lesion in one scan alone does to the alignment around it, with its mask and without.

    python experiments/lesions.py LABELS --people 02 04 [--ml 40] [--voxel 2] [--method node-mind]

LABELS holds anat-XX_dseg.nii.gz: FreeSurfer's values, 1 mm, as for hard_pairs.py. A T1w and a T2w of a person are
painted on the labels, each with textures, tissue contrasts, edges, bias field and noise of its own; the T1w, which is
fixed, is seen through a smooth warp of up to 4 mm, that of the example. A lesion with a rough border lies where white
matter is deepest: dark in the T1w or bright in the T2w, never in both. Scans without it, with the same noise, stand
beside.

Errors are those of bidsreg.benchmark.judge at 2000 points of the brain up to 20 mm from the lesion. Its volume, as the
warp that was found makes it (Jacobians integrated over it), is told relative to what the true warp makes it. Prints
Markdown.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from common import head, new_parser, row
from hard_pairs import OUTSIDE, WHITE, contrast_of, halved
from one_contrast import MARGIN, POINTS, scanned
from scipy import ndimage as ndi

from bidsreg.app.example import distortion, smooth_noise
from bidsreg.benchmark import judge
from bidsreg.programs import PROGRAMS, ProgramResult
from bidsreg.registration import PRESETS, Deformation, Image, Result, register
from bidsreg.registration.evidence import decide
from bidsreg.registration.metrics import jacobian_determinant

ENDS = ('fixed', 'moving')
#: Signal of the lesion relative to that of white matter: a cavity in the T1w, oedema in the T2w.
SIGNAL = {'fixed': 0.35, 'moving': 2.2}
#: mm around the lesion in which errors are taken.
SHELL_MM = 20.0
#: Standard deviation of the lesion's border, mm, and of its texture, relative.
ROUGH_MM, TEXTURE = 3.0, 0.15


@dataclass(frozen=True)
class LesionPair:
    """A pair of which one scan may show a lesion.

    Attributes
    ----------
    clean, ill : dict
        The scans by their end, without the lesion and with it.
    mask : Image
        The brain of the fixed scan.
    lesion : dict
        Where the lesion is or would be, in each scan.
    points : ndarray, shape (N, 6)
        Points around the lesion, fixed and moving, mm.
    field : ndarray, shape (X, Y, Z, 3)
        The true displacement at the voxels of the fixed scan, mm.
    """

    clean: dict[str, Image]
    ill: dict[str, Image]
    mask: Image
    lesion: dict[str, Image]
    points: np.ndarray
    field: np.ndarray


def simulate(path: Path, seed: int, ml: float, voxel: int) -> LesionPair:
    """Simulate a person's scans."""
    whole = Image.load(path, np.int16).canonical()
    at = np.argwhere((whole.data > 0) & (whole.data < OUTSIDE))
    starts, stops = np.maximum(at.min(0) - MARGIN, 0), np.minimum(at.max(0) + MARGIN + 1, whole.data.shape)
    labels = Image(whole.data[tuple(map(slice, starts, stops))], whole.grid.cropped(starts, stops))
    shape, grid = labels.data.shape, labels.grid
    rng = np.random.default_rng(seed)
    brain = (labels.data > 0) & (labels.data < OUTSIDE)
    lesion = draw_lesion(labels.data, ml, rng)
    texture = 1 + smooth_noise(rng, shape, 6, TEXTURE)
    world = grid.to_world(np.moveaxis(np.indices(shape), 0, -1))
    moved = distortion((world - grid.to_world((np.array(shape) - 1) / 2)).reshape(-1, 3)).reshape(world.shape)
    voxels = np.moveaxis(grid.to_voxels(world + moved), -1, 0)

    def warped(values: np.ndarray, order: int = 1) -> np.ndarray:
        return ndi.map_coordinates(values, voxels, order=order, mode='nearest')

    clean, ill = {}, {}
    for end, contrast in zip(ENDS, ('T1w', 'T2w'), strict=True):
        plain = contrast_of(labels.data, np.zeros(shape, np.float32), contrast, rng)
        white = np.median(plain[np.isin(labels.data, WHITE)])
        soft = ndi.gaussian_filter(lesion.astype(np.float32), 0.7)
        both = plain, plain * (1 - soft) + soft * SIGNAL[end] * white * texture
        noise = int(rng.integers(2**31))
        clean[end], ill[end] = (
            Image(scanned(warped(one) if end == 'fixed' else one, np.random.default_rng(noise)), grid) for one in both
        )
    inside, there = warped(brain.astype(np.uint8), 0), warped(lesion.astype(np.uint8), 0)
    away = ndi.distance_transform_edt(there == 0)
    around = ndi.binary_erosion(inside, iterations=2) & (away > 1) & (away <= SHELL_MM)
    chosen = rng.choice(np.flatnonzero(around), POINTS, replace=False)
    flat = world.reshape(-1, 3)[chosen]
    masks = {'mask': inside, 'fixed': there, 'moving': lesion.astype(np.uint8)}
    drawn = {name: Image(data, grid) for name, data in masks.items()}
    points, field = np.hstack([flat, flat + moved.reshape(-1, 3)[chosen]]), moved.astype(np.float32)
    if voxel == 2:
        clean, ill = ({end: halved(image) for end, image in scans.items()} for scans in (clean, ill))
        drawn = {name: halved(image, labels=True) for name, image in drawn.items()}
        field = np.stack([halved(Image(field[..., k], grid)).data for k in range(3)], -1)
    return LesionPair(clean, ill, drawn.pop('mask'), drawn, points, field)


def draw_lesion(labels: np.ndarray, ml: float, rng: np.random.Generator) -> np.ndarray:
    """Draw a lesion (bool) of `ml` ml about the deepest white matter of one side, within the brain, on 1 mm voxels."""
    brain = (labels > 0) & (labels < OUTSIDE)
    centre = np.unravel_index(ndi.distance_transform_edt(labels == WHITE[0]).argmax(), labels.shape)
    away = np.linalg.norm(np.moveaxis(np.indices(labels.shape), 0, -1) - np.array(centre), axis=-1)
    away = np.where(brain, away + smooth_noise(rng, labels.shape, 12, ROUGH_MM), np.inf)
    return away <= np.partition(away, int(1000 * ml), axis=None)[int(1000 * ml)]


def volume_kept(pair: LesionPair, found: Deformation, end: str) -> float:
    """Return the lesion's volume beyond the found warp, relative to that beyond the true one, minus 1.

    A lesion of the fixed scan is brought into the moving world by an integral of Jacobians, one of the moving scan into
    the fixed world by one of the inverse's.
    """
    here = pair.lesion['fixed']
    if end == 'fixed':
        determinants = found.jacobian(here.grid).data, jacobian_determinant(pair.field, here.grid)
        first, true = (float(one[here.data > 0].sum()) for one in determinants)
        return first / true - 1
    there = pair.lesion['moving']
    backward = found.inverted().jacobian(there.grid).data[there.data > 0].sum()
    return float(backward * there.grid.spacing.prod() / (here.data.sum() * here.grid.spacing.prod()) - 1)


def cases(pair: LesionPair, end: str) -> Iterator[tuple[str, dict[str, Image], dict[str, Any]]]:
    """Yield what is compared: what it is called, the scans, and what `register` is given beside them."""
    ill = {**pair.clean, end: pair.ill[end]}
    yield 'no lesion', pair.clean, {}
    yield 'lesion', ill, {}
    yield 'lesion, masked', ill, {f'{end}_lesion': pair.lesion[end]}


def registered(scans: dict[str, Image], method: str, **inputs: Any) -> Result | ProgramResult:
    """Return what a preset or a program finds."""
    if method in PROGRAMS:
        return PROGRAMS[method].register(scans['fixed'], scans['moving'], **inputs)
    return register(scans['fixed'], scans['moving'], method, **inputs)


def cpu_seconds() -> float:
    """Return the CPU seconds of this process and of those that it has waited for."""
    used = os.times()
    return used.user + used.system + used.children_user + used.children_system


def main(argv: Sequence[str] | None = None) -> None:
    """Simulate the people, register each as it is, with a lesion, and with its mask, and print the table."""
    parser = new_parser(__doc__)
    parser.add_argument('source', metavar='LABELS', type=Path)
    parser.add_argument('--people', nargs='+', default=['02', '04'], metavar='XX', help='[%(default)s]')
    parser.add_argument('--ml', type=float, default=40.0, help='volume of the lesion [%(default)g]')
    parser.add_argument('--voxel', type=int, choices=(1, 2), default=2, help='mm [%(default)s]')
    methods = [*PRESETS, *PROGRAMS]
    parser.add_argument('--method', default='node-mind', choices=methods, metavar='METHOD', help='[%(default)s]')
    parser.add_argument('--ends', nargs='+', default=ENDS, choices=ENDS, help='which scan has it [both in turn]')
    args = parser.parse_args(argv)
    titles = 'mean (mm)', '95 % (mm)', 'volume', 'evidence keeps', 'folds', 'CPU seconds'
    print(head('person', 'lesion in', 'case', *titles))
    for name in args.people:
        pair = simulate(args.source / f'anat-{name}_dseg.nii.gz', int(name), args.ml, args.voxel)
        for end in args.ends:
            for title, scans, lesion in cases(pair, end):
                began = cpu_seconds()
                found = registered(scans, args.method, fixed_mask=pair.mask, **lesion)
                seconds = cpu_seconds() - began
                errors = judge.target_errors(pair.points, found.deformation)
                affine, diffeo = found.evidence['affine'], found.evidence['diffeo']
                assert affine is not None
                assert diffeo is not None
                kept = decide(affine, diffeo).kept
                volume = f'{100 * volume_kept(pair, found.deformation, end):+.1f} %'
                numbers = f'{errors["mean"]:.3f}', f'{errors["p95"]:.3f}', volume, kept, found.folds, f'{seconds:.0f}'
                print(row(name, f'{end} scan', title, *numbers), flush=True)


if __name__ == '__main__':
    main()
