"""Which pairs are compared: rows of a table, or what a BIDS dataset offers."""

from __future__ import annotations

import dataclasses
import itertools
import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from bidsreg.benchmark.files import read_labels, require_grid
from bidsreg.benchmark.settings import BenchmarkSettings
from bidsreg.bids.names import output_name
from bidsreg.bids.pairs import EXTENSIONS, Pair, find_pairs, index
from bidsreg.errors import InputError
from bidsreg.settings import Settings
from bidsreg.validation import suggestion

LOGGER = logging.getLogger('bidsreg')

REQUIRED = ('fixed', 'moving')
OPTIONAL = ('fixed_labels', 'moving_labels', 'fixed_mask', 'moving_mask', 'points')
#: Entities in which labels must not contradict their scan.
AGREE = ('acquisition', 'reconstruction', 'run', 'sample', 'session')


@dataclass(frozen=True, kw_only=True)
class Case:
    """One pair, with what is known about it.

    Attributes
    ----------
    name : str
        Unlike any other pair's.
    fixed, moving : Path
        A T1w and a T2w image.
    fixed_labels, moving_labels : Path or None
        Label images on their grids.
    fixed_mask, moving_mask : Path or None
        Brain masks on their grids.
    points : Path or None
        Table of places that are the same: x, y, z in the world of the fixed image, then of the moving one, mm.
    """

    name: str
    fixed: Path
    moving: Path
    fixed_labels: Path | None = None
    moving_labels: Path | None = None
    fixed_mask: Path | None = None
    moving_mask: Path | None = None
    points: Path | None = None

    @property
    def node_name(self) -> str:
        """The name as Nipype takes it for a node."""
        return 'pair_' + re.sub(r'\W', '_', self.name)

    @property
    def has_labels(self) -> bool:
        """Whether the overlap of labels can be measured."""
        return self.fixed_labels is not None and self.moving_labels is not None

    def files(self) -> dict[str, Path]:
        """Return all files by role."""
        return {name: path for name in (*REQUIRED, *OPTIONAL) if (path := getattr(self, name)) is not None}

    def identity(self) -> str:
        """Say which pair this is: its name and its files."""
        return ' '.join([self.name, *(f'{role}={path}' for role, path in self.files().items())])

    def fingerprint(self) -> list[str]:
        """Say which state of the pair this is: how large and how old its files are, too."""
        stats = [path.stat() for path in self.files().values()]
        return [self.identity(), *(f'{stat.st_size}:{stat.st_mtime_ns}' for stat in stats)]


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


# ---------------------------------------------------------------------------------------------------- tables
def read_table(path: Path) -> list[Case]:
    """Read a table of pairs.

    Parameters
    ----------
    path : Path
        TSV with the columns ``fixed`` and ``moving``, and any of :data:`OPTIONAL`; paths are relative to the table,
        and an empty cell or ``n/a`` is none.

    Raises
    ------
    InputError
        If it cannot be read, has wrong columns, no row, a pair twice, or a file that is not there.
    """
    try:
        table = pd.read_csv(
            path, sep='\t', dtype=str, na_values=['n/a', ''], keep_default_na=False, encoding='utf-8-sig'
        )
    except FileNotFoundError as error:
        raise InputError(f'{path} is not there; give a BIDS dataset or a table of pairs (.tsv).') from error
    except (OSError, ValueError) as error:
        raise InputError(f'{path} cannot be read as a table of pairs: {error}') from error
    _check_columns(path, table)
    rows = [
        {role: path.parent / value for role, value in row.items() if isinstance(value, str)}
        for row in table.to_dict('records')
    ]
    if not rows:
        raise InputError(f'{path} lists no pair.')
    for line, row in enumerate(rows, start=2):
        for role in REQUIRED:
            if role not in row:
                raise InputError(f'{path}, line {line}: no {role} image is given.')
        for role, file in row.items():
            if not file.is_file():
                raise InputError(f'{path}, line {line}: {role} {file} is not there.')
    _check_twice(path, rows)
    width = max(3, len(str(len(rows))))
    return [Case(name=f'pair-{number:0{width}d}', **row) for number, row in enumerate(rows, start=1)]


def _check_columns(path: Path, table: pd.DataFrame) -> None:
    known = (*REQUIRED, *OPTIONAL)
    hint = f'The columns are {", ".join(REQUIRED)}, and any of {", ".join(OPTIONAL)}, separated by tabs.'
    for name in REQUIRED:
        if name not in table:
            raise InputError(f'{path}: there is no column {name!r} (it has {", ".join(map(repr, table))}). {hint}')
    for name in table:
        if name not in known:
            raise InputError(f'{path}: the column {name!r} is not known.{suggestion(name, known)} {hint}')


