"""Which pairs a benchmark compares, drawn where there are more than are wanted, and checked before any work."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
from nibabel.affines import apply_affine

from bidsreg.benchmark.case import Case
from bidsreg.benchmark.case_bids import find_in_bids
from bidsreg.benchmark.case_table import read_table
from bidsreg.benchmark.files import read_labels, read_points, require_grid
from bidsreg.benchmark.settings import BenchmarkSettings
from bidsreg.bids.headers import check_header, load_sane
from bidsreg.errors import InputError

LOGGER = logging.getLogger('bidsreg')


def find_cases(settings: BenchmarkSettings) -> tuple[Case, ...]:
    """Find the pairs of a benchmark, and draw as many as are wanted.

    The same input and seed give the same pairs in the same order; fewer are the first ones of more.

    Raises
    ------
    InputError
        If the input cannot be used or holds too few pairs.
    """
    there = read_table(settings.input) if settings.is_table else find_in_bids(settings)
    count = settings.wanted_pairs(len(there))
    if count == len(there):
        return tuple(there)
    order = np.random.default_rng(settings.seed).permutation(len(there))
    LOGGER.info('%d of %d pairs drawn with seed %d', count, len(there), settings.seed)
    return tuple(there[i] for i in order[:count])


def check_cases(cases: Iterable[Case], labels: Mapping[int, str], *, need_moving_mask: bool = False) -> None:
    """Check every file before any work.

    Parameters
    ----------
    cases
        The pairs.
    labels
        The labels that count.
    need_moving_mask
        Whether a moving image must come with a mask or labels.

    Raises
    ------
    InputError
        If a file cannot be used, labels or a mask lie on another grid than their image, a label image has none of
        the labels, points are none, or a pair has nothing to be judged by.
    """
    seen: set[tuple[Path, Path]] = set()
    values: dict[Path, frozenset[int]] = {}
    for case in cases:
        if not case.has_answer:
            raise InputError(f'{case.name}: give labels of both images, or points; else nothing can be measured.')
        if need_moving_mask and not case.has_moving_brain:
            raise InputError(
                f'{case.name}: give a mask or labels of the moving image {case.moving}; only within a head, with '
                '--prealign affine, the mask of the fixed one serves instead.'
            )
        _check_own_grids(case, seen)
        _check_labels(case, labels, values)
        if case.points is not None:
            _check_points(case.points, case)


def _check_own_grids(case: Case, seen: set[tuple[Path, Path]]) -> None:
    """Check that labels and masks lie on the grids of their images, and that masks are masks; what was seen, once."""
    from bidsreg.preparation.masks import check_mask

    for role in case.IMAGES:
        image, files = getattr(case, role), case.files()
        for what, words in (('labels', 'The labels image'), ('mask', 'The mask')):
            file = files.get(f'{role}_{what}')
            if file is None or (file, image) in seen:
                continue
            require_grid(file, image, words)
            if what == 'mask':
                check_mask(str(file), load_sane(image), of=str(image))
            seen.add((file, image))


def _check_labels(case: Case, labels: Mapping[int, str], values: dict[Path, frozenset[int]]) -> None:
    """Check that label images have labels that count, and one in common; `values` keeps which each file has."""
    files = [path for path in (case.fixed_labels, case.moving_labels) if path is not None]
    for path in files:
        if path not in values:
            values[path] = frozenset(np.unique(read_labels(path)).tolist()) & frozenset(labels)
        if not values[path]:
            raise InputError(
                f'{path} has none of the {len(labels)} labels that count; give the right list with --labels.'
            )
    if files and not frozenset.intersection(*(values[path] for path in files)):
        raise InputError(
            f'{case.name}: {" and ".join(map(str, files))} have none of the {len(labels)} labels that count in common: '
            'are their numbers of one list?'
        )


def _check_points(path: Path, case: Case) -> None:
    """Check that points are in mm of the worlds that they are said to be in: most lie in their image."""
    points = read_points(path)
    for places, image in ((points[:, :3], case.fixed), (points[:, 3:], case.moving)):
        header = check_header(image)
        if header.affine is None:
            continue  # whoever reads the image says so
        voxels = apply_affine(np.linalg.inv(header.affine), places)
        count = int(((voxels < -0.5) | (voxels > np.array(header.shape) - 0.5)).any(axis=1).sum())
        if 2 * count > len(points):
            raise InputError(
                f'{path}: {count} of {len(points)} points lie outside of {image}: x y z are mm in the world of the '
                'header (RAS+), no voxels, first of the fixed image, then of the moving one.'
            )
