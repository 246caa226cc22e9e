"""Which pairs a benchmark compares, drawn where there are more than are wanted, and checked before any work."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from bidsreg.benchmark.case import Case
from bidsreg.benchmark.case_bids import find_in_bids
from bidsreg.benchmark.case_table import read_table
from bidsreg.benchmark.files import read_labels, read_points, require_grid
from bidsreg.benchmark.settings import BenchmarkSettings
from bidsreg.bids.headers import load_sane
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
    for case in cases:
        if not case.has_answer:
            raise InputError(f'{case.name}: give labels of both images, or points; else nothing can be measured.')
        if need_moving_mask and not case.has_moving_brain:
            raise InputError(
                f'{case.name}: give a mask or labels of the moving image {case.moving}; only within a head, with '
                '--prealign affine, the mask of the fixed one serves instead.'
            )
        for role in case.IMAGES:
            image, files = getattr(case, role), case.files()
            for what, check in (('labels', _check_labels), ('mask', _check_mask)):
                file = files.get(f'{role}_{what}')
                if file is not None and (file, image) not in seen:
                    require_grid(file, image, f'The {what} image' if what == 'labels' else 'The mask')
                    check(file, image, labels)
                    seen.add((file, image))
        if case.points is not None:
            read_points(case.points)


def _check_labels(path: Path, image: Path, labels: Mapping[int, str]) -> None:
    if not np.isin(read_labels(path), list(labels)).any():
        raise InputError(f'{path} has none of the {len(labels)} labels that count; give the right list with --labels.')


def _check_mask(path: Path, image: Path, labels: Mapping[int, str]) -> None:
    from bidsreg.preparation.masks import check_mask

    check_mask(str(path), load_sane(image), of=str(image))