def _check_twice(path: Path, rows: Sequence[Mapping[str, Path]]) -> None:
    seen: dict[tuple[Path, ...], int] = {}
    for line, row in enumerate(rows, start=2):
        pair = tuple(row[role].resolve() for role in REQUIRED)
        if pair in seen:
            raise InputError(f'{path}, line {line}: this pair is listed already in line {seen[pair]}.')
        if pair[0] == pair[1]:
            raise InputError(f'{path}, line {line}: fixed and moving are the same file, {pair[0]}.')
        seen[pair] = line


# ---------------------------------------------------------------------------------------------------- BIDS
@dataclass(frozen=True)
class _Truth:
    """What the derivatives know of one subject's pair."""

    pair: Pair
    files: Mapping[str, Path]


def find_in_bids(settings: BenchmarkSettings) -> list[Case]:
    """Find the pairs of a BIDS dataset whose answer is known.

    Within a head that takes labels of both scans, or points; between two people, labels of the one's T1w and of the
    other's T2w (of each the first session that has both scans).

    Raises
    ------
    InputError
        If it is no dataset, or nobody's answer is known.
    """
    folders = label_folders(settings)
    app = Settings(bids_dir=settings.input, output_dir=settings.output_dir, derivatives=folders)
    if not (settings.input / 'dataset_description.json').is_file():
        raise InputError(f'{settings.input} is no BIDS dataset: it has no dataset_description.json.')
    plan = find_pairs(app)
    if not plan.pairs:
        raise InputError(f'{settings.input} holds no subject with a T1w and a T2w.')
    segmentations = _segmentations(app, folders, {pair.subject for pair in plan.pairs})
    known = [_Truth(pair, _known_files(pair, folders, segmentations, settings.label_desc)) for pair in plan.pairs]
    cases = (_within if settings.task == 'intra' else _between)(known)
    if not cases:
        raise InputError(
            f'No pair for the task {settings.task!r} in {settings.input}: no labels (*_dseg.nii.gz, of the T2w with '
            f'space-T2w) or points were found for both scans in {", ".join(map(str, folders)) or "derivatives/"}.'
        )
    return cases


def label_folders(settings: BenchmarkSettings) -> tuple[Path, ...]:
    """List the folders in which labels, masks and points are looked for."""
    for folder in settings.derivatives:
        if not folder.is_dir():
            raise InputError(f'--derivatives {folder} is not a folder.')
    found = sorted(path for path in (settings.input / 'derivatives').glob('*') if path.is_dir())
    return settings.derivatives or tuple(found)


def _segmentations(app: Settings, folders: Iterable[Path], subjects: set[str]) -> list[tuple[Path, dict[str, str]]]:
    """Every label image of the subjects with its entities, in the dataset and in its derivatives."""
    found = []
    for folder in (app.bids_dir, *folders):
        there = {path.name.removeprefix('sub-') for path in folder.glob('sub-*')}
        if not subjects & there:
            continue
        layout = index(dataclasses.replace(app, bids_dir=folder, participant_label=tuple(sorted(subjects & there))))
        for file in layout.get(suffix='dseg', extension=list(EXTENSIONS)):
            found.append((Path(file.path), {k: str(v) for k, v in file.get_entities(metadata=False).items()}))
    return sorted(found, key=lambda item: str(item[0]))


def _known_files(
    pair: Pair,
    folders: Iterable[Path],
    segmentations: Iterable[tuple[Path, dict[str, str]]],
    desc: str | None,
) -> dict[str, Path]:
    """Labels, masks and points of a pair, as far as there are any."""
    segmentations = list(segmentations)
    files: dict[str, Path | None] = {
        'fixed_labels': choose_labels(pair.fixed_entities, ('', 'T1w', 'orig'), segmentations, desc),
        'moving_labels': choose_labels(pair.entities, ('T2w',), segmentations, desc),
        'fixed_mask': pair.fixed_mask,
        'moving_mask': _first_there(folders, output_name('t2w_mask', pair.entities)),
        'points': _first_there(folders, Path(_anat(pair)) / f'{pair.name}_from-T1w_to-T2w_points.tsv'),
    }
    return {role: path for role, path in files.items() if path is not None}


def _anat(pair: Pair) -> str:
    return f'sub-{pair.subject}/' + (f'ses-{pair.session}/' if pair.session else '') + 'anat'


def _first_there(folders: Iterable[Path], name: Path) -> Path | None:
    return next((folder / name for folder in folders if (folder / name).is_file()), None)


def choose_labels(
    scan: Mapping[str, str],
    spaces: Sequence[str],
    segmentations: Iterable[tuple[Path, Mapping[str, str]]],
    desc: str | None,
) -> Path | None:
    """Choose the label image of a scan; ``None`` when there is none.

    Parameters
    ----------
    scan
        The entities of the scan.
    spaces
        Values of ``space`` that mean the scan's own grid; empty: no such entity.
    segmentations
        Label images with their entities.
    desc
        The one to take where there are several, by its ``desc``.

    Raises
    ------
    InputError
        If several fit equally well.
    """
    fits = [
        (path, entities)
        for path, entities in segmentations
        if entities['subject'] == scan['subject']
        and entities.get('space', '') in spaces
        and (desc is None or entities.get('desc', '') == desc)
        and all(entities.get(key, scan.get(key)) == scan.get(key) for key in AGREE)
    ]
    shared = [sum(key in entities for key in AGREE) for _, entities in fits]
    best = [path for (path, _), count in zip(fits, shared, strict=True) if count == max(shared)]
    if len(best) > 1:
        raise InputError(
            f'sub-{scan["subject"]} has several label images that fit: {", ".join(map(str, best))}. '
            'Choose one with --label-desc or --derivatives.'
        )
    return best[0] if best else None


def _within(known: Iterable[_Truth]) -> list[Case]:
    """T1w and T2w of one head, where the answer is known."""
    cases = []
    for one in known:
        case = Case(name=one.pair.name, fixed=one.pair.t1w, moving=one.pair.t2w, **one.files)
        if case.has_labels or case.points is not None:
            cases.append(case)
        else:
            LOGGER.warning('%s is left out: neither labels of both scans nor points', one.pair.name)
    return cases


def _between(known: Iterable[_Truth]) -> list[Case]:
    """T1w of one subject and T2w of another, in both directions; nobody with themselves."""
    first: dict[str, _Truth] = {}
    for one in known:
        first.setdefault(one.pair.subject, one)
    return [
        Case(
            name=f'sub-{fixed.pair.subject}-T1w_sub-{moving.pair.subject}-T2w',
            fixed=fixed.pair.t1w,
            moving=moving.pair.t2w,
            **{role: path for role, path in fixed.files.items() if role.startswith('fixed')},
            **{role: path for role, path in moving.files.items() if role.startswith('moving')},
        )
        for fixed, moving in itertools.permutations(first.values(), 2)
        if 'fixed_labels' in fixed.files and 'moving_labels' in moving.files
    ]


# ---------------------------------------------------------------------------------------------------- checks
def check_cases(cases: Iterable[Case], labels: Mapping[int, str], *, need_moving_mask: bool = False) -> None:
    """Look at every file before any work.

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
        if not case.has_labels and case.points is None:
            raise InputError(f'{case.name}: give labels of both images, or points; else nothing can be measured.')
        if need_moving_mask and case.moving_mask is None and case.moving_labels is None:
            raise InputError(
                f'{case.name}: give a mask or labels of the moving image {case.moving}; only within a head, with '
                '--prealign affine, the mask of the fixed one serves instead.'
            )
        for end in ('fixed', 'moving'):
            image, files = getattr(case, end), case.files()
            for what, check in (('labels', _check_labels), ('mask', _check_mask)):
                file = files.get(f'{end}_{what}')
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
    from bidsreg.bids.headers import load_sane
    from bidsreg.preparation.skullstrip import check_mask

    check_mask(str(path), load_sane(image), of=str(image))


def read_points(path: Path) -> np.ndarray:
    """Read a table of places that are the same in both images.

    Returns
    -------
    ndarray, shape (N, 6)
        World mm (RAS+) in the fixed image and in the moving one.

    Raises
    ------
    InputError
        If it is no table of at least one row of six finite numbers under a header.
    """
    try:
        points = pd.read_csv(path, sep='\t', dtype=float).to_numpy()
    except (OSError, ValueError) as error:
        raise InputError(f'{path} cannot be read as a table of points: {error}') from error
    if points.shape[1] != 6 or not len(points) or not np.isfinite(points).all():
        raise InputError(
            f'{path}: a header and rows of six finite numbers are needed, x y z in the fixed and in the moving world.'
        )
    return points
